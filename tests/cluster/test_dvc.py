"""DVC keeps data in S3."""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


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


def _digests(folder: Path) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}
