"""Resolution of images whose band limit or signal-to-noise ratio is known."""

import math

import numpy as np
import pytest
import torch

from sim_models.config import BadInput
from sim_models.evaluation.resolution import (
    SMALLEST_PX,
    THRESHOLD,
    _Spectrum,
    decorrelation_resolution_um,
    frc_resolution_um,
)
from sim_models.optics.otf import circular_pupil_otf


def radius_per_um(shape: tuple[int, int], pixel_um: float) -> np.ndarray:
    rows, columns = (np.fft.fftfreq(length, pixel_um) for length in shape)
    return np.hypot(rows[:, None], columns)


def filtered(image: np.ndarray, transfer: np.ndarray) -> np.ndarray:
    return np.fft.ifft2(np.fft.fft2(image) * transfer).real


def points(
    cutoff_per_um: float,
    pixel_um: float,
    noise: float = 0.05,
    shape: tuple[int, int] = (160, 160),
    hard: bool = False,
) -> np.ndarray:
    """Points under an ideal objective, or with nothing but a limit of their band, and white noise."""
    random = np.random.default_rng(1)
    specimen = np.zeros(shape)
    specimen[tuple(random.integers(0, length, 300) for length in shape)] = 1
    rows, columns = (torch.fft.fftfreq(length, pixel_um, dtype=torch.float64) for length in shape)
    transfer = circular_pupil_otf(rows[:, None], columns, cutoff_per_um).numpy()
    seen = filtered(specimen, (transfer > 0) if hard else transfer)
    return np.asarray(seen + noise * seen.std() * random.standard_normal(shape))


def decorrelation_um(image: np.ndarray, pixel_um: float) -> float:
    found = decorrelation_resolution_um(image, pixel_um)
    assert found is not None
    assert found.resolution_um == pytest.approx(2 * pixel_um / found.cutoff)
    return found.resolution_um


@pytest.mark.parametrize("pixel_um", [0.0325, 0.05])
@pytest.mark.parametrize("cutoff_per_um", [3.5, 5.0, 7.0, 9.0])
def test_decorrelation_finds_where_a_band_ends(cutoff_per_um: float, pixel_um: float) -> None:
    image = points(cutoff_per_um, pixel_um, hard=True)
    assert decorrelation_um(image, pixel_um) == pytest.approx(1 / cutoff_per_um, rel=0.08)


@pytest.mark.parametrize("pixel_um", [0.0325, 0.05])
def test_decorrelation_follows_the_cutoff_of_an_objective(pixel_um: float) -> None:
    """An ideal OTF fades before it ends, so the last few frequencies do not stand out."""
    cutoffs = np.array([3.5, 4.5, 5.5, 6.5, 7.5])
    found = np.array([decorrelation_um(points(cutoff, pixel_um), pixel_um) for cutoff in cutoffs])
    assert (np.diff(found) < 0).all()
    assert found * cutoffs == pytest.approx(1.11, rel=0.05)


def test_decorrelation_scales_with_the_pixel_and_not_with_gain_or_offset() -> None:
    image = points(5.0, 0.04)
    found = decorrelation_um(image, 0.04)
    assert decorrelation_um(image, 0.08) == pytest.approx(2 * found)
    assert decorrelation_um(7 * image + 1000, 0.04) == pytest.approx(found, rel=1e-3)


def test_decorrelation_of_an_image_that_is_not_square() -> None:
    found = decorrelation_um(points(5.0, 0.04, shape=(128, 201), hard=True), 0.04)
    assert found == pytest.approx(1 / 5.0, rel=0.08)


def test_noise_lowers_the_height_of_the_peak() -> None:
    little, much = (decorrelation_resolution_um(points(5.0, 0.04, noise), 0.04) for noise in (0.1, 1.0))
    assert little is not None
    assert much is not None
    assert 0 < much.height < little.height <= 1


@pytest.mark.parametrize("edge", [SMALLEST_PX, 65, 128])
def test_in_noise_alone_no_frequency_stands_out(edge: int) -> None:
    noise = np.random.default_rng(edge).standard_normal((edge, edge))
    assert decorrelation_resolution_um(noise, 0.05) is None


@pytest.mark.parametrize("shape", [(40, 40), (33, 48)])
@pytest.mark.parametrize("high_pass", [None, 0.7])
def test_decorrelation_is_the_correlation_with_the_whitened_spectrum(
    shape: tuple[int, int], high_pass: float | None
) -> None:
    """Descloux et al. 2019, eq. 1, with complex spectra of the whole plane and a mask for every radius."""
    image = points(5.0, 0.04, shape=shape)
    image -= image.mean()
    radius = radius_per_um(shape, 0.5)
    spectrum = np.fft.fft2(image) * (radius < 1) * (radius > 0)
    white = np.where(spectrum == 0, 0, spectrum / np.maximum(np.abs(spectrum), 1e-300))
    if high_pass is not None:
        spectrum = spectrum * (1 - np.exp(-2 * high_pass**2 * radius**2))
    radii = np.linspace(0, 1, 50)[8:]
    expected = []
    for limit in radii:
        masked = white * (radius < limit)
        norm = np.linalg.norm(spectrum) * np.linalg.norm(masked)
        expected.append((spectrum * masked.conj()).sum().real / norm)
    assert _Spectrum.of(image).decorrelation(radii, high_pass) == pytest.approx(np.array(expected))


PEAK_SNR, FALL_PER_UM = 400, 2.4
CROSSING_PER_UM = FALL_PER_UM * math.sqrt(math.log(6 * PEAK_SNR))
"""where the ratio is 1/6, so that SNR / (1 + SNR) is 1/7"""


def snr(frequency_per_um: np.ndarray) -> np.ndarray:
    """Power of the signal over that of the noise."""
    return np.asarray(PEAK_SNR * np.exp(-((frequency_per_um / FALL_PER_UM) ** 2)))


def noisy_pair(pixel_um: float, seed: int = 2, edge: int = 256) -> tuple[np.ndarray, np.ndarray]:
    """Two images of one random signal with white noise of their own, which has the same power at every frequency."""
    random = np.random.default_rng(seed)
    signal = filtered(
        random.standard_normal((edge, edge)), np.sqrt(snr(radius_per_um((edge, edge), pixel_um)))
    )
    first, second = (signal + random.standard_normal(signal.shape) for _ in range(2))
    return first, second


@pytest.mark.parametrize("pixel_um", [0.04, 0.06])
def test_ring_correlation_is_the_analytic_one(pixel_um: float) -> None:
    found = [frc_resolution_um(*noisy_pair(pixel_um, seed), pixel_um) for seed in range(6)]
    resolutions = np.array([each.resolution_um for each in found], float)
    assert resolutions == pytest.approx(1 / CROSSING_PER_UM, rel=0.06)
    assert resolutions.mean() == pytest.approx(1 / CROSSING_PER_UM, rel=0.02)
    frequency_per_um = found[0].frequency_per_um
    assert frequency_per_um[-1] == pytest.approx(1 / (2 * pixel_um))
    expected = snr(frequency_per_um) / (1 + snr(frequency_per_um))
    assert np.mean([each.correlation for each in found], axis=0) == pytest.approx(expected, abs=0.04)


def test_ring_correlation_does_not_depend_on_gain_and_offset() -> None:
    first, second = noisy_pair(0.05)
    as_is, changed = frc_resolution_um(first, second, 0.05), frc_resolution_um(3 * first + 500, second, 0.05)
    assert changed.correlation == pytest.approx(as_is.correlation)


def test_ring_correlation_of_images_that_are_not_square() -> None:
    first, second = noisy_pair(0.05)
    found = frc_resolution_um(first[:150], second[:150], 0.05)
    assert found.resolution_um == pytest.approx(1 / CROSSING_PER_UM, rel=0.06)


def test_equal_images_resolve_more_than_their_pixels_tell() -> None:
    image = points(5.0, 0.04)
    found = frc_resolution_um(image, image, 0.04)
    assert found.resolution_um is None
    assert found.correlation == pytest.approx(1)


def test_images_that_share_nothing_resolve_nothing() -> None:
    first, second = np.random.default_rng(0).standard_normal((2, 128, 128))
    found = frc_resolution_um(first, second, 0.04)
    assert found.resolution_um == math.inf
    assert np.abs(found.correlation[10:]).max() < THRESHOLD


def test_what_has_no_resolution_is_refused() -> None:
    image = points(5.0, 0.04)
    with pytest.raises(BadInput, match=r"constant \(3\)"):
        decorrelation_resolution_um(np.full((64, 64), 3), 0.04)
    with pytest.raises(BadInput, match="not finite"):
        decorrelation_resolution_um(np.where(image == image.max(), np.nan, image), 0.04)
    for wrong in (image[None], image[: SMALLEST_PX - 1]):
        with pytest.raises(BadInput, match="no measurable resolution"):
            decorrelation_resolution_um(wrong, 0.04)
    with pytest.raises(BadInput, match=r"\(160, 160\) and \(64, 64\) have no ring correlation"):
        frc_resolution_um(image, image[:64, :64], 0.04)
    with pytest.raises(BadInput, match="constant"):
        frc_resolution_um(image, np.zeros_like(image), 0.04)
