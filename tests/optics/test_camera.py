import pytest
import torch

from sim_models.field import Camera
from sim_models.optics.camera import FULL_COUNTS, expose, photons, saturated_share

CAMERA = Camera(gain=2.0, offset=100.0, read_noise=1.5)


@pytest.mark.parametrize("level", [0.0, 20.0, 500.0])
def test_mean_and_variance_are_those_of_light_and_read_noise(
    level: float, generator: torch.Generator
) -> None:
    counts = expose(torch.full((400, 400), level), CAMERA, generator).double()
    rounding = 1 / 12
    assert counts.mean().item() == pytest.approx(100 + 2 * level, abs=0.3)
    assert counts.var().item() == pytest.approx(4 * (level + 1.5**2) + rounding, rel=0.03)


def test_counts_come_back_as_photons(generator: torch.Generator) -> None:
    quiet = Camera(gain=2.0, offset=100.0, read_noise=0.0)
    counts = expose(torch.full((100, 100), 50.0), quiet, generator)
    estimate = photons(counts, quiet)
    assert estimate.mean().item() == pytest.approx(50, abs=0.3)
    torch.testing.assert_close(estimate, estimate.round())


def test_too_much_light_is_clipped_and_told(generator: torch.Generator) -> None:
    light = torch.tensor([[10.0, 1e6], [1e6, 1e6]])
    counts = expose(light, CAMERA, generator)
    assert counts.max() == FULL_COUNTS
    assert saturated_share(counts) == pytest.approx(0.75)


def test_the_dark_side_is_clipped_at_zero(generator: torch.Generator) -> None:
    no_offset = Camera(gain=2.0, offset=0.0, read_noise=5.0)
    assert expose(torch.zeros(100, 100), no_offset, generator).min() == 0


def test_the_seed_decides_the_noise() -> None:
    first, again, other = (
        expose(torch.full((20, 20), 30.0), CAMERA, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
