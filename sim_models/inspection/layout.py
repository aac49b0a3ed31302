"""How the frames of one stack are to be read: angles, phases and their order."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sim_models.sources.stripes import USUAL_LAYOUTS, Grouping, clear_winner, groupings, stripe_strengths

SAME_BRIGHTNESS = 100.0
"""variance between over within angles; steady bleaching alone reaches 27 (3 x 3 frames)"""


@dataclass(frozen=True)
class Layout:
    """How frames are read."""

    angles: int | None
    phases: int | None
    grouping: Grouping | None = None
    """where the frames decide it"""
    evidence: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    def alternatives(self) -> list[Grouping]:
        """The readings that are left: the one that was decided, else both orders."""
        if self.grouping is not None:
            return [self.grouping]
        if self.angles is None or self.phases is None:
            return []
        return [Grouping(self.angles, self.phases, order) for order in ("angle-major", "phase-major")]


def find_layout(frames: NDArray[np.float32], expected: tuple[int, int] | None, look: bool) -> Layout:
    """Angles, phases and order of one stack of frames (F, Y, X).

    Args:
        frames: in counts, in the order of the file.
        expected: (angles, phases) as a person or the file states them.
        look: whether the frames are good enough to be asked.
    """
    layout = expected or USUAL_LAYOUTS.get(len(frames))
    if layout is None or layout[0] * layout[1] != len(frames):
        return Layout(None, None, problems=(_unknown(len(frames), expected),))
    found = Layout(*layout)
    if not look or layout[0] < 2 or layout[1] < 3:
        return found
    strengths = stripe_strengths(frames, groupings(*layout))
    values = ", ".join(f"{group} {value:.1f}" for group, value in strengths.items())
    told = f"strength of stripes (4 to 6 where none stand out): {values}"
    found = replace(found, evidence=(told,))
    by_stripes = clear_winner(strengths)
    winner = by_stripes or _by_brightness(frames, list(strengths))
    if winner is None:
        return found
    if by_stripes is None:
        told = f"the brightness of the frames decides the order: it comes in steps when read as {winner}"
        found = replace(found, evidence=(*found.evidence, told))
    return replace(
        found,
        angles=winner.angles,
        phases=winner.phases,
        grouping=winner,
    )


def _unknown(num_frames: int, expected: tuple[int, int] | None) -> str:
    if expected:
        angles, phases = expected
        return f"{num_frames} frames, but {angles} angles x {phases} phases need {angles * phases}"
    if num_frames == 7:
        return "7 frames, as in hexagonal SIM, whose three-beam pattern is not supported"
    return (
        f"{num_frames} frames fit no usual layout (3 x 3, 3 x 5, 5 x 5), and their stripes do not say how they hold "
        "several stacks; state angles and phases, or take one stack out"
    )


def _by_brightness(frames: NDArray[np.float32], candidates: list[Grouping]) -> Grouping | None:
    """The grouping whose angles have a brightness of their own, far beyond what bleaching explains."""
    means = frames.mean(axis=(1, 2))
    for grouping in candidates:
        groups = grouping.of(means[:, None, None])[..., 0, 0]
        within = groups.var(axis=1, ddof=1).mean()
        if grouping.phases * groups.mean(axis=1).var(ddof=1) > SAME_BRIGHTNESS * within:
            return grouping
    return None
