"""How a list of frames holds several stacks, as of a volume or over time: told by the stripes of the middle one."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from sim_models.inspection.pattern import Pattern, find_pattern
from sim_models.sources.stripes import USUAL_LAYOUTS, Grouping, stripe_strengths, stripe_waves

WEAK = 0.6
"""share of the greatest strength of stripes, below which a reading is out"""

SAME_WAVE_PX = 3.0
"""cycles per field between two angles, below which their stripes are the same"""

UNLIKE = 2.0
"""frames of one angle show one specimen: how far from the most alike reading another may be"""

COARSE_PX = 4.0
"""standard deviation of the blur that takes stripes away, for that comparison"""


@dataclass(frozen=True)
class Arrangement:
    """One way in which a list of frames holds several stacks: its axes, the slowest first."""

    axes: str
    """out of A angle, P phase and Z, section or point in time"""
    sizes: tuple[int, ...]

    @property
    def size(self) -> dict[str, int]:
        """By axis."""
        return dict(zip(self.axes, self.sizes, strict=True))

    def stack(self, frames: NDArray[Any], beside: int = 0) -> NDArray[Any]:
        """The stack in the middle, or so many beside it, (A, P, Y, X)."""
        cube = frames.reshape(*self.sizes, *frames.shape[1:])
        stack = np.take(cube, self.size["Z"] // 2 + beside, axis=self.axes.index("Z"))
        return np.ascontiguousarray(stack.swapaxes(0, 1) if self.axes.replace("Z", "") == "PA" else stack)

    def __str__(self) -> str:
        names = {"A": "angles", "P": "phases", "Z": "sections or points in time"}
        return " x ".join(f"{size} {names[axis]}" for axis, size in zip(self.axes, self.sizes, strict=True))


def stack_among(frames: NDArray[Any], expected: tuple[int, int] | None) -> Arrangement | None:
    """How frames (F, Y, X) hold several stacks; None where their stripes do not decide it.

    A right reading has stripes that are strong, of another direction in every angle and the same as in the section
    before, over one specimen, and with even steps of phase.
    """
    candidates = {
        each: each.stack(frames).astype(np.float32) for each in _arrangements(len(frames), expected)
    }
    usable = {each: stack for each, stack in candidates.items() if (np.ptp(stack, axis=(2, 3)) > 0).all()}
    strengths = {each: _strength(stack) for each, stack in usable.items()}
    left = [
        each
        for each, strength in strengths.items()
        if strength > WEAK * max(strengths.values())
        and _directions_differ(usable[each])
        and _directions_stay(usable[each], each.stack(frames, -1).astype(np.float32))
    ]
    unlike = {each: _unlikeness(usable[each]) for each in left}
    left = [each for each in left if unlike[each] <= UNLIKE * min(unlike.values())]
    if len(left) > 1:
        left = [each for each in left if _even(usable[each])]
    return left[0] if len(left) == 1 else None


def _arrangements(num_frames: int, expected: tuple[int, int] | None) -> Iterator[Arrangement]:
    for angles, phases in [expected] if expected else USUAL_LAYOUTS.values():
        sections, rest = divmod(num_frames, angles * phases)
        if rest or sections < 2:
            continue
        size = {"A": angles, "P": phases, "Z": sections}
        for axes in permutations("AZP"):
            yield Arrangement("".join(axes), tuple(size[axis] for axis in axes))


def _strength(stack: NDArray[np.float32]) -> float:
    grouping = Grouping(stack.shape[0], stack.shape[1], "angle-major")
    return stripe_strengths(stack.reshape(-1, *stack.shape[2:]), [grouping])[grouping]


def _directions_differ(stack: NDArray[np.float32]) -> bool:
    """A wrong reading may take several sections of one angle for several angles."""
    waves = stripe_waves(stack)[0] * stack.shape[2:]
    return all(
        _apart(one, other) > SAME_WAVE_PX for number, one in enumerate(waves) for other in waves[:number]
    )


def _directions_stay(stack: NDArray[np.float32], before: NDArray[np.float32]) -> bool:
    """A wrong reading may take another angle from each section."""
    if not (np.ptp(before, axis=(2, 3)) > 0).all():
        return False
    waves = zip(*stripe_waves(stack, before), strict=True)
    stay = [_apart(*(wave * stack.shape[2:] for wave in pair)) <= SAME_WAVE_PX for pair in waves]
    # In noise the stripes of one angle may be missed; in a wrong reading, none stays.
    return sum(stay) > len(stay) / 2


def _apart(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Distance of two wave vectors, of which either sign says the same."""
    return float(min(np.linalg.norm(one - other), np.linalg.norm(one + other)))


def _unlikeness(stack: NDArray[np.float32]) -> float:
    """How much the frames of an angle differ in what is coarser than stripes."""
    coarse = gaussian_filter(stack, (0, 0, COARSE_PX, COARSE_PX))
    coarse -= coarse.min()
    return float(coarse.std(axis=1).mean() / coarse.mean())


def _even(stack: NDArray[np.float32]) -> bool:
    found = find_pattern(stack - np.percentile(stack.mean(axis=(0, 1)), 1).astype(np.float32), None, None)
    return isinstance(found, Pattern) and found.even_steps
