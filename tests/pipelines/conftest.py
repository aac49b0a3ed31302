"""The command line, called as its console script calls it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipelines.cli import app
from pipelines.stage import exit_code


@dataclass(frozen=True)
class Outcome:
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str


@pytest.fixture
def run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., Outcome]:
    """Calls the command as its console script does, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> Outcome:
        code = exit_code(lambda: app(list(map(str, arguments)), standalone_mode=False))
        captured = capfd.readouterr()
        return Outcome(code, captured.out, captured.err)

    return call
