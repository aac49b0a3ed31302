"""Shell scripts, by a linter, and what they refuse."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

Judge = Callable[..., CompletedProcess[str]]
SCRIPTS = [".ci/run", "infra/setup.sh", "infra/mlflow.sh", "infra/slurm/launch.sh"]


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_linter_finds_nothing(repository: Path, judge: Judge, script: str) -> None:
    done = judge("shellcheck", repository / script)
    assert done.returncode == 0, done.stdout
    assert os.access(repository / script, os.X_OK)


def test_every_script_is_looked_at(repository: Path) -> None:
    found = {str(file.relative_to(repository)) for file in (repository / "infra").rglob("*.sh")}
    assert found == set(SCRIPTS) - {".ci/run"}


def test_mlflow_does_not_start_without_its_secrets(infra: Path) -> None:
    done = _run([infra / "mlflow.sh"], {"MLFLOW_BACKEND_STORE_URI": "postgresql+psycopg2://mlflow@db/mlflow"})
    assert done.returncode != 0
    assert "PGPASSWORD: is not set: the password of the database" in done.stderr


def test_slurm_s_script_says_how_to_call_it(infra: Path) -> None:
    done = _run([infra / "slurm" / "launch.sh"], {})
    assert done.returncode == 2
    assert "usage: sbatch" in done.stderr
    done = _run([infra / "slurm" / "launch.sh", "true"], {})
    assert "this runs inside a SLURM job; use sbatch" in done.stderr


def _run(command: list[Path | str], environment: dict[str, str]) -> CompletedProcess[str]:
    return subprocess.run(
        command, env={"PATH": os.defpath} | environment, capture_output=True, text=True, timeout=30
    )
