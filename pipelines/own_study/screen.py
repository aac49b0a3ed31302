"""What a person sees while a long command runs: a bar on a terminal, else a plain line now and then; all on stderr."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

from pipelines.own_study.estimating import duration, spaced

EVERY_SECONDS = 30.0
"""between plain lines"""

LEAST_SHARE = 0.03
"""done before the rest is guessed: the first steps wait for workers to start"""


@dataclass
class Meter:
    """Counts what is done of a whole."""

    what: str
    total: int
    bar: Progress | None
    task: TaskID | None
    done: int = 0
    _started: float = field(default_factory=time.monotonic)
    _told: float = field(default_factory=time.monotonic)
    _at_start: int = 0

    def start_at(self, done: int) -> None:
        """What an earlier run has done."""
        self.done = self._at_start = min(done, self.total)
        self._show()

    def add(self, number: int) -> None:
        """So much more is done."""
        self.done = min(self.done + number, self.total)
        self._show()

    def _show(self) -> None:
        if self.bar is not None and self.task is not None:
            self.bar.update(self.task, completed=self.done)
            return
        now = time.monotonic()
        if now - self._told >= EVERY_SECONDS and self.done < self.total:
            self._told = now
            print(f"{self.what}: {self._sentence(now)}", file=sys.stderr, flush=True)

    def _sentence(self, now: float) -> str:
        share = self.done / self.total
        text = f"{spaced(self.done)} of {spaced(self.total)} ({share:.0%})"
        new = self.done - self._at_start
        if new > LEAST_SHARE * self.total:
            left = (now - self._started) / new * (self.total - self.done)
            text += f", about {duration(left)} left"
        return text


@contextmanager
def meter(what: str, total: int) -> Iterator[Meter]:
    """A meter for the length of a `with` block."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield Meter(what, total, None, None)
        return
    columns: list[Any] = [
        TextColumn(what), BarColumn(), TextColumn("{task.completed:.0f} of {task.total:.0f}"), TaskProgressColumn(),
        TimeRemainingColumn(),
    ]  # fmt: skip
    with Progress(*columns, console=console, transient=True) as bar:
        yield Meter(what, total, bar, bar.add_task("", total=total))


def note(text: str) -> None:
    """Something a person may want to know."""
    print(f"note: {text}", file=sys.stderr, flush=True)


def warn(text: str) -> None:
    """Something a person should know."""
    print(f"warning: {text}", file=sys.stderr, flush=True)
