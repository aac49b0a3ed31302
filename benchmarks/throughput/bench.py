"""How fast networks train, how much of that their device could do, and how long they wait for data.

    python benchmarks/throughput/bench.py                   # prints a page; minutes on two cores
    python benchmarks/throughput/bench.py --ray             # under Ray Train, as a stage trains
    python benchmarks/throughput/bench.py --workers 4       # on a machine with four GPUs: NCCL, a GPU each

Where there is a GPU, networks are as large as published, in bfloat16, each with its memory as it is, with channels
last, and compiled too. Where there is none, they have a quarter of the feature maps and compute in float32. Two
workers are measured beside one on CPUs, and where there are two GPUs. With Ray on several machines let TMPDIR name a
folder that all of them see.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from statistics import median

import made_fields
import page
import torch
from speed import NETWORKS, Load, Speed, ratios, speed_of
from waiting import Plan, waits

from sim_models.config import BadInput
from sim_models.training.place import Place

SCALED = "wiener_nafnet"
SPEED_FIELDS = 8


def read_arguments(words: list[str]) -> argparse.Namespace:
    """What was asked for; what was not depends on the device."""
    on_gpu = torch.cuda.is_available()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--ray", action=argparse.BooleanOptionalAction, default=False, help="train with Ray Train")
    add("--workers", type=int, default=1, help="that share every batch, on a device each")
    add("--networks", nargs="*", choices=[*NETWORKS], default=[*NETWORKS], help="by recipe")
    add("--batch", type=int, default=32 if on_gpu else 4, help="crops of a step over all workers")
    add("--crop", type=int, default=128 if on_gpu else 64, help="edge of a crop in pixels of the input")
    add("--steps", type=int, default=50 if on_gpu else 4, help="of a stretch that is timed")
    add("--repeats", type=int, default=5, help="stretches that are timed")
    add(
        "--small",
        action=argparse.BooleanOptionalAction,
        default=not on_gpu,
        help="a quarter of the feature maps",
    )
    rounds = 0 if torch.cuda.device_count() == 1 else 3
    add("--rounds", type=int, default=rounds, help="of two workers beside one; 0: none")
    add(
        "--fields",
        nargs="*",
        type=int,
        default=[10, 100, 1000],
        help="numbers of fields for data wait; none: none",
    )
    add("--crops", nargs="+", type=int, default=[64, 128, 256], help="sizes of crops for data wait")
    add("--step-ms", type=float, default=20.0, help="of the step that stands in for a GPU's")
    add("--memory-gb", type=float, default=1.0, help="SIM_MODELS_MEMORY_GB while data wait is measured")
    add("--out", type=Path, help="file to write the page to")
    return parser.parse_args(words)


def places(workers: int) -> list[Place]:
    """How a device is used: on a GPU in three ways."""
    plain = Place(workers=workers, threads=1)
    if not torch.cuda.is_available():
        return [plain]
    last = replace(plain, channels_last=True)
    return [plain, last, replace(last, compiled=True)]


def running(with_ray: bool) -> AbstractContextManager[None]:
    """Ray, or nothing."""
    if not with_ray:
        return nullcontext()
    from sim_models.training.distributed import cluster  # without Ray nobody should wait for its import

    return cluster()


def networks(asked: argparse.Namespace, load: Load, dataset: Path, folder: Path) -> Iterator[Speed]:
    """Every network in every way."""
    for name in asked.networks:
        for index, place in enumerate(places(asked.workers)):
            found = speed_of(name, load, place, dataset, folder / f"{name}-{index}", asked.ray, matrices=True)
            _say(f"{name}, {page.layout(found)}: {median(found.images_per_s):.3g} images/s")
            yield found


def measured(asked: argparse.Namespace, words: list[str], folder: Path) -> Iterator[list[str]]:
    """Measure all that was asked for; part by part, the lines of the page."""
    load = Load(asked.batch, asked.crop, asked.steps, asked.repeats, asked.small)
    yield page.head(load, asked.ray, words, os.getloadavg()[0])
    dataset = folder / "few"
    made_fields.write(dataset, SPEED_FIELDS, load.crop_px + 32)
    with running(asked.ray):
        if asked.networks:
            yield page.speeds([*networks(asked, load, dataset, folder)])
        if asked.rounds:
            place = Place(workers=1, threads=1)
            found = ratios(SCALED, load, place, dataset, folder / "ratio", asked.ray, asked.rounds)
            _say(f"two workers beside one: {median(found):.2f} times as fast")
            yield page.scaling(SCALED, found, load)
    if asked.fields:
        yield data_wait(asked, folder / "many")


def data_wait(asked: argparse.Namespace, folder: Path) -> list[str]:
    """By number of fields and size of crops."""
    edge_px = max(asked.crops) + 8
    made_fields.write(folder, max(asked.fields), edge_px, processes=os.cpu_count() or 1)
    steps = 10 if max(asked.fields) < 10 else 40
    plan = Plan(
        tuple(asked.fields),
        tuple(asked.crops),
        asked.batch,
        asked.step_ms / 1e3,
        steps,
        asked.memory_gb,
        threads=1,
    )
    found = waits(plan, folder)
    _say(f"{found[-1].fields} fields: {found[-1].waited_ahead:.1%} of a step waited for data")
    return page.waiting(found, plan, edge_px)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    """Measure, and print or write the page."""
    asked = read_arguments(sys.argv[1:])
    there = torch.cuda.device_count()
    if there and asked.workers > there and not asked.ray:
        print(f"error: {asked.workers} workers need a GPU each, and there are {there}", file=sys.stderr)
        return 2
    lines: list[str] = []
    try:
        with tempfile.TemporaryDirectory() as folder:
            for part in measured(asked, sys.argv[1:], Path(folder)):
                lines += part
                if asked.out:  # what takes minutes may be stopped; what was measured by then stays
                    asked.out.parent.mkdir(parents=True, exist_ok=True)
                    asked.out.write_text("\n".join([*lines, ""]))
    except BadInput as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(asked.out or "\n".join([*lines, ""]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
