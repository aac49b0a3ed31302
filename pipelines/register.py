"""Stage `register`: put a model into the registry, and make it champion if the gate lets it."""

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from pipelines.params import Params, read_params
from pipelines.stage import DATA, MODELS, REPORTS, TRANSFERS, project_root, run, write_whole
from sim_models.config import BadInput, Settings
from sim_models.evaluation.gate import CHAMPION as CHAMPION_ARM
from sim_models.evaluation.gate import Check, Verdict, as_gate_table, judge
from sim_models.evaluation.model_card import Facts, Lineage, card, summary
from sim_models.evaluation.scores import restore, score
from sim_models.restorer import Restorer
from sim_models.sources.prepared import Prepared
from sim_models.tracking.champions import Champions, Decision
from sim_models.tracking.lock import user
from sim_models.tracking.registry import CANDIDATE, PARENT, Registry
from sim_models.tracking.runs import COMMIT, WEIGHTS, Tracker, data_version
from sim_models.transfer.study import StudyRecord

SPLIT = "sim.split"
"""tag: hash of the split a version was made with"""
SEEN = "the champion was made with another split, so it may have learned from these test cells"

Judge = Callable[[int | None], Verdict]
"""what the gate says of a version that would replace a champion, if there is one"""


class Registered(Settings):
    """What became of a model at the registry."""

    name: str
    version: int
    arm: str
    champion: bool
    champion_before: int | None
    parent: str | None
    """`NAME version N` of the registered model it came from"""
    verdict: Verdict


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
FAMILY = {"image": "", "frames": "-frames", "denoised": "-denoised"}
"""ends the name of models that give something else than an image: they have champions of their own"""


def registered_name(params: Params, structure: str, gives: str) -> str:
    """Name of the registered model whose versions restore a structure and give an image, frames or denoised ones."""
    return f"{params.register_as}-{structure}{FAMILY[gives]}"


def judge_by(registry: Registry, name: str, prepared: Prepared, params: Params, own: pd.DataFrame) -> Judge:
    """The gate for a model with these scores: the champion it is given is scored anew on the same test fields.

    For the champion may come from other data.
    """

    def gate(champion: int | None) -> Verdict:
        tables = [own]
        if champion is not None:
            model = fetched(registry, name, champion)
            tables.append(scored(model, CHAMPION_ARM, prepared, params, baselines=False))
        table = pd.concat(tables, ignore_index=True)
        verdict = judge(table, params.gate, params.evaluation.bootstrap)
        if champion is None or registry.version(name, champion).tags.get(SPLIT) == prepared.split.hash:
            return verdict
        return verdict.model_copy(update={"notes": (*verdict.notes, SEEN)})

    return gate


def scored(restorer: Restorer, arm: str, prepared: Prepared, params: Params, baselines: bool) -> pd.DataFrame:
    """Scores of a restorer on the test fields under the name `arm`, with or without those of the baselines."""
    restored = restore(prepared.fields("test"), {arm: restorer}, params.reconstruction)
    table = pd.concat([score(each, params.evaluation.border_px) for each in restored], ignore_index=True)
    return table if baselines else table[table["arm"] == arm]


def fetched(registry: Registry, name: str, version: int) -> Restorer:
    """A registered version, read back.

    Raises:
        BadInput: if it is not there or cannot be read; then nothing can be compared with it.
    """
    model = f"models:/{name}/{version}"
    with tempfile.TemporaryDirectory() as temporary:
        folder = registry.fetch(model, Path(temporary))
        try:
            return Restorer.load(folder)
        except BadInput as error:
            raise BadInput(str(error).replace(str(folder), model)) from None


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
