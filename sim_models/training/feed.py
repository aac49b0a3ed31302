"""Batches cut ahead: while one is learned from, threads of their own cut the next ones.

What is in a batch depends on seed and step alone, so it does not matter who cuts it, or when. Cutting copies memory,
for which Python lets other threads run; no processes are needed, and fields are in memory once.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import torch

from sim_models.samples import Sample

CUTTERS = {"cuda": 4}
"""threads by kind of device, else one: a GPU may learn faster than one thread cuts; on a CPU they would compete"""

AHEAD = 2
"""batches of each that lie ready: one would do were all cut equally fast, but some have to be read from a disk"""


class Feed:
    """The batches of coming steps, in order."""

    def __init__(
        self,
        make: Callable[[int], Sample],
        steps: range,
        device: torch.device,
        pool: ThreadPoolExecutor,
    ) -> None:
        self.waited = 0.0
        """seconds in `next`, since the feed began"""
        self._device = device
        self._make, self._pool = make, pool
        self._steps = iter(steps)
        self._ready: deque[Future[Sample]] = deque()
        for _ in range(AHEAD * CUTTERS.get(device.type, 1)):
            self._order()

    def next(self) -> Sample:
        """The batch of the next step, on the device; what goes wrong while it is cut is raised here."""
        started = time.perf_counter()
        sample = self._ready.popleft().result()
        self.waited += time.perf_counter() - started
        self._order()
        return sample.to(self._device)

    def _order(self) -> None:
        step = next(self._steps, None)
        if step is not None:
            self._ready.append(self._pool.submit(self._make, step))


@contextmanager
def feeding(make: Callable[[int], Sample], steps: range, device: torch.device) -> Iterator[Feed]:
    """A feed for the length of a `with` block; batches that nobody has taken by then are dropped.

    Args:
        make: cuts the batch of a step; called in other threads, so it must draw from nothing that is shared.
        steps: those that are asked for, in this order.
        device: where batches are wanted.
    """
    # A new thread takes the first GPU for its own, whichever its process uses.
    settle = (lambda: torch.cuda.set_device(device)) if device.type == "cuda" else (lambda: None)
    pool = ThreadPoolExecutor(CUTTERS.get(device.type, 1), "batches", initializer=settle)
    try:
        yield Feed(make, steps, device, pool)
    finally:
        pool.shutdown(cancel_futures=True)
