"""Those who would write over each other take turns: fetches into one folder, additions to one project."""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sim_models.config import NotReady

LOOK_S = 0.2
"""between two looks"""
Tell = Callable[[str], None]
"""takes a sentence for people"""


@contextmanager
def alone(folder: Path, others: str, longest_s: float, tell: Tell) -> Iterator[None]:
    """Hold a folder that is there; the lock leaves no file, and goes when its process dies.

    Args:
        folder: what is held. All that is in it can be read meanwhile, and written by who does not ask.
        others: who may hold it, as `another fetch`.
        longest_s: how long to wait for them.
        tell: hears once that one waits.

    Raises:
        NotReady: if it is held for longer.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        since, told = time.monotonic(), False
        while not _taken(handle):
            if time.monotonic() - since > longest_s:
                raise NotReady(f"{folder}: {others} holds it for {longest_s:g} s; wait for it or end it")
            if not told:
                tell(f"{folder}: waiting for {others}")
                told = True
            time.sleep(LOOK_S)
        yield
    finally:
        os.close(handle)


def _taken(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
