"""Where the stripes are: a likelihood map over all wave vectors, each point against its own noise.

For a known object o, the band D_h of stripes with wave vector q is c * s_q with s_q = otf * (o exp(2 pi i q . r)).
With white noise of variance v, the logarithm of the likelihood ratio of stripes over none is

    T(q) = |<D, s_q>|^2 / (v <s_q, s_q>)

(Kay, Fundamentals of Statistical Signal Processing II (1998), section 7.6, an unknown complex amplitude), and
exponentially distributed where there are no stripes. Numerator and denominator are Fourier transforms of images in
real space, so they are had for all q at once, and at any q between grid points. The noise that counts is measured in
the map itself, in rings of equal |q|. With H harmonics, T is the sum of theirs.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch
from scipy.optimize import brentq
from scipy.special import gammaincc

from sim_models.optics.estimate.scene import Guess, Scene
from sim_models.optics.noise import MEAN_LOG_OF_EXPONENTIAL, power

FINER = 2
"""map points per cycle per field: with 1, a peak between four points loses up to 84 % of its height"""

LOWEST, HIGHEST = 0.3, 1.3
"""of the detection cutoff; the finest harmonic is looked for between them (total internal reflection gives 1.15)"""

FALSE_ALARMS = 1e-3
"""probability that noise alone exceeds the limit of an angle"""

RINGS = 24

ENOUGH_SAMPLES = 40_000
"""of the noise in all rings together"""

GUIDED_TOLERANCE, TOGETHER_TOLERANCE = 0.06, 0.03
"""of the cutoff: how far angles may be from equal spacing and even spread"""

SURE = 0.99
"""share of the likelihood that a peak must hold against its rivals"""

MISMATCH = 0.2
"""share of a rival's score by which a wrong guess of the object may favour one of the two; decides in bright light"""

GIVEN = "given"
"""how peaks near start values were found"""

BESIDE = 3
"""map points around a peak that are still its own"""


@dataclass(frozen=True)
class Peak:
    """A candidate for the stripes of one angle."""

    wave: torch.Tensor
    """(2,) first harmonic along y and x, cycles per pixel"""
    score: float
    limit: float
    rival: float
    """score of the best other place, or of all of them together: the peak must stand out from it"""
    found: str

    @property
    def alone(self) -> bool:
        """Whether no other place is about as likely."""
        return self.score - self.rival > math.log(SURE / (1 - SURE)) + MISMATCH * max(self.rival, 0.0)

    @property
    def accepted(self) -> bool:
        """Whether it is beyond chance, and in one place only."""
        return self.score >= self.limit and self.alone


@dataclass(frozen=True)
class RadialNoise:
    """A level that depends on |q| alone, known at the middle of even rings between two radii."""

    lowest: float
    highest: float
    levels: torch.Tensor

    def at(self, radius: float) -> float:
        """Level at |q| in cycles per pixel, interpolated; constant beyond the outer rings."""
        return float(self.read(self.place(torch.tensor([radius], device=self.levels.device))))

    def place(self, radius: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Ring below each |q|, and how far it is on the way to the next one."""
        steps = len(self.levels)
        place = ((radius - self.lowest) / (self.highest - self.lowest) * steps - 0.5).clamp(0, steps - 1)
        below = place.long().clamp(max=steps - 2)
        return below, place - below

    def read(self, place: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        """Levels at places."""
        below, share = place
        return torch.lerp(self.levels[below], self.levels[below + 1], share.to(self.levels))


class Atlas:
    """What the maps of one field size and cutoff share: where the rings are, and where to look for peaks."""

    def __init__(self, scene: Scene, harmonics: int) -> None:
        self.scene, self.harmonics = scene, harmonics
        self.reach = [scene.cutoff * order / harmonics for order in range(1, harmonics + 1)]
        self._samples = [self._ring_samples(reach) for reach in self.reach]
        self._places: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def _ring_samples(self, reach: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Rows and columns of frequencies in the rings of a harmonic, and the ring of each."""
        ring = ((self.scene.radius / reach - LOWEST) / (HIGHEST - LOWEST) * RINGS).floor()
        rows, columns = ((ring >= 0) & (ring < RINGS)).nonzero(as_tuple=True)
        step = max(1, len(rows) // ENOUGH_SAMPLES)
        rows, columns = rows[::step], columns[::step]
        return rows, columns, ring[rows, columns].long()

    @cached_property
    def searched(self) -> torch.Tensor:
        """(FINER Y, FINER X) 1 for wave vectors of the finest harmonic that are looked at, 0 for others."""
        rows, columns = self.axes
        radius = torch.hypot(rows[:, None].float(), columns.float())
        inside = (radius > LOWEST * self.scene.cutoff) & (radius < HIGHEST * self.scene.cutoff)
        return inside.float()

    @cached_property
    def axes(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Frequencies (FINER Y,) and (FINER X,) of the map, cycles per pixel."""
        rows, columns = (
            torch.fft.fftfreq(FINER * size, dtype=torch.float64, device=self.scene.frames.device)
            for size in self.scene.shape
        )
        return rows, columns

    @property
    def area(self) -> float:
        """Of what is looked at, (cycles per pixel)^2."""
        return float(self.searched.sum()) / self.searched.numel()

    def noise(self, spectrum: torch.Tensor, energy: torch.Tensor, order: int) -> RadialNoise:
        """Mean power of a spectrum over energies, both (Y, X), in rings, from the mean of its logarithm."""
        rows, columns, ring = self._samples[order - 1]
        share = power(spectrum[rows, columns]) / energy[rows, columns]
        counts = torch.bincount(ring, minlength=RINGS)
        means = torch.bincount(ring, share.clamp(min=1e-30).log(), minlength=RINGS) / counts.clamp(min=1)
        held = counts.nonzero()[:, 0]  # rings beyond what the grid holds take the nearest one's level
        means = means[held[(torch.arange(RINGS, device=held.device)[:, None] - held).abs().argmin(dim=1)]]
        reach = self.reach[order - 1]
        return RadialNoise(LOWEST * reach, HIGHEST * reach, (means - MEAN_LOG_OF_EXPONENTIAL).exp().float())

    def spread(self, noise: RadialNoise, order: int) -> torch.Tensor:
        """The noise of a harmonic at every frequency (Y, X)."""
        if order not in self._places:
            self._places[order] = noise.place(self.scene.radius)
        return noise.read(self._places[order])


@dataclass(frozen=True)
class Likelihood:
    """What T of one angle is made from."""

    products: torch.Tensor
    """(H, Y, X) complex: their transforms are <D_h, s_q>"""
    noise: tuple[RadialNoise, ...]
    """(H,) level of |<D_h, s_q>|^2 / <s_q, s_q> where there are no stripes"""
    guess: Guess

    @property
    def harmonics(self) -> int:
        """H."""
        return len(self.products)


def likelihood(atlas: Atlas, bands: torch.Tensor, guess: Guess) -> Likelihood:
    """T for the bands D_1 ... D_H (H, Y, X) of one angle."""
    products = atlas.scene.blurred(bands * atlas.scene.window) * guess.object
    noise = [
        atlas.noise(spectrum, guess.energy, order)
        for order, spectrum in enumerate(torch.fft.fft2(products), start=1)
    ]
    return Likelihood(products, tuple(noise), guess)


@dataclass(frozen=True)
class Map:
    """T of one angle on a grid of wave vectors."""

    likelihood: Likelihood
    grid: torch.Tensor = field(repr=False)
    """(FINER Y, FINER X) over the wave vector of the finest harmonic, order of `torch.fft.fft2`"""

    def limit(self, area: float) -> float:
        """The score that noise alone hardly exceeds in an area, (cycles per pixel)^2."""
        return score_limit(area, self.likelihood.guess.curvature, self.likelihood.harmonics)


def mapped(atlas: Atlas, likelihood: Likelihood) -> Map:
    """T everywhere."""
    shape, grids = atlas.scene.shape, []
    for order, (product, level) in enumerate(
        zip(likelihood.products, likelihood.noise, strict=True), start=1
    ):
        values = power(torch.fft.fft2(product, s=[FINER * size for size in shape]))
        scale = likelihood.guess.energy * atlas.spread(level, order)
        blocks = values.view(shape[0], FINER, shape[1], FINER)
        grids.append(blocks.div_(scale[:, None, :, None]).view_as(values))
    grid = grids[-1]
    for order, coarser in enumerate(grids[:-1], start=1):
        grid = grid + _stretched(coarser, order, atlas.harmonics)
    return Map(likelihood, grid)


def noise_left(
    atlas: Atlas, band: torch.Tensor, guess: Guess, striped: torch.Tensor, wave: torch.Tensor
) -> float:
    """Level of the finest harmonic's noise at `wave` with the stripes `striped` taken out of its band, both (Y, X).

    In bright frames most of what surrounds a peak is not noise but the peak's own wings.
    """
    scene, order = atlas.scene, atlas.harmonics
    seen, expected = band * scene.window, striped * scene.window
    share = torch.vdot(striped.flatten(), seen.flatten()) / torch.vdot(striped.flatten(), expected.flatten())
    product = scene.blurred(seen - share * expected) * guess.object
    level = atlas.noise(torch.fft.fft2(product), guess.energy, order)
    return level.at(float((order * wave).norm()))


def _stretched(grid: torch.Tensor, order: int, harmonics: int) -> torch.Tensor:
    """A grid over the wave vector of `order` read at that of the finest harmonic, by the nearest point."""
    places = []
    for size in grid.shape:
        frequency = torch.fft.fftfreq(size, 1 / size, device=grid.device) * order / harmonics
        places.append(frequency.round().long() % size)
    return grid[places[0]][:, places[1]]


def expected_peaks(threshold: float, area: float, curvature: float, harmonics: int) -> float:
    """Expected number of places where noise alone exceeds a threshold.

    Worsley, Adv. Appl. Probab. 26 (1994) 13, for a chi-squared field with 2 H degrees of freedom: the terms of two
    dimensions, of one (the border of a square of the same area) and of none.

    Args:
        threshold: in units of T, which is half a chi-squared.
        area: searched, (cycles per pixel)^2.
        curvature: of the field, see `Guess`; pixels squared.
        harmonics: H.
    """
    shape = threshold ** (harmonics - 1) / math.factorial(harmonics - 1) * math.exp(-threshold)
    cells = area * curvature / (2 * math.pi)
    surface = cells * shape * max(2 * threshold - (2 * harmonics - 1), 0.0)
    border = 2 * math.sqrt(cells) * shape * math.sqrt(2 * threshold)
    return surface + border + float(gammaincc(harmonics, threshold))


def score_limit(area: float, curvature: float, harmonics: int, false_alarms: float = FALSE_ALARMS) -> float:
    """The score that noise alone exceeds with the probability `false_alarms`."""

    def excess(score: float) -> float:
        return math.log(expected_peaks(score, area, curvature, harmonics) / false_alarms)

    return float(brentq(excess, 2.0 * harmonics, 500.0, xtol=1e-3))


def strongest(atlas: Atlas, seen: Map) -> Peak:
    """The highest peak anywhere between the lowest and the highest wave vector.

    Where little is seen, and that in a few bright spots, another place may be about as likely.
    """
    grid = seen.grid * atlas.searched
    wave, score, place = _highest(atlas, grid)
    height, width = grid.shape
    beside = torch.arange(-BESIDE, BESIDE + 1, device=grid.device)
    grid[((place[0] + beside) % height)[:, None], (place[1] + beside) % width] = 0
    return Peak(wave, score, seen.limit(atlas.area), float(grid.max()), "alone")


def near(atlas: Atlas, seen: Map, expected: Sequence[torch.Tensor], tolerance: float, found: str) -> Peak:
    """The highest peak within `tolerance` (cycles per pixel) of expected waves (2,), either way round."""
    mask = _around(atlas, expected, tolerance)
    wave, score, _ = _highest(atlas, seen.grid * mask)
    others = mask & ~_around(atlas, [wave], BESIDE / FINER / min(atlas.scene.shape))
    rivals = seen.grid[others]
    rival = float(torch.logsumexp(rivals, 0)) - math.log(FINER**2) if len(rivals) else -math.inf
    area = float(mask.sum()) / mask.numel()
    return Peak(wave, score, seen.limit(area), rival, found)


def _highest(atlas: Atlas, grid: torch.Tensor) -> tuple[torch.Tensor, float, tuple[int, int]]:
    """Wave vector of the first harmonic, height and place of the highest point of a grid."""
    row = int(grid.amax(dim=1).argmax())
    column = int(grid[row].argmax())
    wave = torch.stack([atlas.axes[0][row], atlas.axes[1][column]]).cpu() / atlas.harmonics
    return wave, float(grid[row, column]), (row, column)


def _around(atlas: Atlas, waves: Sequence[torch.Tensor], tolerance: float) -> torch.Tensor:
    """Mask of the map: within `tolerance` of the finest harmonic of one of `waves` or of its opposite."""
    rows, columns = atlas.axes
    mask = torch.zeros(len(rows), len(columns), dtype=torch.bool, device=rows.device)
    for wave in waves:
        for sign in (1, -1):
            centre = (sign * atlas.harmonics * wave).tolist()
            mask |= (rows[:, None] - centre[0]).square() + (columns - centre[1]).square() < tolerance**2
    return mask


def rotated(wave: torch.Tensor, turn_rad: float) -> torch.Tensor:
    """A wave vector (2, ...) (y, x) turned from x towards y."""
    cosine, sine = math.cos(turn_rad), math.sin(turn_rad)
    return torch.stack([cosine * wave[0] + sine * wave[1], cosine * wave[1] - sine * wave[0]])


def together(atlas: Atlas, maps: Sequence[Map]) -> list[Peak]:
    """Peaks of all angles at once, of about the same length and evenly spread over half a turn.

    Each map is replaced by the highest value within the tolerance of every point, so the scores of angles can be
    added up at exactly even positions. Each angle's own peak is taken nearby; where the sum is within chance, the
    limits are raised so that none of them passes.
    """
    angles, scene = len(maps), atlas.scene
    tolerance = TOGETHER_TOLERANCE * scene.cutoff
    reach = [max(1, round(tolerance * len(axis))) for axis in atlas.axes]
    pooled = [_pooled(each.grid, reach) for each in maps]
    rows, columns = (axis[:: max(1, step // 2)] for axis, step in zip(atlas.axes, reach, strict=True))
    waves = torch.stack(torch.meshgrid(rows, columns, indexing="ij")).flatten(1)
    length = waves.norm(dim=0)
    kept = (length > LOWEST * scene.cutoff) & (length < HIGHEST * scene.cutoff) & (waves[0] >= 0)
    waves = waves[:, kept]  # the opposite is the same pattern
    turns = [[sign * math.pi * angle / angles for angle in range(angles)] for sign in (1, -1)]
    sums = torch.stack(
        [
            torch.stack(
                [_either_way(grid, rotated(waves, turn)) for grid, turn in zip(pooled, each, strict=True)]
            ).sum(0)
            for each in turns
        ]
    )
    sense, place = divmod(int(sums.argmax()), sums.shape[1])
    window = math.prod(2 * step + 1 for step in reach) / atlas.searched.numel()
    places = atlas.area / 2 / window * (len(turns) if angles > 2 else 1)
    needed = _limit_of_sum(angles, 2 * window, maps[0].likelihood.guess.curvature, atlas.harmonics, places)
    peaks = [
        near(
            atlas, each, [rotated(waves[:, place].cpu(), turn) / atlas.harmonics], 1.5 * tolerance, "together"
        )
        for each, turn in zip(maps, turns[sense], strict=True)
    ]
    share = max(float(sums.max()), 1e-9) / needed  # copies of one frame hold nothing at all
    return [replace(peak, limit=max(peak.limit, peak.score / share)) for peak in peaks]


def _pooled(grid: torch.Tensor, reach: Sequence[int]) -> torch.Tensor:
    """The highest value within `reach` rows and columns, around the edges of the grid too."""
    down, right = reach
    wide = torch.nn.functional.pad(grid[None, None], (right, right, down, down), mode="circular")
    wide = torch.nn.functional.max_pool2d(wide, (2 * down + 1, 1), stride=1)
    return torch.nn.functional.max_pool2d(wide, (1, 2 * right + 1), stride=1)[0, 0]


def _either_way(pooled: torch.Tensor, waves: torch.Tensor) -> torch.Tensor:
    """Values at waves (2, K) or at their opposites, whichever is higher."""
    values = []
    for sign in (1, -1):
        row, column = (
            (sign * wave * size).round().long() % size for wave, size in zip(waves, pooled.shape, strict=True)
        )
        values.append(pooled[row, column])
    return torch.maximum(*values)


def _limit_of_sum(angles: int, area: float, curvature: float, harmonics: int, places: float) -> float:
    """What the sum over angles of the highest score in a window of `area` exceeds by chance at one of `places`."""
    step = 0.05
    scores = np.arange(step, 120, step)
    exceeded = np.array([min(1.0, expected_peaks(score, area, curvature, harmonics)) for score in scores])
    density = np.abs(np.diff(np.exp(-np.minimum.accumulate(exceeded)), prepend=0.0))
    total = density = density / density.sum()
    for _ in range(angles - 1):
        total = np.convolve(total, density)
    by_chance = places * np.cumsum(total[::-1])[::-1]
    return float(step * (np.argmax(by_chance < FALSE_ALARMS) + angles))
