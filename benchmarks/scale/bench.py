"""How the registry, the tracking server and DVC answer as what they hold grows; writes a page.

    python benchmarks/scale/bench.py [--only PART ...] [--files N] [--out OUT.md]

Starts PostgreSQL, S3 and MLflow here (`infra.local`), fills them, asks what the commands and stages ask, and ends them.
Each part is kept in build/scale/ when it has ended; with `--only` the others on the page are those of earlier runs.
Needs 3 GB in the folder for temporary files.
"""

import argparse
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path

import dvc_folders
import registry_queries
import tracking_queries
from dvc_folders import LOCAL, S3, STAGES, Layout, Spent
from filling import database
from timing import Timed, Watch, readable, table

from infra.local import World, local_cluster

KEPT = Path("build/scale")
MOST_FILES = 100_000
PASSWORD = "a password of a colleague"


def dvc_part(watch: Watch, folder: Path, most: int = MOST_FILES) -> list[str]:
    """DVC with a folder, then with S3; layouts of more files than `most` are left out."""
    files = folder / "files"
    files.mkdir()
    stages = [[f"{number:,}", dvc_folders.status_of_stages(number, files).cell] for number in STAGES]
    local = {
        layout: dvc_folders.measure(layout, files, str(files / "remote"), {}, pull=False)
        for layout in LOCAL
        if layout.number <= most
    }
    s3 = {
        layout: dvc_folders.measure(layout, files, f"s3://dvc/{number}", watch.world.env, pull=True)
        for number, layout in enumerate(S3)
    }
    return [
        f"A folder of fields of {dvc_folders.FIELD_BYTES / 1e3:.0f} kB, {dvc_folders.FIELDS} of each cell: it is the "
        "number of files that is measured. Every time is of one command, with its start, measured once. The remote is "
        "a folder of the same disk. *List*: what DVC keeps for every version of the folder."
        + ("" if most >= MOST_FILES else f" Folders of more than {most:,} files were left out (`--files`)."),
        "",
        *_folders(local),
        "",
        "The same with the stand-in for S3, one Python process (not counted): a real one answers more at once.",
        "",
        *_folders(s3),
        "",
        "How long `dvc status` looks at a pipeline of many stages, none of which has run:",
        "",
        *table(["stages", "`status`"], stages),
    ]


def registry_part(watch: Watch, _folder: Path) -> list[str]:
    """The registry, to its ten thousandth version."""
    with registry_queries.account(watch.world, "ada", PASSWORD):
        found = registry_queries.measure(watch.world, watch)
        command = registry_queries.command_line(watch)
    size = registry_queries.bytes_of_a_version(watch.world)
    unlimited = registry_queries.as_administrator(watch.world, watch)
    with registry_queries.account(watch.world, "bob", PASSWORD):
        crowded = registry_queries.measure_crowded(watch.world, watch)
    postgresql = _postgresql(watch.world)
    return [
        f"Registered models of {registry_queries.VERSIONS} versions each, every version with 19 tags, every model with "
        f"a history of as many changes. PostgreSQL {postgresql}.",
        "",
        *_by_size("versions", found),
        "",
        f"`sim-models registry tree` with the start of the program, {registry_queries.SIZES[-1]:,} versions: "
        f"{command.cell}. A version takes {size / 1e3:.1f} kB in the database.",
        "",
        f"The long listings of {registry_queries.SIZES[-1]:,} versions again, for the administrator, whose answers "
        "MLflow does not read once more for what may not be seen:",
        "",
        *table(["", "time"], [[question, each.cell] for question, each in unlimited.items()]),
        "",
        f"One model with {registry_queries.CROWDED:,} versions, each of which has been champion:",
        "",
        *table(["", "time"], [[question, each.cell] for question, each in crowded.items()]),
    ]


def tracking_part(watch: Watch, folder: Path) -> list[str]:
    """Runs, to the hundred thousandth."""
    with registry_queries.account(watch.world, "cleo", PASSWORD):
        found = tracking_queries.measure(watch.world, watch, folder)
        size = tracking_queries.bytes_of_a_run(watch.world)
        logging = tracking_queries.logging(watch.world, watch, folder)
        load = tracking_queries.under_load(watch.world, folder)
        indexed = tracking_queries.with_index(watch.world, watch, folder)
    return [
        "Runs like trials of a search, all in one experiment: 10 parameters, 9 or 10 tags, 5 metrics with 9 points.",
        "",
        *_by_size("runs", found),
        "",
        f"The look-up by key with an index for it (`{tracking_queries.INDEX}`), {tracking_queries.SIZES[-1]:,} runs: "
        f"{indexed.cell}. A run takes {size / 1e3:.1f} kB in the database.",
        "",
        *table(["logging", "time"], [[what, each.cell] for what, each in logging.items()]),
        "",
        f"{tracking_queries.WRITERS} trainings that log as fast as they can: {load.per_second:.0f} points a second in "
        f"all, {readable(load.seconds)} for each. Both are of the clock, so of how busy this machine was.",
    ]


PARTS: dict[str, tuple[str, Callable[[Watch, Path], list[str]]]] = {
    "registry": ("Registry", registry_part),
    "tracking": ("Tracking", tracking_part),
    "dvc": ("DVC", dvc_part),
}


@contextmanager
def served(folder: Path) -> Iterator[Watch]:
    """MLflow, PostgreSQL and S3, new and empty, and this process their client."""
    with local_cluster(folder / "world", nodes=0) as world:
        world.stop("ray-head")  # nobody asks it anything here
        before = dict(os.environ)
        os.environ.update(world.env)
        try:
            yield Watch(world)
        finally:
            os.environ.clear()
            os.environ.update(before)


def keep(part: str, watch: Watch, folder: Path) -> None:
    """Measure a part and keep its section of the page."""
    title, measure = PARTS[part]
    start, clock, load = datetime.now(UTC), time.perf_counter(), os.getloadavg()[0]
    lines = measure(watch, folder)
    when = (
        f"Measured on {start:%Y-%m-%d %H:%M} UTC in {(time.perf_counter() - clock) / 60:.1f} minutes; "
        f"{load:.1f} processes wanted to compute in the minute before, {os.getloadavg()[0]:.1f} in the last."
    )
    KEPT.mkdir(parents=True, exist_ok=True)
    (KEPT / f"{part}.md").write_text("\n".join([f"## {title}", "", when, "", *lines, ""]))


def page() -> str:
    """The Markdown page, of the parts that are there."""
    files = [KEPT / f"{part}.md" for part in PARTS]
    return "\n".join([*_head(), *(file.read_text() for file in files if file.exists())])


def _head() -> list[str]:
    versions = ", ".join(f"{name} {version(name)}" for name in ("mlflow", "dvc", "psycopg2-binary"))
    return [
        "# What the registry, tracking and DVC take as they grow",
        "",
        f"`make benchmark-scale` writes this page; here on {_processor()}, {os.cpu_count()} cores, "
        f"{_memory_gb():.0f} GB, Python {platform.python_version()}, {versions}. Behind [scale.md](scale.md).",
        "",
        "**How to read a time.** `20 ms (35 ms, 1 req.)`: processors computed for 20 ms, those of client, server and "
        "database together; on the clock it took 35 ms; MLflow was asked once. Where other programs want the "
        "processors too, the clock tells more about them, so the first number is the one to compare. Medians on the "
        "clock and means of computing, of up to five times after one that does not count; *once*: it took so long that "
        "it was done once.",
        "",
        "MLflow is one server process behind accounts, with PostgreSQL (32 MB of buffers, no `fsync`) and a stand-in "
        "for S3 in memory, all on this machine. An account asks that is not the administrator's, as people's are not. "
        "Runs and versions were written by SQL (`benchmarks/scale/filling.py`): every row that MLflow would have "
        "written for them is there, but no artifact. That MLflow reads them and goes on with them is checked "
        "each time.",
        "",
    ]


def _by_size(what: str, found: dict[str, dict[int, Timed]]) -> list[str]:
    sizes = list(next(iter(found.values())))
    rows = [[question, *(times[size].cell for size in sizes)] for question, times in found.items()]
    return table(["", *(f"{size:,} {what}" for size in sizes)], rows)


def _folders(found: dict[Layout, Spent]) -> list[str]:
    head = [
        "",
        "files",
        "`add`",
        "`status`, no change",
        "`push`",
        "`add`, one field changed",
        "`push` of it",
        "`pull`",
    ]
    rows = [
        [
            layout.name,
            f"{layout.number:,}",
            *(each.cell for each in (spent.add, spent.status, spent.push, spent.add_again, spent.push_again)),
            "" if spent.pull is None else spent.pull.cell,
            f"{spent.listing_bytes / 1e3:,.0f} kB",
        ]
        for layout, spent in found.items()
    ]
    return table([*head, "list"], rows)


def _postgresql(world: World) -> str:
    with database(world) as cursor:
        cursor.execute("SHOW server_version")
        return str(cursor.fetchone()[0])


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _memory_gb() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9


def main() -> None:
    """Measure and write."""
    asked = argparse.ArgumentParser()
    asked.add_argument("--only", choices=PARTS, nargs="+")
    asked.add_argument("--out", type=Path, default=Path("docs/benchmark_scale.md"))
    asked.add_argument(
        "--files", type=int, default=MOST_FILES, help="most that DVC is given, for a busy machine"
    )
    given = asked.parse_args()
    PARTS["dvc"] = ("DVC", partial(dvc_part, most=given.files))
    with tempfile.TemporaryDirectory() as folder, served(Path(folder)) as watch:
        for part in given.only or PARTS:
            keep(part, watch, Path(folder))
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(page())
    print(given.out)


if __name__ == "__main__":
    main()
