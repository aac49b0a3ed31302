"""Fit jobs on Ray and log them to MLflow: what the stages `train` and `transfer` share."""

import fcntl
import os
import shutil
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

import sim_models
from pipelines.shared.params import Evaluation, Params
from pipelines.shared.stage import DATA, REPORTS, RUNS, digest, project_root, write_whole
from sim_models.config import BadInput
from sim_models.evaluation.panels import save_panel
from sim_models.evaluation.scores import restore, score
from sim_models.restorer import Restorer
from sim_models.sources.prepared import Prepared
from sim_models.tracking.runs import WEIGHTS, Run, Tracker, data_version
from sim_models.training.distributed import fit, num_nodes
from sim_models.training.job import Job, lay_out
from sim_models.training.loop import State
from sim_models.training.place import Place


@dataclass(frozen=True)
class Bench:
    """Where a stage keeps what lets it go on after an interruption. Gone once it has ended well."""

    folder: Path
    execution: str
    """the same until the stage has ended well, new when it is run anew; part of every run's key"""

    def key(self, *parts: str) -> str:
        """Key of a run of this execution."""
        return digest(self.execution, *parts)


@contextmanager
def bench(key: str) -> Iterator[Bench]:
    """The bench of a stage, for this process alone.

    Raises:
        BadInput: if another process has it, as one may that outlived a killed `dvc`.
    """
    folder = RUNS / key
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a+") as lock:
        hold(lock.fileno(), folder / "lock")
        execution = folder / "execution"
        if not execution.exists():
            execution.write_text(uuid.uuid4().hex)
        yield Bench(folder, execution.read_text())
        shutil.rmtree(folder)  # while nobody else can have it


def hold(lock: int, path: Path) -> None:
    """Take a lock that goes with the process, however that ends.

    Raises:
        BadInput: if another process has it, who is named, or there are no locks.
    """
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise BadInput(
            f"{path}: {path.read_text() or 'another process'} still works on this stage; "
            "wait for it or stop it, then run the same command again"
        ) from None
    except OSError as error:
        raise BadInput(
            f"{path}: cannot be locked ({error.strerror}), so nothing would keep two processes apart; put it on a "
            "file system with locks (NFS 4, or NFS 3 with lockd)"
        ) from None
    os.ftruncate(lock, 0)
    os.write(lock, _who().encode())


def _who() -> str:
    """This process, for people on other machines that share the folder."""
    job = os.environ.get("RAY_JOB_SUBMISSION_ID")
    return f"process {os.getpid()} on {socket.gethostname()}" + (f" (Ray job {job})" if job else "")


@dataclass(frozen=True)
class Lab:
    """What every fit of a stage shares."""

    place: Place
    tracker: Tracker
    evaluation: Evaluation

    @staticmethod
    def open(params: Params) -> "Lab":
        """The lab of a study, at the place and the tracking server that the environment names."""
        return Lab(Place.from_environment(), Tracker.open(params.study, project_root()), params.evaluation)

    def refuse_private_runs(self) -> None:
        """Workers on other machines would write their runs to a file of the same name over there."""
        if self.tracker.uri.startswith("sqlite:") and num_nodes() > 1:
            raise BadInput(
                f"the Ray cluster has {num_nodes()} nodes, but runs go to the file {self.tracker.uri}, which only one "
                "of them sees; start an MLflow server and name it in MLFLOW_TRACKING_URI"
            )


def fit_and_save(
    job: Job, name: str, folder: Path, lab: Lab, here: Bench, parent: Run | None = None
) -> State:
    """Train a job, write its restorer to `folder` and log what it makes of a validation field.

    Called again on the same bench, training and its MLflow run go on where they stood.
    """
    lab.refuse_private_runs()
    laid_out = lay_out(job)  # refuses what does not fit before a run is made and workers start
    key = here.key(job_key(job))
    tags = {"sim.kind": "training", **data_tags(job)}
    with lab.tracker.run(name, key, job.model_dump(mode="json"), tags, parent) as run:
        run.dataset(data_folder(job), laid_out.card.split_hash, "training")
        run.tags({"sim.workers": str(lab.place), "sim.threads": str(lab.place.threads)})
        state = fit(job, here.folder / key, lab.place, run.logger)
        restorer = laid_out.restorer(state)
        restorer.save(folder)
        run.tags({WEIGHTS: restorer.weights_sha256})
        run.metrics({"best_val_psnr": state.best_psnr, "best_step": state.best_step})
        drawn = pictures(
            Prepared.open(Path(job.dataset)), folder, here.folder / f"{key}.pictures", lab.evaluation
        )
        run.folder(drawn, "validation")
    return state


def pictures(prepared: Prepared, model: Path, folder: Path, evaluation: Evaluation) -> Path:
    """The first validation cell at every light level, as it was, restored, and what is wrong with it."""
    folder.mkdir(exist_ok=True)
    restorer = Restorer.load(model)
    truth, fields = restorer.recipe.task.truth, prepared.fields("val")
    fields = [field for field in fields if truth in field.images] or fields
    first = [field for field in fields if field.cell == fields[0].cell]
    for restored in restore(first, {restorer.card.arm: restorer}):
        table = score(restored, evaluation.border_px)
        save_panel(restored, table, folder / f"{restored.field.level}.png")
    return folder


def write_curves(key: str, state: State) -> None:
    """Write `reports/curves/<key>.csv`: loss and validation PSNR by step. No times: they never repeat."""
    rows = [
        {
            "arm": "scratch",
            "step": step,
            **{n: value for n, value in metrics.items() if not n.endswith("seconds")},
        }
        for step, metrics in state.curve
    ]
    write_whole(
        REPORTS / "curves" / f"{key}.csv", pd.DataFrame(rows).to_csv(index=False, float_format="%.6g")
    )


def job_key(job: Job) -> str:
    """Digest of all that decides what a job comes to: settings, data, source and code."""
    source = [Path(job.source)] if job.source else []
    settings = job.model_dump_json(exclude={"dataset", "source"})
    return digest(settings, Path(job.dataset), *source, Path(sim_models.__file__).parent)


def data_folder(job: Job) -> Path:
    """The folder of a job's fields as `dvc.lock` spells it."""
    return DATA / "fields" / Path(job.dataset).name


def data_tags(job: Job) -> dict[str, str]:
    """Tags that name the data of a job."""
    folder = data_folder(job)
    return {
        "sim.structure": folder.name,
        "sim.data": data_version(folder),
        "sim.split": lay_out(job).card.split_hash,
    }
