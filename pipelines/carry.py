"""Stage `carry`: one source on one target, as it is and after a short fine-tune; a place of the transfer matrix."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import pandas as pd

from pipelines.shared.fitting import Lab, bench, data_folder, data_tags, job_key
from pipelines.shared.params import Params, read_params
from pipelines.shared.stage import DATA, MODELS, REPORTS, run, write_whole
from sim_models.evaluation.report import MAIN
from sim_models.evaluation.scores import restore, score
from sim_models.restorer import Restorer
from sim_models.sources.prepared import Prepared
from sim_models.training.distributed import cluster
from sim_models.training.job import Job
from sim_models.transfer.trials import Trials


def main(source: str, target: str) -> None:
    """Write `reports/carried/<source>/<target>.csv`: PSNR of every validation field by arm, `direct` and `finetune`.

    A model on the structure it was trained on is not fine-tuned. Whoever reads the matrix may choose a source by it, so
    the test cells stay sealed.
    """
    params = read_params()
    prepared = Prepared.open((DATA / "fields" / target).resolve())
    direct = Restorer.load(MODELS / source)
    is_own = params.model(source).structure == target
    with nullcontext() if is_own else _finetuned(source, direct, prepared, params) as finetuned:
        arms = {"direct": direct} | ({"finetune": finetuned} if finetuned else {})
        table = _scored(prepared, arms, params.evaluation.border_px)
        write_whole(
            REPORTS / "carried" / source / f"{target}.csv", table.to_csv(index=False, float_format="%.6g")
        )


def _scored(prepared: Prepared, arms: dict[str, Restorer], border_px: int) -> pd.DataFrame:
    """The metric of every arm on every validation field, with its protocol in its name."""
    fields = restore(prepared.fields("val"), arms)
    table = pd.concat([score(each, border_px) for each in fields], ignore_index=True)
    kept = table[(table["metric"] == MAIN) & table["arm"].isin(arms)]
    return kept.assign(metric=f"val_{MAIN}")


@contextmanager
def _finetuned(key: str, source: Restorer, prepared: Prepared, params: Params) -> Iterator[Restorer]:
    """The source after a short fine-tune on the target, a run of its own.

    The training is kept for the length of a `with` block: cut short in it, the stage need not train again.
    """
    assert params.matrix.finetune is not None, "a source comes with its training, as params.py checks"
    job = Job(
        recipe=source.recipe,
        training=params.matrix.finetune,
        dataset=str(prepared.folder),
        source=str((MODELS / key).resolve()),
        frozen=params.matrix.frozen,
    )
    lab = Lab.open(params)
    tags = {"sim.kind": "carry", "sim.source": key, **data_tags(job)}
    settings = job.model_dump(mode="json")
    name = f"carry {key} to {prepared.structure}"
    with bench(job_key(job)) as here:
        with cluster(), lab.tracker.run(name, here.key("carry"), settings, tags) as this:
            this.dataset(data_folder(job), tags["sim.split"], "training")
            trials = Trials(here.folder / "trials")
            (stretch,) = trials.finish([job])
            for step, metrics in stretch.state.curve:
                this.logger(step, metrics)
        yield trials.restorer(job, stretch)


if __name__ == "__main__":
    run(main)
