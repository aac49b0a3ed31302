"""Stage `train`: train one model from scratch, as a Ray Train job."""

from pipelines.fitting import Lab, bench, fit_and_save, job_key, write_curves
from pipelines.params import read_params
from pipelines.stage import DATA, MODELS, run
from sim_models.freeze import FreezeRange
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
    lab = Lab.open(params)
    with bench(job_key(job)) as here, cluster():
        state = fit_and_save(job, f"train {key}", MODELS / key, lab, here)
        write_curves(key, {"scratch": state})


if __name__ == "__main__":
    run(main)
