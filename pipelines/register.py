"""Stage `register`: put a model into the registry, and make it champion if the gate lets it."""

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from pipelines.registry.judging import SPLIT, Registered, judge_by, registered_name
from pipelines.shared.params import Params, read_params
from pipelines.shared.stage import DATA, MODELS, REPORTS, TRANSFERS, project_root, run, write_whole
from sim_models.config import BadInput
from sim_models.evaluation.gate import Check, Verdict, as_gate_table
from sim_models.evaluation.model_card import Facts, Lineage, card, summary
from sim_models.restorer import Restorer
from sim_models.sources.prepared import Prepared
from sim_models.tracking.champions import Champions, Decision
from sim_models.tracking.lock import user
from sim_models.tracking.registry import CANDIDATE, PARENT, Registry
from sim_models.tracking.runs import COMMIT, WEIGHTS, Tracker, data_version
from sim_models.transfer.study import StudyRecord


@dataclass(frozen=True)
class Candidate:
    """What is to be registered, and all that is said of it there."""

    params: Params
    kind: str
    key: str
    arm: str
    folder: Path
    parent: str | None
    restorer: Restorer
    prepared: Prepared
    run_id: str
    """of the training"""
    commit: str

    @property
    def structure(self) -> str:
        """The key of its fields."""
        return _structure(self.params, self.kind, self.key)

    @property
    def name(self) -> str:
        """Of the registered model."""
        return registered_name(self.params, self.structure, self.restorer.recipe.task.gives)

    @property
    def details(self) -> Path:
        """What the stage `evaluate` wrote about it."""
        return REPORTS / self.kind / self.key / "details"

    @property
    def licence(self) -> str | None:
        """Of its data, where it is stated."""
        return self.params.licence_of(self.structure)


def main(kind: str, key: str) -> None:
    """Register the model of `kind` (models or transfers) and write `reports/registered/<key>.json`."""
    params = read_params()
    candidate, registry = _read(params, kind, key), Registry.open(project_root())
    scores = pd.read_csv(candidate.details / "scores.csv")
    name, version = candidate.name, _version(registry, candidate)
    registry.give(name, CANDIDATE, version)
    registry.tag(name, version, {**_tags(candidate), **_means(scores, candidate.arm)})
    gate = judge_by(registry, name, candidate.prepared, params, as_gate_table(scores, candidate.arm))
    decision = Champions(registry, name).promote(
        version, gate, user(), f"registered by {params.study}, {key}"
    )
    verdict = _noted(_verdict(decision), candidate.licence)
    registry.tag(name, version, {"sim.gate": verdict.sentence})
    _describe(registry, candidate, version, verdict, scores)
    result = Registered(
        name=name,
        version=version,
        arm=candidate.arm,
        champion=decision.champion,
        champion_before=None if decision.before == version else decision.before,
        parent=candidate.parent,
        verdict=verdict,
    )
    write_whole(REPORTS / "registered" / f"{key}.json", result.model_dump_json(indent=2) + "\n")


INPUTS = {
    "raw": "raw SIM stacks",
    "widefield": "wide-field images",
    "reconstruction": "classical SIM reconstructions",
    "raw_and_reconstruction": "raw SIM stacks with their classical reconstruction",
    "raw_and_synthetic": "raw SIM stacks with frames derived from a first guess",
    "volume": "volumes over time",
    "blinking": "blinking frames",
}


def _structure(params: Params, kind: str, key: str) -> str:
    return (params.model(key) if kind == "models" else params.transfer(key)).structure


def _read(params: Params, kind: str, key: str) -> Candidate:
    arm, folder, parent = _candidate(params, kind, key)
    restorer = Restorer.load(folder)
    tracker = Tracker.open(params.study, project_root())
    trained = tracker.find(WEIGHTS, restorer.weights_sha256)
    if trained is None:
        raise BadInput(
            f"{folder}: MLflow holds no run that trained these weights; it was trained against another "
            "MLFLOW_TRACKING_URI or that was deleted. Point to it again, or train anew: dvc repro --force <stage>"
        )
    prepared = Prepared.open(DATA / "fields" / _structure(params, kind, key))
    commit = tracker.tags(trained).get(COMMIT, "unknown")
    return Candidate(params, kind, key, arm, folder, parent, restorer, prepared, trained, commit)


def _candidate(params: Params, kind: str, key: str) -> tuple[str, Path, str | None]:
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


def _version(registry: Registry, candidate: Candidate) -> int:
    """The version that holds these weights, registered now unless it is there."""
    found = registry.find(candidate.name, WEIGHTS, candidate.restorer.weights_sha256)
    if found is not None:
        return found
    field = candidate.prepared.fields("val")[0]
    example = {role: field.image(role) for role in candidate.restorer.recipe.task.roles}
    return registry.register(
        candidate.folder, candidate.name, candidate.run_id, _tags(candidate), "", example
    )


def _tags(candidate: Candidate) -> dict[str, str]:
    restorer, prepared = candidate.restorer, candidate.prepared
    card, task = restorer.card, restorer.recipe.task
    light = ", ".join(f"{level} {value:.0f}" for level, value in card.light.items())
    return {
        WEIGHTS: restorer.weights_sha256,
        "sim.structure": prepared.structure,
        "sim.task": f"{task.input} -> {task.target} x{task.scale}",
        "sim.network": restorer.recipe.network.name,
        "sim.method": restorer.recipe.method.name,
        "sim.arm": candidate.arm,
        "sim.light": f"{light} {card.unit}",
        "sim.pixel_um": f"{card.pixel_um:g}",
        PARENT: candidate.parent or "none",
        "sim.frozen": ", ".join(card.frozen_stages) or "none",
        "sim.study": candidate.params.study,
        "sim.key": candidate.key,
        SPLIT: prepared.split.hash,
        "sim.data": data_version(prepared.folder),
        "sim.licence": candidate.licence or "not stated",
        "sim.code": candidate.commit,
    }


def _means(scores: pd.DataFrame, arm: str) -> dict[str, str]:
    means = scores[scores["arm"] == arm].groupby("metric")["value"].mean()
    return {f"sim.test.{metric}": f"{value:.4g}" for metric, value in means.items()}


def _verdict(decision: Decision[Verdict]) -> Verdict:
    """What the gate found; of a version that was taken back before it was not asked."""
    if decision.judgement is not None:
        return decision.judgement
    found = decision.sentence.removeprefix("refused: ")
    return Verdict(checks=(Check(rule="never rolled back before", found=found, passed=False),))


def _noted(verdict: Verdict, licence: str | None) -> Verdict:
    notes = verdict.notes if licence else (*verdict.notes, "the licence of the data is not stated")
    return verdict.model_copy(update={"notes": notes})


def _describe(
    registry: Registry, candidate: Candidate, version: int, verdict: Verdict, scores: pd.DataFrame
) -> None:
    """Write the model card beside the version, with its pictures, and a shorter one as its description."""
    params = candidate.params
    levels = sorted(params.acquisition.levels, key=lambda level: params.acquisition.levels[level])
    pictures = {level: f"worst_{candidate.arm}_{level}.png" for level in levels}
    facts = Facts(
        title=f"{candidate.name} version {version}",
        takes=INPUTS[candidate.restorer.recipe.task.input],
        restorer=candidate.restorer,
        example=candidate.prepared.fields("val")[0],
        licence=candidate.licence,
        lineage=Lineage(
            arm=candidate.arm,
            parent=candidate.parent,
            study=params.study,
            key=candidate.key,
            data=data_version(candidate.prepared.folder),
            commit=candidate.commit,
        ),
        verdict=verdict,
        scores=scores,
        levels=levels,
        pictures={level: file for level, file in pictures.items() if (candidate.details / file).exists()},
    )
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "card.md").write_text(card(facts, params.evaluation.bootstrap))
        for file in facts.pictures.values():
            shutil.copy(candidate.details / file, folder)
        registry.describe(candidate.name, version, summary(facts), folder)


if __name__ == "__main__":
    run(main)
