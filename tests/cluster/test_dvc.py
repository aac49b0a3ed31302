"""DVC keeps data in S3."""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks" / "data"))  # scripts, no package

from stacks import make


@pytest.fixture
def dvc(environment: dict[str, str]):  # type: ignore[no-untyped-def]
    def run(folder: Path, *words: str) -> str:
        program = Path(sys.executable).parent / "dvc"
        done = subprocess.run([program, *words], cwd=folder, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def test_data_pushed_here_is_pulled_there(dvc, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    here, there = tmp_path / "here", tmp_path / "there"
    fields = here / "fields"
    fields.mkdir(parents=True)
    for number in range(20):
        (fields / f"cell_{number:03d}.tif").write_bytes(bytes([number]) * 10_000)
    dvc(here, "init", "-q", "--no-scm")
    dvc(here, "remote", "add", "-d", "store", "s3://dvc/project")  # endpoint and keys are in the environment
    dvc(here, "add", "-q", "fields")
    dvc(here, "push", "-q")

    shutil.copytree(here, there, ignore=shutil.ignore_patterns("fields", "cache", "tmp"))
    dvc(there, "pull", "-q")
    assert _digests(there / "fields") == _digests(fields)
    assert "secret" not in (there / ".dvc" / "config").read_text()


@pytest.fixture
def call(environment: dict[str, str], repository: Path) -> Callable[..., str]:
    """Runs a program in a folder, as a client of the world."""
    who = {f"GIT_{role}_{what}": "somebody" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}

    def run(folder: Path, *words: object) -> str:
        done = subprocess.run(
            [str(word) for word in words],
            cwd=folder,
            env={**environment, **who, "PYTHONPATH": str(repository)},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def test_a_dataset_goes_to_a_colleague_and_grows_by_one_cell(
    dvc: Callable[..., str], call: Callable[..., str], store: Any, tmp_path: Path
) -> None:
    """From `data add` over `dvc push` to `dvc pull` in a clone: the same bytes under the same hash."""
    acquired, here, there = tmp_path / "acquired", tmp_path / "here", tmp_path / "there"
    make(acquired, range(4))
    here.mkdir()
    call(here, "git", "init", "-q")
    dvc(here, "init", "-q")
    dvc(here, "remote", "add", "-d", "store", "s3://dvc/grows")
    stated = ("--structure", "lysosomes", "--na", 1.4, "--emission-um", 0.525, "--licence", "own")

    def add() -> None:
        call(here, sys.executable, "-m", "pipelines.cli", "data", "add", "mine", acquired, *stated)
        dvc(here, "push", "-q")
        call(here, "git", "add", "-A")
        call(here, "git", "commit", "-qm", "data")

    def objects() -> set[str]:
        found = store.list_objects_v2(Bucket="dvc", Prefix="grows/")
        return {each["Key"] for each in found.get("Contents", [])}

    def same(cells: int) -> None:
        for level in ("raw", "reference"):
            ours, theirs = (_digests(home / "datasets" / "mine" / level) for home in (here, there))
            assert ours == theirs == _digests(acquired / level)
            assert len(ours) == cells
        dvc(there, "add", "-q", "datasets/mine")  # hashed anew, it is what git has
        assert call(there, "git", "status", "--porcelain") == ""

    add()
    first = objects()
    assert len(first) == 2 * 4 + 1  # files, and the list of them
    call(tmp_path, "git", "clone", "-q", here, there)
    assert not (there / "datasets" / "mine").exists()
    dvc(there, "pull", "-q")
    same(4)

    make(acquired, range(4, 5))
    add()
    assert first < objects()
    assert len(objects() - first) == 2 + 1
    call(there, "git", "pull", "-q")
    dvc(there, "pull", "-q")
    same(5)


@pytest.mark.faults  # not that anything is killed, but it takes two minutes
def test_the_benchmark_of_many_cells_runs_with_few(repository: Path, tmp_path: Path) -> None:
    """`make benchmark-data` with eight cells; it serves a store of its own."""
    script = repository / "benchmarks" / "data" / "bench.py"
    done = subprocess.run(
        [sys.executable, script, "--cells", "8", "--out", "page.md"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(repository)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    text = (tmp_path / "page.md").read_text()
    assert "computed: 1 of 9 (cell_00008)" in text
    assert "| before | none |" in text
    assert "| after the cell was added | `bring_in@mine` |" in text
    assert "3 objects" in text


def _digests(folder: Path) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}
