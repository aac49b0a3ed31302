"""`dvc.yaml`: it resolves, and what its stages watch exists."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.shared.params import read_params


@pytest.fixture(scope="module")
def resolved(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Every stage as DVC sees it, its variables filled in."""
    script = (
        "import json; from dvc.repo import Repo\n"
        "with Repo('.') as repo:\n"
        "    found = {stage.addressing: {'cmd': stage.cmd, 'deps': [str(dep) for dep in stage.deps],\n"
        "        'outs': [str(out) for out in stage.outs]} for stage in repo.stage.collect('dvc.yaml')}\n"
        "print(json.dumps(found))\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        cwd=repository,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = yaml.safe_load(done.stdout.splitlines()[-1])
    return found


def test_there_is_a_stage_for_every_structure_model_and_transfer(
    repository: Path, resolved: dict[str, Any]
) -> None:
    params = read_params(repository / "params.yaml")
    expected = {
        *(f"{stage}@{key}" for stage in ("simulate", "prepare") for key in params.structures),
        *(f"derive@{key}" for key in params.derived),
        *(
            f"{stage}@{key}"
            for stage in ("train", "evaluate-model", "register-model")
            for key in params.models
        ),
        *(
            f"{stage}@{key}"
            for stage in ("transfer", "evaluate-transfer", "register-transfer")
            for key in params.transfers
        ),
        *(f"carry@{source}-{target}" for source in params.matrix.sources for target in params.matrix.targets),
        "matrix",
        "report",
    }
    assert set(resolved) == expected


def test_code_that_stages_watch_exists(repository: Path, resolved: dict[str, Any]) -> None:
    made = {out for stage in resolved.values() for out in stage["outs"]}
    for name, stage in resolved.items():
        for dependency in map(str, stage["deps"]):
            under_an_output = any(out == dependency or out.startswith(f"{dependency}/") for out in made)
            is_params = dependency.endswith("params.yaml")
            assert under_an_output or is_params or (repository / dependency).exists(), f"{name}: {dependency}"


def test_commands_are_stages_that_watch_their_own_file(repository: Path, resolved: dict[str, Any]) -> None:
    for name, stage in resolved.items():
        python, dash_m, module = stage["cmd"].split()[:3]
        assert (python, dash_m) == ("python", "-m")
        file = module.replace(".", "/") + ".py"
        assert (repository / file).exists()
        assert file in stage["deps"], name


def test_what_a_stage_needs_is_watched(resolved: dict[str, Any]) -> None:
    """A model is trained anew when its data change, and carried, scored and registered anew when it does."""
    for name, stage in resolved.items():
        kind, _, key = name.partition("@")
        if kind == "transfer":
            assert any(dep.startswith("models/") for dep in stage["deps"])
            assert any(dep.startswith("data/fields/") for dep in stage["deps"])
        if kind == "register-transfer":
            assert f"transfers/{key}" in stage["deps"]
            assert f"reports/transfers/{key}/details" in stage["deps"]
