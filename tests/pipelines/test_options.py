"""What holds for the options of all commands."""

import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import typer

from pipelines.cli import app

SHARED = ("--na", "--emission-um", "--pixel-um", "--angles", "--phases", "--offset", "--gain", "--read-noise",
          "--tile", "--licence", "--json")  # fmt: skip


def options(command: Any) -> Iterator[Any]:
    """Of a command and of those below it."""
    yield from command.params
    for each in getattr(command, "commands", {}).values():
        yield from options(each)


def test_an_option_says_the_same_wherever_it_is() -> None:
    told: dict[str, list[str | None]] = defaultdict(list)
    for option in options(typer.main.get_command(app)):
        for name in option.opts:
            told[name].append(getattr(option, "help", None))
    assert {name: len(set(told[name])) for name in SHARED} == dict.fromkeys(SHARED, 1)
    assert all(len(told[name]) > 1 for name in SHARED)


def test_help_waits_for_nothing_large() -> None:
    code = "import sys, pipelines.cli; print(*{'torch', 'mlflow', 'ray', 'scipy', 'matplotlib'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"
