"""Trains one network, with or without Ray, and tells how fast that was.

What is timed is the loop that trains every model here, as a worker runs it. After every few steps it looks at the
validation field, which is not timed; each stretch between two looks is one measurement, and the first does not count.
After each, the same process measures how fast its device multiplies matrices, so that both meet the same neighbours.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from statistics import median

import torch
import torch.distributed as dist
from torch import Tensor, nn

from sim_models.freeze import FreezeRange
from sim_models.recipes import find
from sim_models.samples import Share
from sim_models.training.job import Job, lay_out
from sim_models.training.loop import train
from sim_models.training.place import Place
from sim_models.transfer.cost import step_operations

NETWORKS = {
    "unet_fairsim": "U-Net",
    "red_fairsim": "RED-Net",
    "rdl_sr": "DFCAN",
    "wiener_nafnet": "wiener_nafnet (recommended)",
}
SMALL = {
    "unet_fairsim": {"width": 4},
    "red_fairsim": {"filters": 16},
    "rdl_sr": {"width": 16},
    "wiener_nafnet": {"width": 16},
}
"""a quarter of the published feature maps"""
MATRIX_EDGE = {"cpu": 1024, "cuda": 8192}
MATRIX_SECONDS = 0.4


@dataclass(frozen=True)
class Load:
    """What is trained in one measurement."""

    batch: int
    """crops in a step, over all workers"""
    crop_px: int
    """edge of a crop, in pixels of the input"""
    steps: int
    """of one stretch"""
    repeats: int
    """stretches that count"""
    small: bool


@dataclass(frozen=True)
class Meter:
    """Notes every look, on the first worker."""

    path: Path
    precision: str
    matrices: bool
    """whether the matrix rate is measured too; it holds up the other workers"""

    def __call__(self, step: int, metrics: dict[str, float]) -> None:
        """Note time, memory and matrix rate."""
        peak = peak_bytes()
        rate = matrix_rate(self.precision) if self.matrices else 0.0
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()  # of the matrices
        times = {name: metrics[name] for name in ("seconds", "data_wait_seconds")}
        noted = {"step": step, **times, "matrix_rate": rate, "peak_bytes": peak}
        with self.path.open("a") as file:
            file.write(json.dumps(noted) + "\n")

    def looks(self) -> list[dict[str, float]]:
        """All that was noted."""
        return [json.loads(line) for line in self.path.read_text().splitlines()]

    def stretches(self) -> list[tuple[float, float]]:
        """Seconds of one step, and the matrix rate at its end in operations per second, of those that count."""
        looks = self.looks()
        return [
            ((after["seconds"] - before["seconds"]) / (after["step"] - before["step"]), after["matrix_rate"])
            for before, after in pairwise(looks)
        ]

    def waited(self) -> float:
        """Share of the time in which steps waited for their batch, over all stretches that count."""
        first, *_, last = self.looks()
        return (last["data_wait_seconds"] - first["data_wait_seconds"]) / (last["seconds"] - first["seconds"])

    def peak_bytes(self) -> int:
        """The most memory up to the last look."""
        return int(max(look["peak_bytes"] for look in self.looks()))


@dataclass(frozen=True)
class Speed:
    """What was measured of one network."""

    network: str
    place: Place
    images_per_s: tuple[float, ...]
    """crops, over all workers, of every stretch"""
    matrix_share: tuple[float, ...]
    """floating-point operations per second and worker, over those of a matrix product on one device; by stretch"""
    waited: float
    """share of the time of steps in which the first worker waited for its batch"""
    peak_bytes: int
    """of the first worker: on a GPU what torch took of its memory, else resident memory, libraries included"""


def peak_bytes() -> int:
    """The most memory this process has had so far."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    # Of `getrusage` a new process inherits the peak of the one that started it.
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return 1024 * int(lines["VmHWM"].split()[0])


def matrix_rate(precision: str) -> float:
    """Floating-point operations per second of a large matrix product on this device, as many threads as torch has."""
    on_gpu = torch.cuda.is_available()
    device = torch.device("cuda" if on_gpu else "cpu")
    kind = torch.bfloat16 if on_gpu and precision == "bfloat16" else torch.float32
    edge = MATRIX_EDGE[device.type]
    # Convolutions in float32 may use TF32 unless told otherwise, products may not: here they have to be alike.
    allowed = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32
    try:
        left, right = (torch.rand(edge, edge, device=device).to(kind) for _ in range(2))
        seconds = _seconds_each(lambda: left @ right, on_gpu)
    finally:
        torch.backends.cuda.matmul.allow_tf32 = allowed
    return 2 * edge**3 / seconds


def _seconds_each(call: Callable[[], Tensor], on_gpu: bool) -> float:
    """Of one call, on average over as many as take a while; after two that nobody counts."""
    wait = torch.cuda.synchronize if on_gpu else (lambda: None)
    call(), call()
    wait()
    started, calls = time.perf_counter(), 0
    while time.perf_counter() - started < MATRIX_SECONDS:
        call()
        wait()
        calls += 1
    return (time.perf_counter() - started) / calls


def job_of(name: str, load: Load, dataset: Path) -> Job:
    """A training of a named recipe from random weights."""
    named = find(name, change={"network": SMALL[name]} if load.small else None)
    training = named.training.model_copy(
        update={
            "steps": load.steps * (load.repeats + 1),
            "batch": load.batch,
            "crop_px": load.crop_px,
            "validate_every": load.steps,
            "patience": load.repeats + 2,
        }
    )
    return Job(
        recipe=named.recipe,
        training=training,
        dataset=str(dataset),
        source=None,
        frozen=FreezeRange(start=0, end=0),
    )


def speed_of(
    name: str, load: Load, place: Place, dataset: Path, folder: Path, with_ray: bool, matrices: bool
) -> Speed:
    """Train and measure. `folder` must not exist; with Ray, it must be running."""
    folder.mkdir(parents=True)
    job = job_of(name, load, dataset)
    meter = Meter(folder / "looks.jsonl", job.training.precision, matrices)
    operations = (
        step_operations(lay_out(job)) / place.workers
    )  # which refuses what does not fit, before workers start
    (_by_ray if with_ray else _by_ourselves)(job, place, folder, meter)
    stretches = meter.stretches()
    return Speed(
        network=name,
        place=place,
        images_per_s=tuple(load.batch / seconds for seconds, _ in stretches),
        matrix_share=tuple(operations / seconds / rate for seconds, rate in stretches if rate),
        waited=meter.waited(),
        peak_bytes=meter.peak_bytes(),
    )


def _by_ray(job: Job, place: Place, folder: Path, meter: Meter) -> None:
    from sim_models.training.distributed import fit  # without Ray nobody should wait for its import

    fit(job, folder / "run", place, meter)


def _by_ourselves(job: Job, place: Place, folder: Path, meter: Meter) -> None:
    """In as many new processes as there are workers, each with a device of its own."""
    torch.multiprocessing.spawn(  # type: ignore[no-untyped-call]
        _work, (job.model_dump_json(), place, folder, meter), nprocs=place.workers
    )


def _work(rank: int, job_json: str, place: Place, folder: Path, meter: Meter) -> None:
    """What each worker runs; the same as with Ray, but for how the workers meet."""
    job, share = Job.model_validate_json(job_json), Share(rank, place.workers)
    torch.set_num_threads(place.threads)
    on_gpu = torch.cuda.is_available()
    device = torch.device("cuda", rank) if on_gpu else torch.device("cpu")
    if on_gpu:
        torch.cuda.set_device(device)
    bench = lay_out(job)
    network = place.arranged(bench.network.to(device))
    if place.workers > 1:
        meeting = f"file://{folder.resolve()}/meeting"
        dist.init_process_group("nccl" if on_gpu else "gloo", meeting, rank=rank, world_size=place.workers)
        network = nn.parallel.DistributedDataParallel(network, device_ids=[rank] if on_gpu else None)
    first = rank == 0
    train(
        network, job.recipe.method, bench.samples, bench.validation, job.training, bench.start(), job.training.steps,
        share, (lambda progress, _: meter(progress.step, progress.metrics())) if first else (lambda *_: None),
    )  # fmt: skip
    if place.workers > 1:
        dist.destroy_process_group()


def ratios(
    name: str, load: Load, place: Place, dataset: Path, folder: Path, with_ray: bool, rounds: int
) -> list[float]:
    """How many times as fast two workers are as one, of every round; in each, one after the other, in turns."""
    found = []
    for turn in range(rounds):
        speeds = {}
        for workers in ((1, 2), (2, 1))[turn % 2]:
            there = replace(place, workers=workers)
            each = speed_of(
                name, load, there, dataset, folder / f"{turn}-{workers}", with_ray, matrices=False
            )
            speeds[workers] = median(each.images_per_s)
        found.append(speeds[2] / speeds[1])
    return found
