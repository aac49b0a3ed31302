"""What toys of layouts show: a few blobs under stripes."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

EDGE_PX = 64
"""of a raw frame"""

PERIOD_PX = 4.6


def frames(cell: int, angles: int, phases: int, times: int = 1, light: float = 400.0) -> NDArray[np.uint16]:
    """Raw frames (T, A, P, Y, X) in counts, noisy, over an offset of 100; the blobs move with time."""
    rng = np.random.default_rng([cell, angles, phases, times, int(light)])
    y, x = np.indices((EDGE_PX, EDGE_PX))
    direction = 0.2 + np.pi * np.arange(angles) / angles
    wave = (np.cos(direction)[:, None, None] * x + np.sin(direction)[:, None, None] * y) / PERIOD_PX
    step = np.arange(phases) / phases
    stripes = 1 + 0.7 * np.cos(2 * np.pi * (wave[:, None] + step[:, None, None]))
    expected = [light * (0.2 + blobs(cell, 1, time)) * stripes for time in range(times)]
    return np.asarray(rng.poisson(expected) + 100).clip(0, 65535).astype(np.uint16)


def blobs(cell: int, scale: int, time: int = 0) -> NDArray[Any]:
    """What lies there, (scale * Y, scale * X), about 0 to 1."""
    y, x = (np.indices((scale * EDGE_PX, scale * EDGE_PX)) + 0.5) / scale
    rng = np.random.default_rng(cell)
    centres = rng.uniform(10, EDGE_PX - 10, (6, 2)) + time
    return np.asarray(sum(np.exp(-((y - row) ** 2 + (x - column) ** 2) / 40) for row, column in centres))


def reference(cell: int, scale: int, time: int = 0) -> NDArray[np.uint16]:
    """A good image of `frames` at `scale` times their sampling."""
    return np.asarray(1000 * blobs(cell, scale, time) + 50).astype(np.uint16)
