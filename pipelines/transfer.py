"""Stage `transfer`: carry a model to another structure; how, with how many stacks, and how sure."""

import pandas as pd

from pipelines.shared.fitting import Bench, Lab, bench, data_folder, data_tags, job_key, pictures
from pipelines.shared.params import read_params
from pipelines.shared.stage import DATA, MODELS, REPORTS, TRANSFERS, digest, run, whole_folder, write_whole
from sim_models.restorer import Restorer
from sim_models.sources.prepared import Prepared
from sim_models.tracking.runs import WEIGHTS, Run, Tracker
from sim_models.training.distributed import cluster
from sim_models.training.job import Job
from sim_models.transfer.search import Stretch, TrialRecord
from sim_models.transfer.study import Listener, Sources, Study, StudyRecord, jobs_of
from sim_models.transfer.trials import Trials


def main(key: str) -> None:
    """Write `transfers/<key>`: a restorer of each arm and `study.json`."""
    params = read_params()
    transfer = params.transfer(key)
    lab = Lab.open(params)
    dataset = (DATA / "fields" / transfer.structure).resolve()
    source = MODELS / transfer.source
    scratch, finetune = jobs_of(transfer.study, Restorer.load(source).recipe, str(dataset), source)
    settings = transfer.model_dump(mode="json")
    tags = {"sim.kind": "study", "sim.source": transfer.source, **data_tags(finetune)}
    with (
        bench(digest(job_key(scratch), job_key(finetune), transfer.study.model_dump_json())) as here,
        whole_folder(TRANSFERS / key) as folder,
        lab.tracker.run(f"transfer {key}", here.key("study"), settings, tags) as parent,
        cluster(),
    ):
        lab.refuse_private_runs()
        parent.dataset(data_folder(finetune), tags["sim.split"], "training")
        trials = Trials(here.folder / "trials")
        study = Study(
            settings=transfer.study,
            prepared=Prepared.open(dataset),
            folder=str(dataset),
            trials=trials,
            bootstrap=params.evaluation.bootstrap,
            listener=Diary(here, lab.tracker, parent, trials).listener,
        )
        record = study.run(Sources({transfer.source: source}), folder)
        (folder / "study.json").write_text(record.model_dump_json(indent=2) + "\n")
        write_curves(key, record)
        for arm in ("finetune", "finetune_equal", "scratch"):
            drawn = pictures(study.prepared, folder / arm, here.folder / f"{arm}.pictures", lab.evaluation)
            parent.folder(drawn, f"validation/{arm}")
        log(parent, record)


class Diary:
    """Makes every trial and every training of a study a run of its own, a child of the study's."""

    def __init__(self, here: Bench, tracker: Tracker, parent: Run, trials: Trials) -> None:
        self.here, self.tracker, self.parent, self.trials = here, tracker, parent, trials

    @property
    def listener(self) -> Listener:
        """What a study tells."""
        return Listener(self.trial, self.fit)

    def trial(self, trial: TrialRecord) -> None:
        """A trial of the search has ended."""
        settings = {"freeze": trial.label, "learning_rate": trial.learning_rate, "stopped": trial.pruned}
        key = self.here.key("trial", str(trial.number))
        name = f"trial {trial.number} freeze {trial.label}"
        with self.tracker.run(name, key, settings, {"sim.kind": "trial"}, self.parent) as run:
            for step, psnr in trial.curve:
                run.logger(step, {"val_psnr": psnr})
            run.metrics({"best_val_psnr": trial.val_psnr, "tflop": trial.tflop, "seconds": trial.seconds})

    def fit(self, name: str, job: Job, stretch: Stretch) -> None:
        """A training has come to its end."""
        restorer = self.trials.restorer(job, stretch)
        tags = {"sim.kind": "training", WEIGHTS: restorer.weights_sha256, **data_tags(job)}
        settings = job.model_dump(mode="json")
        with self.tracker.run(name, self.here.key("fit", name), settings, tags, self.parent) as run:
            for step, metrics in stretch.state.curve:
                run.logger(step, metrics)
            run.metrics({"best_val_psnr": stretch.state.best_psnr, "best_step": stretch.state.best_step})


def log(run: Run, record: StudyRecord) -> None:
    """What a study came to, at its run."""
    decision = record.decision
    run.tags(
        {
            "sim.chosen": decision.chosen,
            "sim.verdict": decision.verdict,
            "sim.frozen": record.arm("finetune").frozen,
        }
    )
    run.metrics(
        {
            **{f"val_psnr_{arm.name}": arm.val_psnr for arm in record.arms},
            **{f"tflop_{arm.name}": arm.tflop for arm in record.arms},
            **{f"tflop_spent_{part}": spent for part, spent in record.spent_tflop.items()},
        }
    )
    run.text(record.model_dump_json(indent=2), "study.json")


def write_curves(key: str, record: StudyRecord) -> None:
    """Write `reports/curves/<key>.csv` and `<key>_cells.csv`: validation PSNR by step, and by training cells.

    No times, for they never repeat.
    """
    by_step = [
        {"arm": arm.name, "seed": each.seed, "step": step, "val_psnr": psnr}
        for arm in record.arms
        for each in arm.repeats
        for step, psnr, _ in each.curve
    ]
    by_cells = [
        {"arm": each.name, "cells": each.cells, "seed": repeat.seed, "val_psnr": repeat.val_psnr}
        for each in record.learning
        for repeat in each.repeats
    ]
    for name, rows in ((key, by_step), (f"{key}_cells", by_cells)):
        table = pd.DataFrame(rows).to_csv(index=False, float_format="%.6g")
        write_whole(REPORTS / "curves" / f"{name}.csv", table)


if __name__ == "__main__":
    run(main)
