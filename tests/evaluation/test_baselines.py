from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from sim_models.evaluation.baselines import BASELINES
from sim_models.field import Camera, Field, Microscope

MICROSCOPE = Microscope(
    numerical_aperture=1.4,
    refractive_index=1.518,
    emission_um=0.525,
    pixel_um=0.065,
    camera=Camera(gain=2.0, offset=100.0, read_noise=1.5),
)
FROM_THE_MEAN = ("widefield", "bicubic")


def field(raw: np.ndarray, **images: Any) -> Field:
    widefield = raw.mean(axis=(0, 1))
    return Field("made", "er", "cell_000", "high", {"raw": raw, "widefield": widefield, **images}, MICROSCOPE)


def blob(edge: int, row: float, column: float, sigma: float) -> np.ndarray:
    rows, columns = np.ogrid[:edge, :edge]
    return np.asarray(np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * sigma**2)))


@pytest.mark.parametrize("name", FROM_THE_MEAN)
def test_a_flat_specimen_keeps_its_value(name: str) -> None:
    flat = field(np.full((3, 3, 24, 32), 700, np.uint16))
    restored = BASELINES[name](flat, 2)
    assert restored is not None
    assert restored.shape == (48, 64)
    assert restored.dtype == np.float32
    np.testing.assert_allclose(restored, 700, rtol=1e-3)


@pytest.mark.parametrize("scale", [1, 2, 3])
@pytest.mark.parametrize("name", FROM_THE_MEAN)
def test_nothing_shifts(name: str, scale: int) -> None:
    """The centre of raw pixel i lies at scale * (i + 1/2) - 1/2 on the fine grid."""
    raw = np.tile(blob(32, 13.0, 17.0, 2.0).astype(np.float32), (3, 3, 1, 1))
    restored = BASELINES[name](field(raw), scale)
    centre = ndimage.center_of_mass(restored)
    assert centre == pytest.approx([scale * (13 + 0.5) - 0.5, scale * (17 + 0.5) - 0.5], abs=1e-3)


def test_bicubic_is_smoother_than_repeated_pixels() -> None:
    raw = np.tile(blob(32, 15.2, 16.1, 2.0).astype(np.float32), (3, 3, 1, 1))
    truth = blob(64, 2 * (15.2 + 0.5) - 0.5, 2 * (16.1 + 0.5) - 0.5, 4.0)
    bicubic, widefield = (BASELINES[name](field(raw), 2) for name in ("bicubic", "widefield"))
    assert np.abs(bicubic - truth).max() < 0.1 * np.abs(widefield - truth).max()


def test_classical_sim_is_the_one_that_was_prepared() -> None:
    raw, prepared = np.zeros((3, 3, 24, 32), np.uint16), np.random.default_rng(0).random((48, 64))
    restored = BASELINES["reconstruction"](field(raw, reconstruction=prepared), 2)
    assert restored is not None
    assert restored.dtype == np.float32
    assert np.array_equal(restored, prepared.astype(np.float32))


@pytest.mark.parametrize("scale", [1, 3])
def test_classical_sim_is_left_out_where_the_target_has_another_scale(scale: int) -> None:
    raw, prepared = np.zeros((3, 3, 24, 32), np.uint16), np.zeros((48, 64), np.float32)
    assert BASELINES["reconstruction"](field(raw, reconstruction=prepared), scale) is None


def test_classical_sim_is_left_out_where_it_could_not_be_made() -> None:
    assert BASELINES["reconstruction"](field(np.zeros((3, 3, 24, 32), np.uint16)), 2) is None
