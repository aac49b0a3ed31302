"""What `sim-models transfer` tells at its end: a page, and the decision in plain lines."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from sim_models.evaluation.intervals import Bootstrap
from sim_models.evaluation.report import MAIN
from sim_models.transfer.study import ARMS, StudyRecord

STUDY, DETAILS, PAGE = "study.json", "details", "report.html"


def write_page(folder: Path, title: str, bootstrap: Bootstrap) -> None:
    """Write the page that shows a study."""
    from pipelines.page.study_page import study_page  # matplotlib and templates take their time

    (folder / PAGE).write_text(study_page(folder, title, bootstrap))


def lines(record: StudyRecord, scores: pd.DataFrame, out: Path) -> list[str]:
    """The decision in plain lines, and where the files are."""
    by_arm = scores[scores["metric"] == MAIN].groupby("arm")["value"].mean()
    means = {str(arm): float(psnr) for arm, psnr in by_arm.items()}
    validation = {arm.name: arm.val_psnr for arm in record.arms}
    cells, seeds = record.decision.cells, record.decision.seeds
    test_cells = scores["cell"].nunique()
    chosen = out / "arms" / record.chosen
    return [
        _verdict(record),
        f"PSNR on {_some(cells, 'validation cell')} ({_some(seeds, 'seed')}): {_scores(validation)}; "
        f"on {_some(test_cells, 'test cell')}, opened once: {_scores(means)}",
        _how_many(record),
        f"in {out}: {', '.join([PAGE, STUDY, 'arms/', f'{DETAILS}/'])}; to use it: "
        f"sim-models restore STACK --model {chosen} -o image.tif",
    ]


def _scores(values: Mapping[str, float]) -> str:
    return ", ".join(f"{arm} {values[arm]:.2f}" for arm in ARMS if arm in values) + " dB"


def _some(number: int, what: str) -> str:
    return f"{number} {what}{'s' if number != 1 else ''}"


def _verdict(record: StudyRecord) -> str:
    decision, margin = record.decision, f"{record.decision.margin_db:g} dB"
    arm = record.arm(decision.chosen)
    how = f" of {record.source}" if arm.name != "scratch" else ""
    if arm.name.startswith("finetune"):
        how += f" (frozen: {arm.frozen}, learning rate {arm.learning_rate:g})"
    text = f"decision: {arm.name}{how}"
    if decision.verdict == "no difference":
        return f"{text}; no arm is worse than the best by more than {margin}, and it is the cheapest"
    if decision.verdict == "decided":
        best = (
            "the best"
            if decision.best == arm.name
            else f"not worse than {decision.best} by more than {margin}"
        )
        return f"{text}; it is {best}, and what is cheaper is worse"
    names_by_cost = [each.name for each in decision.comparisons]
    cheaper = names_by_cost[: names_by_cost.index(decision.chosen)]
    unclear = [each for each in decision.unclear if each.name in cheaper]
    needed = [each.cells_needed for each in unclear if each.cells_needed is not None]
    more = (
        f" (about {max(needed)} validation cells would tell)"
        if needed
        else " (more validation cells would tell)"
    )
    names = " and ".join(each.name for each in unclear)
    return f"{text}, but inconclusive: {names} may be within {margin} of {decision.best} and cheaper{more}"


def _how_many(record: StudyRecord) -> str:
    """What the learning curves say."""
    enough = record.enough
    whole = max(each.cells for each in record.learning)
    parts = []
    if enough.finetune is not None:
        parts.append(
            f"fine-tuning with {enough.finetune} is as good as with all {whole}"
            if enough.finetune < whole
            else f"fine-tuning gains from all {whole} there are to learn from"
        )
    if enough.matches_scratch is not None:
        parts.append(f"with {enough.matches_scratch} it is as good as from scratch with all {whole}")
    return "cells: " + ("; ".join(parts) or "how many would be enough is not settled")


def conclusion(out: Path) -> list[str]:
    """The lines of a study that has ended, from its files."""
    record = StudyRecord.model_validate_json((out / STUDY).read_text())
    return lines(record, pd.read_csv(out / DETAILS / "scores.csv"), out)
