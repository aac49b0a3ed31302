"""How long something takes, how much of it is computing, how often it asks a server; and tables of that."""

import resource
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from statistics import mean, median
from typing import Any

import psutil
import requests

from infra.local import World

ENOUGH_S = 12.0
"""once so much was spent on one thing it is not done again"""
SERVED_BY = ("mlflow", "postgresql")
"""services that answer a question"""


@dataclass(frozen=True)
class Timed:
    """Something that was done a few times."""

    seconds: float
    """on the clock, median"""
    computed: float
    """seconds of processors, of client, server and database together, mean: what the clock would say where nobody else
    computes and nothing is done at once"""
    times: int
    requests: int
    """to the server, each time"""

    @property
    def cell(self) -> str:
        """For a table."""
        asked = f", {self.requests} req." if self.requests else ""
        once = ", once" if self.times == 1 else ""
        return f"{readable(self.computed)} ({readable(self.seconds)}{asked}{once})"


@dataclass(frozen=True)
class Watch:
    """Measures questions to the servers of a world."""

    world: World

    def timed(self, work: Callable[[], object], times: int = 5) -> Timed:
        """Do something up to `times` times, and once before that, for caches are cold; that counts if it is alone."""
        spent = []
        with counted() as asked:
            spent.append(self._once(work))
            requests_each = len(asked)
        while len(spent) <= times and sum(clock for clock, _ in spent) < ENOUGH_S:
            spent.append(self._once(work))
        kept = spent[1:] or spent
        clocks, computed = zip(*kept, strict=True)
        return Timed(median(clocks), mean(computed), len(kept), requests_each)

    def computed(self) -> float:
        """Seconds of processors until now: of this process, of its children that have ended, and of the servers."""
        usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        ours = sum(usage.ru_utime + usage.ru_stime for usage in usages)
        return ours + sum(_seconds_of(process) for process in self._servers())

    def _servers(self) -> list[psutil.Process]:
        """Those that serve; a database has one more for each connection."""
        parents = [psutil.Process(self._pid(name)) for name in SERVED_BY]
        return [each for parent in parents for each in (parent, *parent.children(recursive=True))]

    def _pid(self, name: str) -> int:
        process = self.world.services[name].process
        assert process is not None
        return process.pid

    def _once(self, work: Callable[[], object]) -> tuple[float, float]:
        clock, computed = time.perf_counter(), self.computed()
        work()
        return time.perf_counter() - clock, self.computed() - computed


@contextmanager
def counted() -> Iterator[list[None]]:
    """An entry for every request over HTTP while the block lasts."""
    asked: list[None] = []
    send = requests.Session.send

    def counting(self: requests.Session, request: requests.PreparedRequest, **how: Any) -> requests.Response:
        asked.append(None)
        return send(self, request, **how)

    requests.Session.send = counting  # type: ignore[method-assign]
    try:
        yield asked
    finally:
        requests.Session.send = send  # type: ignore[method-assign]


def readable(seconds: float) -> str:
    """Milliseconds below one second, else seconds."""
    if seconds < 1:
        return f"{seconds * 1e3:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 100 else f"{seconds:.0f} s"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table."""
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]


def _seconds_of(process: psutil.Process) -> float:
    """With those of its children that have ended, as a connection to the database that was closed."""
    with suppress(psutil.NoSuchProcess):
        used = process.cpu_times()
        return float(used.user + used.system + used.children_user + used.children_system)
    return 0.0
