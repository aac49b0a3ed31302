"""How many stacks are needed, and how long training takes until it is as good as from scratch."""

import math
from collections.abc import Sequence
from statistics import median

from sim_models.config import Settings
from sim_models.evaluation.intervals import Bootstrap, crossed_difference
from sim_models.transfer.decision import Contender, Repeat


class Enough(Settings):
    """What the learning curves of a fine-tune say of the number of training cells; None where no size did."""

    arm: str
    """the fine-tune, `finetune` or `finetune_equal`"""
    of_itself: int | None
    """the fewest, short of all, with which fine-tuning is surely within the margin of fine-tuning with all"""
    matches_scratch: int | None
    """the fewest with which fine-tuning is surely within the margin of training from scratch with all"""
    scratch_catches_up: int | None
    """the fewest with which training from scratch is surely within the margin of fine-tuning with as many"""


class TimeToQuality(Settings):
    """How soon fine-tuning reaches what training from scratch comes to in the end."""

    arm: str
    """the fine-tune that got there first, `finetune` or `finetune_equal`; the first where neither did"""
    quality_db: float
    """validation PSNR of training from scratch with all cells, at its best look, mean over seeds"""
    scratch_steps: float
    """mean step of that look"""
    scratch_seconds: float
    """up to that look, mean over seeds"""
    reached: int
    """seeds of the fine-tune that got there"""
    seeds: int
    steps: float | None
    """median step of the first look at which it was reached, those that never did counted as later than all others;
    None where they decide it"""
    seconds: float | None

    @property
    def share(self) -> float | None:
        """Of the steps that training from scratch took."""
        return None if self.steps is None else self.steps / self.scratch_steps


def enough(
    finetunes: Sequence[Contender],
    scratches: Sequence[Contender],
    cells: Sequence[str],
    margin_db: float,
    bootstrap: Bootstrap,
) -> Enough:
    """Read the learning curves: a fine-tune and training from scratch with ever more cells, all of them last."""

    def not_worse(one: Contender, other: Contender) -> bool:
        if one.diverged or other.diverged:
            return False
        found = crossed_difference(one.by_cell(cells), other.by_cell(cells), bootstrap)
        return found.low is not None and found.low >= -margin_db

    def first(pairs: Sequence[tuple[Contender, Contender]]) -> int | None:
        return next((one.cells for one, other in pairs if not_worse(one, other)), None)

    return Enough(
        arm=finetunes[0].name,
        of_itself=first([(each, finetunes[-1]) for each in finetunes[:-1]]),
        matches_scratch=first([(each, scratches[-1]) for each in finetunes]),
        scratch_catches_up=first(list(zip(scratches, finetunes, strict=True))),
    )


def time_to_quality(finetunes: Sequence[Contender], scratch: Contender) -> TimeToQuality:
    """Compare curves of fine-tunes with that of training from scratch, all from the same cells."""
    found = [_time_to_quality(each, scratch) for each in finetunes]
    return min(found, key=lambda each: math.inf if each.steps is None else each.steps)


def _seconds_to_best(repeat: Repeat) -> float:
    return next(seconds for step, _, seconds in repeat.curve if step == repeat.best_step)


def _time_to_quality(finetune: Contender, scratch: Contender) -> TimeToQuality:
    quality = sum(max(psnr for _, psnr, _ in each.curve) for each in scratch.sound) / len(scratch.sound)
    firsts = [
        next(((step, seconds) for step, psnr, seconds in each.curve if psnr >= quality), None)
        for each in finetune.repeats
    ]
    reached = [first for first in firsts if first is not None]
    # Without the seeds that never got there, the median would flatter the others.
    never = [math.inf] * (len(firsts) - len(reached))
    steps = median([step for step, _ in reached] + never)
    seconds = median([seconds for _, seconds in reached] + never)
    return TimeToQuality(
        arm=finetune.name,
        quality_db=quality,
        scratch_steps=sum(each.best_step for each in scratch.sound) / len(scratch.sound),
        scratch_seconds=sum(_seconds_to_best(each) for each in scratch.sound) / len(scratch.sound),
        reached=len(reached),
        seeds=len(firsts),
        steps=steps if math.isfinite(steps) else None,
        seconds=seconds if math.isfinite(seconds) else None,
    )
