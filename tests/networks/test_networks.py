"""What every network promises, whatever its architecture."""

import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from sim_models import networks
from sim_models.config import BadInput, Settings, choice_of, parse
from sim_models.freeze import FreezeRange, fingerprint, freeze
from sim_models.networks import (
    Network,
    NetworkSettings,
    dfcan,
    nafnet,
    rcan3d,
    rdl_denoiser,
    rednet,
    scunet,
    swin,
    unet,
)


@dataclass(frozen=True)
class Case:
    """A small network and what it takes."""

    settings: NetworkSettings
    channels: int = 3
    scales: tuple[int, ...] = (1, 2, 3)
    volumes: bool = False
    asleep: bool = False
    """whether its blocks and its head start from zeros, which would hide from tests what they do"""


UNET = unet.Settings(
    name="unet",
    width=4,
    depth=2,
    batch_norm="none",
    up="nearest",
    skip="concatenate",
    output="linear",
    enlarge="after",
    init="torch",
)
RDL = rdl_denoiser.Settings(
    name="rdl_denoiser",
    width=16,
    blocks=1,
    pattern_groups=1,
    noisy_groups=2,
    joint_groups=1,
    noise_suppression=None,
    output="leaky_relu",
)
RCAN3D = rcan3d.Settings(name="rcan3d", width=16, groups=2, blocks=1, noise_suppression=None, output="linear")
NETWORKS: dict[str, Case] = {
    "unet": Case(UNET),
    "unet_dlsim": Case(UNET.model_copy(update={"batch_norm": "running", "up": "transposed"})),
    "unet_decon": Case(UNET.model_copy(update={"up": "transposed", "skip": "add", "output": "relu"})),
    "unet_before": Case(UNET.model_copy(update={"enlarge": "before"})),
    "unet_own_statistics": Case(UNET.model_copy(update={"batch_norm": "own"})),
    "rednet": Case(rednet.Settings(name="rednet", filters=8, pairs=2, output="linear", skips="symmetric")),
    "scunet": Case(scunet.Settings(name="scunet", unet=UNET)),
    "dfcan": Case(
        dfcan.Settings(
            name="dfcan",
            width=16,
            groups=2,
            blocks=1,
            gamma=0.8,
            taper_px=2,
            spectrum_px=None,
            output="linear",
        )
    ),
    "swin": Case(
        swin.Settings(
            name="swin",
            width=8,
            groups=2,
            blocks=2,
            heads=2,
            window=2,
            drop_path=0.1,
            output="linear",
            faithful=False,
        )
    ),
    "nafnet": Case(
        nafnet.Settings(name="nafnet", width=8, encoder=(1, 2), middle=1, decoder=(2, 1)), asleep=True
    ),
    "rdl_denoiser": Case(RDL, channels=4, scales=(1,)),
    "rdl_denoiser_suppressed": Case(
        RDL.model_copy(update={"noise_suppression": 0.3}), channels=4, scales=(1,)
    ),
    "rcan3d": Case(RCAN3D, scales=(1,), volumes=True),
    "rcan3d_suppressed": Case(
        RCAN3D.model_copy(update={"noise_suppression": 0.3}), scales=(1,), volumes=True
    ),
}
BY_IMAGE = [key for key in NETWORKS if key != "unet_own_statistics"]
"""networks whose images do not see each other in use"""
SUPPRESSED = [key for key in NETWORKS if key.endswith("_suppressed")]
FOURIER = ["dfcan", *SUPPRESSED]
"""networks that transform"""
LOCAL = [key for key in BY_IMAGE if key not in SUPPRESSED]
"""networks whose every output pixel depends, but for attention, on what is near it alone"""


def build(key: str, scale: int | None = None) -> Network:
    torch.manual_seed(0)
    case = NETWORKS[key]
    scale = scale or (2 if 2 in case.scales else 1)
    network = case.settings.build(case.channels, 1, scale).eval()
    if case.asleep:
        for parameter in network.parameters():
            if not parameter.any():
                nn.init.normal_(parameter, std=0.2)
    return network


def frames_of(key: str, batch: int, height: int, width: int, slices: int = 3) -> Tensor:
    """Not of two slices: for those torch 2.13 on CPUs leaves weight slopes of half precision unset (oneDNN)."""
    case = NETWORKS[key]
    volume = (slices,) if case.volumes else ()
    return torch.rand(batch, case.channels, *volume, height, width)


def test_every_file_of_the_room_takes_part() -> None:
    files = {file.name for file in pkgutil.iter_modules(networks.__path__)}
    assert {case.settings.name for case in NETWORKS.values()} == files


@pytest.mark.parametrize("key", NETWORKS)
def test_stages_cover_every_parameter_and_buffer_once(key: str) -> None:
    network = build(key)
    staged = [f"{stage}.{name}" for stage, module in network.stages().items() for name in module.state_dict()]
    assert sorted(staged) == sorted(network.state_dict())


@pytest.mark.parametrize("key", NETWORKS)
def test_stages_are_ordered_from_input_to_output(key: str) -> None:
    network = build(key)
    called: list[str] = []
    for name, stage in network.stages().items():
        stage.register_forward_hook(lambda *_, name=name: called.append(name))
    network(torch.zeros_like(frames_of(key, 1, 16, 16)))
    assert called == list(network.stages())


@pytest.mark.parametrize("key", BY_IMAGE)
@settings(max_examples=15, deadline=None)
@given(data=st.data(), height=st.integers(3, 21), width=st.integers(3, 21), batch=st.integers(1, 2))
def test_any_size_scale_and_batch(key: str, data: st.DataObject, height: int, width: int, batch: int) -> None:
    scale = data.draw(st.sampled_from(NETWORKS[key].scales), "scale")
    slices = data.draw(st.integers(1, 3), "slices") if NETWORKS[key].volumes else 0
    network = build(key, scale)
    height, width = max(height, network.smallest_px), max(width, network.smallest_px)
    restored = network(frames_of(key, batch, height, width, slices))
    volume = (slices,) if slices else ()
    assert restored.shape == (batch, 1, *volume, scale * height, scale * width)


@pytest.mark.parametrize("key", BY_IMAGE)
def test_images_of_a_batch_do_not_see_each_other_when_restoring(key: str) -> None:
    network, frames = build(key), frames_of(key, 3, 12, 12)
    one_by_one = torch.cat([network(frame[None]) for frame in frames])
    torch.testing.assert_close(network(frames), one_by_one)


@pytest.mark.parametrize("key", LOCAL)
def test_nothing_beyond_the_halo_reaches_an_output_pixel(key: str) -> None:
    network = build(key)
    for parameter in network.parameters():
        parameter.data.abs_()  # so that no ReLU hides what reaches a pixel
    _weigh_all_alike(network)
    edge = 4 * network.halo_px + network.divisor
    for centre in range(edge // 2, edge // 2 + network.divisor):
        frames = frames_of(key, 1, edge, edge).requires_grad_()
        pixel = network.scale * centre
        network(frames)[..., pixel, pixel].sum().backward()
        assert frames.grad is not None
        reached = frames.grad.abs().sum(tuple(range(frames.ndim - 2))).nonzero()
        assert len(reached) > 1
        assert (reached - centre).abs().max() <= network.halo_px


def _weigh_all_alike(network: Network) -> None:
    """Attention over whole fields, which ends in a sigmoid but for that of NAFNet, without a say."""
    for module in network.modules():
        if isinstance(module, nafnet._ChannelAttention):
            module.register_forward_hook(lambda _module, seen, _weighed: seen[0])
        if isinstance(module, nn.Sigmoid):
            module.register_forward_hook(lambda _module, _seen, weights: torch.ones_like(weights))


@pytest.mark.parametrize("key", NETWORKS)
def test_the_seed_decides_the_weights(key: str) -> None:
    first, second = build(key).state_dict(), build(key).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def _mean(frames: Tensor, scale: int) -> Tensor:
    """What a network is to learn: the mean of its frames, each pixel repeated."""
    mean = frames.mean(1, keepdim=True)
    return mean.repeat_interleave(scale, -1).repeat_interleave(scale, -2)


@pytest.mark.parametrize("key", NETWORKS)
def test_learns_the_mean_of_its_frames(key: str) -> None:
    network = build(key).train()
    optimiser = torch.optim.Adam(network.parameters(), lr=5e-3)
    losses = []
    for _ in range(60):
        frames = frames_of(key, 4, 8, 8)
        loss = nn.functional.mse_loss(network(frames), _mean(frames, network.scale))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])


@pytest.mark.parametrize("key", NETWORKS)
def test_every_freeze_range_holds_its_stages_and_lets_the_others_move(key: str) -> None:
    network, frames = build(key), frames_of(key, 2, 8, 8)
    born = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    stages = list(network.stages())
    ranges = [(0, 0), *combinations(range(len(stages) + 1), 2)]
    for start, end in ranges:
        if end - start == len(stages):
            continue
        network.load_state_dict(born)
        frozen = FreezeRange(start=start, end=end)
        freeze(network, frozen)
        before = fingerprint(network, frozen)
        _step(network, frames)
        assert fingerprint(network, frozen) == before, (start, end)
        assert _moved(network, born) == set(stages) - set(frozen.names(network)), (start, end)


def _step(network: Network, frames: Tensor) -> None:
    """One step as a training loop takes it; stochastic gradient descent, for Adam divides small slopes away."""
    network.train()
    trainable = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimiser = torch.optim.SGD(trainable, lr=0.1)
    (network(frames) - 1).square().sum().backward()
    optimiser.step()


def _moved(network: Network, born: dict[str, Tensor]) -> set[str]:
    """The stages of which a weight moved, and not only a statistic."""
    return {
        stage
        for stage, module in network.stages().items()
        for name, parameter in module.named_parameters()
        if not torch.equal(parameter, born[f"{stage}.{name}"])
    }


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("half", [False, True], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("key", NETWORKS)
def test_values_and_slopes_are_finite(key: str, half: bool, dark: bool) -> None:
    network, frames = build(key).train(), frames_of(key, 2, 9, 11)
    frames = (torch.zeros_like(frames) if dark else frames).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        restored = network(frames)
    assert torch.isfinite(restored).all()
    (restored.float() - 1).square().mean().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
    assert frames.grad is not None
    assert torch.isfinite(frames.grad).all()


@pytest.mark.parametrize("key", NETWORKS)
def test_half_precision_gives_about_the_same(key: str) -> None:
    network, frames = build(key), frames_of(key, 2, 16, 16)
    full = network(frames)
    with torch.autocast("cpu", torch.bfloat16):
        half = network(frames).float()
    torch.testing.assert_close(half, full, atol=0.03 * full.abs().max().item(), rtol=0)


@pytest.mark.parametrize("key", FOURIER)
def test_transforms_are_of_single_precision_under_half(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also of frames that come in half precision."""
    seen: list[torch.dtype] = []

    def spied(transform: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def spy(images: Tensor, *args: object, **kwargs: object) -> Tensor:
            seen.append(images.dtype)
            return transform(images, *args, **kwargs)

        return spy

    for name in ("fft2", "ifft2", "rfft2", "irfft2", "fftn", "rfftn"):
        monkeypatch.setattr(torch.fft, name, spied(getattr(torch.fft, name)))
    network, frames = build(key), frames_of(key, 1, 16, 16)
    with torch.autocast("cpu", torch.bfloat16):
        network(frames)
        network.compute(frames.bfloat16())  # for padding on a CPU gives single precision again
    assert seen
    assert set(seen) <= {torch.float32, torch.complex64}


def test_a_field_too_small_to_mirror_is_refused() -> None:
    with pytest.raises(BadInput, match=r"2 x 9 pixels is too small.* at least 3 x 3"):
        build("unet")(torch.rand(1, 3, 2, 9))


class Pooled(Network):
    """Of volumes or images, with a grid of 4 x 4 pixels."""

    def __init__(self) -> None:
        super().__init__(scale=1, divisor=4, halo_px=4)

    def compute(self, frames: Tensor) -> Tensor:
        pooled = nn.functional.avg_pool2d(frames.flatten(1, -3), 4).unflatten(1, frames.shape[1:-2])
        return pooled.repeat_interleave(4, -1).repeat_interleave(4, -2)


@pytest.mark.parametrize("slices", [1, 3])
def test_volumes_are_mirrored_slice_by_slice(slices: int) -> None:
    network, volumes = Pooled(), torch.rand(2, 3, slices, 7, 9)
    by_slice = torch.stack([network(volumes[:, :, z]) for z in range(slices)], dim=2)
    torch.testing.assert_close(network(volumes), by_slice)


@pytest.mark.parametrize("key", NETWORKS)
def test_settings_survive_json_and_are_chosen_by_file_name(key: str) -> None:
    chosen = NETWORKS[key].settings

    class Tree(Settings):
        network: choice_of(networks)  # type: ignore[valid-type]

    assert parse(Tree, {"network": chosen.model_dump()}, "test").network == chosen
