"""Run sim_models and a peer on all cases of the benchmark, and write what came out.

    python bench.py [--out FOLDER] [--quick] [--no-peer] [--seed-offset N]

FOLDER/cases keeps the simulated stacks for the next run, FOLDER/peer the peer's environment. FOLDER/results/RUNNER/CASE,
FOLDER/measured.json and the page (docs/benchmark_reconstruction.md; FOLDER/benchmark_reconstruction.md from a quick run)
are written anew.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from fnmatch import fnmatch
from pathlib import Path
from statistics import median

from document import machine, page
from recon_case import Usage, plain
from rows import OURS, Measured, Row, Rows, score, score_widefield
from simulate import write_missing
from tables import STEPS
from targets import BRIGHT, THREE_BEAMS, check

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
PAGE = "benchmark_reconstruction.md"

QUIET = 0.08
"""share of the machine that others may use when a timed run starts"""

WATCH_S = 2.0


@dataclass(frozen=True)
class Effort:
    """How thorough a run is."""

    repeat: int
    seeds: int
    patience_s: float
    """how long to wait for a quiet machine"""
    attempts: int
    """of a timed run that others disturbed"""
    alone: bool
    """whether each timed case has a process to itself, without which its peak memory is not its own"""


FULL = Effort(repeat=15, seeds=6, patience_s=480, attempts=3, alone=True)
QUICK = Effort(repeat=3, seeds=1, patience_s=2, attempts=1, alone=False)


@dataclass(frozen=True)
class Runner:
    """A program that takes cases."""

    name: str
    command: tuple[str, ...]
    cases: dict[str, str]
    """by set: pattern of the cases it runs"""


TIMED, UNTIMED = ("main", "extra"), ("lowlight", "bad")


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
    lines = [line for line in made.stderr.splitlines() if line.lower().startswith("error")]
    return f"its environment could not be made ({lines[0] if lines else 'no reason given'})"


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
    command = [*runner.command, "--cases", *map(str, cases), "--out", str(out), *flags]

    def keep_to_cores() -> None:
        os.sched_setaffinity(0, cores or set())

    started = time.monotonic()
    ended = subprocess.run(
        command, capture_output=True, text=True, cwd=out.parent,
        preexec_fn=keep_to_cores if cores else None,
    )  # fmt: skip
    name = cases[0].name if len(cases) == 1 else f"{len(cases)} cases"
    failed = "" if ended.returncode == 0 else f" failed: {ended.stderr.strip()[-300:]}"
    print(f"{runner.name:16s} {name:20s} {time.monotonic() - started:6.1f} s{failed}", flush=True)


def run_set(name: str, cases: Sequence[Path], runner: Runner, out: Path, effort: Effort) -> list[Row]:
    """Run a runner on the cases of a set that it takes, and score what it wrote."""
    wanted = [case for case in cases if fnmatch(case.name, runner.cases.get(name, ""))]
    if name in UNTIMED:
        if wanted:
            run(runner, wanted, out, "--repeat", "0", "--estimate-only")
    elif effort.alone:
        for case in wanted:
            _run_undisturbed(runner, case, out, effort)
    elif wanted:
        wait_until_quiet(effort.patience_s)
        run(runner, wanted, out, "--repeat", str(effort.repeat))
    return [score(runner.name, case, out) for case in wanted]


def _run_undisturbed(runner: Runner, case: Path, out: Path, effort: Effort) -> None:
    for _ in range(effort.attempts):
        wait_until_quiet(effort.patience_s)
        run(runner, [case], out, "--repeat", str(effort.repeat))
        result = out / case.name / "result.json"
        if not result.exists() or not Row(runner.name, case.name, json.loads(result.read_text())).disturbed:
            return


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
    """By runner and step: time on two cores of which one is stolen, over that on the same two without."""
    cores = sorted(os.sched_getaffinity(0))[:2]
    if len(cores) < 2:
        return {}
    ratios = {}
    for runner in runners:
        free, stolen = out / "free" / runner.name, out / "stolen" / runner.name
        for folder in (free, stolen):
            folder.mkdir(parents=True)
        flags = ("--repeat", str(effort.repeat))
        wait_until_quiet(effort.patience_s)
        run(runner, [case], free, *flags, cores=set(cores))
        with busy_core(cores[0]):
            run(runner, [case], stolen, *flags, cores=set(cores))
        before, after = (_medians(folder / case.name) for folder in (free, stolen))
        ratios[runner.name] = {step: after[step] / before[step] for step in before if step in after}
    return ratios


def _medians(folder: Path) -> dict[str, float]:
    result = json.loads((folder / "result.json").read_text())
    return {step: median(result[f"t_{step}_s"]) for step in STEPS if result.get(f"t_{step}_s")}


def same_bits(first: Path, second: Path) -> bool:
    """Whether two results of a case hold the same stripes and the same image."""
    told = [json.loads((folder / "result.json").read_text()) for folder in (first, second)]
    stripes = [[each.get(key) for key in ("k", "phase", "mod")] for each in told]
    images = [(folder / "recon.tif").read_bytes() for folder in (first, second)]
    return stripes[0] == stripes[1] and images[0] == images[1]


def fft_floor(harmonics: int) -> float:
    """Milliseconds of the Fourier transforms of 3 angles on 512 x 512 pixels."""
    command = [sys.executable, str(HERE / "fft_floor.py"), "512", "3", str(harmonics)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def measure(out: Path, effort: Effort, quick: bool, offset: int, peer_missing: str | None) -> Measured:
    """Simulate, run and score everything."""
    results = out / "results"
    shutil.rmtree(results, ignore_errors=True)
    runners = [our_runner(), *([] if peer_missing else peer_runners(out / "peer" / "bin" / "python"))]
    rows, cases = Rows(), {}
    for name in TIMED + UNTIMED:
        print(f"simulating {name}", flush=True)
        cases[name] = write_missing(name, out / "cases", effort.seeds, offset)
    for name in TIMED + UNTIMED:
        rows.of_set[name] = []
        for runner in runners:
            folder = results / runner.name / name
            folder.mkdir(parents=True)
            rows.of_set[name] += run_set(name, cases[name], runner, folder, effort)
    rows.of_set["main"] += [
        score_widefield(case) for case in cases["main"] if not case.name.startswith("flat")
    ]
    bright = next(case for case in cases["main"] if case.name == BRIGHT)
    with_times = [runner for runner in runners if runner.name in (OURS, "napari_torch", "napari_opencv")]
    stolen = run_with_stolen_core(with_times, bright, results, effort)
    again = results / "free" / OURS / BRIGHT
    return Measured(
        rows, effort.seeds, effort.repeat, quick, peer_missing, stolen,
        floor_ms={BRIGHT: fft_floor(1), THREE_BEAMS: fft_floor(2)},
        same_bits=same_bits(results / OURS / "main" / BRIGHT, again) if again.exists() else None,
    )  # fmt: skip


def code_version() -> str:
    """The commit, and whether files differ from it."""

    def git(*words: str) -> str:
        told = subprocess.run(["git", "-C", str(REPOSITORY), *words], capture_output=True, text=True)
        return told.stdout.strip()

    commit = git("rev-parse", "--short", "HEAD") or "not from git"
    return f"{commit}, with changes" if git("status", "--porcelain", "sim_models", "benchmarks") else commit


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description="Compare sim_models and a peer with the truth.")
    parser.add_argument("--out", type=Path, default=REPOSITORY / "build" / "benchmark-recon")
    parser.add_argument("--quick", action="store_true", help="two minutes, to see that it runs; no peer")
    parser.add_argument("--no-peer", action="store_true", help="sim_models alone")
    parser.add_argument("--seed-offset", type=int, default=0, help="other objects, stripes and noise")
    chosen = parser.parse_args()
    out = chosen.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    if chosen.quick or chosen.no_peer:
        peer_missing: str | None = "this run was told to leave it out"
    else:
        peer_missing = make_peer(out / "peer")
    effort = QUICK if chosen.quick else FULL
    measured = measure(out, effort, chosen.quick, chosen.seed_offset, peer_missing)
    targets = check(measured)
    told = {
        "machine": machine(),
        "targets": [asdict(target) for target in targets],
        "rows": {name: [row.told() for row in rows] for name, rows in measured.rows.of_set.items()},
        "stolen_core": measured.stolen_core,
        "floor_ms": measured.floor_ms,
    }
    (out / "measured.json").write_text(json.dumps(plain(told), indent=1))
    written = (out if chosen.quick else REPOSITORY / "docs") / PAGE
    written.write_text(page(measured, targets, code_version()))
    missed = [target.quantity for target in targets if target.met is False]
    print(f"{written}: {len(targets) - len(missed)} of {len(targets)} targets not missed")


if __name__ == "__main__":
    main()
