"""Programs that judge the files of infra/; all come with `make setup` where there is a build of them."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def infra(repository: Path) -> Path:
    return repository / "infra"


@pytest.fixture(scope="session")
def judge() -> Run:
    """Runs a program of the environment, or of the machine."""

    def run(name: str, *arguments: str | Path, **options: object) -> "subprocess.CompletedProcess[str]":
        beside = Path(sys.executable).parent / name
        program = str(beside) if beside.exists() else shutil.which(name)
        if program is None:
            pytest.skip(f"{name} is not installed, and its package has no build for this machine")
        return subprocess.run(
            [program, *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=120,
            **options,  # type: ignore[call-overload]
        )

    return run
