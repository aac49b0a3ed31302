"""Stage `evaluate`: open the sealed test cells of a model or of a transfer, once, for all its arms."""

import json

from pipelines.shared.numbers import Numbers, only_numbers, study_metrics
from pipelines.shared.params import Params, read_params
from pipelines.shared.stage import MODELS, REPORTS, TRANSFERS, project_root, run, whole_folder, write_whole
from pipelines.shared.test_cells import Sealed, log_scores, mean_scores, open_test_cells
from sim_models.config import BadInput
from sim_models.restorer import Restorer
from sim_models.tracking.runs import Tracker
from sim_models.transfer.study import ARMS, StudyRecord


def main(kind: str, key: str) -> None:
    """Write `reports/<kind>/<key>`, kind being `models` or `transfers`: scores, panels and `metrics.json`.

    Panels are of the first test cell, and for every arm of the one that it restores worst.
    """
    params = read_params()
    structure, arms = _read_arms(params, kind, key)
    sealed, out = Sealed.of(params, structure), REPORTS / kind / key
    study = _study(key) if kind == "transfers" else {}
    tracker = Tracker.open(params.study, project_root())
    with open_test_cells(sealed, arms, f"evaluate {key}", tracker) as this:
        with whole_folder(out / "details") as details:
            table = sealed.score_into(details, arms)
        write_whole(out / "metrics.json", json.dumps({**mean_scores(table), **study}, indent=2) + "\n")
        log_scores(this, table, out / "details")
        if study:
            this.metrics(only_numbers(study))


def _read_arms(params: Params, kind: str, key: str) -> tuple[str, dict[str, Restorer]]:
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


if __name__ == "__main__":
    run(main)
