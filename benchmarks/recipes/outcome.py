"""What the sealed test cells said of every model of a study, as rows of tables."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from cost import Cost
from plan import UNPUBLISHED

from pipelines.shared.params import Params
from sim_models.evaluation.baselines import BASELINES
from sim_models.evaluation.consistency import CHI2, FLAGGED
from sim_models.evaluation.intervals import Bootstrap, Estimate, means, paired_differences
from sim_models.evaluation.panels import TITLES
from sim_models.evaluation.report import MAIN
from sim_models.evaluation.scores import DECORRELATION

OURS = "wiener_nafnet"
AFFINE, SSIM = "psnr_targetrange_affine", "ssim_targetrange_noscale"
SHOWN = (MAIN, AFFINE, SSIM, DECORRELATION, CHI2, FLAGGED)
BETTER_UP = {MAIN: True, SSIM: True, FLAGGED: False}
"""metrics in which something may be called worse, and which way is up"""


@dataclass(frozen=True)
class Row:
    """One model or baseline on the test cells of one structure."""

    key: str
    title: str
    version: str
    """`corrected`, `as published`, `ours`, or `baseline`"""
    steps: int | None
    cost: Cost | None
    overall: dict[str, Estimate]
    """by metric, both light levels of a cell averaged first"""
    psnr: dict[str, Estimate]
    """by light level"""
    minus: Estimate | None
    """difference in PSNR to what the table compares with"""


@dataclass(frozen=True)
class Table:
    """All rows of one structure, by the same reference, the best first; `scores` has them by key."""

    structure: str
    scores: pd.DataFrame
    rows: tuple[Row, ...]
    rival: str
    """key of what differences are to"""

    def row(self, key: str) -> Row | None:
        """A row by its key."""
        return next((row for row in self.rows if row.key == key), None)

    @property
    def ours(self) -> str | None:
        """The key of our recipe, where it is in this table."""
        return next((row.key for row in self.rows if row.title == OURS), None)

    def of(self, version: str) -> list[Row]:
        """Rows of one version."""
        return [row for row in self.rows if row.version == version]

    def pairs(self) -> Iterator[tuple[Row, Row]]:
        """Every recipe, corrected and as published."""
        for row in self.of("corrected"):
            for other in self.of("as published"):
                if other.title == row.title:
                    yield row, other


def tables(study: Path, params: Params, costs: dict[str, Cost]) -> list[Table]:
    """One for every structure with models that learn from pairs of raw stacks."""
    found: dict[str, list[str]] = {}
    for key in params.models:
        if judged_as(params, key) == "image":
            found.setdefault(base(params, key), []).append(key)
    made = []
    for structure, keys in found.items():
        scores = pd.concat([_scores(study, key, baselines=key == keys[0]) for key in keys], ignore_index=True)
        ours = next((key for key in keys if params.models[key].recipe.named == OURS), "reconstruction")
        made.append(_table(structure, scores, params, costs, ours))
    return made


def alone(study: Path, params: Params, costs: dict[str, Cost]) -> list[tuple[str, Table]]:
    """Of each other model, what it is judged by and a table with the baselines, differences to `bicubic`."""
    made = []
    for key in params.models:
        what = judged_as(params, key)
        if what != "image":
            scores = _scores(study, key, baselines=True)
            made.append((what, _table(base(params, key), scores, params, costs, "bicubic")))
    return made


def judged_as(params: Params, key: str) -> str:
    """`image`: against the reference; `denoised`: against the field without noise; `srrf`."""
    task = params.models[key].recipe.in_full().task
    if task.target == "srrf":
        return "srrf"
    return "denoised" if task.gives == "denoised" else "image"


def base(params: Params, key: str) -> str:
    """The structure of a model, also where its fields are derived from that."""
    name = params.models[key].structure
    return params.derived[name].structure if name in params.derived else name


def difference(
    scores: pd.DataFrame,
    arm: str,
    other: str,
    bootstrap: Bootstrap,
    metric: str = MAIN,
    level: str | None = None,
) -> Estimate | None:
    """Mean over cells of `arm` minus `other`; None where one of them has no such number."""
    chosen = scores[(scores["metric"] == metric) & scores["arm"].isin([arm, other])].dropna(subset="value")
    if level is not None:
        chosen = chosen[chosen["level"] == level]
    if set(chosen["arm"]) != {arm, other}:
        return None
    (found,) = paired_differences(chosen, arm, other, bootstrap).values()
    return found


def sure(found: Estimate | None) -> int:
    """1 above zero, -1 below it by a whole interval; else 0, as with too few cells for an interval."""
    if found is None or found.low is None or found.high is None:
        return 0
    return int(found.low > 0) - int(found.high < 0)


def _scores(study: Path, key: str, baselines: bool) -> pd.DataFrame:
    """Of one model by its key, with or without those of the baselines beside it."""
    table = pd.read_csv(study / "reports" / "models" / key / "details" / "scores.csv")
    table = table[table["metric"].isin(SHOWN)]
    kept = (
        table[table["arm"].isin(["scratch", *BASELINES])] if baselines else table[table["arm"] == "scratch"]
    )
    return kept.assign(arm=kept["arm"].replace("scratch", key))


def _table(structure: str, scores: pd.DataFrame, params: Params, costs: dict[str, Cost], rival: str) -> Table:
    bootstrap = params.evaluation.bootstrap
    finite = scores.dropna(subset="value")
    overall = _by_arm(finite, bootstrap)
    levels = {
        level: _by_arm(finite[(finite["level"] == level) & (finite["metric"] == MAIN)], bootstrap)
        for level in params.acquisition.levels
    }
    rows = [
        Row(
            key=arm,
            title=params.models[arm].recipe.named if arm in params.models else TITLES[arm],
            version=_version(params, arm),
            steps=params.models[arm].training.steps if arm in params.models else None,
            cost=costs.get(arm),
            overall=of_all,
            psnr={level: of_level[arm][MAIN] for level, of_level in levels.items() if arm in of_level},
            minus=None if arm == rival else difference(finite, arm, rival, bootstrap),
        )
        for arm, of_all in overall.items()
        if MAIN in of_all
    ]
    best_first = sorted(rows, key=lambda row: row.overall[MAIN].mean, reverse=True)
    return Table(structure, finite, tuple(best_first), rival)


def _by_arm(scores: pd.DataFrame, bootstrap: Bootstrap) -> dict[str, dict[str, Estimate]]:
    found: dict[str, dict[str, Estimate]] = {}
    for (_, arm, metric), estimate in means(scores, bootstrap).items():
        found.setdefault(arm, {})[metric] = estimate
    return found


def _version(params: Params, arm: str) -> str:
    if arm not in params.models:
        return "baseline"
    choice = params.models[arm].recipe
    if choice.faithful:
        return "as published"
    return "ours" if choice.named in UNPUBLISHED else "corrected"
