"""The gate: what a model must show on the sealed test cells before people get it by default."""

from collections.abc import Sequence

import pandas as pd
from pydantic import NonNegativeFloat, field_validator

from sim_models.config import Settings
from sim_models.evaluation.baselines import BASELINES
from sim_models.evaluation.intervals import Bootstrap, paired_differences
from sim_models.evaluation.metrics import METRICS

MODEL, CHAMPION = "model", "champion"
"""names of the two arms in the tables that the gate compares"""


class GateSettings(Settings):
    """Limits, each on the whole confidence interval rather than the mean."""

    metric: str
    """a metric of `evaluation.metrics` for which higher is better"""
    above_baseline: dict[str, float]
    """baseline -> by how much the model must at least be above it"""
    below_champion: NonNegativeFloat
    """by how much it may at most be below the champion it would replace"""

    @field_validator("metric")
    @classmethod
    def _metric_rises(cls, metric: str) -> str:
        rising = [name for name, each in METRICS.items() if each.higher_is_better]
        if metric not in rising:
            raise ValueError(f"must be one of {', '.join(rising)}")
        return metric

    @field_validator("above_baseline")
    @classmethod
    def _baselines_exist(cls, limits: dict[str, float]) -> dict[str, float]:
        for name in limits:
            if name not in BASELINES:
                raise ValueError(f"there is no baseline '{name}'; choose from {', '.join(BASELINES)}")
        return limits


class Check(Settings):
    """One rule and what was found."""

    rule: str
    found: str
    passed: bool


class Verdict(Settings):
    """All rules; a model passes if there is one and every one does."""

    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether every check passed; without any there is no evidence."""
        return bool(self.checks) and all(check.passed for check in self.checks)

    @property
    def sentence(self) -> str:
        """What decided, for people."""
        if not self.checks:
            return "refused: none of the baselines to compare with could be made from these fields"
        failed = [check for check in self.checks if not check.passed]
        if not failed:
            return "passed: " + "; ".join(f"{check.rule}, found {check.found}" for check in self.checks)
        return "refused: " + "; ".join(f"must be {check.rule}, found {check.found}" for check in failed)


def judge(table: pd.DataFrame, settings: GateSettings, bootstrap: Bootstrap) -> Verdict:
    """Judge the arm `model` of a long score table by the baselines and, where it is there, the arm `champion`.

    With too few cells for an interval no model passes: the evidence does not suffice.
    """
    arms = set(table["arm"])
    limits = [(name, limit) for name, limit in settings.above_baseline.items() if name in arms]
    checks = [_above(table, name, limit, settings.metric, bootstrap) for name, limit in limits]
    if CHAMPION in arms:
        checks.append(_above(table, CHAMPION, -settings.below_champion, settings.metric, bootstrap))
    return Verdict(checks=tuple(checks))


def _above(table: pd.DataFrame, other: str, limit: float, metric: str, bootstrap: Bootstrap) -> Check:
    pairs = table[(table["metric"] == metric) & table["arm"].isin([MODEL, other])]
    (difference,) = paired_differences(pairs, MODEL, other, bootstrap).values()
    return Check(
        rule=f"{metric} surely more than {limit:+g} from {other}",
        found=f"{difference} over cells",
        passed=difference.low is not None and difference.low > limit,
    )


def as_gate_table(table: pd.DataFrame, arm: str, champion: Sequence[pd.DataFrame] = ()) -> pd.DataFrame:
    """A score table with `arm` called `model`, the baselines, and the champion's scores if given."""
    own = table[table["arm"].isin([arm, *BASELINES])]
    return pd.concat([own.replace({"arm": {arm: MODEL}}), *champion], ignore_index=True)
