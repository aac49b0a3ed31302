"""Stage `register`: put a model into the registry, and make it champion if the gate lets it."""

from pathlib import Path

from pipelines.registry.judging import Court
from pipelines.registry.pipeline import Registered, registered_name
from pipelines.registry.registering import Candidate
from pipelines.shared.brought import what_was_brought
from pipelines.shared.params import Params, read_params
from pipelines.shared.stage import DATA, MODELS, REPORTS, TRANSFERS, project_root, run, write_whole
from pipelines.shared.test_cells import Sealed
from sim_models.config import BadInput
from sim_models.evaluation.gate import Check, Verdict
from sim_models.evaluation.model_card import Lineage
from sim_models.restorer import Restorer
from sim_models.tracking.champions import Champions, Decision
from sim_models.tracking.lock import user
from sim_models.tracking.registry import Registry
from sim_models.tracking.runs import COMMIT, WEIGHTS, Tracker
from sim_models.transfer.study import StudyRecord


def main(kind: str, key: str) -> None:
    """Register the model of `kind` (models or transfers) and write `reports/registered/<key>.json`."""
    params = read_params()
    tracker, registry = Tracker.open(params.study, project_root()), Registry.open(project_root())
    candidate = _candidate(params, kind, key, tracker)
    version = candidate.enter(registry)
    gate = candidate.judge(Court(registry, candidate.sealed, params.gate, tracker))
    reason = f"registered by {params.study}, {key}"
    decision = Champions(registry, candidate.name).promote(version, gate, user(), reason)
    verdict = _verdict(decision)
    candidate.describe(registry, version, verdict)
    result = Registered(
        name=candidate.name,
        version=version,
        arm=candidate.lineage.arm,
        champion=decision.champion,
        champion_before=None if decision.before == version else decision.before,
        parent=candidate.lineage.parent,
        verdict=verdict,
    )
    write_whole(REPORTS / "registered" / f"{key}.json", result.model_dump_json(indent=2) + "\n")


def _candidate(params: Params, kind: str, key: str, tracker: Tracker) -> Candidate:
    arm, folder, parent = _made(params, kind, key)
    restorer = Restorer.load(folder)
    trained = tracker.find(WEIGHTS, restorer.weights_sha256)
    if trained is None:
        raise BadInput(
            f"{folder}: MLflow holds no run that trained these weights; it was trained against another "
            "MLFLOW_TRACKING_URI or that was deleted. Point to it again, or train anew: dvc repro --force <stage>"
        )
    structure = (params.model(key) if kind == "models" else params.transfer(key)).structure
    sealed = Sealed.of(params, structure)
    commit = tracker.tags(trained).get(COMMIT, "unknown")
    return Candidate(
        name=registered_name(params, structure, restorer.recipe.task.gives),
        folder=folder,
        restorer=restorer,
        sealed=sealed,
        details=REPORTS / kind / key / "details",
        lineage=Lineage(arm, parent, params.study, key, sealed.data, commit),
        levels=sealed.prepared.levels,
        licence=_licence(params, structure),
        run_id=trained,
    )


def _made(params: Params, kind: str, key: str) -> tuple[str, Path, str | None]:
    """Arm, restorer's folder and parent of what is to be registered."""
    if kind == "models":
        return "scratch", MODELS / key, None
    if kind != "transfers":
        raise BadInput(f"'{kind}' cannot be registered; choose models or transfers")
    folder = TRANSFERS / key
    arm = StudyRecord.model_validate_json((folder / "study.json").read_text()).chosen
    if arm == "scratch":
        return arm, folder / arm, None
    source = REPORTS / "registered" / f"{params.transfer(key).source}.json"
    parent = Registered.model_validate_json(source.read_text())
    return arm, folder / arm, f"{parent.name} version {parent.version}"


def _licence(params: Params, structure: str) -> str | None:
    """Of the data a model was made of."""
    key = params.under(structure)
    if key in params.datasets:
        return what_was_brought(DATA / "fields" / key).licence
    return params.licence_of(structure)


def _verdict(decision: Decision[Verdict]) -> Verdict:
    """What the gate found; of a version that was taken back before it was not asked."""
    if decision.judgement is not None:
        return decision.judgement
    found = decision.sentence.removeprefix("refused: ")
    return Verdict(checks=(Check(rule="never rolled back before", found=found, passed=False),))


if __name__ == "__main__":
    run(main)
