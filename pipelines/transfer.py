"""Stage `transfer`: carry a model to another structure, directly, fine-tuned and from scratch."""

from pathlib import Path

from pipelines.fitting import Bench, Lab, bench, data_folder, data_tags, fit_and_save, job_key, write_curves
from pipelines.params import Transfer, read_params
from pipelines.stage import DATA, MODELS, TRANSFERS, digest, run, whole_folder
from sim_models.freeze import FreezeRange
from sim_models.restorer import Restorer
from sim_models.sources.prepared import Prepared
from sim_models.tracking.runs import Run, Tracker
from sim_models.training.distributed import cluster
from sim_models.training.job import Job, lay_out
from sim_models.training.loop import State
from sim_models.transfer.search import TrialRecord, best, search
from sim_models.transfer.study import Arm, ArmName, StudyRecord, choose, direct_arm
from sim_models.transfer.trials import advance

NOTHING = FreezeRange(start=0, end=0)


def main(key: str) -> None:
    """Write `transfers/<key>`: a restorer of each arm and `study.json`."""
    params = read_params()
    transfer = params.transfer(key)
    lab = Lab.open(params)
    scratch, finetune = jobs(transfer)
    study_key = digest(job_key(scratch), job_key(finetune), transfer.study.search.model_dump_json())
    tags = {"sim.kind": "study", "sim.source": transfer.source, **data_tags(finetune)}
    settings = transfer.model_dump(mode="json")
    with (
        bench(study_key) as here,
        whole_folder(TRANSFERS / key) as folder,
        lab.tracker.run(f"transfer {key}", here.key("study"), settings, tags) as study,
        cluster(),
    ):
        study.dataset(data_folder(finetune), tags["sim.split"], "training")
        source = Restorer.load(Path(str(finetune.source)))
        source.save(folder / "direct")
        direct = direct_arm(source, Prepared.open(Path(finetune.dataset)))
        scratch_state = fit_and_save(scratch, f"scratch {key}", folder / "scratch", lab, here, study)
        trials = search(
            finetune,
            transfer.study.search,
            here.folder / "search.journal",
            advance,
            told=lambda trial: _log(trial, here, lab.tracker, study),
        )
        finetune = _with_best(finetune, trials)
        finetune_state = fit_and_save(finetune, f"finetune {key}", folder / "finetune", lab, here, study)
        arms = (direct, _arm("finetune", finetune, finetune_state), _arm("scratch", scratch, scratch_state))
        write_curves(key, {"scratch": scratch_state, "finetune": finetune_state})
        chosen, why = choose(arms, transfer.study.margin_db)
        record = StudyRecord(
            source=transfer.source,
            structure=transfer.structure,
            arms=arms,
            trials=tuple(trials),
            stages=tuple(source.network.stages()),
            chosen=chosen,
            why=why,
        )
        (folder / "study.json").write_text(record.model_dump_json(indent=2) + "\n")
        study.tags({"sim.chosen": chosen, "mlflow.note.content": why})
        study.metrics({f"val_psnr_{arm.name}": arm.val_psnr for arm in arms})
        study.text(record.model_dump_json(indent=2), "study.json")


def jobs(transfer: Transfer) -> tuple[Job, Job]:
    """The job from scratch and the fine-tuning job; both have the recipe of the source."""
    folder = MODELS / transfer.source
    scratch = Job(
        recipe=Restorer.load(folder).recipe,
        training=transfer.study.scratch,
        dataset=str((DATA / "fields" / transfer.structure).resolve()),
        source=None,
        frozen=NOTHING,
    )
    finetune = {"training": transfer.study.finetune, "source": str(folder.resolve())}
    return scratch, scratch.model_copy(update=finetune)


def _with_best(job: Job, trials: list[TrialRecord]) -> Job:
    winner = best(trials)
    training = job.training.model_copy(update={"learning_rate": winner.learning_rate})
    return job.model_copy(update={"training": training, "frozen": winner.frozen})


def _arm(name: ArmName, job: Job, state: State) -> Arm:
    return Arm(
        name=name,
        val_psnr=state.best_psnr,
        steps=state.step,
        best_step=state.best_step,
        seconds=state.seconds,
        frozen=job.frozen.label(lay_out(job).network),
        learning_rate=job.training.learning_rate,
    )


def _log(trial: TrialRecord, here: Bench, tracker: Tracker, study: Run) -> None:
    """Each trial is a run of its own, a child of its study."""
    settings = {"freeze": trial.label, "learning_rate": trial.learning_rate, "pruned": trial.pruned}
    key = here.key("trial", str(trial.number))
    with tracker.run(
        f"trial {trial.number} freeze {trial.label}", key, settings, {"sim.kind": "trial"}, study
    ) as run:
        for step, psnr in trial.curve:
            run.logger(step, {"val_psnr": psnr})
        run.metrics({"best_val_psnr": trial.val_psnr, "trainable": trial.trainable, "seconds": trial.seconds})


if __name__ == "__main__":
    run(main)
