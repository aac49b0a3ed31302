"""Which of several ways to get a model: the cheapest that is surely not worse than the best by more than a margin.

Every way was trained with several seeds and scored on the same validation cells. What a difference is sure of is told
by drawing cells and seeds anew, both at once; a difference that the evidence does not settle is called so.
"""

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import NonNegativeFloat, NonNegativeInt

from sim_models.config import Settings
from sim_models.evaluation.intervals import FEWEST_CELLS, Bootstrap, Estimate, crossed_difference


class Repeat(Settings):
    """One training with one seed."""

    seed: NonNegativeInt
    steps: NonNegativeInt
    """until patience ran out, or all of them"""
    best_step: NonNegativeInt
    seconds: float
    psnrs: tuple[float, ...]
    """dB, of every validation field with the best weights"""
    curve: tuple[tuple[int, float, float], ...]
    """(step, validation PSNR in dB, seconds) of every look"""

    @property
    def val_psnr(self) -> float:
        """Mean over the validation fields, in dB."""
        return float(np.mean(self.psnrs))


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
    def val_psnr(self) -> float:
        """Mean over seeds and validation fields, in dB."""
        return float(np.mean([each.val_psnr for each in self.repeats]))

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
        """Lowest and highest seed, in dB."""
        values = [each.val_psnr for each in self.repeats]
        return min(values), max(values)

    def by_cell(self, cells: Sequence[str]) -> NDArray[np.float64]:
        """PSNR (seeds, cells) in dB, mean over the fields of a cell; `cells` names that of every field."""
        psnrs = np.array([each.psnrs for each in self.repeats])
        names = np.array(cells)
        return np.stack([psnrs[:, names == name].mean(axis=1) for name in sorted(set(cells))], axis=1)


class Comparison(Settings):
    """A contender against the best."""

    name: str
    mean: float
    """dB, contender minus best"""
    low: float | None
    """None, as is `high`, with too few cells for an interval"""
    high: float | None
    standing: Literal["not worse", "worse", "unclear"]
    """than the best by more than the margin"""
    cells_needed: int | None
    """validation cells that would settle it in four of five studies, where it is unclear; None where no number of
    cells would, but perhaps more seeds"""


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
    comparisons: tuple[Comparison, ...]

    def of(self, name: str) -> Comparison:
        """How a contender compares with the best."""
        return next(each for each in self.comparisons if each.name == name)

    @property
    def unclear(self) -> list[Comparison]:
        """Cheaper than what was chosen, and perhaps as good."""
        return [each for each in self.comparisons if each.standing == "unclear"]


def decide(
    contenders: Sequence[Contender], cells: Sequence[str], margin_db: float, bootstrap: Bootstrap
) -> Decision:
    """Choose the cheapest contender that is surely no more than `margin_db` below the best.

    Args:
        contenders: ways to get a model.
        cells: the cell of every validation field.
        margin_db: what a saving of compute may cost.
        bootstrap: how intervals are drawn.
    """
    best = max(contenders, key=lambda each: each.val_psnr)
    by_cost = sorted(contenders, key=lambda each: (each.tflop, each.name))
    comparisons = {each.name: _compare(each, best, cells, margin_db, bootstrap) for each in contenders}
    chosen = next(each for each in by_cost if comparisons[each.name].standing == "not worse")
    cheaper = [each.name for each in by_cost[: by_cost.index(chosen)]]
    # What is dearer than the chosen one need not be settled: nobody would pay for it.
    unclear = [name for name in cheaper if comparisons[name].standing == "unclear"]
    same = all(each.standing == "not worse" for each in comparisons.values()) and len(contenders) > 1
    return Decision(
        chosen=chosen.name,
        best=best.name,
        margin_db=margin_db,
        verdict="inconclusive" if unclear else "no difference" if same else "decided",
        cells=len(set(cells)),
        seeds=max(len(each.repeats) for each in contenders),
        comparisons=tuple(comparisons[each.name] for each in by_cost),
    )


def _compare(
    contender: Contender, best: Contender, cells: Sequence[str], margin_db: float, bootstrap: Bootstrap
) -> Comparison:
    if contender is best:
        return Comparison(
            name=best.name, mean=0.0, low=0.0, high=0.0, standing="not worse", cells_needed=None
        )
    own, other = contender.by_cell(cells), best.by_cell(cells)
    found = crossed_difference(own, other, bootstrap)
    standing = _standing(found, margin_db)
    needed = None
    if standing == "unclear":
        spread = float(np.std(own.mean(0) - other.mean(0), ddof=1)) if own.shape[1] > 1 else math.nan
        of_seeds = math.hypot(*(np.std(each.mean(1)) / math.sqrt(max(1, len(each) - 1)) for each in (own, other)))
        distance = found.mean + margin_db
        needed = cells_needed(distance, spread, of_seeds, bootstrap.confidence, found.cells)
    return Comparison(
        name=contender.name,
        mean=found.mean,
        low=found.low,
        high=found.high,
        standing=standing,
        cells_needed=needed,
    )


def _standing(found: Estimate, margin_db: float) -> Literal["not worse", "worse", "unclear"]:
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
