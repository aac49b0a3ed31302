from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import uniform_filter

from sim_models.networks import Network, rednet, unet
from sim_models.tiles import Pixels, restore_tiled


def networks() -> dict[str, Network]:
    torch.manual_seed(0)
    small_unet = unet.Settings(
        name="unet",
        width=4,
        depth=2,
        batch_norm="running",
        up="transposed",
        skip="concatenate",
        output="linear",
        enlarge="after",
        init="torch",
    )
    nearest = small_unet.model_copy(update={"up": "nearest", "batch_norm": "none"})
    built: dict[str, Network] = {
        "unet": small_unet.build(3, 2, scale=2),
        "unet_nearest": nearest.build(3, 1, scale=1),
        "rednet": rednet.Settings(
            name="rednet", filters=4, pairs=2, output="linear", skips="symmetric"
        ).build(3, 1, scale=2),
    }
    # Batch statistics as after training, so that evaluation mode does something.
    built["unet"].train()(torch.rand(4, 3, 16, 16))
    return {name: network.eval() for name, network in built.items()}


NETWORKS = networks()


def apply_with(network: Network, sizes: list[int] | None = None) -> Callable[[Pixels], Pixels]:
    def apply(window: Pixels) -> Pixels:
        if sizes is not None:
            sizes.append(window.size)
        with torch.inference_mode():
            return network(torch.from_numpy(window)[None])[0].numpy()

    return apply


@pytest.mark.parametrize("name", NETWORKS)
@settings(max_examples=12, deadline=None)
@given(height=st.integers(3, 90), width=st.integers(3, 90), tile_px=st.integers(1, 40))
def test_tiles_equal_the_whole(name: str, height: int, width: int, tile_px: int) -> None:
    network = NETWORKS[name]
    stack = np.random.default_rng(height).random((3, height, width), np.float32)
    tiled = restore_tiled(
        apply_with(network), stack, network.scale, max(tile_px, height // 5), network.halo_px, network.divisor
    )
    np.testing.assert_allclose(tiled, apply_with(network)(stack), atol=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_quarter_of_the_halo_would_not_do(name: str) -> None:
    """The negative control: the equality above is not for want of context."""
    network = NETWORKS[name]
    stack = np.random.default_rng(0).random((3, 80, 80), np.float32)
    halo_px = network.halo_px // 4
    tiled = restore_tiled(apply_with(network), stack, network.scale, 16, halo_px, network.divisor)
    assert not np.allclose(tiled, apply_with(network)(stack), atol=1e-5)


def test_windows_do_not_grow_with_the_field() -> None:
    network, largest = NETWORKS["rednet"], []
    for edge in (64, 128):
        sizes: list[int] = []
        stack = np.zeros((3, edge, edge), np.float32)
        restore_tiled(apply_with(network, sizes), stack, network.scale, 16, network.halo_px, network.divisor)
        largest.append(max(sizes))
    assert largest[0] == largest[1] == 3 * (16 + 2 * network.halo_px) ** 2


def test_progress_counts_every_tile() -> None:
    seen: list[tuple[int, int]] = []
    restore_tiled(
        lambda window: window, np.zeros((1, 10, 20)), 1, 8, 0, 1, progress=lambda *counts: seen.append(counts)
    )
    assert seen == [(done, 6) for done in range(1, 7)]


def test_counts_of_a_camera_are_taken_as_they_are() -> None:
    stack = np.arange(60, dtype=np.uint16).reshape(1, 6, 10)
    np.testing.assert_array_equal(restore_tiled(lambda window: window, stack, 1, 4, 2, 2), stack)


@pytest.mark.parametrize("slices", [1, 4])
def test_tiles_of_a_volume_keep_its_slices(slices: int) -> None:
    """With a filter of 3 x 3 x 3 that gives two of three channels, twice as fine."""

    def apply(window: Pixels) -> Pixels:
        smooth = uniform_filter(window, size=(1, 3, 3, 3), mode="constant")[:2]
        return smooth.repeat(2, axis=-2).repeat(2, axis=-1)

    stack = np.random.default_rng(0).random((3, slices, 13, 21), np.float32)
    tiled = restore_tiled(apply, stack, scale=2, tile_px=5, halo_px=1, divisor=1)
    assert tiled.shape == (2, slices, 26, 42)
    np.testing.assert_allclose(tiled, apply(stack), atol=1e-6)
    without_halo = restore_tiled(apply, stack, scale=2, tile_px=5, halo_px=0, divisor=1)
    assert not np.allclose(without_halo, apply(stack), atol=1e-6)
