"""What every reader returns."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class ImageFile:
    """What a file, or a folder of frames, holds.

    `axes` has one letter per dimension of `data`: A angle, P phase, T time, C channel, Z section,
    I frame of unknown meaning, Y rows, X columns, S colour.
    """

    data: NDArray[Any]
    axes: str
    pixel_um: float | None
    format: str
    metadata: dict[str, Any]
    """our own acquisition metadata; empty for files of others"""
    warnings: tuple[str, ...]
    paths: tuple[Path, ...]
    """the files `data` was read from; in a folder of frames one per frame"""


def native(data: NDArray[Any]) -> NDArray[Any]:
    """The same values in one block of memory and in the byte order of this machine."""
    return np.ascontiguousarray(data.astype(data.dtype.newbyteorder("="), copy=False))
