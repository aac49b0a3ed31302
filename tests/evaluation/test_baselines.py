from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage

from sim_models.evaluation.baselines import BASELINES, noise_to_signal
from sim_models.field import Camera, Field, Illumination, Microscope
from sim_models.optics.forward import acquire
from sim_models.optics.illumination import patterns, pixel_centres_um

MICROSCOPE = Microscope(
    numerical_aperture=1.4,
    refractive_index=1.518,
    emission_um=0.525,
    pixel_um=0.065,
    camera=Camera(gain=2.0, offset=100.0, read_noise=1.5),
)
ILLUMINATION = Illumination(
    angle_rad=(0.2, 1.25, 2.3),
    spacing_um=(0.2, 0.2, 0.2),
    phase_rad=((0.0, 2.1, 4.2),) * 3,
    modulation=((0.8,),) * 3,
)


def field(raw: np.ndarray, illumination: Illumination | None = ILLUMINATION) -> Field:
    return Field("made", "er", "cell_000", "high", {"raw": raw}, MICROSCOPE, illumination)


def blob(edge: int, row: float, column: float, sigma: float) -> np.ndarray:
    rows, columns = np.ogrid[:edge, :edge]
    return np.asarray(np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * sigma**2)))


@pytest.mark.parametrize("name", BASELINES)
def test_a_flat_specimen_keeps_its_value(name: str) -> None:
    flat = field(np.full((3, 3, 24, 32), 700, np.uint16))
    restored = BASELINES[name](flat, 2, 0.1)
    assert restored is not None
    assert restored.shape == (48, 64)
    assert restored.dtype == np.float32
    np.testing.assert_allclose(restored, 700, rtol=1e-3)


@pytest.mark.parametrize("scale", [1, 2, 3])
@pytest.mark.parametrize("name", ["widefield", "bicubic"])
def test_nothing_shifts(name: str, scale: int) -> None:
    """The centre of raw pixel i lies at scale * (i + 1/2) - 1/2 on the fine grid."""
    raw = np.tile(blob(32, 13.0, 17.0, 2.0).astype(np.float32), (3, 3, 1, 1))
    restored = BASELINES[name](field(raw), scale, 0.1)
    centre = ndimage.center_of_mass(restored)
    assert centre == pytest.approx([scale * (13 + 0.5) - 0.5, scale * (17 + 0.5) - 0.5], abs=1e-3)


def test_bicubic_is_smoother_than_repeated_pixels() -> None:
    raw = np.tile(blob(32, 15.2, 16.1, 2.0).astype(np.float32), (3, 3, 1, 1))
    truth = blob(64, 2 * (15.2 + 0.5) - 0.5, 2 * (16.1 + 0.5) - 0.5, 4.0)
    bicubic, widefield = (BASELINES[name](field(raw), 2, 0.1) for name in ("bicubic", "widefield"))
    assert np.abs(bicubic - truth).max() < 0.1 * np.abs(widefield - truth).max()


def test_classical_sim_is_left_out_where_it_cannot_be_had() -> None:
    raw = np.random.default_rng(0).poisson(50, (3, 3, 24, 24)).astype(np.uint16)
    assert BASELINES["wiener"](field(raw), 2, 0.1) is not None
    assert BASELINES["wiener"](field(raw), 1, 0.1) is None
    assert BASELINES["wiener"](field(raw, illumination=None), 2, 0.1) is None
    uncalibrated = replace(field(raw), microscope=MICROSCOPE.model_copy(update={"camera": None}))
    assert BASELINES["wiener"](uncalibrated, 2, 0.1) is None


def test_classical_sim_is_the_same_in_counts_and_in_photons() -> None:
    photons = np.random.default_rng(0).poisson(50, (3, 3, 24, 24))
    in_photons = BASELINES["wiener"](replace(field(photons), unit="photons"), 2, 0.1)
    in_counts = BASELINES["wiener"](field(2 * photons + 100), 2, 0.1)
    assert in_photons is not None
    np.testing.assert_allclose(in_counts, 2 * in_photons + 100, rtol=1e-3)


def test_noise_to_signal_falls_with_light() -> None:
    """A sinusoidal specimen has an analytic variance: n photons, depth d, give (n d)**2 / 2."""
    random, column = np.random.default_rng(0), np.arange(256)
    for num_photons in (5.0, 50.0):
        expected = num_photons * (1 + 0.8 * np.sin(2 * np.pi * column / 16)) * np.ones((3, 3, 256, 1))
        electrons = random.poisson(expected) + random.normal(0, 1.5, expected.shape)
        ratio = noise_to_signal(field(2 * electrons + 100))
        assert ratio == pytest.approx((num_photons + 1.5**2) / 9 / ((0.8 * num_photons) ** 2 / 2), rel=0.05)


def test_classical_sim_resolves_what_bicubic_does_not() -> None:
    """Two points 0.13 um apart, where the objective alone separates 0.19 um."""
    oversampling, edge, apart = 4, 48, 8
    middle = oversampling * edge // 2
    specimen = torch.zeros(oversampling * edge, oversampling * edge)
    specimen[middle, [middle - apart // 2, middle + apart // 2]] = 1e4
    centres_um = pixel_centres_um(oversampling * edge, MICROSCOPE.pixel_um, oversampling)
    stripes = patterns(ILLUMINATION, centres_um, centres_um)
    bright = field(acquire(specimen, stripes, MICROSCOPE, oversampling).numpy())

    def dip(name: str) -> float:
        """How dark it is between the points."""
        restored = BASELINES[name](bright, 2, 0.001)
        row = restored[edge]
        return float(1 - row[edge] / row.max())

    assert dip("wiener") > 0.1 > dip("bicubic")
