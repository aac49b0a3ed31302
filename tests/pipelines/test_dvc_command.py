"""DVC's lock is waited for, by name of whoever holds it."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipelines.shared.dvc_command import dvc, lock_holder, rwlock_holder
from sim_models.config import BadInput

HOLD = """
import sys, time
from dvc.lock import make_lock
with make_lock(sys.argv[1]):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""
PIPELINE = """
stages:
  long:
    cmd: echo begun > begun && while [ ! -e go ]; do sleep 0.05; done && echo done > out
    outs: [out]
  other:
    cmd: cat out > copied
    deps: [out]
    outs: [copied]
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A DVC project of its own."""
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text("[core]\n    no_scm = True\n    analytics = False\n")
    (tmp_path / "dvc.yaml").write_text(PIPELINE)
    return tmp_path


@pytest.fixture
def hold(project: Path) -> Iterator[Callable[[float], subprocess.Popen[str]]]:
    """Lets another process hold the lock of the repository for some seconds."""
    started: list[subprocess.Popen[str]] = []

    def start(seconds: float) -> subprocess.Popen[str]:
        (project / ".dvc" / "tmp").mkdir(exist_ok=True)
        command = [sys.executable, "-c", HOLD, str(project / ".dvc" / "tmp" / "lock"), str(seconds)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_a_lock_is_waited_for(
    project: Path, hold: Callable[[float], subprocess.Popen[str]], capfd: pytest.CaptureFixture[str]
) -> None:
    holder = hold(2.0)
    begun = time.monotonic()
    assert dvc(["status"], project, show=False).code == 0
    assert time.monotonic() - begun > 1.5
    said = capfd.readouterr().err
    assert f"waiting for DVC's lock, held by process {holder.pid}" in said
    assert "running since 20" in said
    assert said.count("waiting") == 1


def test_waiting_ends_with_a_name(project: Path, hold: Callable[[float], subprocess.Popen[str]]) -> None:
    holder = hold(60.0)
    with pytest.raises(BadInput, match=f"process {holder.pid} .* has held DVC's lock for more than"):
        dvc(["status"], project, show=False, wait_s=0.5)


def test_a_killed_holder_holds_nothing(project: Path, hold: Callable[[float], subprocess.Popen[str]]) -> None:
    holder = hold(60.0)
    assert lock_holder(project) is not None
    holder.kill()
    holder.wait()
    assert lock_holder(project) is None


def test_a_stage_under_way_is_waited_for(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """While a stage runs DVC has given the repository free, and only refuses what that stage reads and writes."""
    running = subprocess.Popen(
        [sys.executable, "-m", "dvc", "repro", "long"], cwd=project, stdout=subprocess.PIPE
    )
    while not (project / "begun").exists():
        assert running.poll() is None
        time.sleep(0.05)
    found = rwlock_holder(project)
    assert found is not None
    assert found.pid == running.pid
    release = subprocess.Popen(["sh", "-c", "sleep 6; touch go"], cwd=project)
    assert dvc(["repro", "other"], project).code == 0
    assert running.wait() == 0
    release.wait()
    running.communicate()
    assert (project / "copied").read_text() == "done\n"
    assert f"held by process {running.pid} (dvc repro long" in capfd.readouterr().err
    assert rwlock_holder(project) is None


def test_a_failure_is_no_lock(project: Path) -> None:
    ended = dvc(["repro", "missing"], project, show=False)
    assert ended.code != 0
    assert "missing" in ended.reason
