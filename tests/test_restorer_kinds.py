"""Restorers of every kind of task: what they take, what they give, and what they refuse."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage

from sim_models.config import BadInput
from sim_models.field import Image, Role
from sim_models.networks import Network
from sim_models.restorer import SETTINGS, UPSTREAM, WEIGHTS, Restorer

Make = Callable[..., Restorer]
BY_DATASET = {
    "scope": "dataset", "kind": "deviation", "low_percent": None, "high_percent": None, "of": "mean",
    "target": "as_input",
}  # fmt: skip
"""the same for every image, so that parts of it can be compared"""


def image(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).uniform(5, 50, shape).astype(np.float32)


@pytest.fixture
def images() -> dict[Role, Image]:
    return {
        "raw": image(3, 3, 24, 32),
        "synthetic": image(3, 3, 24, 32, seed=1),
        "reconstruction": image(48, 64, seed=2),
        "widefield": image(24, 32, seed=3),
        "volume": image(4, 3, 24, 32, seed=4),
        "blinking": image(6, 24, 32, seed=5),
    }


KINDS: dict[str, tuple[str, tuple[int, ...]]] = {
    "wiener_nafnet": ("YX", (48, 64)),
    "unet_fairsim": ("YX", (48, 64)),
    "unet_sim3": ("YX", (48, 64)),
    "unet_srrf5": ("YX", (120, 160)),
    "deconoising": ("CYX", (2, 24, 32)),
    "pre_red": ("APYX", (3, 3, 24, 32)),
    "unet_snr": ("APYX", (3, 3, 48, 64)),
    "rdl_denoise": ("APYX", (3, 3, 24, 32)),
    "tis_rdl": ("TZYX", (4, 3, 24, 32)),
    "sis_rdl": ("TZYX", (4, 3, 24, 32)),
}


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_restores_a_field_and_survives_its_folder(
    untrained: Make, images: dict[Role, Image], tmp_path: Path, name: str
) -> None:
    restorer = untrained(name, weights=0.1)
    axes, shape = KINDS[name]
    before = {role: each.copy() for role, each in images.items()}
    restored = restorer(images)
    assert (restorer.axes, restored.shape, restored.dtype) == (axes, shape, np.float32)
    assert np.isfinite(restored).all()
    assert np.ptp(restored) > 0
    assert all(np.array_equal(before[role], each) for role, each in images.items())
    if "synthetic" in restorer.recipe.task.roles:
        restorer = replace(restorer, upstream=untrained("rdl_sr"), full_modulation=False)
    restorer.save(tmp_path / "saved")
    assert np.array_equal(Restorer.load(tmp_path / "saved")(images), restored)


@pytest.mark.parametrize(
    ("name", "role"), [("wiener_nafnet", "reconstruction"), ("pre_red", "raw"), ("rdl_denoise", "raw")]
)
def test_what_a_network_adds_nothing_to_comes_out_as_it_was(
    untrained: Make, images: dict[Role, Image], name: str, role: Role
) -> None:
    """Of two images the right one, every pixel and frame in its place, in its unit."""
    np.testing.assert_allclose(untrained(name)(images), images[role], rtol=1e-4)


def test_every_angle_is_restored_on_its_own(untrained: Make, images: dict[Role, Image]) -> None:
    restorer = untrained("rdl_denoise", weights=0.1)
    restored = restorer(images)
    order = [2, 0, 1]
    changed = images | {role: images[role][order] for role in ("raw", "synthetic")}
    np.testing.assert_allclose(restorer(changed), restored[order], rtol=1e-4, atol=1e-3)


def test_a_denoised_image_comes_with_the_deconvolved_one(untrained: Make, images: dict[Role, Image]) -> None:
    denoised, sharp = untrained("deconoising", weights=0.1)(images["widefield"])
    blurred = ndimage.gaussian_filter(sharp, 1.2, mode="mirror", radius=5)
    np.testing.assert_allclose(denoised, blurred, rtol=1e-3, atol=1e-3 * np.abs(blurred).max())
    assert np.abs(sharp - blurred).max() > 1e-2 * np.abs(blurred).max()


# Series

LONGER = range(4, 10)


@pytest.mark.parametrize("times", LONGER)
def test_a_longer_series_is_restored_part_by_part(untrained: Make, times: int) -> None:
    """As many times together as were learned from; the last ones together with some before them."""
    restorer = untrained("tis_rdl", weights=0.1, normaliser=BY_DATASET)
    volume = image(times, 2, 12, 16)
    restored = restorer(volume)
    assert restored.shape == volume.shape
    last = restorer(volume[-4:])
    np.testing.assert_array_equal(restored[-4:], last)
    for start in range(0, times - 4, 4):
        end = min(start + 4, times - 4)
        np.testing.assert_array_equal(restored[start:end], restorer(volume[start : start + 4])[: end - start])


def test_what_is_told_of_a_time_does_not_depend_on_it(untrained: Make) -> None:
    restorer = untrained("tis_rdl", weights=0.1, normaliser=BY_DATASET)
    volume = image(7, 2, 12, 16)
    restored = restorer(volume)
    for time in range(7):
        changed = volume.copy()
        changed[time] = image(2, 12, 16, seed=9)
        again = restorer(changed)
        assert np.array_equal(again[time], restored[time])
        assert not np.array_equal(again, restored)


def test_progress_is_told_over_all_parts(untrained: Make) -> None:
    told: list[tuple[int, int]] = []
    restorer = untrained("tis_rdl", weights=0.1)
    restorer(image(8, 2, 60, 60), tile_px=32, progress=lambda done, total: told.append((done, total)))
    assert told == [(done, 8) for done in range(1, 9)]


def test_slices_may_be_of_any_number_of_times(untrained: Make) -> None:
    restorer = untrained("sis_rdl", weights=0.1)
    assert restorer(image(1, 5, 12, 16)).shape == (1, 5, 12, 16)
    assert restorer(image(6, 1, 12, 16)).shape == (6, 1, 12, 16)


def test_more_blinking_frames_are_of_no_use(untrained: Make) -> None:
    frames = image(9, 12, 16)
    first = untrained("unet_srrf5", weights=0.1)
    assert np.array_equal(first(frames), first(frames[:5]))
    all_of_them = untrained("unet_srrf5", weights=0.1, times=6, task={"frames": "all"})
    assert np.array_equal(all_of_them(frames), all_of_them(frames[:6]))


# Tiles


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("wiener_nafnet", {"network": "unet"}),
        ("deconoising", {}),
        ("pre_red", {}),
        ("unet_snr", {"network": {"batch_norm": "none"}}),
    ],
)
def test_tiles_equal_the_whole(untrained: Make, name: str, changes: dict[str, Any]) -> None:
    """Where networks look at what is near alone; also of what the method adds, or blurs, afterwards."""
    if changes.get("network") == "unet":
        unet = untrained("unet_residual").recipe.network.model_dump(mode="json")
        changes = {"network": unet | {"init": "torch"}}
    restorer = untrained(name, weights=0.3, **changes)
    given: dict[Role, Image] = {
        "raw": image(3, 3, 72, 104),
        "reconstruction": image(144, 208, seed=1),
        "widefield": image(72, 104, seed=2),
    }
    whole = restorer(given)
    told: list[int] = []
    tiled = restorer(given, tile_px=16, progress=lambda done, _: told.append(done))
    assert len(told) > 20
    np.testing.assert_allclose(tiled, whole, rtol=1e-4, atol=1e-5 * np.abs(whole).max())


class Same(Network):
    """Gives what it is given, and sees nothing around it."""

    def __init__(self) -> None:
        super().__init__(scale=1, divisor=1, halo_px=0)
        self.weight = torch.nn.Parameter(torch.ones(()))

    def compute(self, frames: torch.Tensor) -> torch.Tensor:
        return self.weight * frames


def test_a_tile_sees_as_far_as_its_image_is_blurred(untrained: Make) -> None:
    restorer = replace(untrained("deconoising"), network=Same())
    given = image(60, 70)
    np.testing.assert_allclose(restorer(given, tile_px=16), restorer(given), rtol=1e-4)


@pytest.mark.parametrize(("name", "role"), [("wiener_nafnet", "reconstruction"), ("sis_rdl", "volume")])
def test_tiles_are_about_the_whole_where_attention_is_over_all(
    untrained: Make, name: str, role: Role
) -> None:
    restorer = untrained(name, weights=0.1)
    given: dict[Role, Image] = {
        "raw": image(3, 3, 72, 104), "reconstruction": image(144, 208), "volume": image(2, 3, 72, 104),
    }  # fmt: skip
    whole, tiled = restorer(given), restorer(given, tile_px=48)
    assert tiled.shape == whole.shape
    assert np.corrcoef(tiled.ravel(), whole.ravel())[0, 1] > 0.99


# With what came before


@pytest.fixture
def derived(untrained: Make) -> Restorer:
    upstream = untrained("unet_residual", weights=0.1)
    return replace(untrained("rdl_denoise", weights=0.1), upstream=upstream, full_modulation=True)


def test_a_restorer_of_derived_frames_brings_along_what_they_are_derived_from(
    derived: Restorer, images: dict[Role, Image], tmp_path: Path
) -> None:
    derived.save(tmp_path / "saved")
    assert sorted(file.name for file in (tmp_path / "saved").iterdir()) == [SETTINGS, UPSTREAM, WEIGHTS]
    loaded = Restorer.load(tmp_path / "saved")
    assert loaded.upstream is not None
    assert derived.upstream is not None
    assert loaded.full_modulation is True
    assert loaded.weights_sha256 == derived.weights_sha256
    assert np.array_equal(loaded.upstream(images), derived.upstream(images))
    replace(derived, upstream=None, full_modulation=None).save(tmp_path / "saved")
    with pytest.raises(BadInput, match="the model that its frames are derived from is missing"):
        Restorer.load(tmp_path / "saved")


def test_an_upstream_that_was_damaged_is_refused(derived: Restorer, tmp_path: Path) -> None:
    derived.save(tmp_path / "saved")
    (tmp_path / "saved" / UPSTREAM / WEIGHTS).unlink()
    with pytest.raises(BadInput, match=r"upstream/weights.safetensors: not the weights of this restorer"):
        Restorer.load(tmp_path / "saved")


def test_a_folder_of_an_older_format_is_refused(derived: Restorer, tmp_path: Path) -> None:
    derived.save(tmp_path / "saved")
    record = json.loads((tmp_path / "saved" / SETTINGS).read_text())
    assert record["format"] == 2
    (tmp_path / "saved" / SETTINGS).write_text(json.dumps(record | {"format": 1}))
    with pytest.raises(BadInput, match=r"restorer.json: format: "):
        Restorer.load(tmp_path / "saved")


# What does not fit


@pytest.mark.parametrize(
    ("name", "given", "told"),
    [
        ("wiener_nafnet", image(3, 3, 24, 32), "takes raw and reconstruction, but one image is given"),
        (
            "wiener_nafnet",
            {"raw": image(3, 3, 24, 32)},
            "takes raw and reconstruction, but reconstruction is not given",
        ),
        ("rdl_denoise", {"raw": image(3, 3, 24, 32)}, "takes synthetic and raw, but synthetic is not given"),
        ("deconoising", image(3, 24, 32), "3 images are given but the model restores one, a widefield"),
        ("pre_red", image(2, 3, 24, 32), "has 6 frames but the model restores 9"),
        ("unet_sim3", image(9, 24, 32), "does not tell angles from phases"),
        ("tis_rdl", image(3, 2, 24, 32), "takes volume frames with axes TZYX, at least 4 of T"),
        ("tis_rdl", image(8, 24, 32), "an array of 8 x 24 x 32 is given.* axes TZYX"),
        ("sis_rdl", image(24, 32), "an array of 24 x 32 is given.* axes TZYX, at least 1 of T"),
        ("unet_srrf5", image(4, 24, 32), "takes blinking frames with axes TYX, at least 5 of T"),
        ("deconoising", np.full((24, 32), 3.0), "is constant"),
        ("tis_rdl", np.full((4, 2, 24, 32), np.nan), "NaN"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_sentence(
    untrained: Make, name: str, given: Any, told: str
) -> None:
    with pytest.raises(BadInput, match=told) as refusal:
        untrained(name)(given)
    assert "\n" not in str(refusal.value)
