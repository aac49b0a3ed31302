"""How long a step waits for its batch, by the number of fields and the size of crops.

The step itself is a stand-in that takes a fixed time and leaves the processor alone, as a step on a GPU does: so it
shows what the way of the data can feed, whatever the network. Every number of fields has a process of its own.
"""

import os
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from statistics import median

import psutil
import torch
from made_fields import seal
from speed import Load, job_of

from sim_models.samples import Sample, Samples, Share
from sim_models.training.feed import feeding
from sim_models.training.job import Job, lay_out

RECIPE = "wiener_nafnet"
CUTS, WARM_UP = 20, 3


@dataclass(frozen=True)
class Wait:
    """What was measured for one number of fields and one size of crops."""

    fields: int
    crop_px: int
    cut_ms: float
    """of one batch, median"""
    waited_at_once: float
    """share of the time, were each batch cut when its step asks for it"""
    waited_ahead: float
    """share of the time as it is, cut ahead by a thread"""
    start_s: float
    """until all fields were read, checked and normalised"""
    own_bytes: int
    """memory that this process has for itself, over what it had before it opened the fields"""
    mapped_bytes: int
    """likewise, memory that mirrors files, which the system takes back when others need it"""


@dataclass(frozen=True)
class Plan:
    """What is measured."""

    fields: tuple[int, ...]
    crops_px: tuple[int, ...]
    batch: int
    step_s: float
    """time of a step that stands in for one on a GPU"""
    steps: int
    memory_gb: float
    """SIM_MODELS_MEMORY_GB"""
    threads: int


def waits(plan: Plan, folder: Path) -> list[Wait]:
    """Measure on the first of the fields in `folder`, in ever larger numbers."""
    found = []
    for count in plan.fields:
        seal(folder, count)
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            found += pool.submit(_waits_of, plan, folder, count).result()
    return found


def _waits_of(plan: Plan, folder: Path, count: int) -> list[Wait]:
    os.environ["SIM_MODELS_MEMORY_GB"] = str(plan.memory_gb)
    torch.set_num_threads(plan.threads)
    job = job_of(RECIPE, Load(plan.batch, max(plan.crops_px), steps=1, repeats=1, small=True), folder)
    libraries, started = memory_bytes(), time.perf_counter()
    samples = lay_out(job).samples
    start_s = time.perf_counter() - started
    found = []
    for crop_px in plan.crops_px:
        cut_s, at_once, ahead = _wait(plan, job, samples, crop_px)
        own, mapped = (now - before for now, before in zip(memory_bytes(), libraries, strict=True))
        found.append(Wait(count, crop_px, 1e3 * cut_s, at_once, ahead, start_s, own, mapped))
    return found


def memory_bytes() -> tuple[int, int]:
    """What this process has for itself, and what it shares, as files that are mapped."""
    memory = psutil.Process().memory_info()
    return memory.rss - memory.shared, memory.shared


def _wait(plan: Plan, job: Job, samples: Samples, crop_px: int) -> tuple[float, float, float]:
    """Seconds to cut a batch, and the shares that are waited: when cut at once, and when cut ahead."""

    on_gpu = torch.cuda.is_available()
    device = torch.device("cuda", torch.cuda.current_device()) if on_gpu else torch.device("cpu")

    def make(step: int) -> Sample:
        seed, augment = job.training.seed, job.training.augment
        return samples.batch(step, plan.batch, crop_px, seed, Share(), augment, on_gpu)

    cut_s = [_seconds(lambda step=step: make(step)) for step in range(WARM_UP + CUTS)][WARM_UP:]
    # Other steps each time, for crops that were cut before are in the processor's own memory.
    first = WARM_UP + CUTS
    at_once = _waited_at_once(plan, make, range(first, first + plan.steps))
    ahead = _waited_ahead(plan, make, range(first + plan.steps, first + 2 * plan.steps), device)
    return median(cut_s), at_once, ahead


def _seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def _waited_at_once(plan: Plan, make: Callable[[int], Sample], steps: range) -> float:
    started, waited = time.perf_counter(), 0.0
    for step in steps:
        waited += _seconds(lambda step=step: make(step))
        time.sleep(plan.step_s)
    return waited / (time.perf_counter() - started)


def _waited_ahead(plan: Plan, make: Callable[[int], Sample], steps: range, device: torch.device) -> float:
    with feeding(make, steps, device) as feed:
        started = time.perf_counter()
        for _ in steps:
            feed.next()
            time.sleep(plan.step_s)
        return feed.waited / (time.perf_counter() - started)
