"""The numbers of a transfer study for machines, the same for DVC and for MLflow."""

from pipelines.shared.digits import DIGITS
from sim_models.transfer.decision import Decision
from sim_models.transfer.study import StudyRecord

Number = float | int | str | None
Numbers = dict[str, "Number | Numbers"]


def study_metrics(study: StudyRecord) -> Numbers:
    """Arms on the validation cells, the decisions, how many cells are enough, and time to quality.

    Seconds are left out: they change from run to run, and with them every commit.
    """
    found = study.time_to_quality
    return {
        "val_psnr": {arm.name: round(arm.val_psnr, DIGITS) for arm in study.arms},
        "tflop": {arm.name: round(arm.tflop, DIGITS) for arm in study.arms},
        "steps": {arm.name: round(arm.steps, 1) for arm in study.arms},
        "decision": _decision(study.decision),
        "frozen": _decision(study.range_decision),
        "enough": {each.arm: each.model_dump(exclude={"arm"}) for each in study.enough},
        "time_to_quality": {
            "arm": found.arm,
            "quality_db": round(found.quality_db, DIGITS),
            "reached": found.reached,
            "seeds": found.seeds,
            "steps": found.steps,
            "share": None if found.share is None else round(found.share, DIGITS),
        },
        "spent_tflop": {name: round(tflop, DIGITS) for name, tflop in study.spent_tflop.items()},
    }


def only_numbers(numbers: Numbers, before: str = "") -> dict[str, float]:
    """All that can be drawn as a line, by dotted names, as MLflow wants metrics."""
    flat: dict[str, float] = {}
    for name, value in numbers.items():
        if isinstance(value, dict):
            flat |= only_numbers(value, f"{before}{name}.")
        elif isinstance(value, int | float):
            flat[f"{before}{name}"] = float(value)
    return flat


def _decision(found: Decision) -> Numbers:
    return {
        "chosen": found.chosen,
        "best": found.best,
        "verdict": found.verdict,
        "cells": found.cells,
        "seeds": found.seeds,
        "minus_best_db": {each.name: round(each.to_best.mean, DIGITS) for each in found.comparisons},
        "cells_needed": _cells_needed(found),
    }


def _cells_needed(found: Decision) -> int | None:
    """Validation cells that would about settle all that is unclear; None if nothing is, or no number would."""
    needed = [each.doubt.cells_needed for each in found.unclear if each.doubt]
    return max((cells for cells in needed if cells is not None), default=None)
