"""How far a runner's answer is from the truth: errors of the stripes, and scores of the image.

Images are compared with the *target*: the true object seen by an ideal objective of the extended cutoff, fc + |k|. A
border of 32 pixels is left out, and a constant shift by a part of a pixel is taken off and reported.

psnr, ssim, nrmse      after one gain and one offset of least squares: the image as it was delivered, in which its
                       apodisation and regularisation count
..._ring               the same after every ring of spatial frequencies got the one real gain that fits the target
                       best. The choice of apodisation and Wiener constant, even the best there is, no longer counts;
                       what is left are noise, artefacts, wrong stripes and the weights of the bands. The fair number
                       between programs
cutoff_reached         frequency, in units of fc, from which on the correlation with the true object is below 0.5
correlation_beyond     mean correlation from fc to 0.9 of the extended cutoff: the band that only SIM gives
low_transfer           gain of the lowest frequencies (0.07 to 0.13 fc) over that at 0.80 to 0.90 fc, both relative to
                       the target: 1 where the image is proportional to the object at all sizes

The PSNR's peak is the range of the target. SSIM: Gaussian weights, sigma 1.5, same range. NRMSE: |error| over
|target - its mean|.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from scipy.signal.windows import tukey
from simulate import ideal_otf
from skimage.metrics import structural_similarity
from skimage.registration import phase_cross_correlation

Array = NDArray[np.floating]
Truth = dict[str, NDArray[Any]]

BORDER_PX = 32
"""of the doubled sampling"""

RIGHT_PX = 0.25
"""worst wave vector of a right answer: stripes drift by a quarter of a period from one border to the other"""

LOWEST, REFERENCE = (0.07, 0.13), (0.80, 0.90)
"""bands of `low_transfer`, in units of fc"""


@dataclass(frozen=True)
class Deviations:
    """Estimated minus true, each angle's stripes turned the way that fits best."""

    wave_px: Array
    """(A, 2) cycles per field"""
    phase_rad: Array
    """(A, P) at the centre of the field, between -pi and pi"""
    modulation: Array
    """(A, harmonics); NaN where another number of harmonics was found"""

    @cached_property
    def worst_wave_px(self) -> float:
        """Of all angles."""
        return float(np.hypot(*self.wave_px.T).max())

    @cached_property
    def worst_phase_rad(self) -> float:
        """Of all angles and frames."""
        return float(np.abs(self.phase_rad).max())

    @cached_property
    def worst_modulation(self) -> float:
        """Of all angles and harmonics."""
        return float(np.abs(self.modulation).max())

    @property
    def right(self) -> bool:
        """Whether all wave vectors are."""
        return self.worst_wave_px < RIGHT_PX


def deviations(result: dict[str, Any], truth: Truth) -> Deviations:
    """Compare the stripes of a result.json with the truth."""
    true_wave, true_phase, true_depth = truth["k"], truth["phase"], truth["mod"]
    wave, phase, depth = (np.array(result[key], float) for key in ("k", "phase", "mod"))
    same, turned = np.hypot(*(wave - true_wave).T), np.hypot(*(wave + true_wave).T)
    sign = np.where(same <= turned, 1.0, -1.0)[:, None]
    edges = np.array(truth["object"].shape[::-1]) / 2
    to_centre = 2 * np.pi * (edges - 1) / 2 / edges
    apart = sign * (phase + (wave @ to_centre)[:, None]) - true_phase - (true_wave @ to_centre)[:, None]
    depth = depth.reshape(len(true_depth), -1)
    depth_error = depth - true_depth if depth.shape == true_depth.shape else np.full(true_depth.shape, np.nan)
    return Deviations(sign * wave - true_wave, np.angle(np.exp(1j * apart)), depth_error)


@dataclass(frozen=True)
class ImageScores:
    """See above."""

    psnr: float
    ssim: float
    nrmse: float
    psnr_ring: float
    ssim_ring: float
    nrmse_ring: float
    cutoff_reached: float
    correlation_beyond: float
    low_transfer: float
    shift_px: tuple[float, float]
    """(y, x) that was taken off, in pixels of the image"""


def _frequencies(shape: tuple[int, ...]) -> Array:
    """|frequency| on the grid of `rfft2`, cycles per pixel."""
    return np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1]))


@dataclass(frozen=True)
class Cutoffs:
    """Where the detection ends and where SIM does; cycles per pixel of the image."""

    detection: float
    extended: float

    @staticmethod
    def of(truth: Truth, meta: dict[str, Any]) -> "Cutoffs":
        """From what a case tells."""
        edges = np.array(truth["object"].shape[::-1])
        detection = 2 * meta["na"] / meta["em_um"] * meta["pixel_um"] / 2
        finest = np.hypot(*(truth["k"] / edges).T).mean() * meta["n_orders"]
        return Cutoffs(detection, detection + float(finest))


def target_image(truth: Truth, meta: dict[str, Any]) -> Array:
    """The true object, filtered to the OTF of an ideal objective of the extended cutoff."""
    light = truth["object"]
    otf = ideal_otf(_frequencies(light.shape) / Cutoffs.of(truth, meta).extended)
    target: Array = scipy.fft.irfft2(scipy.fft.rfft2(light) * otf, s=light.shape)
    return target


def widefield_image(frames: Array) -> Array:
    """The mean of frames (A, P, H, W), sampled twice as finely by zeros around its spectrum."""
    mean = frames.mean(axis=(0, 1))
    height, width = mean.shape
    spectrum = np.fft.fftshift(np.fft.fft2(mean))
    padded = np.pad(spectrum, ((height // 2, height - height // 2), (width // 2, width - width // 2)))
    return np.fft.ifft2(np.fft.ifftshift(padded)).real


class Rings:
    """Sums over rings of spatial frequencies, each as wide as one cycle along the shorter edge."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.per_pixel = min(shape)
        self._index = np.rint(_frequencies(shape) * self.per_pixel).astype(int)
        self.num = int(self._index.max()) + 1

    @property
    def frequency(self) -> Array:
        """(R,) cycles per pixel."""
        return np.arange(self.num) / self.per_pixel

    def sums(self, values: Array) -> Array:
        """(R,) of values on the grid of `rfft2`."""
        return np.bincount(self._index.ravel(), values.ravel(), minlength=self.num)

    def spread(self, values: Array) -> Array:
        """Values (R,) at their places on the grid."""
        return values[self._index]


def _power(spectrum: NDArray[np.complexfloating]) -> Array:
    return np.abs(spectrum) ** 2


def _product(first: NDArray[np.complexfloating], second: NDArray[np.complexfloating]) -> Array:
    return (first.conj() * second).real


def image_scores(image: Array, truth: Truth, meta: dict[str, Any]) -> ImageScores:
    """Compare an image (2 H, 2 W) with the truth."""
    target, cutoffs = _inner(target_image(truth, meta)), Cutoffs.of(truth, meta)
    window = np.outer(*(tukey(edge, 0.15) for edge in target.shape))
    image, shift = _aligned(image, target, window)
    fitted = _fitted(image, target)
    peak = float(np.ptp(target))
    target_spectrum, spectrum, light_spectrum = (
        scipy.fft.rfft2((each - each.mean()) * window) for each in (target, image, _inner(truth["object"]))
    )
    rings = Rings(target.shape)
    power = np.maximum(rings.sums(_power(spectrum)), 1e-30)
    both = rings.sums(_product(spectrum, target_spectrum))
    matched = scipy.fft.irfft2(spectrum * rings.spread(both / power), s=target.shape)
    windowed = (target - target.mean()) * window
    correlation = rings.sums(_product(spectrum, light_spectrum))
    correlation = correlation / np.sqrt(np.maximum(power * rings.sums(_power(light_spectrum)), 1e-30))
    cutoff_reached, beyond = _resolution(np.convolve(correlation, np.ones(9) / 9, "same"), rings, cutoffs)
    return ImageScores(
        _psnr(fitted, target, peak), _ssim(fitted, target, peak), _nrmse(fitted, target),
        _psnr(matched, windowed, peak), _ssim(matched, windowed, peak), _nrmse(matched, windowed),
        cutoff_reached, beyond,
        _low_transfer(both, rings.sums(_power(target_spectrum)), rings, cutoffs),
        shift,
    )  # fmt: skip


def _inner(image: Array) -> Array:
    return image[BORDER_PX:-BORDER_PX, BORDER_PX:-BORDER_PX].astype(float)


def _aligned(image: Array, target: Array, window: Array) -> tuple[Array, tuple[float, float]]:
    """The inside of an image, moved onto the target where it is off by more than noise would make it."""
    inner = _inner(image)
    flat_target, flat_image = ((each - each.mean()) * window for each in (target, inner))
    shift, *_ = phase_cross_correlation(flat_target, flat_image, upsample_factor=50, normalization=None)
    if np.hypot(*shift) > 0.05:
        rows, columns = np.fft.fftfreq(image.shape[0])[:, None], np.fft.rfftfreq(image.shape[1])
        turn = np.exp(-2j * np.pi * (rows * shift[0] + columns * shift[1]))
        inner = _inner(scipy.fft.irfft2(scipy.fft.rfft2(image) * turn, s=image.shape))
    return inner, (round(float(shift[0]), 2), round(float(shift[1]), 2))


def _fitted(image: Array, target: Array) -> Array:
    """With the gain and the offset of least squares."""
    design = np.stack([image.ravel(), np.ones(image.size)], 1)
    gain, offset = np.linalg.lstsq(design, target.ravel(), rcond=None)[0]
    return image * gain + offset


def _psnr(image: Array, target: Array, peak: float) -> float:
    with np.errstate(divide="ignore"):
        return float(20 * np.log10(peak / np.sqrt(np.mean((image - target) ** 2))))


def _nrmse(image: Array, target: Array) -> float:
    return float(np.linalg.norm(image - target) / np.linalg.norm(target - target.mean()))


def _ssim(image: Array, target: Array, peak: float) -> float:
    return float(
        structural_similarity(
            target, image, data_range=peak, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
        )
    )


def _resolution(correlation: Array, rings: Rings, cutoffs: Cutoffs) -> tuple[float, float]:
    """Where the correlation (R,) falls below one half, in units of fc, and its mean beyond fc."""
    last = int(1.02 * cutoffs.extended * rings.per_pixel)
    below = np.flatnonzero(correlation[5:last] < 0.5)
    reached = below[0] + 5 if len(below) else last
    beyond = (rings.frequency > cutoffs.detection) & (rings.frequency < 0.9 * cutoffs.extended)
    return float(reached / rings.per_pixel / cutoffs.detection), float(correlation[beyond].mean())


def _low_transfer(both: Array, power: Array, rings: Rings, cutoffs: Cutoffs) -> float:
    gains = []
    for low, high in (LOWEST, REFERENCE):
        inside = (rings.frequency > low * cutoffs.detection) & (rings.frequency < high * cutoffs.detection)
        gains.append(both[inside].sum() / power[inside].sum())
    return float(gains[0] / gains[1])
