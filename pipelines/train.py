"""Stage `train`: train one model from scratch, as a Ray Train job."""

from pathlib import Path

from pipelines.shared.brought import BROUGHT, what_was_brought
from pipelines.shared.fitting import Lab, bench, fit_and_save, job_key, write_curves
from pipelines.shared.params import Model, read_params
from pipelines.shared.stage import DATA, MODELS, run
from sim_models.config import BadInput
from sim_models.freeze import FreezeRange
from sim_models.recipes import fitting
from sim_models.sources.prepared import SOME, Prepared
from sim_models.sources.split import PARTS
from sim_models.training.distributed import cluster
from sim_models.training.job import Job


def main(key: str) -> None:
    """Write the restorer `models/<key>`."""
    params = read_params()
    model = params.model(key)
    job = Job(
        recipe=model.recipe.in_full(),
        training=model.training,
        dataset=str((DATA / "fields" / model.structure).resolve()),
        source=None,
        frozen=FreezeRange(start=0, end=0),
    )
    _refuse_missing(key, model, Prepared.open(Path(job.dataset)))
    lab = Lab.open(params)
    with bench(job_key(job)) as here, cluster():
        state = fit_and_save(job, f"train {key}", MODELS / key, lab, here)
        write_curves(key, state)


def _refuse_missing(key: str, model: Model, prepared: Prepared) -> None:
    """Refuse a recipe that asks for images the fields do not have, and name those that would do."""
    roles = prepared.roles(PARTS)
    task = model.recipe.in_full().task
    if missing := task.missing_to_judge(roles):
        raise BadInput(
            f"models.{key}: recipe '{model.recipe.named}' needs images of role '{missing[0]}', which not every field "
            f"of '{model.structure}' has (all have {', '.join(sorted(roles)) or 'none'}); recipes that would fit: "
            f"{', '.join(fitting(roles)) or 'none'}{_why(prepared, missing[0])}"
        )


def _why(prepared: Prepared, role: str) -> str:
    """What was said of clean frames when stacks were brought in."""
    if role not in SOME or not (prepared.folder / BROUGHT).is_file():
        return ""
    told = [note for note in what_was_brought(prepared.folder).notes if "clean frames" in note]
    return "".join(f"; {note}" for note in told[:1])


if __name__ == "__main__":
    run(main)
