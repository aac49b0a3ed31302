"""The sealed test cells: who opens them is counted; how models do on them, in numbers and pictures."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

import sim_models
from pipelines.shared.digits import DIGITS
from pipelines.shared.params import Evaluation, Params
from pipelines.shared.stage import DATA, digest
from sim_models.evaluation.panels import save_panel
from sim_models.evaluation.report import MAIN
from sim_models.evaluation.scores import Restored, restore, score
from sim_models.optics.reconstruct import ReconstructionSettings
from sim_models.restorer import Restorer
from sim_models.sources.prepared import Prepared
from sim_models.tracking.runs import Run, Tracker, data_version

OPENED = "sim.test_cells_opened"
"""tag: how many times these test cells were opened by then, this time included"""
SCORES = (MAIN, "ssim_targetrange_noscale")
"""metrics that are told to machines; all of them stand in `scores.csv`"""


def mean_scores(table: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Means of a score table over its fields, by metric and arm."""
    means = table.groupby(["metric", "arm"])["value"].mean().round(DIGITS)
    return {metric: {str(arm): float(value) for arm, value in means[metric].items()} for metric in SCORES}


@dataclass(frozen=True)
class Sealed:
    """The test cells of prepared fields, and how what is restored of them is scored."""

    prepared: Prepared
    data: str
    """DVC's hash of the fields, or a digest of the stacks that they were made of"""
    evaluation: Evaluation
    reconstruction: ReconstructionSettings

    @staticmethod
    def of(params: Params, structure: str, study: Path = Path()) -> "Sealed":
        """Those of a structure of the pipeline whose `params.yaml` lies in the folder `study`."""
        fields = DATA / "fields" / structure
        prepared = Prepared.open(study / fields)
        return Sealed(prepared, data_version(fields, study), params.evaluation, params.reconstruction)

    def scores(self, arms: Mapping[str, Restorer]) -> pd.DataFrame:
        """Scores of every arm, and of the baselines."""
        return pd.concat([scores for _, scores in self._scored(arms)], ignore_index=True)

    def score_into(self, details: Path, arms: Mapping[str, Restorer]) -> pd.DataFrame:
        """The same, also written to a folder as `scores.csv`, with pictures.

        These are `panel_<level>.png` of the first cell, and `worst_<arm>_<level>.png` of the field that an arm restores
        worst.
        """
        tables: list[pd.DataFrame] = []
        shown: dict[str, Restored] = {}
        worst: dict[tuple[str, str], tuple[float, Restored]] = {}
        for restored, scores in self._scored(arms):
            tables.append(scores)
            shown.setdefault(restored.field.level, restored)
            _keep_worst(worst, arms, restored, scores)
        table = pd.concat(tables, ignore_index=True)
        table.to_csv(details / "scores.csv", index=False, float_format="%.6g")
        for level, restored in shown.items():
            save_panel(restored, table, details / f"panel_{level}.png")
        for (arm, level), (_, restored) in worst.items():
            save_panel(restored, table, details / worst_picture(arm, level))
        return table

    def _scored(self, arms: Mapping[str, Restorer]) -> Iterator[tuple[Restored, pd.DataFrame]]:
        for restored in restore(self.prepared.fields("test"), arms, self.reconstruction):
            yield restored, score(restored, self.evaluation.border_px)


@contextmanager
def open_test_cells(
    sealed: Sealed, arms: Mapping[str, Restorer], name: str, tracker: Tracker, parent: Run | None = None
) -> Iterator[Run]:
    """A run for the time in which models see the test cells.

    Whoever looks often enough has chosen on these cells, so every look is counted. The same models on the same cells,
    as after an interruption, are the same look: they show nothing new.

    Args:
        sealed: the test cells.
        arms: the models.
        name: of the run.
        tracker: where it is written.
        parent: the run under which it is shown.
    """
    prepared, settings = sealed.prepared, sealed.evaluation.model_dump(mode="json")
    kind = {"sim.kind": "evaluation", "sim.structure": prepared.structure, "sim.split": prepared.split.hash}
    weights = ",".join(each.weights_sha256 for each in arms.values())
    how = sealed.evaluation.model_dump_json() + sealed.reconstruction.model_dump_json()
    key = digest(name, weights, how, prepared.folder, Path(sim_models.__file__).parent)
    with tracker.run(name, key, settings, {**kind, "sim.data": sealed.data}, parent) as run:
        if OPENED not in tracker.tags(run.id):
            run.tags({OPENED: str(tracker.count(kind))})
            run.dataset(prepared.folder, prepared.split.hash, "test")
        yield run


def log_scores(run: Run, table: pd.DataFrame, details: Path) -> None:
    """Log what came of opened test cells: means as metrics, tables and pictures as files."""
    means = mean_scores(table)
    run.metrics(
        {f"test_{metric}_{arm}": value for metric, arms in means.items() for arm, value in arms.items()}
    )
    run.folder(details, "test")


def worst_picture(arm: str, level: str) -> str:
    """File name of the picture of the field that an arm restores worst."""
    return f"worst_{arm}_{level}.png"


def _keep_worst(
    worst: dict[tuple[str, str], tuple[float, Restored]],
    arms: Iterable[str],
    restored: Restored,
    scores: pd.DataFrame,
) -> None:
    """Keep the field with the lowest PSNR of each arm and light level, for model cards."""
    for arm in arms:
        value = float(scores[(scores["arm"] == arm) & (scores["metric"] == MAIN)]["value"].item())
        key = arm, restored.field.level
        if key not in worst or value < worst[key][0]:
            worst[key] = value, restored
