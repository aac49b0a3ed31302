"""Runs: made once, continued after an interruption, and found again by what they carry."""

import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from sim_models.config import BadInput
from sim_models.tracking import logger, runs
from sim_models.tracking.runs import (
    KEY,
    WEIGHTS,
    Run,
    Tracker,
    client_of,
    code_version,
    data_version,
    environment,
    flatten,
)

PASSWORD = "hunter2"


@pytest.fixture
def tracker(mlflow_root: Path) -> Tracker:
    return Tracker.open("test", mlflow_root)


def made(tracker: Tracker, key: str, tags: dict[str, str] | None = None, parent: Run | None = None) -> str:
    with tracker.run(f"run {key}", key, {"a": {"b": 1}}, tags or {}, parent) as run:
        return run.id


def facts(tracker: Tracker, run_id: str) -> Any:
    return client_of(tracker.uri).get_run(run_id)


def test_a_run_says_what_it_was(tracker: Tracker) -> None:
    with tracker.run(
        "train er", "key", {"recipe": {"network": {"depth": 3}}}, {"sim.kind": "training"}
    ) as run:
        assert facts(tracker, run.id).info.status == "RUNNING"
    found = facts(tracker, run.id)
    assert found.info.status == "FINISHED"
    assert found.info.run_name == "train er"
    assert found.data.params == {"recipe.network.depth": "3"}
    assert found.data.tags["sim.kind"] == "training"
    assert found.data.tags[KEY] == "key"
    assert "mlflow.source.git.commit" in found.data.tags


def test_with_the_same_key_a_run_goes_on(tracker: Tracker) -> None:
    first = made(tracker, "one")
    assert made(tracker, "one") == first
    assert made(tracker, "two") != first


def test_a_child_is_shown_below_its_parent(tracker: Tracker) -> None:
    with tracker.run("study", "study", {}, {}) as study:
        child = made(tracker, "trial", parent=study)
    assert facts(tracker, child).data.tags["mlflow.parentRunId"] == study.id


@pytest.mark.parametrize(("error", "status"), [(ValueError, "FAILED"), (KeyboardInterrupt, "KILLED")])
def test_a_run_that_ends_badly_says_so_and_finishes_later(
    tracker: Tracker, error: type[BaseException], status: str
) -> None:
    with pytest.raises(error), tracker.run("r", "key", {}, {}) as run:
        raise error
    assert facts(tracker, run.id).info.status == status
    assert made(tracker, "key") == run.id
    assert facts(tracker, run.id).info.status == "FINISHED"


def test_each_step_is_logged_once(tracker: Tracker) -> None:
    """A worker that was killed and started again repeats the looks since its last checkpoint."""
    with tracker.run("r", "key", {}, {}) as run:
        for step, value in ((2, 20.0), (4, 21.0), (2, 99.0), (4, 99.0), (6, 22.0)):
            run.logger(step, {"val_psnr": value, "loss": -value})
    for metric, sign in (("val_psnr", 1), ("loss", -1)):
        history = client_of(tracker.uri).get_metric_history(run.id, metric)
        assert [(each.step, each.value) for each in history] == [
            (2, sign * 20),
            (4, sign * 21),
            (6, sign * 22),
        ]


def test_what_was_logged_is_read_once_by_each_process(
    tracker: Tracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For every point it would be read as often as it is long; one that comes later must read it all the same."""
    client = client_of(tracker.uri)
    read: list[str] = []
    original = client.get_metric_history

    def counting(run_id: str, key: str) -> Any:
        read.append(key)
        return original(run_id, key)

    monkeypatch.setattr(client, "get_metric_history", counting)
    with tracker.run("r", "key", {}, {}) as run:
        for step in (1, 2, 3):
            run.logger(step, {"loss": 1.0})
        assert read == ["loss"]
        logger._last_steps.cache_clear()  # as in a process that has just started
        for step in (2, 3, 4):
            run.logger(step, {"loss": 2.0})
    assert read == ["loss", "loss"]
    assert [(each.step, each.value) for each in original(run.id, "loss")] == [
        (1, 1.0),
        (2, 1.0),
        (3, 1.0),
        (4, 2.0),
    ]


def test_what_a_run_is_made_with_is_told_though_its_maker_was_killed_before(tracker: Tracker) -> None:
    run_id = tracker._create("r", "key", {}, None)
    with tracker.run("r", "key", {"steps": 8}, {}) as run:
        assert run.id == run_id
    assert facts(tracker, run_id).data.params == {"steps": "8"}
    assert [file.path for file in client_of(tracker.uri).list_artifacts(run_id)] == ["environment.txt"]


def test_metrics_without_history(tracker: Tracker) -> None:
    with tracker.run("r", "key", {}, {}) as run:
        run.metrics({"best_val_psnr": 30.0})
    assert facts(tracker, run.id).data.metrics == {"best_val_psnr": 30.0}


def test_files_go_with_the_run_and_lie_below_the_root(
    tracker: Tracker, mlflow_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "scores.csv").write_text("cell\n")
    with tracker.run("r", "key", {}, {}) as run:
        run.folder(tmp_path / "folder", "test")
        run.text("{}", "study.json")
        run.dataset(Path("data/fields/ccps"), "split", "test")
    logged = {str(file.relative_to(file.parents[2])) for file in (mlflow_root / "mlruns").rglob("*.*")}
    assert "artifacts/test/scores.csv" in logged
    (named,) = facts(tracker, run.id).inputs.dataset_inputs
    assert (named.dataset.name, named.dataset.digest) == ("ccps", "not under DVC")
    (environment_file,) = (mlflow_root / "mlruns").rglob("environment.txt")
    assert "torch==" in environment_file.read_text()


def test_the_newest_run_with_a_tag_is_found(tracker: Tracker) -> None:
    assert tracker.find(WEIGHTS, "abc") is None
    made(tracker, "one", {WEIGHTS: "abc"})
    time.sleep(0.01)  # start times have milliseconds
    newest = made(tracker, "two", {WEIGHTS: "abc"})
    made(tracker, "three", {WEIGHTS: "def"})
    assert tracker.find(WEIGHTS, "abc") == newest


def test_counting_asks_for_all_tags(tracker: Tracker) -> None:
    for key, split in (("one", "s1"), ("two", "s1"), ("three", "s2")):
        made(tracker, key, {"sim.kind": "evaluation", "sim.split": split})
    made(tracker, "four", {"sim.kind": "training", "sim.split": "s1"})
    assert tracker.count({"sim.kind": "evaluation", "sim.split": "s1"}) == 2


def test_counting_reads_every_page(tracker: Tracker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "PAGE", 2)
    for key in range(5):
        made(tracker, str(key), {"sim.kind": "evaluation"})
    assert tracker.count({"sim.kind": "evaluation"}) == 5


def test_an_experiment_is_opened_again(tracker: Tracker, mlflow_root: Path) -> None:
    assert Tracker.open("test", mlflow_root) == tracker
    assert Tracker.open("other", mlflow_root).experiment_id != tracker.experiment_id


def test_a_server_where_nobody_answers_is_refused_at_once_and_without_its_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://somebody:{PASSWORD}@127.0.0.1:9")
    started = time.monotonic()
    with pytest.raises(
        BadInput, match=r"no MLflow server answers at MLFLOW_TRACKING_URI=http://127.0.0.1:9"
    ) as told:
        Tracker.open("test", tmp_path)
    assert time.monotonic() - started < 6
    assert PASSWORD not in str(told.value)


def test_an_address_that_takes_no_runs_is_refused_without_its_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"ftp://somebody:{PASSWORD}@127.0.0.1/runs")
    with pytest.raises(BadInput, match=r"ftp://127.0.0.1/runs names no server or database") as told:
        Tracker.open("test", tmp_path)
    assert PASSWORD not in str(told.value)


def test_no_secret_of_the_environment_is_logged(mlflow_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2-s3")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "hunter2-mlflow")
    made(Tracker.open("test", mlflow_root), "key")
    written = [file.read_bytes() for file in mlflow_root.rglob("*") if file.is_file()]
    assert len(written) > 1
    assert not any(b"hunter2" in content for content in written)


def test_nested_settings_become_dotted_names() -> None:
    assert flatten({"a": {"b": {"c": 1}, "d": [1, 2]}, "e": None}) == {"a.b.c": 1, "a.d": [1, 2], "e": None}


def test_the_commit_and_whether_the_code_differs_from_it(tmp_path: Path) -> None:
    assert code_version(tmp_path) == {"mlflow.source.git.commit": "unknown"}
    for folder in ("sim_models", "pipelines"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.py").write_text("")
    git = ["git", "-C", str(tmp_path), "-c", "user.name=n", "-c", "user.email=e"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "m"]):
        subprocess.run([*git, *command], check=True)
    commit = subprocess.run(
        [*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True
    ).stdout.strip()
    (tmp_path / "results.csv").write_text("")
    assert code_version(tmp_path) == {"mlflow.source.git.commit": commit, "sim.code_changed": "false"}
    (tmp_path / "pipelines" / "a.py").write_text("changed")
    assert code_version(tmp_path)["sim.code_changed"] == "true"


def test_the_data_version_is_the_hash_that_dvc_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    fields = Path("data/fields/er")
    assert data_version(fields) == "not under DVC"
    (tmp_path / "dvc.lock").write_text(
        "stages:\n  prepare@er:\n    outs:\n    - {path: data/fields/er, md5: abc.dir}\n  report:\n    cmd: x\n"
    )
    assert data_version(fields) == "abc.dir"
    assert data_version(Path("data/fields/ccps")) == "not under DVC"


def test_the_environment_names_every_package() -> None:
    lines = environment().splitlines()
    assert lines[0].startswith("# ")
    assert {line.split("==")[0].lower() for line in lines[1:]} >= {"torch", "mlflow", "ray", "numpy"}
