"""Stage `register`: put a model into the registry, and make it champion if the gate lets it."""

import tempfile
from pathlib import Path

import pandas as pd

from pipelines.params import Params, read_params
from pipelines.stage import DATA, MODELS, REPORTS, TRANSFERS, project_root, run, write_whole
from sim_models.config import BadInput, Settings
from sim_models.evaluation.gate import CHAMPION as CHAMPION_ARM
from sim_models.evaluation.gate import Verdict, as_gate_table, judge
from sim_models.evaluation.scores import restore, score
from sim_models.restorer import Restorer
from sim_models.sources.prepared import Prepared
from sim_models.tracking.registry import CANDIDATE, CHAMPION, Registry
from sim_models.tracking.runs import WEIGHTS, Tracker, data_version
from sim_models.transfer.study import StudyRecord


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


def main(kind: str, key: str) -> None:
    """Register the model of `kind` (models or transfers) and write `reports/registered/<key>.json`."""
    params = read_params()
    arm, folder, parent = _candidate(params, kind, key)
    structure = (params.model(key) if kind == "models" else params.transfer(key)).structure
    restorer = Restorer.load(folder)
    name = f"{params.register_as}-{structure}{FAMILY[restorer.recipe.task.gives]}"
    prepared = Prepared.open(DATA / "fields" / structure)
    registry = Registry.open(project_root())
    champion = registry.holder(name, CHAMPION)
    version = registry.find(name, WEIGHTS, restorer.weights_sha256)
    if version is None:
        version = _register(registry, params, name, folder, restorer, prepared, arm, parent)
    registry.give(name, CANDIDATE, version)
    scores = pd.read_csv(REPORTS / kind / key / "details" / "scores.csv")
    means = scores[scores["arm"] == arm].groupby("metric")["value"].mean()
    registry.tag(name, version, {f"sim.test.{metric}": f"{value:.4g}" for metric, value in means.items()})
    against = [] if champion in (None, version) else [_champion_scores(registry, name, prepared, params)]
    verdict = judge(as_gate_table(scores, arm, against), params.gate, params.evaluation.bootstrap)
    if verdict.passed:
        registry.give(name, CHAMPION, version)
    registry.tag(name, version, {"sim.gate": verdict.sentence})
    result = Registered(
        name=name,
        version=version,
        arm=arm,
        champion=registry.holder(name, CHAMPION) == version,
        champion_before=None if champion == version else champion,
        parent=parent,
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


def _register(
    registry: Registry,
    params: Params,
    name: str,
    folder: Path,
    restorer: Restorer,
    prepared: Prepared,
    arm: str,
    parent: str | None,
) -> int:
    card = restorer.card
    trained = Tracker.open(params.study, project_root()).find(WEIGHTS, restorer.weights_sha256)
    if trained is None:
        raise BadInput(
            f"{folder}: MLflow holds no run that trained these weights; it was trained against another "
            "MLFLOW_TRACKING_URI or that was deleted. Point to it again, or train anew: dvc repro --force <stage>"
        )
    light = ", ".join(f"{level} {value:.0f}" for level, value in card.light.items())
    tags = {
        WEIGHTS: restorer.weights_sha256,
        "sim.structure": prepared.structure,
        "sim.task": f"{restorer.recipe.task.input} -> {restorer.recipe.task.target} x{restorer.recipe.task.scale}",
        "sim.network": restorer.recipe.network.name,
        "sim.method": restorer.recipe.method.name,
        "sim.arm": arm,
        "sim.light": f"{light} {card.unit}",
        "sim.pixel_um": f"{card.pixel_um:g}",
        "sim.parent": parent or "none",
        "sim.frozen": ", ".join(card.frozen_stages) or "none",
        "sim.split": prepared.split.hash,
        "sim.data": data_version(prepared.folder),
    }
    description = (
        f"Restores {INPUTS[restorer.recipe.task.input]} of **{prepared.structure}** "
        f"({card.angles} angles x {card.phases} phases, {card.pixel_um:g} um pixels; light: {light} {card.unit}). "
        f"Arm: {arm}; parent: {parent or 'none'}."
    )
    field = prepared.fields("val")[0]
    example = {role: field.image(role) for role in restorer.recipe.task.roles}
    return registry.register(folder, name, trained, tags, description, example)


def _champion_scores(registry: Registry, name: str, prepared: Prepared, params: Params) -> pd.DataFrame:
    """The champion on the same test fields; it may come from other data, so it is scored anew."""
    with tempfile.TemporaryDirectory() as temporary:
        champion = Restorer.load(registry.fetch(f"models:/{name}@{CHAMPION}", Path(temporary)))
    fields = prepared.fields("test")
    restored = restore(fields, {CHAMPION_ARM: champion})
    table = pd.concat([score(each, params.evaluation.border_px) for each in restored], ignore_index=True)
    return table[table["arm"] == CHAMPION_ARM]


if __name__ == "__main__":
    run(main)
