"""The Dockerfile, by a linter, and against what it copies."""

import re
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

Judge = Callable[..., CompletedProcess[str]]


def test_the_linter_finds_nothing(infra: Path, judge: Judge) -> None:
    done = judge("hadolint", infra / "Dockerfile")
    assert done.returncode == 0, done.stdout


def test_the_linter_would_find_something(judge: Judge, tmp_path: Path) -> None:
    wrong = tmp_path / "Dockerfile"
    wrong.write_text("FROM python\nRUN cd /tmp && pip install ray\n")
    done = judge("hadolint", wrong)
    assert done.returncode != 0
    assert {"DL3006", "DL3013"} <= set(re.findall(r"DL\d{4}", done.stdout))


def test_what_is_copied_is_there_and_sent_along(infra: Path, repository: Path) -> None:
    lines = (infra / "Dockerfile").read_text().splitlines()
    copied = [line.split()[1:-1] for line in lines if line.startswith("COPY") and "--from" not in line]
    sent = {
        line[1:] for line in (repository / ".dockerignore").read_text().splitlines() if line.startswith("!")
    }
    assert {name for names in copied for name in names} == sent
    for name in sent:
        assert (repository / name).exists(), name


def test_it_runs_as_nobody_special(infra: Path) -> None:
    text = (infra / "Dockerfile").read_text()
    assert re.findall(r"^USER (.*)$", text, re.MULTILINE) == ["1000:1000"]
    assert "HEALTHCHECK" in text
