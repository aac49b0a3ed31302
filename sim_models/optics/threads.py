"""Threads for a computation by its size.

Two threads wait for each other after every operation. On small images that costs more than it gains, and where another
program has a core, each operation waits until that is put aside: a small field then takes many times as long.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

SMALL = 2**20
"""values in all frames together, below which one thread is used"""


@contextmanager
def threads_for(frames: torch.Tensor) -> Iterator[None]:
    """One thread where frames are small, and as many as before where they are not; as many as before in the end."""
    before = torch.get_num_threads()
    if frames.numel() >= SMALL or before == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
