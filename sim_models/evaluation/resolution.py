"""How fine an image resolves, told without a target: from two images of the same thing, or from one alone.

Both numbers are periods in um: smaller is finer. Neither knows whether what is resolved is true. Anything that two
images share counts as signal in their ring correlation, fixed patterns and what a network always invents included; so
the two must be independent from the first photon on. Decorrelation finds where the spectrum of one image ceases to
stand out, so a network that draws sharp edges passes for a better microscope.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim_models.config import BadInput
from sim_models.field import Image

Values = NDArray[np.float64]

SMALLEST_PX = 32
"""of an edge: smaller images have too few frequencies in a ring"""

TAPER = 0.25
"""share of an edge over which images fade out, half of it at either end"""

THRESHOLD = 1 / 7
"""of the ring correlation: Nieuwenhuizen et al. 2013, as for averages of two halves (Rosenthal & Henderson 2003)"""

SMOOTHED_RINGS = 0.05
"""share of all rings over which their correlation is smoothed, at least `FEWEST_SMOOTHED`"""

FEWEST_SMOOTHED = 5

RADII, HIGH_PASSES, WEAKEST_HIGH_PASS = 50, 10, 0.15
"""N_r and N_g of Descloux et al. 2019, Online Methods, and the last g, which leaves only the highest frequencies"""

WIDENED = 0.4
"""of the highest frequency: how far beyond the first finding the second pass looks"""

LEAST_HEIGHT, LEAST_DESCENT = 0.05, 0.001
"""of a decorrelation peak: lower ones are noise, and a curve that does not fall after it has none"""


@dataclass(frozen=True)
class RingCorrelation:
    """Fourier ring correlation of two images and where it falls below 1/7."""

    resolution_um: float | None
    """None where it stays above up to the highest frequency: finer than the pixels tell. Infinite where it is below
    from the innermost ring on: the images have nothing in common"""
    frequency_per_um: Values
    """(R,) of each ring, cycles per um"""
    correlation: Values
    """(R,) smoothed, -1 to 1"""


@dataclass(frozen=True)
class Decorrelation:
    """The highest frequency that stands out of the noise of one image."""

    resolution_um: float
    """2 pixels over `cutoff`"""
    cutoff: float
    """k_c, in units of the highest frequency that pixels tell, 0 to 1"""
    height: float
    """A_0 of the curve without a high-pass, 0 to 1: high where there is signal is far above noise, 0 without a peak"""


def frc_resolution_um(first: Image, second: Image, pixel_um: float) -> RingCorrelation:
    """Fourier ring correlation of two images (Y, X) of the same thing with independent noise.

    Banterle et al., J. Struct. Biol. 183 (2013) 363, and Nieuwenhuizen et al., Nat. Methods 10 (2013) 557, eq. 1:

        FRC(q) = Re sum F1 F2* / sqrt(sum |F1|^2 sum |F2|^2)     over the ring of spatial frequency q

    Means are taken off, edges fade out by a Tukey window, rings are one frequency of the shorter edge wide, and each of
    the three sums is taken over several neighbouring rings, lest a chance dip of one pass for the resolution.

    Of images of one network, noise has to be independent in the frames it was given: neither two networks on the same
    frames nor two halves of one restored image will do.

    Returns:
        The inverse of the lowest frequency at which the curve falls below 1/7, and the curve up to the highest
        frequency that pixels tell along an edge.

    Raises:
        BadInput: if the shapes differ, or an image is no plane, too small, not finite or constant.
    """
    if first.shape != second.shape:
        raise BadInput(
            f"images of shapes {first.shape} and {second.shape} have no ring correlation; take two of the same field"
        )
    spectra = [np.fft.rfft2(_tapered(image)) for image in (first, second)]
    shorter = min(first.shape)
    ring = np.rint(_radius(first.shape) / 2 * shorter).astype(np.int64)
    weight = _multiplicity(first.shape)

    def over_rings(values: Values) -> Values:
        sums = np.bincount(ring.ravel(), (weight * values).ravel())
        return _smoothed(np.asarray(sums[1 : shorter // 2 + 1], np.float64))

    common = over_rings((spectra[0] * spectra[1].conj()).real)
    powers = [over_rings(np.abs(spectrum) ** 2) for spectrum in spectra]
    correlation = common / np.sqrt(powers[0] * powers[1])
    frequency_per_um = np.arange(1, len(correlation) + 1) / (shorter * pixel_um)
    return RingCorrelation(_crossing_um(frequency_per_um, correlation), frequency_per_um, correlation)


def decorrelation_resolution_um(image: Image, pixel_um: float) -> Decorrelation | None:
    """Resolution of one image (Y, X) by decorrelation analysis; None where no frequency stands out.

    Descloux, Grussmayer & Radenovic, Nat. Methods 16 (2019) 918. The spectrum I is correlated with itself divided by
    its own modulus and cut at a radius r (eq. 1), which leaves sums of moduli:

        d(r) = sum_{k < r} |I| / sqrt(sum |I|^2 * number of k < r)

    Signal raises the curve, noise lowers it, so its peak lies where one gives way to the other. Gaussian high-passes
    1 - exp(-2 g^2 k^2) of `HIGH_PASSES` widths move the peak outwards; the highest peak position over all of them is
    the cutoff k_c. A second pass looks closer, at widths and radii around the best ones. Resolution is 2 pixels / k_c.

    The mean of the image is taken off and edges fade out by a Tukey window, so gain and offset do not matter.

    Raises:
        BadInput: if the image is no plane, too small, not finite or constant.
    """
    spectrum = _Spectrum.of(_tapered(image))
    radii = np.linspace(0, 1, RADII)
    plain = _peak(radii, spectrum.decorrelation(radii, None))
    strongest = 2 / plain[0] if plain else max(image.shape) / 2
    passes = np.array([min(image.shape) / 4, *np.geomspace(strongest, WEAKEST_HIGH_PASS, HIGH_PASSES)])
    found = [(peak, at) for at, peak in enumerate(spectrum.peaks(radii, passes)) if peak]
    peaks = [peak for peak, _ in found] + ([plain] if plain else [])
    if not peaks:
        return None
    best = max(peaks)
    if found:
        at = min(max(found)[1], len(passes) - 2)
        closer = np.geomspace(passes[at], passes[at + 1], HIGH_PASSES)
        around = np.linspace(max(best[0] - radii[1], 0), min(best[0] + WIDENED, 1), RADII)
        best = max([best, *(peak for peak in spectrum.peaks(around, closer) if peak)])
    return Decorrelation(2 * pixel_um / best[0], best[0], plain[1] if plain else 0.0)


@dataclass(frozen=True)
class _Spectrum:
    """Moduli of a spectrum in the order of their radius, below the highest frequency of an edge and without zero."""

    radius: Values
    """(K,) 0 to 1"""
    modulus: Values
    """(K,)"""
    weight: Values
    """(K,) 2 where a value stands for its mirror image too, 1 otherwise"""

    @staticmethod
    def of(image: Values) -> "_Spectrum":
        radius = _radius(image.shape).ravel()
        order = np.argsort(radius)
        order = order[np.searchsorted(radius[order], 0, "right") : np.searchsorted(radius[order], 1)]
        modulus, weight = np.abs(np.fft.rfft2(image)).ravel(), _multiplicity(image.shape).ravel()
        return _Spectrum(radius[order], modulus[order], weight[order])

    def decorrelation(self, radii: Values, high_pass: float | None) -> Values:
        """d at radii (R,) after a high-pass of width g, or of all frequencies alike."""
        modulus = self.modulus
        if high_pass is not None:
            modulus = modulus * -np.expm1(-2 * (high_pass * self.radius) ** 2)
        energy = float((self.weight * modulus**2).sum())
        below = np.searchsorted(self.radius, radii)
        sums, numbers = (
            np.append(0, np.cumsum(each))[below] for each in (self.weight * modulus, self.weight)
        )
        return np.asarray(sums / np.sqrt(energy * np.maximum(numbers, 1)))

    def peaks(self, radii: Values, high_passes: Values) -> list[tuple[float, float] | None]:
        """Position and height of the peak after each high-pass."""
        return [_peak(radii, self.decorrelation(radii, float(width))) for width in high_passes]


def _peak(radii: Values, curve: Values) -> tuple[float, float] | None:
    """Position and height of the highest point after which the curve falls; None where there is none.

    A curve that rises to its end has its peak, if any, in what is left without that end.
    """
    end = len(curve)
    while end > 1:
        top = int(np.argmax(curve[:end]))
        if top == 0:
            return None
        if curve[top] - curve[top:end].min() >= LEAST_DESCENT:
            return (float(radii[top]), float(curve[top])) if curve[top] >= LEAST_HEIGHT else None
        end -= 1
    return None


def _crossing_um(frequency_per_um: Values, correlation: Values) -> float | None:
    """Inverse of the frequency at which the curve first falls below the threshold, between rings on a straight line."""
    below = np.flatnonzero(correlation < THRESHOLD)
    if len(below) == 0:
        return None
    at = int(below[0])
    if at == 0:
        return math.inf
    before, after = correlation[at - 1], correlation[at]
    share = (before - THRESHOLD) / (before - after)
    return float(1 / (frequency_per_um[at - 1] + share * (frequency_per_um[at] - frequency_per_um[at - 1])))


def _smoothed(rings: Values) -> Values:
    """Sums over an odd number of neighbouring rings, as many as there are at the ends."""
    half = max(FEWEST_SMOOTHED, round(SMOOTHED_RINGS * len(rings))) // 2
    return np.convolve(rings, np.ones(2 * half + 1), "same")


def _tapered(image: Image) -> Values:
    """The image without its mean, fading out at its edges."""
    from scipy.signal.windows import tukey  # slow to import

    if image.ndim != 2 or min(image.shape) < SMALLEST_PX:
        raise BadInput(
            f"an image of shape {image.shape} has no measurable resolution; give a plane (Y, X) of at least "
            f"{SMALLEST_PX} x {SMALLEST_PX} pixels"
        )
    values = image.astype(np.float64)
    if not np.isfinite(values).all():
        raise BadInput(
            "an image with values that are not finite has no measurable resolution; restore it again"
        )
    if np.ptp(values) == 0:
        raise BadInput(
            f"an image that is constant ({values.flat[0]:g}) has no resolution; leave it out of the measurement"
        )
    rows, columns = (tukey(length, TAPER) for length in values.shape)
    return np.asarray((values - values.mean()) * rows[:, None] * columns)


def _radius(shape: tuple[int, ...]) -> Values:
    """Spatial frequencies of `rfft2` in units of the highest one along an edge, 1 / (2 pixels)."""
    return np.asarray(2 * np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])))


def _multiplicity(shape: tuple[int, ...]) -> Values:
    """How many frequencies of the whole plane each of `rfft2` stands for."""
    columns = np.rint(np.fft.rfftfreq(shape[1]) * shape[1])
    own_mirror = (columns == 0) | (2 * columns == shape[1])
    return np.broadcast_to(np.where(own_mirror, 1.0, 2.0), (shape[0], len(columns)))
