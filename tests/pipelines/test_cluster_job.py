"""What runs on the cluster and how its results come home, with DVC and a remote folder, without Ray."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipelines.cluster.home import bring_home
from pipelines.cluster.job import KEPT_S, clear_old, storage, working_copy
from pipelines.shared.dvc_command import dvc
from pipelines.shared.stage import BAD_INPUT, WORK_FAILED
from sim_models.config import BadInput, WorkFailed

pytestmark = pytest.mark.filterwarnings(
    "ignore:_NoneStep.value:DeprecationWarning"
)  # DVC, of a library of its own

PIPELINE = """
stages:
  one:
    cmd: echo one >> ran.log && cat raw.txt code.py > one.txt
    deps: [raw.txt, code.py]
    outs: [one.txt]
  two:
    cmd: echo two >> ran.log && cp one.txt two.txt && wc -c < two.txt > score.txt
    deps: [one.txt]
    outs: [two.txt]
    metrics:
      - score.txt:
          cache: false
  written:
    cmd: echo written >> ran.log && cp two.txt written.txt
    deps: [two.txt]
    outs:
      - written.txt:
          cache: false
          persist: true
"""


@pytest.fixture(scope="module")
def pushed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A person's project, its data pushed to a folder beside it, nothing computed."""
    root = tmp_path_factory.mktemp("pushed") / "project"
    (root / ".dvc").mkdir(parents=True)
    (root / ".dvc" / "config").write_text(
        f"[core]\n    remote = lab\n['remote \"lab\"']\n    url = {root.parent / 'remote'}\n"
    )
    (root / ".dvc" / ".gitignore").write_text("/config.local\n/tmp\n/cache\n")
    (root / "raw.txt").write_text("raw")
    (root / "code.py").write_text("# first\n")
    (root / "dvc.yaml").write_text(PIPELINE)
    subprocess.run(["git", "init", "-q", str(root)], check=True)
    assert dvc(["add", "-q", "raw.txt"], root, show=False).code == 0
    assert dvc(["push", "-q"], root, show=False).code == 0
    return root


@pytest.fixture
def project(pushed: Path, tmp_path: Path) -> Path:
    """A copy of it, and of its remote."""
    shutil.copytree(pushed.parent, tmp_path, dirs_exist_ok=True)
    root = tmp_path / "project"
    config = (root / ".dvc" / "config").read_text()
    (root / ".dvc" / "config").write_text(config.replace(str(pushed.parent), str(tmp_path)))
    return root


def run_job(project: Path, tmp_path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The job in what was uploaded, as Ray starts it."""
    uploaded = tmp_path / "uploaded"
    for name in (".dvc/config", "dvc.yaml", "raw.txt.dvc", "code.py"):
        (uploaded / name).parent.mkdir(parents=True, exist_ok=True)
        (uploaded / name).write_text((project / name).read_text())
    own = {"SIM_MODELS_STORAGE": str(tmp_path / "storage"), "RAY_JOB_SUBMISSION_ID": "raysubmit_test"}
    return subprocess.run(
        [sys.executable, "-m", "pipelines.cluster.job", *words],
        cwd=uploaded,
        env=os.environ | own | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_what_ran_there_is_done_here(project: Path, tmp_path: Path) -> None:
    done = run_job(project, tmp_path, "two")
    assert done.returncode == 0, done.stdout + done.stderr
    assert not list((tmp_path / "storage" / "jobs").iterdir())
    assert (tmp_path / "storage" / "dvc_cache" / "runs").is_dir()
    assert not (tmp_path / "uploaded" / "one.txt").exists()
    brought = bring_home(project, ["two"])
    assert brought.restored == ["one", "two"]
    assert not (project / "ran.log").exists()
    assert (project / "score.txt").read_text().strip() == "11"
    again = dvc(["repro", "two"], project, show=False)
    assert "Data and pipelines are up to date." in again.out
    assert not (project / "ran.log").exists()
    assert bring_home(project, ["two"]).restored == []


def test_nothing_runs_here_where_the_code_has_changed_since(project: Path, tmp_path: Path) -> None:
    assert run_job(project, tmp_path, "two").returncode == 0
    assert dvc(["repro", "-q", "two"], project, show=False).code == 0
    (project / "ran.log").unlink()
    (project / "code.py").write_text("# second\n")
    shell, lock = os.environ.get("SHELL"), (project / "dvc.lock").read_text()
    with pytest.raises(WorkFailed, match="no results came home for one, two: code, settings or data here"):
        bring_home(project, ["two"])
    assert not (project / "ran.log").exists()
    assert (project / "two.txt").read_text() == "raw# first\n"
    assert (project / "dvc.lock").read_text() == lock
    assert os.environ.get("SHELL") == shell


def test_what_dvc_does_not_keep_is_told(project: Path, tmp_path: Path) -> None:
    assert run_job(project, tmp_path, "written").returncode == 0
    brought = bring_home(project, ["written"])
    assert brought.restored == ["one", "two"]
    assert brought.not_kept == ["written"]
    assert "`dvc repro written` makes them here" in brought.lines(["written"])[1]
    assert not (project / "ran.log").exists()


def test_a_failed_stage_is_told_and_its_folder_kept(project: Path, tmp_path: Path) -> None:
    (project / "dvc.yaml").write_text(PIPELINE.replace("cat raw.txt code.py", "cat missing.txt"))
    done = run_job(project, tmp_path, "two")
    assert done.returncode == WORK_FAILED
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: dvc repro --pull two ended with code")
    assert str(tmp_path / "storage" / "jobs" / "raysubmit_test") in last
    assert "Traceback" not in done.stderr


def test_a_study_that_was_not_uploaded_is_refused(project: Path, tmp_path: Path) -> None:
    done = run_job(project, tmp_path, "--study", "studies/none", "two")
    assert done.returncode == BAD_INPUT
    assert "studies/none: has no dvc.yaml" in done.stderr


def test_a_killed_job_leaves_what_the_next_goes_on_with(project: Path, tmp_path: Path) -> None:
    (tmp_path / "place" / "runs" / "digest").mkdir(parents=True)
    copy = working_copy(project, tmp_path / "place" / "jobs" / "second", tmp_path / "place")
    assert (copy / "runs" / "digest").is_dir()
    assert "no_scm = true" in (copy / ".dvc" / "config.local").read_text()


def test_storage_is_named_from_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIM_MODELS_STORAGE", "shared")
    with pytest.raises(BadInput, match="from the root"):
        storage()


def test_folders_of_jobs_that_failed_long_ago_are_cleared(tmp_path: Path) -> None:
    old, young = tmp_path / "old", tmp_path / "young"
    for folder in (old, young):
        folder.mkdir()
        (folder / "dvc.yaml").write_text("")
    os.utime(old, (time.time() - KEPT_S - 60,) * 2)
    clear_old(tmp_path)
    assert list(tmp_path.iterdir()) == [young]


def test_the_cache_of_a_storage_with_an_odd_name_is_read(tmp_path: Path) -> None:
    (tmp_path / "uploaded").mkdir()
    place = tmp_path / "the lab's, #1"
    folder = working_copy(tmp_path / "uploaded", tmp_path / "copy", place)
    assert dvc(["cache", "dir"], folder, show=False).out.strip() == str(place / "dvc_cache")
