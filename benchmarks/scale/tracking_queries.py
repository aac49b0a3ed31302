"""What is asked of MLflow while models are trained, with a thousand runs and with a hundred thousand."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from statistics import median

from filling import LOOK, SPLITS, STUDY, add_points, add_runs, database, run_id, run_key
from timing import Timed, Watch

from infra.local import World
from sim_models.tracking.logger import Logger, _last_steps
from sim_models.tracking.runs import KEY, Tracker, client_of

SIZES = (1_000, 10_000, 100_000)
"""runs, all of one experiment"""
LONG = 10_000
"""points of a long training"""
EXPERIMENT = "transfer"
WRITERS, WRITE_S = 8, 15.0
"""trainings that log at once, and for how long"""
INDEX = f"CREATE INDEX tags_by_key ON tags (value) WHERE key = '{KEY}'"
"""by which a run's key is found without reading the keys of all"""


@dataclass(frozen=True)
class Load:
    """What a server takes where many log at once."""

    per_second: float
    """points, each of one request"""
    seconds: float
    """of one on the clock, median"""


def measure(world: World, watch: Watch, root: Path) -> dict[str, dict[int, Timed]]:
    """Question -> number of runs -> time."""
    found: dict[str, dict[int, Timed]] = {}
    tracker = Tracker.open(EXPERIMENT, root)
    for before, size in zip((0, *SIZES), SIZES, strict=False):
        started = time.perf_counter()
        add_runs(world, tracker.experiment_id, before, size - 1)
        print(f"{size - before} runs written in {time.perf_counter() - started:.0f} s", flush=True)
        for question, work in _questions(tracker, size):
            found.setdefault(question, {})[size] = watch.timed(work)
            print(f"tracking, {size} runs: {question}: {found[question][size].cell}", flush=True)
    check(tracker)
    return found


def with_index(world: World, watch: Watch, root: Path) -> Timed:
    """The look-up by key, where the database has an index for it."""
    with database(world) as cursor:
        cursor.execute(INDEX)
        cursor.execute("ANALYZE tags")
    tracker = Tracker.open(EXPERIMENT, root)
    return watch.timed(lambda: tracker.find(KEY, "none"))


def logging(world: World, watch: Watch, root: Path) -> dict[str, Timed]:
    """A point of a curve, in a process that has logged there before and in one that has not."""
    tracker, client = Tracker.open(EXPERIMENT, root), client_of(world.tracking_uri)
    short, long = (client.create_run(tracker.experiment_id).info.run_id for _ in range(2))
    add_points(world, long, "loss", LONG)
    steps = count(LONG + 1)

    def first() -> None:
        _last_steps.cache_clear()  # as in a process that has just started
        Logger(world.tracking_uri, long)(next(steps), {"loss": 1.0})

    return {f"the first point of a process, at a curve of {LONG:,} points": watch.timed(first)} | {
        f"a further point, at a curve of {length} points": watch.timed(
            lambda run=run: Logger(world.tracking_uri, run)(next(steps), {"loss": 1.0})
        )
        for length, run in (("few", short), (f"{LONG:,}", long))
    }


def under_load(world: World, root: Path) -> Load:
    """`WRITERS` trainings log as fast as the server lets them."""
    tracker, client = Tracker.open(EXPERIMENT, root), client_of(world.tracking_uri)
    runs = [client.create_run(tracker.experiment_id).info.run_id for _ in range(WRITERS)]
    spent: list[float] = []
    until = time.perf_counter() + WRITE_S

    def write(run: str) -> None:
        for step in count():
            started = time.perf_counter()
            if started > until:
                return
            client.log_metric(run, "loss", 1.0, step=step)
            spent.append(time.perf_counter() - started)

    threads = [threading.Thread(target=write, args=(run,)) for run in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return Load(len(spent) / WRITE_S, median(spent))


def bytes_of_a_run(world: World) -> float:
    """In the database, with its parameters, tags, metrics and indexes."""
    tables = ["runs", "tags", "params", "metrics", "latest_metrics"]
    with database(world) as cursor:
        cursor.execute("SELECT sum(pg_total_relation_size(each)) FROM unnest(%s) AS each", (tables,))
        return float(cursor.fetchone()[0]) / SIZES[-1]


def check(tracker: Tracker) -> None:
    """MLflow goes on from what was written past it."""
    client, number = client_of(tracker.uri), SIZES[-1] - 2
    assert tracker.find(KEY, run_key(number)) == run_id(number)
    Logger(tracker.uri, run_id(number))(1000, {"val_psnr": 40.0})
    read = client.get_run(run_id(number))
    assert read.data.metrics["val_psnr"] == 40.0
    assert [point.step for point in client.get_metric_history(run_id(number), "val_psnr")][-1] == 1000
    assert len(read.data.params) == 10


def _questions(tracker: Tracker, size: int) -> Iterator[tuple[str, Callable[[], object]]]:
    client, where, names = client_of(tracker.uri), [tracker.experiment_id], count()
    study = run_id(size // 2 - size // 2 % STUDY)
    split = {"sim.kind": "evaluation", "sim.split": f"split {size // 2 // LOOK % SPLITS}"}

    def a_run() -> None:
        with tracker.run("trial", f"{size} {next(names)}", {"rate": 1}, {"sim.kind": "trial"}) as run:
            run.metrics({"best_val_psnr": 30.0})

    def of_study() -> None:
        found = client.search_runs(where, f"tags.`mlflow.parentRunId` = '{study}'")
        assert len(found) == STUDY - 1

    yield "is there a run with this key? no (`find`)", lambda: tracker.find(KEY, "none")
    yield "a run from its start to its end (`run`)", a_run
    yield "the newest 100 runs", lambda: client.search_runs(where, max_results=100)
    yield (
        "the best 100 runs",
        lambda: client.search_runs(where, order_by=["metrics.best_val_psnr DESC"], max_results=100),
    )
    yield f"the {STUDY - 1} children of a study", of_study
    yield "how often test cells were opened (`count`)", lambda: tracker.count(split)
