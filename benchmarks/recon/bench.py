"""Run sim_models and a peer on all cases of the benchmark, and write what came out.

    python bench.py [--out FOLDER] [--quick] [--no-peer] [--seed-offset N] [--real-data FOLDER]

FOLDER/cases keeps the simulated stacks for the next run, FOLDER/peer the peer's environment. FOLDER/results,
FOLDER/measured.json and the page are written anew. The page is docs/benchmark_reconstruction.md; that of a run which is
quick, without a peer or of other seeds stays in FOLDER.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict
from fnmatch import fnmatch
from pathlib import Path

import real_stack
from document import machine, page
from recon_case import plain
from rows import OURS, Measured, Rows, score, score_widefield
from runners import (
    HERE,
    TIMED,
    UNTIMED,
    Effort,
    make_peer,
    our_runner,
    peer_runners,
    run_set,
    run_with_stolen_core,
    wait_until_quiet,
)
from simulate import write_missing
from targets import BRIGHT, THREE_BEAMS, check

REPOSITORY = HERE.parents[1]
PAGE = "benchmark_reconstruction.md"

REAL_DATA = Path(os.environ.get("SIM_MODELS_REAL_DATA", REPOSITORY.parent / "shared" / "data"))
"""as for the tests"""

FULL = Effort(repeat=15, seeds=6, patience_s=480, attempts=3, alone=True)
QUICK = Effort(repeat=3, seeds=1, patience_s=2, attempts=1, alone=False)


def same_bits(first: Path, second: Path) -> bool | None:
    """Whether two results of a case hold the same stripes and the same image; None where one has no image."""
    images = [folder / "recon.tif" for folder in (first, second)]
    if not all(image.exists() for image in images):
        return None
    told = [json.loads((folder / "result.json").read_text()) for folder in (first, second)]
    stripes = [[each.get(key) for key in ("k", "phase", "mod")] for each in told]
    return stripes[0] == stripes[1] and images[0].read_bytes() == images[1].read_bytes()


def fft_floor(harmonics: int) -> float:
    """Milliseconds of the Fourier transforms of 3 angles on 512 x 512 pixels."""
    command = [sys.executable, str(HERE / "fft_floor.py"), "512", "3", str(harmonics)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def all_cases(out: Path, seeds: int, offset: int, real_data: Path) -> dict[str, list[Path]]:
    """The folders of all cases by set; those that are missing are written."""
    cases = {}
    for name in TIMED + UNTIMED:
        if name != "real":
            cases[name] = write_missing(name, out, seeds, offset)
        elif (real_data / real_stack.PLACE).exists():
            cases[name] = [out / name / real_stack.NAME]
            real_stack.write_case(real_data / real_stack.PLACE, cases[name][0])
        print(f"{name}: {len(cases.get(name, []))} cases", flush=True)
    return cases


def measure(
    out: Path, cases: dict[str, list[Path]], effort: Effort, offset: int, peer_missing: str | None
) -> Measured:
    """Run and score everything."""
    results = out / "results"
    shutil.rmtree(results, ignore_errors=True)
    runners = [our_runner(), *([] if peer_missing else peer_runners(out / "peer" / "bin" / "python"))]
    rows = Rows()
    for name, folders in cases.items():
        rows.of_set[name] = []
        for runner in runners:
            wanted = [case for case in folders if fnmatch(case.name, runner.cases.get(name, ""))]
            written = results / runner.name / name
            written.mkdir(parents=True)
            run_set(name, wanted, runner, written, effort)
            rows.of_set[name] += [score(runner.name, case, written) for case in wanted]
    striped = [case for case in cases["main"] if not case.name.startswith("flat")]
    rows.of_set["main"] += map(score_widefield, striped)
    wait_until_quiet(effort.patience_s)
    floor_ms = {BRIGHT: fft_floor(harmonics=1), THREE_BEAMS: fft_floor(harmonics=2)}
    bright = next(case for case in cases["main"] if case.name == BRIGHT)
    with_images = [runner for runner in runners if "extra" in runner.cases]
    return Measured(
        rows, effort.seeds, offset, effort.repeat, effort == QUICK, peer_missing,
        stolen_core=run_with_stolen_core(with_images, bright, results, effort),
        floor_ms=floor_ms,
        same_bits=same_bits(results / OURS / "main" / BRIGHT, results / "free" / OURS / BRIGHT),
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
    parser.add_argument("--real-data", type=Path, default=REAL_DATA, help="where a real stack may be")
    chosen = parser.parse_args()
    out, effort = chosen.out.resolve(), QUICK if chosen.quick else FULL
    out.mkdir(parents=True, exist_ok=True)
    alone = chosen.quick or chosen.no_peer
    peer_missing = "this run was told to leave it out" if alone else make_peer(out / "peer")
    code = code_version()
    cases = all_cases(out / "cases", effort.seeds, chosen.seed_offset, chosen.real_data)
    measured = measure(out, cases, effort, chosen.seed_offset, peer_missing)
    targets = check(measured)
    told = {
        "code": code,
        "machine": machine(),
        "targets": [asdict(target) for target in targets],
        "rows": {name: [row.told() for row in rows] for name, rows in measured.rows.of_set.items()},
        "stolen_core": measured.stolen_core,
        "floor_ms": measured.floor_ms,
    }
    (out / "measured.json").write_text(json.dumps(plain(told), indent=1))
    written = (out if alone or chosen.seed_offset else REPOSITORY / "docs") / PAGE
    written.write_text(page(measured, targets, code))
    missed = [f"{target.quantity} ({target.ours})" for target in targets if target.met is False]
    print(f"{written}; missed: {', '.join(missed) or 'nothing'}")


if __name__ == "__main__":
    main()
