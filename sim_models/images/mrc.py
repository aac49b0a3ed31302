"""MRC, and the dialect of it that DeltaVision microscopes and the BioSR dataset use."""

import struct
import warnings
from pathlib import Path
from typing import Any

import mrcfile

from sim_models.config import BadInput
from sim_models.images.file import ImageFile, native

HEADER_BYTES = 1024
STAMP, STAMP_AT = b"MAP", 208
DELTAVISION_ID, DELTAVISION_ID_AT = -16224, 96


def looks_like_mrc(path: Path, beginning: bytes) -> bool:
    """Whether a file that begins with `beginning` is MRC; without stamp and number its name must say so."""
    if len(beginning) < HEADER_BYTES:
        return False
    ids = {struct.unpack_from(order, beginning, DELTAVISION_ID_AT)[0] for order in ("<h", ">h")}
    return _stamped(beginning) or DELTAVISION_ID in ids or path.suffix.lower() in (".mrc", ".dv")


def read_mrc(path: Path, beginning: bytes) -> ImageFile:
    """Read MRC, and its dialect without 'MAP' stamp that DeltaVision and the BioSR dataset use.

    The stamp decides the unit of the cell lengths: angstrom in MRC2014 (Cheng et al. 2015, Table 1),
    micrometres in the dialect.

    Raises:
        BadInput: if the file is not as large as its header says.
    """
    stamped = _stamped(beginning)
    told = ["rows are kept bottom-up as MRC stores them: directions are mirrored in y against a TIFF copy"]
    if not stamped:
        told.append("no 'MAP' stamp: read as the DeltaVision dialect, lengths in micrometres")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the dialect makes mrcfile warn about every header
        with mrcfile.open(path, permissive=True, header_only=True) as header_only:
            _refuse_wrong_size(path, header_only.header)
        with mrcfile.open(path, permissive=True) as file:
            data = file.data
            width = float(str(file.voxel_size.x))  # the shortest number meant by a float32: 0.0626
    axes = "IIYX"[-data.ndim :]
    pixel_um = width * (1e-4 if stamped else 1.0)
    return ImageFile(native(data), axes, pixel_um or None, "MRC", {}, tuple(told), (path,))


def _stamped(beginning: bytes) -> bool:
    return beginning.startswith(STAMP, STAMP_AT)


def _refuse_wrong_size(path: Path, header: Any) -> None:
    shape = int(header.nz), int(header.ny), int(header.nx)
    pixel_bytes = mrcfile.utils.dtype_from_mode(header.mode).itemsize
    expected = HEADER_BYTES + int(header.nsymbt) + shape[0] * shape[1] * shape[2] * pixel_bytes
    size = path.stat().st_size
    if min(shape) < 1 or expected != size:
        raise BadInput(
            f"{path}: its header announces {shape[0]} x {shape[1]} x {shape[2]} pixels, {expected:,} bytes, "
            f"but the file has {size:,}; it is truncated or its header is damaged; copy or download it again"
        )
