"""Raw frames with much light as what dim ones of the same cell should have been: the role `raw_clean`.

Levels are taken one after the other. Where the cell or the stripes moved in between, the bright frames are no answer to
the dim ones, however clean they are; a network would learn to move stripes. Both are measured with their uncertainty:
dim frames are refused for what they show, not for their noise.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim_models.config import BadInput
from sim_models.field import Image

MOVED_RAD = 0.5
"""of the phase of the stripes, which changes frames by an eighth of their modulation: 1 - cos(0.5)"""
MOVED_PX = 0.5
"""raw pixels of the cell"""
FAINT = 0.5
"""share of the stripes of the bright frames that dim ones have at least, if they are the same"""
BRIGHTER = 1.5
"""times the light of the bright frames: then the two are swapped"""
FINEST = 20
"""steps in a pixel in which a shift is looked for"""
BLOCKS = 8
"""along each edge of a field, left out in turn: how much results vary tells their standard error"""
SURE = 2.0
"""standard errors"""
SEEN = 3.0
"""standard errors of stripes that are there, and of a shift: errors of few frequencies are small by chance"""
SIGNAL = 5.0
"""times the power of the noise, in frequencies that tell where a cell lies; noise reaches it in 0.7 % of them"""
FEWEST_SIGNALS, COARSEST = 80, 4.0
"""such frequencies to tell a shift; and cycles per field below which light is haze as often as cell"""
FEWEST_PHASES = 3
"""that have a harmonic with a phase"""
SPIKE = 6.0
"""robust standard deviations from the neighbours: a hot pixel, which stays where the cell moves"""


class Moved(BadInput):
    """The cell itself."""


@dataclass(frozen=True)
class Clean:
    """Frames with much light on the scale of dim ones."""

    frames: NDArray[np.float32]
    """(A, P, Y, X)"""
    how: str
    """they came there"""
    doubt: str | None
    """where it cannot be told whether stripes moved"""


def as_bright(clean: Image, raw: Image, cutoff: float) -> Clean:
    """Clean frames (A, P, Y, X) on the scale of noisy ones of the same shape.

    Args:
        clean: frames with much light.
        raw: frames with little.
        cutoff: highest frequency the objective passes, in cycles per raw pixel; what is beyond is noise.

    Raises:
        Moved: if the cell lies elsewhere in one.
        BadInput: if they do not show the same otherwise.
    """
    if np.array_equal(clean, raw):
        raise BadInput("the frames with much light are these frames themselves")
    bright, dim = clean.astype(np.float64), raw.astype(np.float64)
    wide_bright, wide_dim = bright.mean(axis=(0, 1)), dim.mean(axis=(0, 1))
    gain = _gain(wide_bright, wide_dim, cutoff)
    if gain > BRIGHTER:
        raise BadInput(
            f"the frames with much light have {1 / gain:.2g} times the light of these; are they swapped?"
        )
    shift = shift_between(wide_bright, wide_dim, cutoff)
    if shift is not None and shift.surely_px > MOVED_PX:
        raise Moved(f"the cell lies {shift.px:.1f} pixels beside where the frames with much light have it")
    spikes = _spikes(wide_bright) | _spikes(wide_dim)
    doubt = _refuse_moved_stripes(_without(spikes, bright), _without(spikes, dim), gain, cutoff)
    offset = float(wide_dim.mean() - gain * wide_bright.mean())
    return Clean((gain * bright + offset).astype(np.float32), f"times {gain:.4g} plus {offset:.4g}", doubt)


@dataclass(frozen=True)
class Shift:
    """By how much an image lies beside another of the same scene, in pixels."""

    px: float
    error_px: float
    """standard error, from the noise of both"""

    @property
    def surely_px(self) -> float:
        """At least."""
        return self.px - SEEN * self.error_px


def shift_between(one: Image, other: Image, cutoff: float) -> Shift | None:
    """How two images (Y, X) of a scene lie; None where too little is seen.

    Phase correlation (Kuglin & Hines 1975) over the frequencies at which both hold more than noise. The error is the
    inverse of the Fisher information that the phases of these have.
    """
    from skimage.registration import phase_cross_correlation  # slow to import

    spikes = _spikes(one) | _spikes(other)
    spectra = [np.fft.fft2(_windowed(_without(spikes, image))) for image in (one, other)]
    radius = _radius(one.shape)
    seen = (radius < cutoff) & (radius > COARSEST / min(one.shape))
    noise_share = np.zeros(one.shape)
    for spectrum in spectra:
        power = np.maximum(np.abs(spectrum) ** 2, np.finfo(float).tiny)
        noise_share += _noise(power, radius, cutoff) / power
        seen &= power > SIGNAL * _noise(power, radius, cutoff)
    if np.count_nonzero(seen) < FEWEST_SIGNALS:
        return None
    masked = (spectrum * seen for spectrum in spectra)
    shift, _, _ = phase_cross_correlation(
        *masked, space="fourier", upsample_factor=FINEST, normalization="phase"
    )
    waves = 2 * np.pi * np.stack(np.meshgrid(*map(np.fft.fftfreq, one.shape), indexing="ij"))[:, seen]
    # A phase has half the variance of noise to signal; frequencies come in pairs that say the same. Both cancel.
    information = (waves / np.maximum(noise_share[seen], np.finfo(float).eps)) @ waves.T
    return Shift(math.hypot(*shift), math.sqrt(float(np.linalg.eigvalsh(np.linalg.pinv(information))[-1])))


def _gain(bright: Image, dim: Image, cutoff: float) -> float:
    """Light of dim wide-fields for that of bright ones.

    Least squares, less the power of the noise in the bright one, which would make it too small. Where nothing but noise
    is seen, the light of the whole tells.

    Raises:
        BadInput: if one does not show what the other shows.
    """
    radius = _radius(bright.shape)
    within = (radius < cutoff) & (radius > SURE / min(bright.shape))
    one, other = (np.fft.fft2(_windowed(image)) for image in (bright, dim))
    noise = _noise(np.abs(one) ** 2, radius, cutoff)
    power = float((np.abs(one[within]) ** 2).sum()) - noise * np.count_nonzero(within)
    if power < noise * np.count_nonzero(within):
        return float(dim.mean() / bright.mean())
    gain = float((other[within] * one[within].conj()).real.sum()) / power
    if gain <= 0:
        raise BadInput("the frames with much light do not show what these show")
    return gain


def _refuse_moved_stripes(bright: Image, dim: Image, gain: float, cutoff: float) -> str | None:
    """Refuse stripes that are surely elsewhere or others; a doubt where noise lets nobody tell."""
    unsure = False
    for angle, (one, other) in enumerate(zip(bright, dim, strict=True)):
        found = [_share(*pair) for pair in _harmonics(one, other, cutoff)]
        for share in found:
            if share.size + SURE * share.size_error < FAINT * gain:
                raise BadInput(f"angle {angle + 1} has other stripes than the frames with much light")
            if share.seen and share.turned - SURE * share.turned_error > MOVED_RAD:
                raise BadInput(
                    f"the stripes of angle {angle + 1} lie {math.degrees(share.turned):.0f} degrees beside those of "
                    "the frames with much light"
                )
        if len(one) >= FEWEST_PHASES and all(
            not share.seen or SURE * share.turned_error > MOVED_RAD for share in found
        ):
            unsure = True
    if not unsure:
        return None
    return "too dim to tell whether its stripes are where its clean frames have them"


@dataclass(frozen=True)
class _Share:
    """What dim frames have of the stripes of bright ones: their gain, turned by the phase between both.

    Standard errors are those of a jackknife over blocks of the field.
    """

    whole: complex
    without: NDArray[np.complex128]
    """the same with each block left out"""

    @property
    def size(self) -> float:
        """For the light of the bright frames."""
        return abs(self.whole)

    @property
    def seen(self) -> bool:
        """Whether there is more than noise, which has a phase as well."""
        return self.size > SEEN * self.size_error

    @property
    def turned(self) -> float:
        """Radians, 0 to pi."""
        return abs(float(np.angle(self.whole)))

    @property
    def size_error(self) -> float:
        """Of `size`."""
        return _jackknife(np.abs(self.without))

    @property
    def turned_error(self) -> float:
        """Of `turned`."""
        return _jackknife(np.angle(self.without * np.conj(self.whole)))


def _jackknife(values: NDArray[np.float64]) -> float:
    return float(np.sqrt((len(values) - 1) * np.var(values)))


def _share(one: NDArray[np.complex128], other: NDArray[np.complex128], noise: float) -> _Share:
    """Of the stripes `one` (Y, X) in `other`; `noise` is the power of the noise in a pixel of `one`."""
    size = [edge // BLOCKS * BLOCKS for edge in one.shape]
    products, powers = (
        image[: size[0], : size[1]]
        .reshape(BLOCKS, size[0] // BLOCKS, BLOCKS, size[1] // BLOCKS)
        .mean(axis=(1, 3))
        .ravel()
        for image in (other * one.conj(), np.abs(one) ** 2 - noise)
    )
    floor = max(float(powers.sum()), np.finfo(float).tiny)
    left = np.maximum(powers.sum() - powers, floor / 2)
    return _Share(complex(products.sum() / floor), (products.sum() - products) / left)


def _harmonics(
    bright: Image, dim: Image, cutoff: float
) -> Iterator[tuple[NDArray[np.complex128], NDArray[np.complex128], float]]:
    """Each harmonic over the phases (P, Y, X) of an angle that holds more than noise, within the cutoff.

    Less what they have of the wide-field: frames of uneven brightness have it in every harmonic.
    """
    radius = _radius(bright.shape[-2:])
    within, phases = radius < cutoff, len(bright)
    spectra = [np.fft.fft2(np.fft.fft(_windowed(each), axis=0)) for each in (bright, dim)]
    for order in range(1, (phases - 1) // 2 + 1):
        one, other = (_less(each[order], each[0], within) for each in spectra)
        noise = _noise(np.abs(one) ** 2, radius, cutoff)
        power = np.abs(one[within]) ** 2
        if power.sum() < 2 * noise * len(power):
            continue
        per_pixel = noise * len(power) / radius.size**2
        yield np.fft.ifft2(one * within), np.fft.ifft2(other * within), per_pixel


def _less(
    harmonic: NDArray[np.complex128], widefield: NDArray[np.complex128], within: NDArray[np.bool_]
) -> NDArray[np.complex128]:
    share = np.vdot(widefield[within], harmonic[within]) / np.vdot(widefield[within], widefield[within])
    left: NDArray[np.complex128] = harmonic - share * widefield
    return left


def _windowed(image: Image) -> Image:
    """Images (..., Y, X) that end softly, about their mean: at hard edges every frequency would hold light."""
    rows, columns = (np.hanning(edge + 2)[1:-1] for edge in image.shape[-2:])
    soft: Image = (image - image.mean(axis=(-2, -1), keepdims=True)) * np.outer(rows, columns)
    return soft


def _spikes(image: Image) -> NDArray[np.bool_]:
    """Pixels (Y, X) far from what is around them."""
    from scipy.ndimage import median_filter  # slow to import

    beside = np.abs(image - median_filter(image, 3))
    usual = 1.4826 * float(np.median(beside))
    found: NDArray[np.bool_] = beside > SPIKE * max(usual, float(np.finfo(float).tiny))
    return found


def _without(spikes: NDArray[np.bool_], images: Image) -> Image:
    """Images (..., Y, X) with the median of what is around in place of spikes."""
    from scipy.ndimage import median_filter  # slow to import

    if not spikes.any():
        return images
    around = median_filter(images, size=(*(1,) * (images.ndim - 2), 3, 3))
    return np.where(spikes, around, images)


def _radius(shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Frequency in cycles per pixel, order of `np.fft.fft2`."""
    radius: NDArray[np.float64] = np.hypot(np.fft.fftfreq(shape[-2])[:, None], np.fft.fftfreq(shape[-1]))
    return radius


def _noise(power: NDArray[np.float64], radius: NDArray[np.float64], cutoff: float) -> float:
    """Mean power of white noise by the median beyond what the objective passes; power is distributed exponentially."""
    beyond = power[radius >= min(cutoff, 0.9 * float(radius.max()))]
    return float(np.median(beyond)) / math.log(2)
