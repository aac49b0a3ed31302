"""Stage `evaluate`: open the sealed test cells of a model or of a transfer, once, for all its arms."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd

from pipelines.shared.numbers import Numbers, only_numbers, study_metrics
from pipelines.shared.params import Params, read_params
from pipelines.shared.stage import (
    DATA,
    MODELS,
    REPORTS,
    TRANSFERS,
    digest,
    project_root,
    run,
    whole_folder,
    write_whole,
)
from sim_models.config import BadInput
from sim_models.evaluation.panels import save_panel
from sim_models.evaluation.report import MAIN
from sim_models.evaluation.scores import Restored, restore, score
from sim_models.restorer import Restorer
from sim_models.sources.prepared import Prepared
from sim_models.tracking.runs import Tracker, data_version
from sim_models.transfer.study import ARMS, StudyRecord

METRICS_FOR_DVC = ("psnr_targetrange_noscale", "ssim_targetrange_noscale")
DIGITS = 4
"""more would change with the make of the processor"""


def main(kind: str, key: str) -> None:
    """Write `reports/<kind>/<key>`, kind being `models` or `transfers`: scores, panels and `metrics.json`.

    Panels are of the first test cell, and for every arm of the one that it restores worst.
    """
    params = read_params()
    structure, arms = read_arms(params, kind, key)
    prepared = Prepared.open(DATA / "fields" / structure)
    evaluation, out = params.evaluation, REPORTS / kind / key
    tables: list[pd.DataFrame] = []
    shown: dict[str, Restored] = {}
    worst: dict[tuple[str, str], tuple[float, Restored]] = {}
    with whole_folder(out / "details") as details:
        for restored in restore(prepared.fields("test"), arms, params.reconstruction):
            tables.append(score(restored, evaluation.border_px))
            shown.setdefault(restored.field.level, restored)
            _keep_worst(worst, arms, restored, tables[-1])
        table = pd.concat(tables, ignore_index=True)
        table.to_csv(details / "scores.csv", index=False, float_format="%.6g")
        for level, restored in shown.items():
            save_panel(restored, table, details / f"panel_{level}.png")
        for (arm, level), (_, restored) in worst.items():
            save_panel(restored, table, details / f"worst_{arm}_{level}.png")
    means = _means(table)
    study = _study(key) if kind == "transfers" else {}
    write_whole(out / "metrics.json", json.dumps({**means, **study}, indent=2) + "\n")
    _log(f"evaluate {key}", means, study, out / "details", prepared, params)


def read_arms(params: Params, kind: str, key: str) -> tuple[str, dict[str, Restorer]]:
    """The structure that is restored, and the restorer of each arm."""
    if kind == "models":
        return params.model(key).structure, {"scratch": Restorer.load(MODELS / key)}
    if kind == "transfers":
        return params.transfer(key).structure, {arm: Restorer.load(TRANSFERS / key / arm) for arm in ARMS}
    raise BadInput(f"'{kind}' cannot be evaluated; choose models or transfers")


def _study(key: str) -> Numbers:
    """What the study of a transfer came to on the validation cells."""
    text = (TRANSFERS / key / "study.json").read_text()
    return {"study": study_metrics(StudyRecord.model_validate_json(text))}


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


def _means(table: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Mean over test fields, by metric and arm."""
    means = table.groupby(["metric", "arm"])["value"].mean().round(DIGITS)
    return {
        metric: {str(arm): float(value) for arm, value in means[metric].items()} for metric in METRICS_FOR_DVC
    }


def _log(
    name: str,
    means: Mapping[str, Mapping[str, float]],
    study: Numbers,
    details: Path,
    prepared: Prepared,
    params: Params,
) -> None:
    tracker = Tracker.open(params.study, project_root())
    opened = {"sim.kind": "evaluation", "sim.structure": prepared.structure, "sim.split": prepared.split.hash}
    data = {"sim.data": data_version(prepared.folder)}
    settings = params.evaluation.model_dump(mode="json")
    key = digest(name, details)
    with tracker.run(name, key, settings, {**opened, **data}) as this:
        # Whoever looks often enough at test cells has chosen on them; so it is counted.
        this.tags({"sim.test_cells_opened": str(tracker.count(opened))})
        this.metrics(
            {f"test_{metric}_{arm}": value for metric, arms in means.items() for arm, value in arms.items()}
        )
        if study:
            this.metrics(only_numbers(study))
        this.dataset(prepared.folder, prepared.split.hash, "test")
        this.folder(details, "test")


if __name__ == "__main__":
    run(main)
