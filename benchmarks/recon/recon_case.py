"""What the runners of this benchmark share: the case they read, the result they write, the clock and the memory.

A runner is any command that takes

    --cases DIR... --out DIR --repeat N [--params estimate|truth] [--wiener W]

and writes, for each case, OUT/<case>/recon.tif (float32, 2 H x 2 W, sample (2 i, 2 j) on raw pixel (i, j)) and
OUT/<case>/result.json:

    ok, message      ok = false and a reason: refused. A wrong answer with ok = true is the worst there is
    k                (A, 2) wave vector of the first harmonic, cycles per field; its sign is free
    phase            (A, P) radian, at the centre of pixel (0, 0)
    mod              (A, harmonics) depth of the stripes
    t_estimate_s     warm wall times, one for each repeat; of finding the stripes,
    t_setup_s        of what is needed once for a set of stripes,
    t_reconstruct_s  and of what is needed for every stack
    base_rss_mb      resident memory before the first case
    peak_rss_mb      and its peak at the end
    foreign_cpu      share of the machine that others used meanwhile; above 0.1 times mean nothing

The words are those of `simulate`. This file runs in the peers' environments too: it needs numpy and tifffile only.
"""

import argparse
import json
import math
import os
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import tifffile
from numpy.typing import NDArray

T = TypeVar("T")

THREADS = min(os.cpu_count() or 1, 2)
"""of every runner, whatever the machine: times are for two cores"""

SHORTEST_WATCH_S = 0.3
"""what others used in less time is not known well enough to be told"""


@dataclass(frozen=True)
class Case:
    """A raw stack, and what a runner may know about it."""

    name: str
    counts: NDArray[np.uint16]
    """(A, P, H, W)"""
    meta: dict[str, Any]
    truth: dict[str, NDArray[Any]] | None
    """None where the runner is not meant to know it"""

    @property
    def field_um(self) -> tuple[float, float]:
        """(W, H)."""
        height, width = self.counts.shape[-2:]
        return width * self.meta["pixel_um"], height * self.meta["pixel_um"]


def load(folder: Path, with_truth: bool = False) -> Case:
    """Read a case."""
    meta = json.loads((folder / "meta.json").read_text())
    stack = tifffile.imread(folder / "raw.tif")
    counts = stack.reshape(meta["n_angles"], meta["n_phases"], *stack.shape[-2:])
    truth = None
    if with_truth:
        with np.load(folder / "truth.npz") as stored:
            truth = dict(stored)
    return Case(folder.name, counts, meta, truth)


def parser(description: str) -> argparse.ArgumentParser:
    """The options every runner takes."""
    options = argparse.ArgumentParser(description=description)
    options.add_argument("--cases", type=Path, nargs="+", required=True, help="folders of cases")
    options.add_argument("--out", type=Path, required=True, help="OUT/<case>/ is written")
    options.add_argument("--repeat", type=int, default=5, help="timed runs; 0 for one that is not timed")
    options.add_argument(
        "--params", choices=["estimate", "truth"], default="estimate", help="where stripes come from"
    )
    options.add_argument(
        "--wiener", type=float, help="strength of the regularisation; left out: the usual one"
    )
    options.add_argument("--estimate-only", action="store_true", help="no image")
    return options


class Stopwatch:
    """Wall times of repeated calls, and what others took of the machine meanwhile."""

    def __init__(self, repeat: int) -> None:
        self.repeat = repeat
        self.foreign: float | None = None
        """largest share of the machine that others used while a call was timed"""

    def time(self, call: Callable[[], T]) -> tuple[T, list[float]]:
        """The answer of a call, and the time of each repeat after a first one to warm up."""
        answer = call()
        before, times = Usage.now(), []
        for _ in range(self.repeat):
            start = time.perf_counter()
            answer = call()
            times.append(time.perf_counter() - start)
        after = Usage.now()
        if after.wall_s - before.wall_s > SHORTEST_WATCH_S:
            share = after.foreign_since(before)
            self.foreign = share if self.foreign is None else max(self.foreign, share)
        return answer, times


@dataclass(frozen=True)
class Usage:
    """Processor time used since some moment in the past, by everybody and by this process."""

    wall_s: float
    machine_s: float
    own_s: float

    @staticmethod
    def now() -> "Usage":
        """Read the counters of Linux."""
        user, nice, system, _, _, *others = map(
            int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
        )
        ticks = user + nice + system + sum(others)
        own = resource.getrusage(resource.RUSAGE_SELF)
        return Usage(time.perf_counter(), ticks / os.sysconf("SC_CLK_TCK"), own.ru_utime + own.ru_stime)

    def foreign_since(self, before: "Usage") -> float:
        """Share of all cores that other processes used since then."""
        foreign = (self.machine_s - before.machine_s) - (self.own_s - before.own_s)
        return max(0.0, foreign / (self.wall_s - before.wall_s) / (os.cpu_count() or 1))


def resident_mb() -> float:
    """Memory this process holds."""
    return _status_mb("VmRSS")


def peak_mb() -> float:
    """The most memory this process ever held.

    Not from `getrusage`: its peak outlives the start of a program, and would be that of the process that started this.
    """
    return _status_mb("VmHWM")


def _status_mb(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(name))


def save(out: Path, case: Case, runner: str, image: NDArray[Any] | None = None, **result: Any) -> None:
    """Write the result of a case."""
    folder = out / case.name
    folder.mkdir(parents=True, exist_ok=True)
    if image is not None:
        tifffile.imwrite(folder / "recon.tif", np.ascontiguousarray(image, dtype=np.float32))
    (folder / "result.json").write_text(json.dumps(plain({"peer": runner, **result}), indent=1))


def plain(value: Any) -> Any:
    """The same as JSON has it, where there are no arrays and nothing is infinite."""
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [plain(each) for each in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    return None if isinstance(value, float) and not math.isfinite(value) else value
