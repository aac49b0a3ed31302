"""Where the stripes are: a likelihood map over all wave vectors, each point against its own noise.

For a known object o, the band D_h of stripes with wave vector q is c * s_q with s_q = otf * (o exp(2 pi i q . r)).
With white noise of variance v, the logarithm of the likelihood ratio of stripes over none is

    T(q) = |<D, s_q>|^2 / (v <s_q, s_q>)

(Kay, Fundamentals of Statistical Signal Processing II (1998), section 7.6, an unknown complex amplitude), and
exponentially distributed where there are no stripes. Numerator and denominator are Fourier transforms of images
in real space, so they are had for all q at once, and at any q between grid points. The noise that counts is
measured in the map itself, in rings of equal |q|. With H harmonics, T is the sum of theirs.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from scipy.optimize import brentq
from scipy.stats import gamma

from sim_models.optics.estimate.scene import MEAN_LOG_OF_EXPONENTIAL, Scene, centred

LOWEST, HIGHEST = 0.3, 1.3
"""of the detection cutoff; the finest harmonic is looked for between them (total internal reflection gives 1.15)"""

FALSE_ALARMS = 1e-3
"""probability that noise alone exceeds the limit of an angle"""

FINER = 2
"""map points per cycle per field: with 1, a peak between four points loses up to 84 % of its height"""

RINGS = 24

GUIDED_TOLERANCE, TOGETHER_TOLERANCE = 0.06, 0.03
"""how far angles may be from equal spacing and even spread, as a share of the wave vector"""

SURE = 0.99
"""share of the likelihood near a guided peak that the peak itself must hold"""


@dataclass(frozen=True)
class Peak:
    """A candidate for the stripes of one angle."""

    wave: torch.Tensor
    """(2,) first harmonic along y and x, cycles per pixel"""
    score: float
    limit: float
    found: str


@dataclass(frozen=True)
class LikelihoodMap:
    """T of one angle, as a grid over the wave vector of the finest harmonic and as what it is made from."""

    products: torch.Tensor
    """(H, Y, X) complex: their transforms are <D_h, s_q>"""
    weights: torch.Tensor
    """(Y, X) real, lag zero first: its transform is <s_q, s_q>"""
    noise: tuple["RadialNoise", ...]
    """(H,) level of |<D_h, s_q>|^2 / <s_q, s_q> where there are no stripes"""
    grid: torch.Tensor = field(repr=False)
    """(FINER Y, FINER X), order of `torch.fft.fft2`"""
    curvature: float
    """of the grid's random field: square root of the determinant of its derivatives' covariance, pixels squared"""

    @property
    def harmonics(self) -> int:
        """H."""
        return len(self.products)


@dataclass(frozen=True)
class RadialNoise:
    """A level that depends on |q| alone, tabulated at evenly spaced values between two of them."""

    lowest: float
    highest: float
    levels: torch.Tensor

    def at(self, radius: torch.Tensor) -> torch.Tensor:
        """Interpolated levels at |q| in cycles per pixel."""
        steps = len(self.levels)
        place = (radius - self.lowest) / (self.highest - self.lowest) * steps - 0.5
        below = place.clamp(0, steps - 1.001).floor()
        between = (place - below).clamp(0, 1).to(self.levels)
        index = below.long()
        return self.levels[index] * (1 - between) + self.levels[(index + 1).clamp(max=steps - 1)] * between


def likelihood_map(scene: Scene, bands: torch.Tensor, guess: torch.Tensor) -> LikelihoodMap:
    """T for the bands D_1 ... D_H (H, Y, X) of one angle, with a guess (Y, X) of the object."""
    products = scene.blurred(bands * scene.window) * guess
    power = torch.fft.fft2(guess * scene.window.sqrt()).abs().square()
    # N(q) = sum over k of otf(k)^2 power(k - q): a correlation, so a product in real space.
    weights = torch.fft.ifft2(power).real * torch.fft.ifft2(scene.otf.square()).real
    denominator = torch.fft.fft2(weights).real
    denominator = denominator.clamp(min=1e-6 * denominator.max())
    radius = scene.radius
    harmonics = len(bands)
    noise, grids = [], []
    for order, product in enumerate(products, start=1):
        finer = torch.fft.fft2(product, s=[FINER * size for size in scene.shape]).abs().square()
        reach = scene.cutoff * order / harmonics
        level = _ring_noise(finer[::FINER, ::FINER] / denominator, radius, LOWEST * reach, HIGHEST * reach)
        noise.append(level)
        grids.append(finer / _repeated(denominator * level.at(radius), FINER))
    grid = grids[-1]
    for order, coarser in enumerate(grids[:-1], start=1):
        grid = grid + _stretched(coarser, order, harmonics)
    return LikelihoodMap(products, weights, tuple(noise), grid, _curvature(scene, guess))


def noise_left(scene: Scene, likelihood: LikelihoodMap, bands: torch.Tensor, guess: torch.Tensor, wave: torch.Tensor) -> float:
    """Level of the finest harmonic's noise at `wave` with the stripes themselves taken out.

    In bright frames most of what surrounds a peak is not noise but the peak's own wings.
    """
    order = likelihood.harmonics
    striped = scene.blurred(guess * scene.carrier(order * wave))
    weighted = striped.conj() * scene.window
    rest = bands[-1] - striped * (weighted * bands[-1]).sum() / (weighted * striped).sum()
    product = scene.blurred(rest * scene.window) * guess
    denominator = torch.fft.fft2(likelihood.weights).real
    values = torch.fft.fft2(product).abs().square() / denominator.clamp(min=1e-6 * denominator.max())
    level = _ring_noise(values, scene.radius, LOWEST * scene.cutoff, HIGHEST * scene.cutoff)
    return float(level.at((order * wave).norm()))


def _ring_noise(values: torch.Tensor, radius: torch.Tensor, lowest: float, highest: float) -> RadialNoise:
    """Mean of exponentially distributed values in rings, from the mean of their logarithms."""
    ring = ((radius - lowest) / (highest - lowest) * RINGS).floor().long()
    inside = (ring >= 0) & (ring < RINGS)
    logs = values[inside].clamp(min=1e-30).log().double()
    sums = torch.bincount(ring[inside], logs, minlength=RINGS)
    counts = torch.bincount(ring[inside], minlength=RINGS)
    means = sums / counts.clamp(min=1)
    if (counts == 0).any():  # frequencies beyond what the grid holds
        means[counts == 0] = means[counts > 0][-1]
    return RadialNoise(lowest, highest, (means - MEAN_LOG_OF_EXPONENTIAL).exp().float())


def _repeated(values: torch.Tensor, times: int) -> torch.Tensor:
    return values.repeat_interleave(times, 0).repeat_interleave(times, 1)


def _stretched(grid: torch.Tensor, order: int, harmonics: int) -> torch.Tensor:
    """A grid over the wave vector of `order` read at that of the finest harmonic, by the nearest point."""
    places = []
    for size in grid.shape:
        frequency = torch.fft.fftfreq(size, 1 / size, device=grid.device) * order / harmonics
        places.append(frequency.round().long() % size)
    return grid[places[0][:, None], places[1]]


def _curvature(scene: Scene, guess: torch.Tensor) -> float:
    """How fast T decorrelates: noise enters where the guess has light, and its spread sets the scale.

    Covariance of the derivative of a field exp(2 pi i q . r) summed over random amplitudes at places r.
    """
    weight = (guess * scene.window).square().double()
    rows, columns = (axis.to(weight) for axis in centred(scene.shape, guess.device))
    total = weight.sum().clamp(min=1e-300)
    marginals = weight.sum(1), weight.sum(0)
    spread = [
        float((marginal * axis.square()).sum() / total - ((marginal * axis).sum() / total).square())
        for marginal, axis in zip(marginals, (rows, columns), strict=True)
    ]
    return (2 * math.pi) ** 2 * math.sqrt(max(spread[0], 0.0) * max(spread[1], 0.0))


def expected_peaks(threshold: float, area: float, curvature: float, harmonics: int) -> float:
    """Expected number of places where noise alone exceeds a threshold.

    Worsley, Adv. Appl. Probab. 26 (1994) 13, for a chi-squared field with 2 H degrees of freedom: terms of two
    dimensions, one (the border of a square of the same area) and none.

    Args:
        threshold: in units of T, which is half a chi-squared.
        area: searched, (cycles per pixel)^2.
        curvature: see `LikelihoodMap`.
        harmonics: H.
    """
    shape = threshold ** (harmonics - 1) / math.factorial(harmonics - 1) * math.exp(-threshold)
    cells = area * curvature / (2 * math.pi)
    surface = cells * shape * max(2 * threshold - (2 * harmonics - 1), 0.0)
    border = 2 * math.sqrt(cells) * shape * math.sqrt(2 * threshold)
    return surface + border + float(gamma.sf(threshold, harmonics))


def limit(area: float, curvature: float, harmonics: int, false_alarms: float = FALSE_ALARMS) -> float:
    """The score that noise alone exceeds with the probability `false_alarms`."""
    found = brentq(
        lambda score: math.log(expected_peaks(score, area, curvature, harmonics) / false_alarms), 2.0 * harmonics, 500.0
    )
    return float(found)


def strongest(scene: Scene, likelihood: LikelihoodMap) -> Peak:
    """The highest peak anywhere between the lowest and the highest wave vector."""
    mask = (scene.finer_radius > LOWEST * scene.cutoff) & (scene.finer_radius < HIGHEST * scene.cutoff)
    wave, score = _highest(likelihood, mask)
    area = math.pi * (HIGHEST**2 - LOWEST**2) * scene.cutoff**2
    return Peak(wave, score, limit(min(area, 1.0), likelihood.curvature, likelihood.harmonics), "alone")


def near(
    scene: Scene, likelihood: LikelihoodMap, expected: Sequence[torch.Tensor], tolerance: float, found: str
) -> Peak:
    """The highest peak within `tolerance` (cycles per pixel) of expected waves (2,), either way round.

    Its score is set to 0 where other places nearby are about as likely.
    """
    mask = _around(scene, likelihood, expected, tolerance)
    wave, score = _highest(likelihood, mask)
    others = mask & ~_around(scene, likelihood, [wave], 1.5 / min(scene.shape))
    rivals = torch.logsumexp(likelihood.grid[others], 0) - math.log(FINER**2) if others.any() else -math.inf
    if score - rivals < math.log(SURE / (1 - SURE)):
        score = 0.0
    cells = float(mask.sum()) / likelihood.grid.numel()
    return Peak(wave, score, limit(cells, likelihood.curvature, likelihood.harmonics), found)


def _highest(likelihood: LikelihoodMap, mask: torch.Tensor) -> tuple[torch.Tensor, float]:
    grid = torch.where(mask, likelihood.grid, 0.0)
    rows, columns = divmod(int(grid.argmax()), grid.shape[1])
    place = [
        float(torch.fft.fftfreq(size)[index])
        for index, size in zip((rows, columns), grid.shape, strict=True)
    ]
    wave = torch.tensor(place, dtype=torch.float64, device=grid.device) / likelihood.harmonics
    return wave, float(grid[rows, columns])


def _around(
    scene: Scene, likelihood: LikelihoodMap, waves: Sequence[torch.Tensor], tolerance: float
) -> torch.Tensor:
    """Mask of the grid: within `tolerance` of the finest harmonic of one of `waves` or of its opposite."""
    rows, columns = (
        torch.fft.fftfreq(size, dtype=torch.float64, device=likelihood.grid.device) for size in likelihood.grid.shape
    )
    mask = torch.zeros_like(likelihood.grid, dtype=torch.bool)
    for wave in waves:
        for sign in (1, -1):
            centre = sign * likelihood.harmonics * wave
            mask |= torch.hypot(rows[:, None] - centre[0], columns - centre[1]) < tolerance
    return mask


def rotated(wave: torch.Tensor, turn_rad: float) -> torch.Tensor:
    """A wave vector (2,) (y, x) turned from x towards y."""
    cosine, sine = math.cos(turn_rad), math.sin(turn_rad)
    return torch.stack([cosine * wave[0] + sine * wave[1], cosine * wave[1] - sine * wave[0]])


def together(scene: Scene, likelihoods: Sequence[LikelihoodMap]) -> list[Peak]:
    """Peaks of all angles at once, of about the same length and evenly spread over half a turn.

    Each angle's map is first replaced by the highest value within the tolerance, so the scores of angles can be
    added up at exactly even positions.
    """
    angles = len(likelihoods)
    shape = likelihoods[0].grid.shape
    radius = TOGETHER_TOLERANCE * scene.cutoff
    reach = [max(1, round(radius * size)) for size in shape]
    pooled = torch.stack([_pooled(each.grid, reach) for each in likelihoods])
    rows, columns = (
        torch.fft.fftfreq(size, dtype=torch.float64)[:: max(1, step // 2)] for size, step in zip(shape, reach, strict=True)
    )
    waves = torch.stack(torch.meshgrid(rows, columns, indexing="ij"), dim=-1).reshape(-1, 2)
    length = waves.norm(dim=1)
    waves = waves[(length > LOWEST * scene.cutoff) & (length < HIGHEST * scene.cutoff)]
    waves = waves[waves[:, 0] >= 0]  # the opposite is the same pattern
    sums = []
    for direction in (1, -1):
        turned = torch.stack([rotated(waves.T, direction * math.pi * a / angles).T for a in range(angles)])
        sums.append(sum(_either_way(pooled[a], turned[a]) for a in range(angles)))
    best = torch.stack(sums)
    direction, place = divmod(int(best.argmax()), best.shape[1])
    harmonics = likelihoods[0].harmonics
    sign = 1 if direction == 0 else -1
    expected = [rotated(waves[place], sign * math.pi * a / angles) / harmonics for a in range(angles)]
    peaks = [
        near(scene, each, [wave], 1.5 * radius, "together") for each, wave in zip(likelihoods, expected, strict=True)
    ]
    # Places that are tried: every window over half the annulus, and two directions of turning for more than two angles.
    window = (2 * reach[0] + 1) * (2 * reach[1] + 1) / likelihoods[0].grid.numel()
    area = math.pi * (HIGHEST**2 - LOWEST**2) * scene.cutoff**2
    places = area / 2 / window * (2 if angles > 2 else 1)
    needed = _limit_of_sum(angles, 2 * window, likelihoods[0].curvature, harmonics, places)
    total = float(best.max())
    return [Peak(peak.wave, peak.score if total > needed else 0.0, needed / angles, "together") for peak in peaks]


def _pooled(grid: torch.Tensor, reach: list[int]) -> torch.Tensor:
    """The highest value within `reach` rows and columns, around the edges of the grid too."""
    down, right = reach
    wide = torch.nn.functional.pad(grid[None, None], (right, right, down, down), mode="circular")
    wide = torch.nn.functional.max_pool2d(wide, (2 * down + 1, 1), stride=1)
    return torch.nn.functional.max_pool2d(wide, (1, 2 * right + 1), stride=1)[0, 0]


def _either_way(pooled: torch.Tensor, waves: torch.Tensor) -> torch.Tensor:
    """Values at waves (K, 2) or their opposites, whichever is higher."""
    sizes = torch.tensor(pooled.shape)
    values = []
    for sign in (1, -1):
        index = (sign * waves * sizes).round().long() % sizes
        values.append(pooled[index[:, 0], index[:, 1]])
    return torch.maximum(*values)


def _limit_of_sum(angles: int, area: float, curvature: float, harmonics: int, places: float) -> float:
    """The sum over angles of the highest score in windows of `area` that noise exceeds at one of `places`."""
    step = 0.05
    scores = np.arange(step, 120, step)
    exceed = np.array([min(1.0, expected_peaks(score, area, curvature, harmonics)) for score in scores])
    density = -np.diff(np.exp(-np.minimum.accumulate(exceed)), prepend=0.0)
    density = np.abs(density) / np.abs(density).sum()
    total = density
    for _ in range(angles - 1):
        total = np.convolve(total, density)
    tail = places * np.cumsum(total[::-1])[::-1]
    return float(step * (np.argmax(tail < FALSE_ALARMS) + angles))
