"""Register the model that `sim-models transfer` has chosen, as a candidate: whoever promotes it trusts it."""

from pathlib import Path

import numpy as np

from pipelines.own_study import concluding
from pipelines.shared.stage import project_root, write_whole
from sim_models.config import BadInput
from sim_models.restorer import Restorer
from sim_models.tracking.registry import CANDIDATE, Registry
from sim_models.tracking.runs import WEIGHTS
from sim_models.transfer.study import StudyRecord


def registered(out: Path, ended: concluding.TransferRecord, name: str | None) -> list[str]:
    """Register the chosen arm where that is asked for and was not done yet; what to tell about it."""
    if name is None:
        return []
    if ended.registered is not None:
        return [f"registered before as {ended.registered}"]
    version = register(out, ended, name)
    known = ended.model_copy(update={"registered": f"{name} version {version}"})
    write_whole(out / concluding.RECORD, known.model_dump_json(indent=2) + "\n")
    return [f"registered {name} version {version} @{CANDIDATE}"]


def register(out: Path, ended: concluding.TransferRecord, name: str) -> int:
    """Register the arm that a study has chosen as the next version of `name`, with the alias `candidate`."""
    record = StudyRecord.model_validate_json((out / concluding.STUDY).read_text())
    folder = out / "arms" / record.chosen
    restorer = Restorer.load(folder)
    parent = "none" if record.chosen == "scratch" else record.source
    tags = {
        WEIGHTS: restorer.weights_sha256,
        "sim.structure": record.structure,
        "sim.arm": record.chosen,
        "sim.parent": parent,
        "sim.frozen": ", ".join(restorer.card.frozen_stages) or "none",
        "sim.study_run": ended.run_id,
        "sim.data": ended.data,
        "sim.split": ended.split,
    }
    with np.load(out / concluding.DETAILS / concluding.EXAMPLE) as kept:
        example = {role: kept[role] for role in restorer.recipe.task.roles}
    registry = Registry.open(project_root())
    description = f"Arm {record.chosen} of a transfer to **{record.structure}**; parent: {parent}."
    version = registry.register(folder, name, ended.run_id, tags, description, example)
    registry.give(name, CANDIDATE, version)
    return version


def refuse_name(name: str | None) -> None:
    """Refuse what the registry would not take as a name, before hours of training.

    Raises:
        BadInput: with what a name may be.
    """
    if name is not None and (not name.strip() or any(sign in name for sign in "/:@")):
        raise BadInput(f"--register '{name}': a name holds no slash, colon or @, as in sim-lysosomes")
