"""What every reader returns."""

from collections.abc import Mapping
from dataclasses import dataclass, field
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
    header: Mapping[str, Any] = field(default_factory=dict)
    """how the file is written and what it says of the light: `byte_order`, and where the format has them
    `extended_header_bytes`, `rows` ('bottom-up'), `sequence`, `emission_um`, `frame_interval_s`, `zarr_format`"""


def native(data: NDArray[Any]) -> NDArray[Any]:
    """The same values in one block of memory and in the byte order of this machine."""
    return np.ascontiguousarray(data.astype(data.dtype.newbyteorder("="), copy=False))


def pixel_or_none(pixel_um: float, complaints: list[str]) -> float | None:
    """A pixel size that can be one; what a damaged or careless header holds instead is told in `complaints`."""
    if pixel_um == 0:
        return None
    if not SMALLEST_UM <= pixel_um <= LARGEST_UM:
        complaints.append(f"pixel size of {pixel_um:g} um makes no sense; not used")
        return None
    return pixel_um


SMALLEST_UM, LARGEST_UM = 1e-6, 1e4
"""pixels of an electron microscope, and of a photograph"""
