import math

import pytest
import torch

from sim_models.optics.fourier import block_mean, block_mean_adjoint, frequencies_per_um, shifted, upsampled


def wave(rows: torch.Tensor, columns: torch.Tensor, size: int) -> torch.Tensor:
    """A periodic wave on a square of `size`, at any positions in pixels."""
    return torch.cos(2 * math.pi * (3 * rows[:, None] - 2 * columns) / size + 0.4) + 2


def test_frequencies_are_in_cycles_per_um_and_end_at_nyquist() -> None:
    rows, columns = frequencies_per_um((8, 6), pixel_um=0.1)
    assert rows.shape == (8, 1)
    assert columns.shape == (1, 6)
    assert rows.abs().max() == pytest.approx(5.0)
    assert columns[0, 1] == pytest.approx(1 / 0.6)


@pytest.mark.parametrize(("down", "right"), [(1.0, 0.0), (0.3, -1.7)])
def test_a_shift_moves_content_down_and_right(down: float, right: float) -> None:
    grid = torch.arange(24, dtype=torch.float64)
    moved = shifted(wave(grid, grid, 24), down, right)
    torch.testing.assert_close(moved, wave(grid - down, grid - right, 24))


@pytest.mark.parametrize("size", [24, 25])
@pytest.mark.parametrize("factor", [2, 3])
def test_upsampling_keeps_pixel_areas_where_they_are(size: int, factor: int) -> None:
    coarse = torch.arange(size, dtype=torch.float64)
    fine = (torch.arange(factor * size, dtype=torch.float64) + 0.5) / factor - 0.5
    torch.testing.assert_close(upsampled(wave(coarse, coarse, size), factor), wave(fine, fine, size))


def test_upsampling_keeps_complex_images_complex() -> None:
    grid = torch.arange(16, dtype=torch.float64)
    image = torch.exp(2j * math.pi * 3 * grid / 16).expand(16, 16)
    fine = (torch.arange(32, dtype=torch.float64) + 0.5) / 2 - 0.5
    torch.testing.assert_close(upsampled(image, 2), torch.exp(2j * math.pi * 3 * fine / 16).expand(32, 32))


def test_block_mean_and_its_adjoint_agree(generator: torch.Generator) -> None:
    fine = torch.rand(2, 12, 8, generator=generator, dtype=torch.float64)
    coarse = torch.rand(2, 3, 2, generator=generator, dtype=torch.float64)
    assert block_mean(fine, 4)[1, 2, 1] == pytest.approx(float(fine[1, 8:12, 4:8].mean()))
    assert float((block_mean(fine, 4) * coarse).sum()) == pytest.approx(
        float((fine * block_mean_adjoint(coarse, 4)).sum())
    )
