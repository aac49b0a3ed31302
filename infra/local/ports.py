"""Free ports side by side, so that two worlds on one machine do not meet."""

import random
import socket
from collections.abc import Iterator
from contextlib import contextmanager

BLOCK = 100
FIRST, LAST = 20000, 32700
"""above the ports that any Ray gives its workers by default (10002-19999), below those the kernel hands out"""


@contextmanager
def block() -> Iterator[Iterator[int]]:
    """Ports of a free block, one after the other.

    The first port of the block stays bound for the length of the `with` block: it tells the next world to look on.

    Raises:
        OSError: if no block is free.
    """
    starts = list(range(FIRST, LAST - BLOCK, BLOCK))
    random.shuffle(starts)
    for start in starts:
        guard = socket.socket()
        try:
            guard.bind(("127.0.0.1", start))
        except OSError:
            guard.close()
            continue
        with guard:
            ports = range(start + 1, start + BLOCK)
            if all(_free(port) for port in ports):
                yield iter(ports)
                return
    raise OSError(f"no {BLOCK} free ports side by side between {FIRST} and {LAST}")


def _free(port: int) -> bool:
    # On all addresses: Ray listens on some ports of every one.
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True
