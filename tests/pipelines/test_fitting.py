"""The bench: what lets a stage go on after an interruption, for one process at a time."""

import errno
import os
from pathlib import Path

import pandas as pd
import pytest

from pipelines.shared.fitting import Bench, bench, job_key, write_curves
from sim_models.config import BadInput
from sim_models.freeze import FreezeRange
from sim_models.training.job import Job
from sim_models.training.loop import State


@pytest.fixture(autouse=True)
def _study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_bench_is_gone_once_its_stage_has_ended_well() -> None:
    with bench("key") as here:
        assert here.folder.is_dir()
    assert not here.folder.exists()


def test_an_interrupted_stage_finds_its_bench_as_it_was() -> None:
    seen: list[Bench] = []

    def stage() -> None:
        with bench("key") as here:
            seen.append(here)
            (here.folder / "checkpoint").write_text("step 40")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stage()
    with bench("key") as again:
        assert again.execution == seen[0].execution
        assert again.key("study") == seen[0].key("study")
        assert (again.folder / "checkpoint").read_text() == "step 40"


def test_a_folder_without_locks_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("pipelines.shared.fitting.fcntl.flock", no_locks)
    with pytest.raises(BadInput, match=r"cannot be locked \(No locks available\)"), bench("key"):
        pass


def test_a_stage_that_is_run_anew_makes_runs_of_its_own() -> None:
    with bench("key") as first:
        pass
    with bench("key") as second:
        pass
    assert second.key("study") != first.key("study")
    assert second.key("study") != second.key("trial", "0")


def test_a_stage_that_outlived_its_parent_is_not_disturbed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock that is held is refused whoever holds it, this very process included; who it is may be on another node."""
    monkeypatch.setenv("RAY_JOB_SUBMISSION_ID", "raysubmit_7")
    with bench("key"), bench("another key"):
        with (
            pytest.raises(
                BadInput, match=rf"process {os.getpid()} on \S+ \(Ray job raysubmit_7\) still works"
            ),
            bench("key"),
        ):
            pass
        with (
            pytest.raises(BadInput, match="wait for it or stop it, then run the same command again"),
            bench("key"),
        ):
            pass
    with bench("key"):
        pass


def test_the_key_of_a_job_changes_with_all_that_decides_its_outcome(
    job: Job, tmp_path: Path, prepared_folder: Path
) -> None:
    more = job.training.model_copy(update={"steps": 9})
    other = tmp_path / "discs"
    other.mkdir()
    (other / "split.json").write_text("{}")
    keys = {
        job_key(job),
        job_key(job.model_copy(update={"training": more})),
        job_key(job.model_copy(update={"frozen": FreezeRange(start=0, end=1)})),
        job_key(job.model_copy(update={"dataset": str(other)})),
        job_key(job.model_copy(update={"source": str(other)})),
    }
    assert len(keys) == 5
    assert job_key(job.model_copy()) in keys


def test_curves_hold_no_times() -> None:
    state = State(weights={}, curve=[(2, {"val_psnr": 20.5, "loss_l1": 0.5, "seconds": 1.25})])
    write_curves("er", state)
    table = pd.read_csv("reports/curves/er.csv")
    assert list(table.columns) == ["arm", "step", "val_psnr", "loss_l1"]
    assert list(table["arm"]) == ["scratch"]
