"""Which frames belong to one angle: told by the stripes themselves."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.fft import fft2, ifft2
from scipy.signal.windows import tukey
from scipy.stats import gmean

USUAL_LAYOUTS = {9: (3, 3), 15: (3, 5), 25: (5, 5)}
"""frames -> (angles, phases) of linear, three-dimensional or non-linear SIM"""

CLEAR = 1.25
"""factor by which the best grouping must beat the next to be believed"""

RING = (0.08, 0.5)
"""cycles/px between which stripes are looked for"""

ANNULI = 10

STRUCTURE_PX = 4.0
"""background and specimen coarser than this standard deviation are taken out before"""


@dataclass(frozen=True)
class Grouping:
    """One way to read a list of frames as angles x phases."""

    angles: int
    phases: int
    order: str

    def of(self, frames: NDArray[np.float32]) -> NDArray[np.float32]:
        """The frames (F, Y, X) as (A, P, Y, X)."""
        if self.order == "angle-major":
            return frames.reshape(self.angles, self.phases, *frames.shape[1:])
        return frames.reshape(self.phases, self.angles, *frames.shape[1:]).swapaxes(0, 1)

    def __str__(self) -> str:
        return f"{self.angles} x {self.phases} {self.order}"


def groupings(angles: int, phases: int) -> list[Grouping]:
    """All readings of angles * phases frames with these two numbers, either way round."""
    return [
        Grouping(*counts, order)
        for counts in sorted({(angles, phases), (phases, angles)})
        for order in ("angle-major", "phase-major")
    ]


def stripe_strengths(frames: NDArray[np.float32], candidates: list[Grouping]) -> dict[Grouping, float]:
    """How far the stripes of each grouping stand out; about 4 to 6 where there are none.

    With equal phase steps, sum_p f_p exp(-2 pi i h p / P) leaves one side band of harmonic h of its angle
    and cancels all else (Gustafsson 2000, J. Microsc. 198:82). Multiplied with the sum over phases, it
    has a peak at the wave vector of the stripes. Frames of different angles do not add up to one peak.

    Args:
        frames: (F, Y, X).
        candidates: groupings to compare.
    """
    sharp = _without_background(frames / frames.mean(axis=(1, 2), keepdims=True))
    frequency = _frequency(frames.shape[1:])
    return {grouping: _strength(grouping.of(sharp), frequency) for grouping in candidates}


def clear_winner(strengths: dict[Grouping, float]) -> Grouping | None:
    """The grouping that beats all others by the factor `CLEAR`."""
    best, next_best = sorted(strengths, key=strengths.__getitem__, reverse=True)[:2]
    return best if strengths[best] > CLEAR * strengths[next_best] else None


def _frequency(shape: tuple[int, ...]) -> NDArray[np.float64]:
    return np.asarray(np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.fftfreq(shape[1])))


def _without_background(frames: NDArray[np.float32]) -> NDArray[np.float32]:
    rows, columns = frames.shape[1:]
    window = np.outer(tukey(rows, 0.3), tukey(columns, 0.3))
    high_pass = 1 - np.exp(-2 * np.square(np.pi * STRUCTURE_PX * _frequency((rows, columns))))
    sharp = ifft2(fft2(frames * window, workers=-1) * high_pass, workers=-1).real
    return np.asarray(sharp, dtype=np.float32)


def stripe_waves(*stacks: NDArray[np.float32]) -> list[NDArray[np.float64]]:
    """Where the stripes of each angle of stacks (A, P, Y, X) seem to be, in the harmonic strongest in the first one.

    (A, 2) cycles/px along y and x for each stack; a wave vector and its negative say the same.
    """
    shape = stacks[0].shape[2:]
    frequency = _frequency(shape)
    all_products = [_products(_sharp(stack)) for stack in stacks]
    peaks = [[_peak(product, frequency) for product in angle] for angle in all_products[0]]
    harmonic = int(np.argmax(gmean(peaks, axis=0)))
    return [_highest(products[:, harmonic], frequency) for products in all_products]


def _sharp(stack: NDArray[np.float32]) -> NDArray[np.float32]:
    relative = stack / stack.mean(axis=(-2, -1), keepdims=True)
    return _without_background(relative.reshape(-1, *stack.shape[2:])).reshape(stack.shape)


def _highest(products: NDArray[np.float64], frequency: NDArray[np.float64]) -> NDArray[np.float64]:
    """Place of the highest value over the median of its annulus, for each angle of (A, Y, X)."""
    rows, columns = (np.fft.fftfreq(size) for size in frequency.shape)
    edges = np.linspace(*RING, ANNULI + 1)
    annulus = np.digitize(frequency, edges)
    places = []
    for product in products:
        height = np.zeros_like(product)
        for number in range(1, len(edges)):
            inside = annulus == number
            height[inside] = product[inside] / max(float(np.median(product[inside])), 1e-30)
        y, x = np.unravel_index(np.argmax(height), height.shape)
        places.append((rows[y], columns[x]))
    return np.array(places)


def _strength(stack: NDArray[np.float32], frequency: NDArray[np.float64]) -> float:
    return float(gmean([max(_peak(product, frequency) for product in angle) for angle in _products(stack)]))


def _products(stack: NDArray[np.float32]) -> NDArray[np.float64]:
    """(A, H, Y, X) spectra in which the stripes of an angle are a peak at their wave vector."""
    phases = stack.shape[1]
    harmonics = [1, 2] if phases >= 5 else [1]
    turns = np.exp(-2j * np.pi * np.outer(harmonics, np.arange(phases)) / phases)
    bands = np.einsum("hp,apyx->ahyx", turns, stack)
    return np.asarray(np.abs(fft2(bands * stack.sum(axis=1)[:, None], workers=-1)))


def _peak(product: NDArray[np.float64], frequency: NDArray[np.float64]) -> float:
    """Highest value over the median of its own annulus, since the background falls with frequency."""
    edges = np.linspace(*RING, ANNULI + 1)
    annulus = np.digitize(frequency, edges)
    heights = [product[annulus == i] for i in range(1, len(edges))]
    return max(float(values.max() / np.median(values)) for values in heights if np.median(values) > 0)
