"""The same work on many things, on all processors where it takes long; results come in the order of the things."""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from pipelines.shared.stage import end_with_parent
from sim_models.config import WorkFailed

T = TypeVar("T")
R = TypeVar("R")

ALONE_S = 4.0
"""so long it is tried on one processor: other processes take seconds to start"""
WORTH_S = 10.0
"""that is left to do, from which on others are started"""
MOST = 8
"""processes, whatever the machine: each holds a stack and some 400 MB of libraries"""


def in_order(work: Callable[[T], R], things: Sequence[T]) -> Generator[R, None, None]:
    """The result of every thing, in their order; the same whether other processes help or not.

    Args:
        work: something that can be pickled; it has the environment, so the number of threads, of this process.
        things: that it is called with.

    Raises:
        WorkFailed: if a process was ended from outside.
        Exception: what `work` raises for the first thing that it raises for.
    """
    start = time.monotonic()
    for number, thing in enumerate(things):
        spent, left = time.monotonic() - start, len(things) - number
        if spent > ALONE_S and spent / max(number, 1) * left > WORTH_S and processors() > 1:
            yield from _on_all(work, things[number:])
            return
        yield work(thing)


def processors() -> int:
    """That this process may use."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(usable, MOST)


def _on_all(work: Callable[[T], R], things: Sequence[T]) -> Generator[R, None, None]:
    # Spawned, for a fork of a process in which threads run may hang.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(processors(), len(things)), context, initializer=_begin)
    try:
        for future in [pool.submit(work, thing) for thing in things]:
            yield future.result()
    except BrokenProcessPool:
        raise WorkFailed(
            "a process that helped was ended from outside, perhaps for want of memory; run the same command again"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _begin() -> None:
    """Ctrl-C is for who started us; who ends us when he ends, however that is."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent(signal.SIGKILL)
