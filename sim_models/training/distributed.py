"""Ray around the training loop: the one place of this floor that knows Ray.

The global batch is a number in the settings; how many workers share it is a `Place`, read from the environment.
`RAY_ADDRESS` names a cluster to join; without it a Ray of our own is started on this machine, bound to loopback.
"""

import logging
import math
import os
import shutil
import socket
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

# All are read when Ray is imported. The first binds a Ray of our own to loopback; the second spares
# an actor that would watch for spot machines being withdrawn.
os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "1" if os.environ.get("RAY_ADDRESS") else "0")
os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")
# A checkpoint counts once the controller has seen it; the default of 2 s would lose short jobs' last one.
os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.2")
# Workers for which there was room a moment ago are waited for, and then counted anew; for a minute, if Ray had its way.
os.environ.setdefault("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", "15")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
# Ray's workers give way to everybody else (nice 15): beside a busy browser, training would stand still.
os.environ.setdefault("RAY_worker_niceness", "0")

import ray
import ray.train
import torch
from ray.train.torch import TorchTrainer, get_device, prepare_model

from sim_models.config import BadInput
from sim_models.samples import Share
from sim_models.training.job import Job, lay_out
from sim_models.training.loop import Progress, State, train
from sim_models.training.place import Place

Watch = Callable[[int, dict[str, float]], None]
"""Told step and metrics of every look at the validation cells, on the first worker; travels to it."""

STATE = "state.pt"
TRIES = 3
"""in a row without a step of progress; a fault of the code would come every time"""
NO_UPLOAD = ray.train.CheckpointUploadMode.NO_UPLOAD
"""a checkpoint is written where it stays, under its name once it is whole"""
OBJECT_STORE_BYTES = 200 * 2**20
"""fields travel by file, not through Ray's object store; its default takes a third of the memory"""


@contextmanager
def cluster() -> Iterator[None]:
    """Ray for the length of a `with` block: the cluster at `RAY_ADDRESS`, else one of our own.

    Raises:
        BadInput: if nobody answers at `RAY_ADDRESS`, or it is one of Ray Client, which Ray Train cannot use.
    """
    address = os.environ.get("RAY_ADDRESS")
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address:
        _knock(address)
        ray.init(address=address, **quiet)
    else:
        ray.init(
            address="local",  # never a stranger's Ray that happens to run here
            num_cpus=max(2, os.cpu_count() or 1),
            include_dashboard=False,
            object_store_memory=OBJECT_STORE_BYTES,
            **quiet,
        )
    try:
        yield
    finally:
        ray.shutdown()


def _knock(address: str) -> None:
    """Ray itself takes a minute to give up on an address where nobody answers."""
    if address.startswith("ray://"):
        raise BadInput(
            f"RAY_ADDRESS={address}: training needs a place in the cluster, which Ray Client (ray://) does not give; "
            "submit it as a job (sim-models submit), or give host:port of the head from one of its nodes"
        )
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except (OSError, ValueError) as error:
        raise BadInput(
            f"no Ray cluster answers at RAY_ADDRESS={address} ({error}); start it, mend the address (host:port), "
            "or unset RAY_ADDRESS to train on this machine"
        ) from None


def resources() -> dict[str, float]:
    """What the running cluster has, by Ray's names (`CPU`, `GPU`)."""
    available: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return available


def num_nodes() -> int:
    """Machines in the running cluster."""
    return sum(bool(node["Alive"]) for node in ray.nodes())  # type: ignore[no-untyped-call]


def fit(job: Job, run_folder: Path, place: Place, watch: Watch) -> State:
    """Train a job with Ray Train and return its last state, best weights included.

    `run_folder` keeps the checkpoints. Called again with the folder of a job that was interrupted,
    it goes on from the last one; give every different job a folder of its own.

    Workers that die are replaced, as often as they get on in between; training is given up after a round of `TRIES`
    tries in which it has not got on.

    Raises:
        BadInput: if there are more workers than crops in a batch, or than GPUs where there are some.
        ray.train.TrainingFailedError: if it is given up; called again, it goes on from the last checkpoint.
    """
    if place.workers > job.training.batch:
        raise BadInput(
            f"training.batch is {job.training.batch}, of which {place.workers} workers would not all get a crop; "
            "choose at most that many SIM_MODELS_WORKERS"
        )
    run_folder = run_folder.resolve()  # workers work elsewhere, and links to it must not make it another
    on_gpu = _on_gpu(place)
    failures, begun = 0, -1
    while True:
        last = _last_checkpoint(run_folder)
        failures = 0 if _step(last) > begun else failures
        begun = _step(last)
        try:
            _trainer(job, run_folder, place, on_gpu, watch, last).fit()
            break
        except ray.train.WorkerGroupError:
            if _step(_last_checkpoint(run_folder)) <= begun:
                raise  # Ray has tried as often as it may
        except ray.train.ControllerError:
            # A worker that dies while it starts up is one, which Ray does not try again whatever its settings say.
            failures += 1
            if failures >= TRIES:
                raise
    final = _last_checkpoint(run_folder)
    assert final is not None, "a finished job has reported at least one checkpoint"
    state = _restore(final)
    bench = lay_out(job)
    bench.verify_frozen(state.weights)
    return state


def _trainer(
    job: Job, run_folder: Path, place: Place, on_gpu: bool, watch: Watch, last: Path | None
) -> TorchTrainer:
    """One try. Its folder is its own: what is left of an earlier one, killed a moment ago, can do no harm to it."""
    for old in run_folder.glob("*"):
        if last is None or old not in last.parents:
            shutil.rmtree(old, ignore_errors=True)
    folder = run_folder / uuid.uuid4().hex[:8]
    return TorchTrainer(
        _work,
        train_loop_config={
            "job": job.model_dump_json(),
            "watch": watch,
            "place": place,
            "last": last,
            "folder": folder,
        },
        scaling_config=ray.train.ScalingConfig(
            num_workers=place.workers if place.fewest is None else (place.fewest, place.workers),  # type: ignore[arg-type]
            use_gpu=on_gpu,
            resources_per_worker=None if on_gpu else {"CPU": _cpus(place)},
        ),
        run_config=ray.train.RunConfig(
            name=folder.name,
            storage_path=str(run_folder),
            checkpoint_config=ray.train.CheckpointConfig(num_to_keep=1),
            failure_config=ray.train.FailureConfig(max_failures=TRIES - 1),
        ),
    )


def _on_gpu(place: Place) -> bool:
    """Whether every worker is given a GPU: decided once, so that a training never changes sides.

    Raises:
        BadInput: if there are GPUs, but fewer than workers.
    """
    if place.device != "auto":
        return place.device == "gpu"
    gpus, wanted = int(resources().get("GPU", 0)), place.fewest or place.workers
    if 0 < gpus < wanted:
        raise BadInput(
            f"there are {gpus} GPUs for {wanted} workers; choose at most {gpus} SIM_MODELS_WORKERS, or say by "
            "SIM_MODELS_DEVICE=gpu that more will come, by cpu that none is to be used"
        )
    return gpus > 0


def _cpus(place: Place) -> float:
    """CPUs that a worker asks for: one for each thread, or less where all workers would not fit on the nodes."""
    nodes = [
        node["Resources"]["CPU"]
        for node in ray.nodes()  # type: ignore[no-untyped-call]
        if node["Alive"] and node["Resources"].get("CPU")
    ]
    if not nodes:  # they come when somebody asks
        return float(place.threads)
    on_each = math.ceil(place.workers / len(nodes))
    return float(min(place.threads, min(nodes) / on_each))


def _work(config: dict[str, Any]) -> None:
    """What each worker runs."""
    job = Job.model_validate_json(config["job"])
    place: Place = config["place"]
    torch.set_num_threads(place.threads)
    context = ray.train.get_context()
    share = Share(context.get_world_rank(), context.get_world_size())
    bench = lay_out(job)
    checkpoint = ray.train.get_checkpoint()
    last = Path(checkpoint.path) / STATE if checkpoint else config["last"]
    state = _restore(last) if last else bench.start()
    first = share.rank == 0

    def report(progress: Progress, state: State) -> None:
        if first:
            config["watch"](progress.step, progress.metrics())
        _report(progress, state, config["folder"] if first else None)

    # Frozen stages have no gradients by now, so DDP never waits for any.
    network = prepare_model(place.arranged(bench.network.to(get_device())))
    train(
        network,
        job.recipe.method,
        bench.samples,
        bench.validation,
        job.training,
        state,
        job.training.steps,
        share,
        report,
    )


def _report(progress: Progress, state: State, folder: Path | None) -> None:
    """Tell Ray of a look, with a checkpoint in `folder` if there is one: whole, or not there at all."""
    metrics = {"step": progress.step, "val_psnr": progress.val_psnr}
    if folder is None:
        ray.train.report(metrics, checkpoint_upload_mode=NO_UPLOAD)
        return
    target = folder / f"{progress.step:09d}" / STATE
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_suffix(".partial")
    torch.save(asdict(state), partial)
    partial.replace(target)
    checkpoint = ray.train.Checkpoint.from_directory(target.parent)
    ray.train.report(metrics, checkpoint=checkpoint, checkpoint_upload_mode=NO_UPLOAD)


def _last_checkpoint(run_folder: Path) -> Path | None:
    """The furthest state that any try has kept.

    Not what Ray wrote down of its checkpoints: a kill may leave that in part.
    """
    return max(run_folder.glob(f"*/*/{STATE}"), key=_step, default=None)


def _step(checkpoint: Path | None) -> int:
    return int(checkpoint.parent.name) if checkpoint else -1


def _restore(checkpoint: Path) -> State:
    return State(**torch.load(checkpoint, map_location="cpu", weights_only=True))
