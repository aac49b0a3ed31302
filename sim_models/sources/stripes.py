"""Which frames belong to one angle: told by the stripes themselves."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal.windows import tukey
from scipy.stats import gmean

CLEAR = 1.25
"""factor by which the best grouping must beat the next to be believed"""

RING = (0.08, 0.5)
"""cycles/px between which stripes are looked for"""

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
    return np.fft.ifft2(np.fft.fft2(frames * window) * high_pass).real.astype(np.float32)


def _strength(stack: NDArray[np.float32], frequency: NDArray[np.float64]) -> float:
    phases = stack.shape[1]
    harmonics = [1, 2] if phases >= 5 else [1]
    turns = np.exp(-2j * np.pi * np.outer(harmonics, np.arange(phases)) / phases)
    bands = np.einsum("hp,apyx->ahyx", turns, stack)
    products = np.abs(np.fft.fft2(bands * stack.sum(axis=1)[:, None]))
    return float(gmean([max(_peak(product, frequency) for product in angle) for angle in products]))


def _peak(product: NDArray[np.float64], frequency: NDArray[np.float64]) -> float:
    """Highest value over the median of its own annulus, since the background falls with frequency."""
    edges = np.linspace(*RING, 11)
    annulus = np.digitize(frequency, edges)
    heights = [product[annulus == i] for i in range(1, len(edges))]
    return max(float(values.max() / np.median(values)) for values in heights if np.median(values) > 0)
