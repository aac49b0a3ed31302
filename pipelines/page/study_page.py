"""The page of one transfer study that lies in a folder."""

import json
from pathlib import Path

import pandas as pd

from pipelines.page.story import library, picture, tell, templates
from sim_models.config import parse
from sim_models.evaluation.intervals import Bootstrap
from sim_models.evaluation.report import COLUMNS
from sim_models.transfer.study import StudyRecord


def study_page(folder: Path, title: str, bootstrap: Bootstrap) -> str:
    """The page of one study that lies in a folder, as HTML, without a `params.yaml`.

    Args:
        folder: with `study.json` and, where test cells were opened, `details/scores.csv` and `details/panel_*.png`.
        title: of the page.
        bootstrap: how intervals are drawn.

    Raises:
        BadInput: if `study.json` is no record of a study.
    """
    details = folder / "details"
    study = read_study(folder / "study.json")
    scores = pd.read_csv(details / "scores.csv") if (details / "scores.csv").is_file() else None
    panels = [
        (path.stem.removeprefix("panel_"), picture(path)) for path in sorted(details.glob("panel_*.png"))
    ]
    levels = [] if scores is None else [str(level) for level in dict.fromkeys(scores["level"])]
    story = tell("study", study.source, study, scores, panels, bootstrap, levels)
    return (
        templates()
        .get_template("study.html")
        .render(
            title=title, story=story, columns=COLUMNS, confidence=confidence(bootstrap), library=library()
        )
    )


def read_study(path: Path) -> StudyRecord:
    """The record of a study.

    Raises:
        BadInput: if the file is none.
    """
    return parse(StudyRecord, json.loads(path.read_text()), str(path))


def confidence(bootstrap: Bootstrap) -> str:
    """For a heading: `95 %`."""
    return f"{100 * bootstrap.confidence:g} %"
