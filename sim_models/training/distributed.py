"""Ray around the training loop: the one place of this floor that knows Ray.

The global batch is a number in the settings; how many workers share it is a `Place`, read from the environment.
`RAY_ADDRESS` names a cluster to join; without it a Ray of our own is started on this machine, bound to loopback.
"""

import logging
import os
import socket
import tempfile
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
OBJECT_STORE_BYTES = 200 * 2**20
"""fields travel by file, not through Ray's object store; its default takes a third of the memory"""


@contextmanager
def cluster() -> Iterator[None]:
    """Ray for the length of a `with` block: the cluster at `RAY_ADDRESS`, else one of our own.

    Raises:
        BadInput: if nobody answers at `RAY_ADDRESS`.
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
    host, _, port = address.removeprefix("ray://").rpartition(":")
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

    Raises:
        BadInput: if the workers cannot share the global batch equally.
    """
    if job.training.batch % place.workers:
        raise BadInput(
            f"training.batch is {job.training.batch}, which {place.workers} workers cannot share equally; "
            "choose a multiple of SIM_MODELS_WORKERS"
        )
    gpu = resources().get("GPU", 0) >= place.workers
    trainer = TorchTrainer(
        _work,
        train_loop_config={"job": job.model_dump_json(), "watch": watch, "place": place},
        scaling_config=ray.train.ScalingConfig(
            num_workers=place.workers,
            use_gpu=gpu,
            # On CPUs a worker asks for a share of what there is, so that several always fit.
            resources_per_worker=None if gpu else {"CPU": resources()["CPU"] / (place.workers + 1)},
        ),
        run_config=ray.train.RunConfig(
            name=run_folder.name,
            storage_path=str(run_folder.parent.resolve()),
            checkpoint_config=ray.train.CheckpointConfig(num_to_keep=1),
            failure_config=ray.train.FailureConfig(max_failures=2),
        ),
    )
    result = trainer.fit()
    assert result.checkpoint is not None, "a finished job has reported at least one checkpoint"
    state = _restore(result.checkpoint)
    bench = lay_out(job)
    bench.verify_frozen(state.weights)
    return state


def _work(config: dict[str, Any]) -> None:
    """What each worker runs."""
    job = Job.model_validate_json(config["job"])
    place: Place = config["place"]
    torch.set_num_threads(place.threads)
    context = ray.train.get_context()
    share = Share(context.get_world_rank(), context.get_world_size())
    bench = lay_out(job)
    checkpoint = ray.train.get_checkpoint()
    state = _restore(checkpoint) if checkpoint else bench.start()
    first = share.rank == 0

    def report(progress: Progress, state: State) -> None:
        if first:
            config["watch"](progress.step, progress.metrics())
        _report(progress, state, first)

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


def _report(progress: Progress, state: State, with_checkpoint: bool) -> None:
    metrics = {"step": progress.step, "val_psnr": progress.val_psnr}
    if not with_checkpoint:
        ray.train.report(metrics)
        return
    with tempfile.TemporaryDirectory() as folder:
        torch.save(asdict(state), Path(folder) / STATE)
        ray.train.report(metrics, checkpoint=ray.train.Checkpoint.from_directory(folder))


def _restore(checkpoint: ray.train.Checkpoint) -> State:
    with checkpoint.as_directory() as folder:
        return State(**torch.load(Path(folder) / STATE, map_location="cpu", weights_only=True))
