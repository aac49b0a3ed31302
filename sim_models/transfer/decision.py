"""Which of several ways to get a model: the cheapest that is surely not worse than any other by more than a margin.

Every way was trained with several seeds and scored on the same validation cells. What a difference is sure of is told
by drawing cells and seeds anew, both at once; a difference that the evidence does not settle is called so. The one with
the highest mean has no privilege: of several that are alike, one always comes out on top.
"""

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import NonNegativeFloat, NonNegativeInt

from sim_models.config import Settings
from sim_models.evaluation.intervals import FEWEST_CELLS, Bootstrap, crossed_difference
from sim_models.training.loop import DIVERGED_DB

FEWEST_SEEDS = 2
"""with one, nothing says how much luck is in a training"""

Standing = Literal["not worse", "worse", "unclear"]


class Repeat(Settings):
    """One training with one seed."""

    seed: NonNegativeInt
    steps: NonNegativeInt
    """until patience ran out, or all of them"""
    best_step: NonNegativeInt
    seconds: float
    psnrs: tuple[float, ...]
    """dB, of every validation field with the best weights; `DIVERGED_DB` where there were none"""
    curve: tuple[tuple[int, float, float], ...]
    """(step, validation PSNR in dB, seconds) of every look"""

    @property
    def val_psnr(self) -> float:
        """Mean over the validation fields, in dB."""
        return float(np.mean(self.psnrs))

    @property
    def diverged(self) -> bool:
        """Whether no look gave a finite score."""
        return self.val_psnr <= DIVERGED_DB


class Contender(Settings):
    """One way to get a model of the target, trained with every seed of the study."""

    name: str
    cells: NonNegativeInt
    """training cells it learned from; 0 where nothing was trained"""
    frozen: str
    """the frozen stages, for people: `none`, `intro`, `enc1-middle`, `all`"""
    learning_rate: float | None
    budget: NonNegativeInt
    """steps it might take"""
    tflop: NonNegativeFloat
    """floating-point operations of one training, early stopping counted, mean over seeds, in 10^12"""
    repeats: tuple[Repeat, ...]

    @property
    def sound(self) -> tuple[Repeat, ...]:
        """The trainings that did not diverge."""
        return tuple(each for each in self.repeats if not each.diverged)

    @property
    def diverged(self) -> tuple[int, ...]:
        """Seeds with which training came to nothing."""
        return tuple(each.seed for each in self.repeats if each.diverged)

    @property
    def val_psnr(self) -> float:
        """Mean over validation fields and those seeds that did not diverge, in dB; `DIVERGED_DB` if all did."""
        return float(np.mean([each.val_psnr for each in self.sound or self.repeats]))

    @property
    def steps(self) -> float:
        """Of one training, mean over seeds."""
        return float(np.mean([each.steps for each in self.repeats]))

    @property
    def seconds(self) -> float:
        """Of one training, mean over seeds."""
        return float(np.mean([each.seconds for each in self.repeats]))

    @property
    def spread(self) -> tuple[float, float]:
        """Lowest and highest seed that did not diverge, in dB."""
        values = [each.val_psnr for each in self.sound or self.repeats]
        return min(values), max(values)

    def by_cell(self, cells: Sequence[str]) -> NDArray[np.float64]:
        """PSNR (seeds, cells) in dB, mean over the fields of a cell; `cells` names that of every field.

        Without seeds that diverged, which are told apart from a difference in quality.
        """
        psnrs = np.array([each.psnrs for each in self.sound or self.repeats])
        names = np.array(cells)
        return np.stack([psnrs[:, names == name].mean(axis=1) for name in sorted(set(cells))], axis=1)


class Difference(Settings):
    """A contender minus another."""

    against: str
    mean: float
    """dB"""
    low: float | None
    """None, as is `high`, with too few cells for an interval"""
    high: float | None
    cells_needed: int | None
    """validation cells that would, in four of five studies, settle whether the other is better by more than the margin;
    None where no number of cells would, but perhaps more seeds"""


class Comparison(Settings):
    """How a contender stands among all."""

    name: str
    to_best: Difference
    """to the one with the highest mean; nothing for that one itself"""
    standing: Standing
    """than any other by more than the margin"""
    diverged: tuple[NonNegativeInt, ...]
    """seeds"""
    doubt: Difference | None
    """to the one of which it cannot be told whether it is better by more than the margin; the worst, if several"""


class Decision(Settings):
    """What to use, and how sure that is."""

    chosen: str
    best: str
    """has the highest mean; that alone means nothing"""
    margin_db: float
    verdict: Literal["decided", "no difference", "inconclusive"]
    cells: int
    """validation cells it rests on"""
    seeds: int
    """the fewest of those that were trained"""
    comparisons: tuple[Comparison, ...]
    """the cheapest first"""

    def of(self, name: str) -> Comparison:
        """How a contender stands."""
        return next(each for each in self.comparisons if each.name == name)

    @property
    def cheaper(self) -> tuple[Comparison, ...]:
        """What costs less than the chosen one; what costs more need not be settled, for nobody would pay for it."""
        return self.comparisons[: [each.name for each in self.comparisons].index(self.chosen)]

    @property
    def unclear(self) -> list[Comparison]:
        """What makes it inconclusive: the cheaper that may do as well, the chosen one if nothing surely does."""
        return [each for each in (*self.cheaper, self.of(self.chosen)) if each.standing == "unclear"]


def decide(
    contenders: Sequence[Contender], cells: Sequence[str], margin_db: float, bootstrap: Bootstrap
) -> Decision:
    """Choose the cheapest contender that is surely no more than `margin_db` below any other.

    It is decided when that one is there and all that is cheaper is surely worse. Where nothing is surely good enough,
    it is inconclusive, and the cheapest that is surely within the margin of the highest mean stands in. A contender
    that diverged with any seed is worse by that alone.

    Args:
        contenders: ways to get a model.
        cells: the cell of every validation field.
        margin_db: what a saving of compute may cost.
        bootstrap: how intervals are drawn.
    """
    reliable = [each for each in contenders if not each.diverged]
    best = max(reliable or contenders, key=lambda each: each.val_psnr)
    by_cost = sorted(contenders, key=lambda each: (each.tflop, each.name))
    rivals = reliable or [best]
    comparisons = {each.name: _compare(each, best, rivals, cells, margin_db, bootstrap) for each in by_cost}
    good = [each for each in by_cost if comparisons[each.name].standing == "not worse"]
    near_best = [
        each for each in by_cost if _standing(comparisons[each.name].to_best, margin_db) == "not worse"
    ]
    found = Decision(
        chosen=[*good, *near_best, best][0].name,
        best=best.name,
        margin_db=margin_db,
        verdict="decided",
        cells=len(set(cells)),
        seeds=min((len(each.repeats) for each in contenders if each.budget), default=1),
        comparisons=tuple(comparisons.values()),
    )
    if found.unclear:
        return found.model_copy(update={"verdict": "inconclusive"})
    alike = len(good) == len(contenders) > 1
    return found.model_copy(update={"verdict": "no difference"}) if alike else found


def _compare(
    contender: Contender,
    best: Contender,
    rivals: Sequence[Contender],
    cells: Sequence[str],
    margin_db: float,
    bootstrap: Bootstrap,
) -> Comparison:
    """Against every rival: it takes one that is surely better to be worse, and all of them to be not worse."""
    others = {
        each.name: _difference(contender, each, cells, margin_db, bootstrap)
        for each in rivals
        if each is not contender
    }
    standings = {name: _standing(each, margin_db) for name, each in others.items()}
    if any(len(each.repeats) < FEWEST_SEEDS for each in (contender, *rivals) if each.budget):
        standings = dict.fromkeys(others, "unclear")
    standing: Standing = "not worse"
    if contender.diverged or "worse" in standings.values():
        standing = "worse"
    elif "unclear" in standings.values():
        standing = "unclear"
    doubts = [others[name] for name in others if standing == standings[name] == "unclear"]
    same = Difference(against=best.name, mean=0.0, low=0.0, high=0.0, cells_needed=None)
    return Comparison(
        name=contender.name,
        to_best=others.get(best.name, same),
        standing=standing,
        diverged=contender.diverged,
        doubt=min(doubts, key=lambda each: each.mean if each.low is None else each.low, default=None),
    )


def _difference(
    own: Contender, other: Contender, cells: Sequence[str], margin_db: float, bootstrap: Bootstrap
) -> Difference:
    first, second = own.by_cell(cells), other.by_cell(cells)
    found = crossed_difference(first, second, bootstrap)
    spread = float(np.std(first.mean(0) - second.mean(0), ddof=1)) if found.cells > 1 else math.nan
    of_seeds = math.hypot(
        *(np.std(each.mean(1)) / math.sqrt(max(1, len(each) - 1)) for each in (first, second))
    )
    needed = cells_needed(found.mean + margin_db, spread, of_seeds, bootstrap.confidence, found.cells)
    return Difference(
        against=other.name, mean=found.mean, low=found.low, high=found.high, cells_needed=needed
    )


def _standing(found: Difference, margin_db: float) -> Standing:
    if found.low is None or found.high is None:
        return "unclear"
    if found.low >= -margin_db:
        return "not worse"
    return "worse" if found.high < -margin_db else "unclear"


POWER = 0.8
"""share of studies of that size that would be settled, if the difference is what it seems"""


def cells_needed(
    distance_db: float, spread_db: float, of_seeds_db: float, confidence: float, cells: int
) -> int | None:
    """Cells for which the interval of a mean would most likely leave the margin outside.

    With n cells its variance is s^2 / n and what seeds add, which more cells do not lessen. The distance of the mean
    from the margin must be z times its root, with z the sum of the quantiles of confidence and power. At least one
    more than there are; None where seeds alone are too much, or the spread is not known.

    Args:
        distance_db: of the mean from the margin.
        spread_db: standard deviation over cells.
        of_seeds_db: standard error that is due to the seeds.
        confidence: of the interval, 0 to 1.
        cells: that there are.
    """
    z = NormalDist().inv_cdf(0.5 + confidence / 2) + NormalDist().inv_cdf(POWER)
    variance = (distance_db / z) ** 2 - of_seeds_db**2
    if not math.isfinite(spread_db) or variance < 1e-12:
        return None
    return max(cells + 1, FEWEST_CELLS, math.ceil(spread_db**2 / variance))
