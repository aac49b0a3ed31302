"""The programs that are compared, and how each is started: alone, on a quiet machine, and with a core stolen."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from recon_case import Usage
from rows import OURS, Row
from tables import STEPS

HERE = Path(__file__).resolve().parent

TIMED, UNTIMED = ("main", "extra"), ("lowlight", "bad", "real")
"""sets of cases; of the second only the stripes are asked for"""

KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(32 * 2**20), "MALLOC_TRIM_THRESHOLD_": str(2**30)}
"""for all programs alike: glibc keeps freed memory, as commands of sim_models ask it to (see `sim_models.process`)"""

QUIET = 0.08
"""share of the machine that others may use when a timed run starts"""

WATCH_S = 2.0


@dataclass(frozen=True)
class Effort:
    """How thorough a run of the benchmark is."""

    repeat: int
    seeds: int
    """stacks per kind in the sets with small fields"""
    patience_s: float
    """how long to wait for a quiet machine"""
    attempts: int
    """of a timed run that others disturbed"""
    alone: bool
    """whether each timed case has a process to itself, without which its peak memory is not its own"""


@dataclass(frozen=True)
class Runner:
    """A program that takes cases."""

    name: str
    command: tuple[str, ...]
    cases: dict[str, str]
    """by set: pattern of the cases it takes"""


def our_runner() -> Runner:
    """Takes everything."""
    command = (sys.executable, str(HERE / "run_sim_models.py"))
    return Runner(OURS, command, dict.fromkeys(TIMED + UNTIMED, "*"))


def peer_runners(python: Path) -> list[Runner]:
    """The peer's backends; one is enough where there are no times and no images."""
    command = (str(python), str(HERE / "run_napari.py"), "--backend")
    return [
        Runner("napari_torch", (*command, "torch"), dict.fromkeys(TIMED + UNTIMED, "*")),
        Runner("napari_opencv", (*command, "opencv"), dict.fromkeys(TIMED, "*")),
        Runner("napari_numpy", (*command, "numpy"), {"main": "*"}),
        Runner("napari_phases", (*command, "opencv", "--measure-phases"), {"main": "*_phase"}),
    ]


def make_peer(folder: Path) -> str | None:
    """Make the peer's environment; the reason why there is none."""
    made = subprocess.run(
        [str(HERE / "peer_env.sh"), str(folder)],
        env={**os.environ, "PYTHON": sys.executable}, capture_output=True, text=True,
    )  # fmt: skip
    if made.returncode == 0:
        return None
    print(f"no peer: {made.stderr.strip()}", file=sys.stderr)
    return "its packages could not be installed"


def wait_until_quiet(patience_s: float) -> None:
    """Wait while others use the machine, but not forever."""
    end = time.monotonic() + patience_s
    while time.monotonic() < end:
        before = Usage.now()
        time.sleep(min(WATCH_S, patience_s))
        if Usage.now().foreign_since(before) < QUIET:
            return


def run(runner: Runner, cases: Sequence[Path], out: Path, *flags: str, cores: set[int] | None = None) -> None:
    """Run cases in one process, on some of the cores only if these are given."""

    def keep_to_cores() -> None:
        os.sched_setaffinity(0, cores or set())

    started = time.monotonic()
    ended = subprocess.run(
        [*runner.command, "--cases", *map(str, cases), "--out", str(out), *flags],
        capture_output=True, text=True, cwd=out, preexec_fn=keep_to_cores if cores else None,
        env={**os.environ, **KEEP_MEMORY},
    )  # fmt: skip
    name = cases[0].name if len(cases) == 1 else f"{len(cases)} cases"
    failed = "" if ended.returncode == 0 else f" failed: {ended.stderr.strip()[-300:]}"
    print(f"{runner.name:16s} {name:20s} {time.monotonic() - started:6.1f} s{failed}", flush=True)


def run_set(name: str, cases: Sequence[Path], runner: Runner, out: Path, effort: Effort) -> None:
    """Run a runner on cases of a set. What is not timed shares a process."""
    if not cases:
        return
    if name in UNTIMED:
        run(runner, cases, out, "--repeat", "0", "--estimate-only")
    elif effort.alone:
        for case in cases:
            run_undisturbed(runner, case, out, effort)
    else:
        wait_until_quiet(effort.patience_s)
        run(runner, cases, out, "--repeat", str(effort.repeat))


def run_undisturbed(
    runner: Runner, case: Path, out: Path, effort: Effort, cores: set[int] | None = None
) -> None:
    """Run a case alone on a quiet machine; a few times, where others disturb it nevertheless."""
    for _ in range(effort.attempts):
        wait_until_quiet(effort.patience_s)
        run(runner, [case], out, "--repeat", str(effort.repeat), cores=cores)
        result = _result(out / case.name)
        if not Row(runner.name, case.name, result).disturbed:
            return


def _result(folder: Path) -> dict[str, list[float]]:
    """A result.json; empty where the runner broke."""
    path = folder / "result.json"
    return json.loads(path.read_text()) if path.exists() else {}


@contextmanager
def busy_core(core: int) -> Iterator[None]:
    """A process that never rests on one core."""
    busy = subprocess.Popen(
        [sys.executable, "-c", f"import os\nos.sched_setaffinity(0, {{{core}}})\nwhile True: pass"]
    )
    try:
        yield
    finally:
        busy.kill()
        busy.wait()


def run_with_stolen_core(
    runners: Sequence[Runner], case: Path, out: Path, effort: Effort
) -> dict[str, dict[str, float]]:
    """By runner and step: time on two cores of which one is stolen, over that on the same two without.

    The results are in OUT/free/RUNNER and OUT/stolen/RUNNER.
    """
    cores = sorted(os.sched_getaffinity(0))[:2]
    if len(cores) < 2:
        return {}
    ratios = {}
    for runner in runners:
        free, stolen = out / "free" / runner.name, out / "stolen" / runner.name
        for folder in (free, stolen):
            folder.mkdir(parents=True)
        run_undisturbed(runner, case, free, effort, cores=set(cores))
        if Row(runner.name, case.name, _result(free / case.name)).disturbed:
            continue  # what others steal as well would hide what the busy core does
        with busy_core(cores[0]):
            run(runner, [case], stolen, "--repeat", str(effort.repeat), cores=set(cores))
        before, after = (_medians(_result(folder / case.name)) for folder in (free, stolen))
        ratios[runner.name] = {step: after[step] / before[step] for step in before if step in after}
    return ratios


def _medians(result: dict[str, list[float]]) -> dict[str, float]:
    return {step: median(result[f"t_{step}_s"]) for step in STEPS if result.get(f"t_{step}_s")}
