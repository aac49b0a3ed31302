"""Scores for people: tables with the best marked, differences in words, and what did worse."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import pandas as pd

from sim_models.evaluation.baselines import BASELINES
from sim_models.evaluation.consistency import FLAGGED
from sim_models.evaluation.intervals import Bootstrap, Estimate, means, paired_differences
from sim_models.evaluation.panels import TITLES
from sim_models.evaluation.scores import higher_is_better

MAIN = "psnr_targetrange_noscale"
"""the metric of sentences and pictures"""

NOUNS = {
    "direct": "direct use",
    "finetune": "fine-tuning",
    "finetune_equal": "long fine-tuning",
    "scratch": "training from scratch",
}
"""arms as the subject of a sentence"""


@dataclass(frozen=True)
class Column:
    """A metric as the head of a column, and how its numbers are written."""

    metric: str
    name: str
    unit: str
    decimals: int
    explained: str

    @property
    def higher_is_better(self) -> bool:
        """Which way is up."""
        return higher_is_better(self.metric)


COLUMNS = (
    Column(MAIN, "PSNR", "dB", 2, "peak signal-to-noise ratio, images compared as they are"),
    Column("ssim_targetrange_noscale", "SSIM", "", 3, "structural similarity, images compared as they are"),
    Column(
        "nrmse_std_noscale", "NRMSE", "", 3, "root mean square error in standard deviations of the reference"
    ),
    Column(
        "psnr_targetrange_affine",
        "PSNR, affine",
        "dB",
        2,
        "PSNR after the best gain and offset: structure alone",
    ),
    Column(
        FLAGGED,
        "contradicted",
        "%",
        2,
        "share of the image that the raw frames contradict: it would have given others; a perfect image has none",
    ),
)


@dataclass(frozen=True)
class Entry:
    """One number of a table."""

    estimate: Estimate
    decimals: int
    best: bool
    """has the best mean of its column"""

    @property
    def mean(self) -> str:
        """The mean, rounded."""
        return number(self.estimate.mean, self.decimals)

    @property
    def interval(self) -> str:
        """`[low, high]`, rounded; empty with too few cells."""
        return interval(self.estimate, self.decimals)


@dataclass(frozen=True)
class Row:
    """An arm or baseline with one entry per column."""

    arm: str
    entries: tuple[Entry | None, ...]
    """None where the fields do not allow a metric"""

    @property
    def title(self) -> str:
        """How the arm is called."""
        return TITLES[self.arm]

    @property
    def trained(self) -> bool:
        """Whether it is a network rather than a baseline."""
        return self.arm not in BASELINES


@dataclass(frozen=True)
class Block:
    """The rows of one light level, or of all together."""

    title: str
    rows: tuple[Row, ...]


def blocks(scores: pd.DataFrame, levels: Sequence[str], bootstrap: Bootstrap) -> list[Block]:
    """The score table of one structure: all light levels together, then each on its own.

    `scores` has the columns of `scores.COLUMNS`; means and intervals are over cells.
    """
    together = [Block("all light levels", _rows(scores, bootstrap))] if len(levels) > 1 else []
    return together + [
        Block(f"{level} light", _rows(scores[scores["level"] == level], bootstrap)) for level in levels
    ]


def difference(scores: pd.DataFrame, arm: str, other: str, metric: str, bootstrap: Bootstrap) -> Estimate:
    """Mean over cells of `arm` minus `other`, both restoring the same fields of one structure."""
    pairs = scores[(scores["metric"] == metric) & scores["arm"].isin([arm, other])]
    (estimate,) = paired_differences(pairs, arm, other, bootstrap).values()
    return estimate


def in_words(difference: Estimate, other: str) -> str:
    """A difference in PSNR to `other` as the end of a sentence; never a winner by noise."""
    if difference.low is None or difference.high is None:
        signed = number(difference.mean, 2, signed=True)
        return f"{signed} dB from {other} (test cells: {difference.cells}, too few to say how sure)"
    if difference.low <= 0 <= difference.high:
        signed = number(difference.mean, 2, signed=True)
        return f"no detectable difference from {other} ({signed} dB {interval(difference, 2)})"
    low, high = sorted((abs(difference.low), abs(difference.high)))
    size = f"{abs(difference.mean):.2f} dB [{low:.2f}, {high:.2f}]"
    return f"{size} {'better' if difference.mean > 0 else 'worse'} than {other}"


def worse(scores: pd.DataFrame, arm: str, levels: Sequence[str], bootstrap: Bootstrap) -> list[str]:
    """One sentence for each rival and light level where `arm` does worse by a whole interval.

    With too few cells for an interval a worse mean is told as well: silence would flatter.
    """
    arms = set(scores["arm"])
    rivals = [name for name in TITLES if name in arms and name != arm]
    sentences = []
    for level in levels:
        fields = scores[scores["level"] == level]
        for rival in rivals:
            if losses := ", ".join(_losses(fields, arm, rival, bootstrap)):
                sentences.append(f"At {level} light {_noun(rival)} is better than {_noun(arm)}: {losses}.")
    return sentences


def number(value: float, decimals: int, signed: bool = False) -> str:
    """A rounded number with a true minus sign."""
    return f"{value:{'+' if signed else ''}.{decimals}f}".replace("-", "−")


def interval(estimate: Estimate, decimals: int) -> str:
    """`[low, high]`, rounded; empty with too few cells."""
    if estimate.low is None or estimate.high is None:
        return ""
    return f"[{number(estimate.low, decimals)}, {number(estimate.high, decimals)}]"


def _rows(scores: pd.DataFrame, bootstrap: Bootstrap) -> tuple[Row, ...]:
    shown = scores[scores["metric"].isin([column.metric for column in COLUMNS])]
    estimates = {(arm, metric): found for (_, arm, metric), found in means(shown, bootstrap).items()}
    arms = [arm for arm in reversed(TITLES) if (arm, MAIN) in estimates]
    found = {column: {arm: estimates.get((arm, column.metric)) for arm in arms} for column in COLUMNS}
    best = {column: _best(each.values(), column) for column, each in found.items()}
    return tuple(
        Row(arm, tuple(_entry(found[column][arm], column, best[column]) for column in COLUMNS))
        for arm in arms
    )


def _best(estimates: Iterable[Estimate | None], column: Column) -> float | None:
    means = [estimate.mean for estimate in estimates if estimate is not None]
    return (max if column.higher_is_better else min)(means) if means else None


def _entry(estimate: Estimate | None, column: Column, best: float | None) -> Entry | None:
    return None if estimate is None else Entry(estimate, column.decimals, best=estimate.mean == best)


def _losses(scores: pd.DataFrame, arm: str, rival: str, bootstrap: Bootstrap) -> Iterator[str]:
    for column in COLUMNS:
        measured = scores.loc[scores["metric"] == column.metric, "arm"]
        if not {arm, rival} <= set(measured):
            continue
        found = difference(scores, rival, arm, column.metric, bootstrap)
        if _is_better(found, column.higher_is_better):
            size = number(found.mean, column.decimals, signed=True)
            yield " ".join(filter(None, (column.name, size, column.unit, interval(found, column.decimals))))


def _noun(arm: str) -> str:
    return NOUNS.get(arm, TITLES[arm])


def _is_better(difference: Estimate, higher_is_better: bool) -> bool:
    low = difference.mean if difference.low is None else difference.low
    high = difference.mean if difference.high is None else difference.high
    return low > 0 if higher_is_better else high < 0
