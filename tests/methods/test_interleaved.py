"""Every other time or slice is told from those between, and never from itself."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sim_models.methods import psnr
from sim_models.methods.interleaved import Settings
from sim_models.networks import rcan3d
from sim_models.samples import Sample
from sim_models.training.loop import TrainingSettings, learning_rate

TIMES, SLICES = 4, 6


def method(along: str, consistency: float = 0.0) -> Settings:
    return Settings.model_validate({"name": "interleaved", "along": along, "consistency": consistency})


def numbered() -> Tensor:
    """(1, T, Z, Y, X) volumes whose slices hold ten times the time, plus the slice."""
    number = 10 * torch.arange(TIMES)[:, None] + torch.arange(SLICES)
    return number[None, :, :, None, None].expand(1, TIMES, SLICES, 3, 5).float()


class Spy(nn.Module):
    """Remembers what it is given, and gives it plus one."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []

    def forward(self, volumes: Tensor) -> Tensor:
        self.seen.append(volumes)
        return volumes + 1


def sample(volumes: Tensor) -> Sample:
    return Sample(volumes, volumes, torch.arange(len(volumes)))


def test_odd_times_are_told_from_even_ones() -> None:
    network = Spy()
    terms = method("times").loss(network, sample(numbered()))
    (seen,) = network.seen
    assert seen[0, :, :, 0, 0].tolist() == numbered()[0, ::2, :, 0, 0].tolist()
    assert terms == {"other_half_mse": pytest.approx((10 - 1) ** 2)}


def test_odd_slices_of_one_time_are_told_from_even_ones() -> None:
    network = Spy()
    terms = method("slices").loss(network, sample(numbered()))
    (seen,) = network.seen
    assert seen.shape == (TIMES, 1, SLICES // 2, 3, 5)
    assert seen[1, 0, :, 0, 0].tolist() == [10, 12, 14]
    assert terms == {"other_half_mse": pytest.approx(0)}  # the next slice is one more


def test_an_odd_number_leaves_the_last_one_out() -> None:
    network = Spy()
    method("slices").loss(network, sample(numbered()[:, :, :5]))
    assert network.seen[0][0, 0, :, 0, 0].tolist() == [0, 2]
    method("times").loss(network, sample(numbered()[:, :3]))
    assert network.seen[1].shape[1] == 1


def test_without_consistency_the_loss_is_plain() -> None:
    volumes = torch.rand(2, TIMES, SLICES, 3, 5)
    found = method("slices").loss(Spy(), sample(volumes))
    even, odd = volumes[:, :, ::2], volumes[:, :, 1::2]
    assert list(found) == ["other_half_mse"]
    assert found["other_half_mse"] == pytest.approx(float((even + 1 - odd).square().mean()))


@pytest.mark.parametrize("along", ["times", "slices"])
def test_consistency_is_what_differs_in_what_is_told_of_all(along: str) -> None:
    """Equation 8 of Neighbor2Neighbor: f(even) - odd - (f(all) even - f(all) odd), here with f(x) = x + 1."""
    volumes = torch.rand(1, TIMES, SLICES, 3, 5)
    found = method(along, 0.5).loss(Spy(), sample(volumes))
    axis = 1 if along == "times" else 2
    even, odd = volumes.unflatten(axis, (-1, 2)).unbind(axis + 1)
    # Of all slices at once f only adds; of times each half is told from the other.
    whole_even, whole_odd = (even + 1, odd + 1) if along == "slices" else (odd + 1, even + 1)
    expected = 0.5 * (even + 1 - odd - (whole_even - whole_odd)).square().mean()
    assert found["consistency"] == pytest.approx(float(expected), rel=1e-5)


def test_no_slope_goes_through_what_is_told_of_all() -> None:
    layer = nn.Conv3d(1, 1, 1)
    volumes = torch.rand(1, 1, SLICES, 4, 4)
    full, plain = (method("slices", weight).loss(layer, sample(volumes)) for weight in (1.0, 0.0))
    (slope,) = torch.autograd.grad(full["consistency"], layer.bias)
    (other,) = torch.autograd.grad(plain["other_half_mse"], layer.bias)
    with torch.no_grad():
        told, odd = layer(volumes[:, :, ::2]), volumes[:, :, 1::2]
        whole = layer(volumes)
    difference = whole[:, :, 1::2] - whole[:, :, ::2]
    assert float(slope) == pytest.approx(float(-2 * (odd - told - difference).mean()), abs=1e-5)
    assert float(other) == pytest.approx(float(-2 * (odd - told).mean()), abs=1e-5)


@pytest.mark.parametrize(("along", "channels"), [("times", (2, 2)), ("slices", (1, 1))])
def test_channels_of_the_network(along: str, channels: tuple[int, int]) -> None:
    assert method(along).channels(4, 4) == channels
    assert method(along).channels(5, 5) == channels


def test_every_time_is_told_from_others_alone() -> None:
    """Changing one time, or one voxel of it, changes nothing of what is told of it."""
    torch.manual_seed(0)
    settings = rcan3d.Settings(
        name="rcan3d", width=16, groups=1, blocks=1, noise_suppression=None, output="linear"
    )
    chosen, network = method("times"), settings.build(2, 2, 1).eval()
    volumes = torch.rand(1, TIMES, 3, 8, 8)
    with torch.inference_mode():
        told = chosen.restore(network, volumes)
        assert told.shape == volumes.shape
        for time in range(TIMES):
            changed = volumes.clone()
            changed[:, time] = torch.rand(3, 8, 8)
            again = chosen.restore(network, changed)
            assert torch.equal(again[:, time], told[:, time])
            others = [other for other in range(TIMES) if other % 2 != time % 2]
            assert not torch.isclose(again[:, others], told[:, others]).all()


def test_times_are_put_back_in_their_places() -> None:
    """Even ones are told backwards in time, as odd ones forwards: the network always tells what comes next."""
    network = Spy()
    told = method("times").restore(network, numbered())
    assert told[0, :, 0, 0, 0].tolist() == [11, 1, 31, 21]
    assert network.seen[0][0, :, 0, 0, 0].tolist() == [0, 20]
    assert network.seen[1][0, :, 0, 0, 0].tolist() == [30, 10]


def test_slices_are_restored_all_at_once() -> None:
    network = Spy()
    volumes = torch.rand(1, TIMES, 5, 3, 4)
    torch.testing.assert_close(method("slices").restore(network, volumes), volumes + 1)
    assert network.seen[0].shape == (TIMES, 1, 5, 3, 4)


@pytest.mark.parametrize("along", ["times", "slices"])
def test_the_score_is_how_well_one_half_tells_the_other(along: str) -> None:
    volumes = torch.rand(1, TIMES, SLICES, 3, 5)
    axis = 1 if along == "times" else 2
    even, odd = volumes.unflatten(axis, (-1, 2)).unbind(axis + 1)
    chosen = method(along)
    assert chosen.score(Spy(), sample(volumes)) == pytest.approx(float(psnr(even + 1, odd)))
    assert chosen.score(Spy(), sample(volumes)) == chosen.score(Spy(), sample(volumes))


@pytest.mark.parametrize(("along", "consistency"), [("times", 0.0), ("slices", 1.0)])
def test_noise_goes_without_a_clean_volume(along: str, consistency: float) -> None:
    """Smooth blobs that hardly change along z and not in time; noise is independent."""
    generator = torch.Generator().manual_seed(0)
    smooth = nn.functional.avg_pool3d(torch.randn(1, 1, 16, 32, 32, generator=generator), 9, 1)
    clean = (30 * smooth).expand(1, TIMES, *smooth.shape[2:])
    noisy = clean + torch.randn(clean.shape, generator=generator)
    settings = rcan3d.Settings(
        name="rcan3d", width=16, groups=1, blocks=1, noise_suppression=None, output="linear"
    )
    torch.manual_seed(0)
    chosen = method(along, consistency)
    network = settings.build(*chosen.channels(TIMES, TIMES), 1)
    optimiser = torch.optim.Adam(network.parameters(), lr=5e-3)
    for _ in range(100):
        top, left = torch.randint(0, 9, (2,), generator=generator).tolist()
        crop = noisy[..., top : top + 16, left : left + 16]
        terms = chosen.loss(network, sample(crop))
        optimiser.zero_grad()
        torch.stack(list(terms.values())).sum().backward()
        optimiser.step()
    with torch.inference_mode():
        restored = chosen.restore(network.eval(), noisy)
    assert psnr(restored, clean) > psnr(noisy, clean) + 2


def test_a_rate_that_falls_with_time(training: TrainingSettings) -> None:
    changes: dict[str, Any] = {"schedule": "inverse_time", "warmup_steps": 0, "learning_rate": 1e-4}
    settings = training.model_copy(update=changes)
    assert learning_rate(settings, 0) == 1e-4
    assert learning_rate(settings, 100_000) == pytest.approx(0.5e-4)
    assert learning_rate(settings, 300_000) == pytest.approx(0.25e-4)
