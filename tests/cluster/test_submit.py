"""A submission from beginning to end: seen on every node, trained through a killed worker, brought home."""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import yaml
from mlflow import MlflowClient
from mlflow.entities import Run

from infra.local import World
from infra.local.processes import WORLD, members
from pipelines.shared.stage import NOT_READY, WORK_FAILED

Submit = Callable[..., "subprocess.Popen[str]"]
STAGE = "train@microtubules_nafnet"
STEPS, LOOK_EVERY = 200, 10
ALL_LOOKS = list(range(LOOK_EVERY, STEPS + 1, LOOK_EVERY))
PARAMS = f"""
house: .
study: submitted
register_as: submitted
acquisition:
  microscope:
    numerical_aperture: 1.4
    refractive_index: 1.518
    emission_um: 0.525
    pixel_um: 0.065
    camera: {{gain: 2.0, offset: 100.0, read_noise: 1.5}}
  angles: 3
  phases: 3
  spacing_um: 0.2
  modulation: [0.8]
  first_angle_rad: 0.2
  angle_error_rad: 0.0
  phase_error_rad: 0.0
  modulation_error: 0.0
  field_px: 32
  scale: 2
  oversampling: 4
  levels: {{low: 10.0}}
datasets: {{}}
split: {{val: 0.34, test: 0.34, seed: 1}}
reconstruction: {{look: wiener, strength: 1.0, apodisation: ideal, positive: false}}
evaluation: {{border_px: 4, bootstrap: {{confidence: 0.95, resamples: 200, seed: 7}}}}
structures:
  microtubules:
    drawn_from: sim_models/sources/objects/microtubules.py
    cells: 9
    seed: 11
    objects:
      name: microtubules
      density_um_per_um2: 3.0
      persistence_um: 20.0
      width_um: 0.05
      stray_share: 0.3
      labels_per_um: 400.0
derived: {{}}
matrix: {{sources: [], targets: [], finetune: null, frozen: {{start: 0, end: 0}}}}
transfers: {{}}
gate:
  metric: psnr_targetrange_noscale
  above_baseline: {{bicubic: 1.0}}
  below_champion: 0.1
  absolute: {{}}
  contradicted_percent: 5.0
models:
  microtubules_nafnet:
    structure: microtubules
    recipe: {{named: wiener_nafnet, faithful: false, network: {{name: nafnet, width: 4}}, method: {{name: supervised}}}}
    training:
      steps: {STEPS}
      batch: 2
      crop_px: 32
      learning_rate: 0.001
      weight_decay: 0.0
      schedule: cosine
      warmup_steps: 5
      clip_norm: 1.0
      validate_every: {LOOK_EVERY}
      patience: 100
      augment: symmetries
      precision: float32
      seed: 3
"""


@pytest.fixture
def project(
    repository: Path, environment: dict[str, str], tmp_path: Path, request: pytest.FixtureRequest
) -> Path:
    """A git repository with our code and pipeline, and a study of one model; its remote is in S3."""
    root = tmp_path / "project"
    root.mkdir()
    for room in ("sim_models", "pipelines"):
        shutil.copytree(repository / room, root / room, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(repository / "requirements.lock", root)
    stages = yaml.safe_load((repository / "dvc.yaml").read_text())["stages"]
    needed = {name: stages[name] for name in ("simulate", "prepare", "train")}
    (root / "dvc.yaml").write_text(
        yaml.safe_dump({"vars": ["params.yaml"], "stages": needed}, sort_keys=False)
    )
    (root / "params.yaml").write_text(PARAMS)
    (root / ".gitignore").write_text("__pycache__/\n/data/\n/models/\n/runs/\n")
    (root / ".dvc").mkdir()
    (root / ".dvc" / "config").write_text(
        "[core]\n    analytics = false\n    remote = lab\n"
        f"['remote \"lab\"']\n    url = s3://dvc/{request.node.name}\n"
    )
    (root / ".dvc" / ".gitignore").write_text("/config.local\n/tmp\n/cache\n")
    for command in (
        "git init -q -b main",
        "git add -A",
        "git -c user.name=A -c user.email=a@b.c commit -q -m first",
    ):
        subprocess.run(command.split(), cwd=root, env=environment, check=True)
    return root


@pytest.fixture
def submit(project: Path, environment: dict[str, str], tmp_path: Path) -> Submit:
    """Starts `sim-models submit` in the project."""

    def call(*words: str, folder: Path = project, **changes: str) -> "subprocess.Popen[str]":
        own = {"SIM_MODELS_STORAGE": str(tmp_path / "storage"), "PYTHONPATH": str(folder)}
        return subprocess.Popen(
            [sys.executable, "-m", "pipelines.cli", "submit", *words],
            cwd=folder,
            env=environment | own | changes,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    return call


def running(world: World, words: str) -> list[psutil.Process]:
    """Processes on any node with these words in their command line."""
    found = []
    for process in members(world.services["s3"].environment[WORLD]):
        with suppress(psutil.Error):
            if words in " ".join(process.cmdline()):
                found.append(process)
    return found


def wait_for_looks(process: "subprocess.Popen[str]", client: MlflowClient, study: str) -> None:
    """Return in the midst of training."""
    end = time.monotonic() + 400
    while len(looks(client, runs_of(client, study))) < 3:
        if process.poll() is not None:
            pytest.fail(process.communicate()[0])
        assert time.monotonic() < end, "no training was seen"
        time.sleep(0.1)


def runs_of(client: MlflowClient, study: str) -> list[Run]:
    """What MLflow has of a study."""
    experiment = client.get_experiment_by_name(study)
    return list(client.search_runs([experiment.experiment_id])) if experiment else []


def looks(client: MlflowClient, runs: list[Run]) -> list[int]:
    """Steps at which MLflow has a score on the validation cells, of all runs."""
    return [point.step for run in runs for point in client.get_metric_history(run.info.run_id, "val_psnr")]


def test_a_stage_whose_worker_is_killed_comes_home_as_if_nothing_had_been(
    world: World,
    project: Path,
    submit: Submit,
    client: MlflowClient,
    environment: dict[str, str],
    tmp_path: Path,
) -> None:
    process = submit(STAGE)
    wait_for_looks(process, client, "submitted")
    (victim,) = running(world, "RayTrainWorker")
    victim.kill()
    said, _ = process.communicate(timeout=400)
    print(said)

    assert process.returncode == 0
    (run,) = runs_of(client, "submitted")
    assert run.info.status == "FINISHED"
    assert looks(client, [run]) == ALL_LOOKS
    for name in ("nodes", "code", "torch", "tracking", "storage", "data"):
        assert f"[ok] {name}: " in said
    for secret in ("MLFLOW_TRACKING_PASSWORD", "AWS_SECRET_ACCESS_KEY"):
        assert environment[secret] not in said
    again = _run("dvc", "repro", STAGE, folder=project, environment=environment)
    assert "Running stage" not in again
    assert "Data and pipelines are up to date." in again
    assert (project / "models" / "microtubules_nafnet" / "weights.safetensors").stat().st_size > 0
    # Nothing is left at the storage but DVC's cache and room for unfinished work.
    assert list((tmp_path / "storage" / "jobs").iterdir()) == []
    assert list((tmp_path / "storage").glob(".preflight*")) == []
    commit = _run("git", "rev-parse", "HEAD", folder=project, environment=environment)
    assert run.data.tags["mlflow.source.git.commit"] == commit.strip()


@pytest.mark.faults
def test_a_job_that_was_killed_goes_on_when_it_is_submitted_again(
    world: World, project: Path, submit: Submit, client: MlflowClient, environment: dict[str, str]
) -> None:
    """Its folder is a new one; what it had trained lies at the storage."""
    (project / "params.yaml").write_text(PARAMS.replace("study: submitted", "study: again"))
    process = submit(STAGE)
    wait_for_looks(process, client, "again")
    for victim in running(world, "pipelines.train"):
        victim.kill()
    said, _ = process.communicate(timeout=400)
    assert process.returncode == WORK_FAILED, said
    before = looks(client, runs_of(client, "again"))
    assert len(before) < len(ALL_LOOKS)
    said, _ = submit(STAGE).communicate(timeout=400)
    (run,) = runs_of(client, "again")
    assert run.info.status == "FINISHED", said
    assert looks(client, [run]) == ALL_LOOKS
    assert "Running stage" not in _run("dvc", "repro", STAGE, folder=project, environment=environment)


def test_two_who_submit_at_once_both_get_what_is_theirs(
    project: Path, submit: Submit, client: MlflowClient, environment: dict[str, str], tmp_path: Path
) -> None:
    """They share nodes, MLflow's server, DVC's remote, and the cache at the storage."""
    folders = {seed: tmp_path / f"of_{seed}" for seed in (3, 4)}
    for seed, folder in folders.items():
        shutil.copytree(project, folder, symlinks=True)
        own = PARAMS.replace("study: submitted", "study: both").replace("seed: 3", f"seed: {seed}")
        (folder / "params.yaml").write_text(own.replace("seed: 11", f"seed: {seed}"))
    started = [submit(STAGE, folder=folder) for folder in folders.values()]
    for process in started:
        said, _ = process.communicate(timeout=500)
        assert process.returncode == 0, said
    runs = runs_of(client, "both")
    assert {run.data.params["training.seed"] for run in runs} == {"3", "4"}
    for run in runs:
        assert run.info.status == "FINISHED"
        assert looks(client, [run]) == ALL_LOOKS
    weights = set()
    for folder in folders.values():
        assert "Running stage" not in _run("dvc", "repro", STAGE, folder=folder, environment=environment)
        weights.add((folder / "models" / "microtubules_nafnet" / "weights.safetensors").read_bytes())
    assert len(weights) == 2


@pytest.mark.faults
def test_a_job_that_ray_submits_by_hand_comes_home(
    world: World, project: Path, client: MlflowClient, environment: dict[str, str], tmp_path: Path
) -> None:
    """As docs/submit.md has it, without any of our checks."""
    (project / "params.yaml").write_text(PARAMS.replace("study: submitted", "study: by_hand"))
    names = [name for name in environment if name.startswith(("AWS_", "MLFLOW_"))]
    own = {name: environment[name] for name in names} | {"SIM_MODELS_STORAGE": str(tmp_path / "storage")}
    words = ["--working-dir", ".", "--runtime-env-json", json.dumps({"env_vars": own})]
    address = environment["RAY_API_SERVER_ADDRESS"]
    job = f"{sys.executable} -m pipelines.cluster.job {STAGE}".split()
    _run(
        "ray",
        "job",
        "submit",
        "--address",
        address,
        *words,
        "--",
        *job,
        folder=project,
        environment=environment,
    )
    assert "Running stage" not in _run(
        "dvc", "repro", "--pull", STAGE, folder=project, environment=environment
    )
    (run,) = runs_of(client, "by_hand")
    assert looks(client, [run]) == ALL_LOOKS


def test_a_job_that_fails_is_told(project: Path, submit: Submit) -> None:
    (project / "params.yaml").write_text(PARAMS.replace("cells: 9", "cells: 9\n    colour: red"))
    process = submit(STAGE)
    said, _ = process.communicate(timeout=400)
    assert process.returncode == WORK_FAILED, said
    assert "colour" in said
    assert said.splitlines()[-1].startswith("error: job raysubmit_")
    assert "Traceback" not in said
    assert not (project / "dvc.lock").exists()


def test_a_wrong_server_is_found_before_anything_is_submitted(submit: Submit) -> None:
    process = submit(STAGE, MLFLOW_TRACKING_URI="http://127.0.0.1:9")
    said, _ = process.communicate(timeout=400)
    assert process.returncode == NOT_READY, said
    assert "[failed] tracking: " in said
    assert "[ok] storage: " in said
    assert "\njob " not in said
    assert "nothing was submitted" in said.splitlines()[-1]


def _run(*words: str, folder: Path, environment: dict[str, str]) -> str:
    program = Path(sys.executable).parent / words[0]
    command = [str(program) if program.exists() else words[0], *words[1:]]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=True
    ).stdout
