"""What `sim-models transfer` tells at its end: a page, and the decision in plain lines."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from pipelines.page import sentences
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
