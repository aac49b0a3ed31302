"""How much light there is, from nothing but the frames."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.fft import fft2, ifft2
from scipy.ndimage import uniform_filter
from scipy.stats import binned_statistic, linregress

BLOCK_PX = 9
BINS = 24

CORNER = 0.5
"""cycles/px; frequencies beyond it lie outside the optics' support wherever pixels satisfy Nyquist"""

WHITE = 0.1
"""how far the noise power of the inner and the outer corner may differ and still count as white"""

LINEAR = 0.99
"""correlation of noise variance with the mean from which a photon transfer curve is believed"""

SMOOTHED = 20.0
"""inner over outer corner power from which frames must have been interpolated or smoothed"""

ROUNDING_VARIANCE = 1 / 12
"""counts squared: what is left in integer data without noise of their own"""


@dataclass(frozen=True)
class Noise:
    """Noise of the frames, seen in the corners of their spectra where no specimen can be."""

    gain: float | None
    """counts per photo-electron, where variance grows linearly with the mean"""
    interpolated: bool
    """the corners are empty: neighbouring pixels are not independent"""


def measure_noise(frames: NDArray[np.float32], integer: bool) -> Noise:
    """Photon transfer (Janesick 2007, Photon Transfer, ch. 5) within single exposures.

    A photon transfer curve plots variance over mean of repeated exposures, which a stack with moving
    stripes is not. The variance is therefore taken from frequencies beyond `CORNER`.

    Args:
        frames: (F, Y, X) counts.
        integer: whether the file stores whole numbers.
    """
    frequency = np.hypot(np.fft.fftfreq(frames.shape[1])[:, None], np.fft.fftfreq(frames.shape[2]))
    spectra = fft2(frames - frames.mean(axis=(1, 2), keepdims=True), workers=-1)
    power = np.square(np.abs(spectra)).mean(axis=0)
    inner = power[(frequency > CORNER) & (frequency < CORNER + 0.06)].mean()
    outer = power[frequency > CORNER + 0.12].mean()
    beyond = frequency > CORNER
    variance = np.square(ifft2(spectra * beyond, workers=-1).real) / beyond.mean()
    mean = _spread_like_noise(frames, beyond)
    interpolated = bool(inner > SMOOTHED * outer or (integer and variance.mean() < 2 * ROUNDING_VARIANCE))
    white = abs(inner - outer) < WHITE * outer
    return Noise(_slope(mean, variance) if white and not interpolated else None, interpolated)


def _spread_like_noise(frames: NDArray[np.float32], beyond: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Frames (F, Y, X) blurred as the filter blurs their noise's variance: by the squared kernel."""
    squared_kernel = np.square(ifft2(beyond).real) / beyond.mean()
    return np.asarray(ifft2(fft2(frames, workers=-1) * fft2(squared_kernel), workers=-1).real)


def _slope(mean: NDArray[np.float64], variance: NDArray[np.float64]) -> float | None:
    """Slope of variance over mean, both (F, Y, X), averaged over blocks and frames.

    Blocks are sorted by the even frames and measured in the odd ones; sorted and measured in the same
    frames, bright noise would pass for signal and flatten the slope.
    """
    if len(mean) < 2:
        return None
    sorting, x, y = (_blocks(images) for images in (mean[0::2], mean[1::2], variance[1::2]))
    edges = np.unique(np.quantile(sorting, np.linspace(0.01, 0.999, BINS + 1)))
    if len(edges) <= BINS:
        return None
    means, variances = (binned_statistic(sorting, values, bins=edges).statistic for values in (x, y))
    fit = linregress(means, variances)
    return float(fit.slope) if fit.rvalue > LINEAR and fit.slope > 0 else None


def _blocks(images: NDArray[np.float64]) -> NDArray[np.float64]:
    """Running block means of the mean image, away from the borders, as a list."""
    inside = (slice(BLOCK_PX, -BLOCK_PX),) * 2
    return np.asarray(uniform_filter(images.mean(axis=0), BLOCK_PX)[inside].ravel())
