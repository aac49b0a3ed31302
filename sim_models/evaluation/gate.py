"""The gate: what a model must show on the sealed test cells before people get it by default."""

from collections.abc import Iterator, Sequence

import pandas as pd
from pydantic import NonNegativeFloat, field_validator

from sim_models.config import Settings
from sim_models.evaluation.baselines import BASELINES
from sim_models.evaluation.consistency import FLAGGED
from sim_models.evaluation.intervals import Bootstrap, Estimate, means, paired_differences
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
    """by how much it may at most be below the champion it would replace, at every light level and over all"""
    absolute: dict[str, float]
    """metric of `evaluation.metrics` -> the worst it may be at any light level, whatever others come to"""
    contradicted_percent: NonNegativeFloat | None
    """share of the restored image that its raw frames may at most contradict at any light level; null: not judged"""

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

    @field_validator("absolute")
    @classmethod
    def _metrics_exist(cls, limits: dict[str, float]) -> dict[str, float]:
        for name in limits:
            if name not in METRICS:
                raise ValueError(f"there is no metric '{name}'; choose from {', '.join(METRICS)}")
        return limits


class Check(Settings):
    """One rule and what was found."""

    rule: str
    found: str
    passed: bool


class Verdict(Settings):
    """All rules; a model passes if there is one and every one does."""

    checks: tuple[Check, ...]
    notes: tuple[str, ...] = ()
    """what could not be judged, and what else a person should know; none of it decides"""

    @property
    def passed(self) -> bool:
        """Whether every check passed; without any there is no evidence."""
        return bool(self.checks) and all(check.passed for check in self.checks)

    @property
    def sentence(self) -> str:
        """What decided, for people."""
        return "; ".join([self._decided, *(f"note: {note}" for note in self.notes)])

    @property
    def _decided(self) -> str:
        if not self.checks:
            return "refused: none of the baselines to compare with could be made from these fields"
        failed = [check for check in self.checks if not check.passed]
        if not failed:
            return "passed: " + "; ".join(f"{check.rule}, found {check.found}" for check in self.checks)
        return "refused: " + "; ".join(f"must be {check.rule}, found {check.found}" for check in failed)


def judge(table: pd.DataFrame, settings: GateSettings, bootstrap: Bootstrap) -> Verdict:
    """Judge the arm `model` of a long score table of one structure.

    By the baselines and by the arm `champion`, where these are there, by the absolute limits and by what the raw frames
    contradict. The latter alone makes no champion: a fine image without a contradiction may still show another cell.

    With too few cells for an interval no model passes: the evidence does not suffice.
    """
    arms = set(table["arm"])
    limits = [(name, limit) for name, limit in settings.above_baseline.items() if name in arms]
    checks = [_above(table, "", name, limit, settings.metric, bootstrap) for name, limit in limits]
    checks += _absolute(table, settings, bootstrap)
    if CHAMPION in arms:
        checks += [
            _above(fields, where, CHAMPION, -settings.below_champion, settings.metric, bootstrap)
            for where, fields in [("", table), *_by_level(table)]
        ]
    contradicted, notes = _contradicted(table, settings.contradicted_percent, bootstrap)
    return Verdict(checks=(*checks, *contradicted) if checks else (), notes=notes)


def _by_level(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """End of the rule and fields of each light level; none where there is but one, which is all."""
    levels = list(dict.fromkeys(table["level"]))
    if len(levels) < 2:
        return []
    return [(f" at {level} light", table[table["level"] == level]) for level in levels]


def _above(
    table: pd.DataFrame, where: str, other: str, limit: float, metric: str, bootstrap: Bootstrap
) -> Check:
    pairs = table[(table["metric"] == metric) & table["arm"].isin([MODEL, other])]
    (difference,) = paired_differences(pairs, MODEL, other, bootstrap).values()
    return Check(
        rule=f"{metric} surely more than {limit:+g} from {other}{where}",
        found=f"{difference} over cells",
        passed=difference.low is not None and difference.low > limit,
    )


def _absolute(table: pd.DataFrame, settings: GateSettings, bootstrap: Bootstrap) -> Iterator[Check]:
    for metric, limit in settings.absolute.items():
        for where, fields in _by_level(table) or [("", table)]:
            yield _within(fields, where, metric, limit, METRICS[metric].higher_is_better, bootstrap)


def _contradicted(
    table: pd.DataFrame, limit: float | None, bootstrap: Bootstrap
) -> tuple[list[Check], tuple[str, ...]]:
    """Checks of what the raw frames contradict, and what could not be checked."""
    if limit is None:
        return [], ()
    checks, left_out = [], []
    for where, fields in _by_level(table) or [("", table)]:
        if ((fields["metric"] == FLAGGED) & (fields["arm"] == MODEL)).any():
            checks.append(_within(fields, where, FLAGGED, limit, False, bootstrap))
        else:
            left_out.append(f"{FLAGGED}{where} was not judged, for these fields do not allow it")
    return checks, tuple(left_out)


def _within(
    table: pd.DataFrame, where: str, metric: str, limit: float, higher: bool, bootstrap: Bootstrap
) -> Check:
    own = table[(table["metric"] == metric) & (table["arm"] == MODEL)]
    (found,) = means(own, bootstrap).values()
    return Check(
        rule=f"{metric} surely at {'least' if higher else 'most'} {limit:g}{where}",
        found=f"{found} over cells",
        passed=_surely(found, limit, higher),
    )


def _surely(found: Estimate, limit: float, higher: bool) -> bool:
    if found.low is None or found.high is None:
        return False
    return found.low >= limit if higher else found.high <= limit


def as_gate_table(table: pd.DataFrame, arm: str, champion: Sequence[pd.DataFrame] = ()) -> pd.DataFrame:
    """A score table with `arm` called `model`, the baselines, and the champion's scores if given."""
    own = table[table["arm"].isin([arm, *BASELINES])]
    return pd.concat([own.replace({"arm": {arm: MODEL}}), *champion], ignore_index=True)
