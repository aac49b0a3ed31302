"""Means over cells with bootstrap confidence intervals.

A table has one row per field, arm and metric, with the columns structure, cell, level, arm, metric
and value. Fields of one cell at several light levels show the same specimen and are not
independent, so they are averaged first: the cell is what is drawn and counted.
"""

from dataclasses import dataclass
from typing import cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field, NonNegativeInt, PositiveInt

from sim_models.config import Settings

FEWEST_CELLS = 3
"""with fewer, a bootstrap only repeats the few values there are"""


class Bootstrap(Settings):
    """How intervals are drawn."""

    confidence: float = Field(gt=0, lt=1)
    resamples: PositiveInt
    seed: NonNegativeInt


@dataclass(frozen=True)
class Estimate:
    """A mean over cells and its confidence interval."""

    mean: float
    low: float | None
    """None, as is `high`, with too few cells for an interval"""
    high: float | None
    cells: int

    def __str__(self) -> str:
        if self.low is None or self.high is None:
            return f"{self.mean:.4g} (n = {self.cells}, too few for an interval)"
        return f"{self.mean:.4g} [{self.low:.4g}, {self.high:.4g}] (n = {self.cells})"


def means(table: pd.DataFrame, bootstrap: Bootstrap) -> dict[tuple[str, ...], Estimate]:
    """Estimates by (structure, arm, metric)."""
    by = ["structure", "arm", "metric"]
    return _estimates(table.groupby([*by, "cell"])["value"].mean(), by, bootstrap)


def paired_differences(
    table: pd.DataFrame, arm: str, other: str, bootstrap: Bootstrap
) -> dict[tuple[str, ...], Estimate]:
    """Estimates of `arm` minus `other` by (structure, metric), over the fields that both have."""
    by = ["structure", "metric"]
    fields = table.pivot(index=[*by, "cell", "level"], columns="arm", values="value")
    differences = (fields[arm] - fields[other]).dropna()
    return _estimates(differences.groupby(level=[*by, "cell"]).mean(), by, bootstrap)


def estimate(values: NDArray[np.float64], bootstrap: Bootstrap) -> Estimate:
    """Mean of one value per cell with an expanded percentile bootstrap interval (Efron 1979; Hesterberg 2015)."""
    mean, cells = float(values.mean()), len(values)
    if cells < FEWEST_CELLS:
        return Estimate(mean, None, None, cells)
    from scipy import stats  # a second to import, which reading settings should not cost

    interval = stats.bootstrap(
        (values,),
        np.mean,
        n_resamples=bootstrap.resamples,
        confidence_level=1 - 2 * _tail(bootstrap.confidence, cells),
        method="percentile",
        rng=np.random.default_rng(bootstrap.seed),
    ).confidence_interval
    return Estimate(mean, float(interval.low), float(interval.high), cells)


def crossed_difference(
    own: NDArray[np.float64], other: NDArray[np.float64], bootstrap: Bootstrap
) -> Estimate:
    """Mean of `own` minus `other`, each (seeds, cells), where both the cells and the seeds are a draw of many.

    Cells are drawn anew for both at once, for both restored the same; seeds for each on its own (the pigeonhole
    bootstrap: Owen, Annals of Applied Statistics 1:386, 2007). One seed alone adds nothing to the width.
    """
    mean, cells = float(own.mean() - other.mean()), own.shape[1]
    if cells < FEWEST_CELLS:
        return Estimate(mean, None, None, cells)
    random = np.random.default_rng(bootstrap.seed)
    drawn = random.integers(cells, size=(bootstrap.resamples, cells))
    differences = _redrawn(own, drawn, random) - _redrawn(other, drawn, random)
    tail = _tail(bootstrap.confidence, cells)
    low, high = np.quantile(differences, [tail, 1 - tail])
    return Estimate(mean, float(low), float(high), cells)


def _tail(confidence: float, cells: int) -> float:
    """Share of the redrawn means that lies beyond either end of an interval.

    Means of n values drawn anew scatter less than their mean does, by a root of (n - 1) / n, and know nothing of how
    ill the scatter itself is known from few: six cells would be sure of 95 % and right in 87 %. So the ends lie further
    out, where a t interval has them (the expanded percentile interval: Hesterberg, The American Statistician 69:371,
    2015, section 4.2). Of three or four cells they are the extremes.
    """
    from scipy import stats  # a second to import, which reading settings should not cost

    quantile = stats.t.ppf((1 + confidence) / 2, cells - 1) * np.sqrt(cells / (cells - 1))
    return float(stats.norm.cdf(-quantile))


def _redrawn(
    values: NDArray[np.float64], cells: NDArray[np.int64], random: np.random.Generator
) -> NDArray[np.float64]:
    """Means (R,) over these cells (R, C) and seeds, drawn from (seeds, cells).

    Seeds are two or three, of which as many drawn anew would scatter far too little: of m, m - 1 are drawn, which
    makes up for it (Rao & Wu, JASA 83:231, 1988).
    """
    seeds = random.integers(len(values), size=(len(cells), max(1, len(values) - 1)))
    means: NDArray[np.float64] = values[seeds[:, :, None], cells[:, None, :]].mean(axis=(1, 2))
    return means


def _estimates(
    by_cell: "pd.Series[float]", by: list[str], bootstrap: Bootstrap
) -> dict[tuple[str, ...], Estimate]:
    return {
        cast("tuple[str, ...]", key): estimate(np.asarray(values, np.float64), bootstrap)
        for key, values in by_cell.groupby(level=by)
    }
