"""What DVC is asked, where a folder holds a file for every field and where it holds one for every cell."""

import os
import resource
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml
from timing import readable

from pipelines.shared.dvc_command import dvc

FIELD_BYTES = 1000
"""it is the number of files that is measured"""
FIELDS = 100
"""of a cell"""


@dataclass(frozen=True)
class Layout:
    """Fields in files."""

    cells: int
    files: int
    """of each cell"""

    @property
    def name(self) -> str:
        """For a table."""
        kind = "one file for a cell" if self.files == 1 else "one file for a field"
        return f"{self.cells * FIELDS:,} fields, {kind}"

    @property
    def number(self) -> int:
        """Of files."""
        return self.cells * self.files


@dataclass(frozen=True)
class Took:
    """A command, measured once, with its start."""

    seconds: float
    """on the clock"""
    computed: float
    """seconds of processors"""

    @property
    def cell(self) -> str:
        """For a table."""
        return f"{readable(self.computed)} ({readable(self.seconds)})"


@dataclass(frozen=True)
class Spent:
    """What was done with a folder."""

    add: Took
    status: Took
    push: Took
    add_again: Took
    """after one field of one cell has changed"""
    push_again: Took
    pull: Took | None
    """into a fresh clone; None where it was not tried"""
    listing_bytes: int
    """of the list of files that DVC keeps for every version of the folder"""


STAGES = (100, 1_000, 3_000)
"""of a pipeline, such as a model of every structure and each of them tried on every other"""
LOCAL = (Layout(10, FIELDS), Layout(100, FIELDS), Layout(1000, FIELDS), Layout(1000, 1))
S3 = (Layout(10, FIELDS), Layout(1000, 1))


def measure(layout: Layout, root: Path, remote: str, environment: Mapping[str, str], pull: bool) -> Spent:
    """Track a folder, and change it."""
    with _project(root, remote, environment) as project:
        _write(project / "data", layout)
        add = _took(project, environment, "add", "data")
        status = _took(project, environment, "status")
        push = _took(project, environment, "push")
        (listing,) = project.glob(".dvc/cache/**/*.dir")
        size = listing.stat().st_size
        changed = next(file for file in sorted((project / "data").rglob("*")) if file.is_file())
        changed.write_bytes(os.urandom(changed.stat().st_size))
        add_again = _took(project, environment, "add", "data")
        push_again = _took(project, environment, "push")
        if pull:
            shutil.rmtree(project / "data")
            shutil.rmtree(project / ".dvc" / "cache")
        pulled = _took(project, environment, "pull") if pull else None
        return Spent(add, status, push, add_again, push_again, pulled, size)


def status_of_stages(number: int, root: Path) -> Took:
    """`dvc status` of a pipeline of so many stages, none of which has run; what every `dvc repro` begins with."""
    pipeline = {
        "stages": {
            "train": {
                "foreach": [f"model_{each:06d}" for each in range(number)],
                "do": {"cmd": "train ${item}", "deps": ["code.py"], "outs": ["models/${item}"]},
            }
        }
    }
    with _project(root, str(root / "remote"), {}) as project:
        (project / "code.py").write_text("pass\n")
        (project / "dvc.yaml").write_text(yaml.safe_dump(pipeline))
        return _took(project, {}, "status")


@contextmanager
def _project(root: Path, remote: str, environment: Mapping[str, str]) -> Iterator[Path]:
    project = root / "project"
    project.mkdir()
    subprocess.run(["git", "init", "-q"], cwd=project, check=True)
    try:
        for words in (("init", "-q"), ("remote", "add", "-q", "-d", "remote", remote)):
            _took(project, environment, *words)
        yield project
    finally:
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir()


def _write(folder: Path, layout: Layout) -> None:
    """Files of chance, so that none is like another."""
    size = FIELD_BYTES * FIELDS // layout.files
    for cell in range(layout.cells):
        home = folder / f"cell_{cell:04d}"
        home.mkdir(parents=True)
        for number in range(layout.files):
            (home / f"{number:03d}.tif").write_bytes(os.urandom(size))


def _took(project: Path, environment: Mapping[str, str], *words: str) -> Took:
    started, before = time.perf_counter(), _computed()
    ended = dvc(words, project, show=False, environment=environment)
    assert ended.code == 0, ended.reason
    took = Took(time.perf_counter() - started, _computed() - before)
    print(f"dvc {' '.join(words)}: {took.cell}", flush=True)
    return took


def _computed() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
