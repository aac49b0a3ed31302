"""What `sim-models transfer` leaves behind: scores on the test cells, pages, and the decision in plain lines."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from pipelines.page import sentences
from pipelines.shared.params import Evaluation
from sim_models.config import Settings
from sim_models.evaluation.intervals import Bootstrap
from sim_models.evaluation.panels import save_panel
from sim_models.evaluation.scores import Restored, restore, score
from sim_models.optics.reconstruct import ReconstructionSettings
from sim_models.restorer import Restorer
from sim_models.sources.prepared import Prepared
from sim_models.transfer.study import ARMS, StudyRecord

MADE_BY = "sim-models transfer"
STUDY, RECORD, DETAILS, PAGE, EXAMPLE = "study.json", "transfer.json", "details", "report.html", "example.npz"
MAIN = "psnr_targetrange_noscale"


class TransferRecord(Settings):
    """What a study that has ended was made of; the last file that is written."""

    made_by: Literal["sim-models transfer"]
    key: str
    """digest of settings, stacks, sources and code"""
    target: str
    data: str
    """digest of the stacks"""
    split: str
    sources: dict[str, str]
    """name -> SHA-256 of its weights"""
    left_out: dict[str, str]
    """cell -> why"""
    run_id: str
    """of the study, at MLflow"""
    registered: str | None
    """`NAME version N`, where it was asked for"""


def score_arms(
    prepared: Prepared, arms: Path, details: Path, evaluation: Evaluation, settings: ReconstructionSettings
) -> pd.DataFrame:
    """Open the test cells: write scores and a panel of each level to `details`."""
    details.mkdir(parents=True)
    restorers: dict[str, Restorer] = {arm: Restorer.load(arms / arm) for arm in ARMS}
    tables: list[pd.DataFrame] = []
    shown: dict[str, Restored] = {}
    for restored in restore(prepared.fields("test"), restorers, settings):
        tables.append(score(restored, evaluation.border_px))
        shown.setdefault(restored.field.level, restored)
    table = pd.concat(tables, ignore_index=True)
    table.to_csv(details / "scores.csv", index=False, float_format="%.6g")
    for level, restored in shown.items():
        save_panel(restored, table, details / f"panel_{level}.png")
    return table


def save_example(prepared: Prepared, restorer: Restorer, path: Path) -> None:
    """Keep what a model takes of one validation field: a registered model shows it."""
    field = prepared.fields("val")[0]
    images = {str(role): field.image(role) for role in restorer.recipe.task.roles}
    np.savez_compressed(path, **images)  # type: ignore[arg-type] # its types take these for an option


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
        f"decision: {record.chosen}{_of_source(record)}: {sentences.decision(record)}",
        f"PSNR on {_some(cells, 'validation cell')} ({_some(seeds, 'seed')}): {_scores(validation)}; "
        f"on {_some(test_cells, 'test cell')}, opened once: {_scores(means)}",
        *sentences.enough(record),
        f"in {out}: {', '.join([PAGE, STUDY, 'arms/', f'{DETAILS}/'])}; to use it: "
        f"sim-models restore STACK --model {chosen} -o image.tif",
    ]


def _of_source(record: StudyRecord) -> str:
    return "" if record.chosen == "scratch" else f" of {record.source}"


def _scores(values: Mapping[str, float]) -> str:
    return ", ".join(f"{arm} {values[arm]:.2f}" for arm in ARMS if arm in values) + " dB"


def _some(number: int, what: str) -> str:
    return f"{number} {what}{'s' if number != 1 else ''}"


def conclusion(out: Path) -> list[str]:
    """The lines of a study that has ended, from its files."""
    record = StudyRecord.model_validate_json((out / STUDY).read_text())
    return lines(record, pd.read_csv(out / DETAILS / "scores.csv"), out)


def metrics_of(scores: pd.DataFrame) -> dict[str, float]:
    """Mean PSNR of the test fields, by arm, under the names of MLflow's metrics."""
    means = scores[scores["metric"] == MAIN].groupby("arm")["value"].mean()
    return {f"test_{MAIN}_{arm}": float(means[arm]) for arm in ARMS}
