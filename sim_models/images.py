"""Images in and out: TIFF, OME-TIFF, ImageJ hyperstacks, MRC/DeltaVision and PNG become one `ImageFile`."""

import hashlib
import json
import logging
import re
import struct
import uuid
import warnings
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import imagecodecs
import mrcfile
import numpy as np
import tifffile
from numpy.typing import NDArray

from sim_models.config import BadInput

NAMESPACE = "sim-models/acquisition"
"""marks our own annotation inside an OME-TIFF"""

UNCHECKED_BYTES = 64 * 2**20
"""decoded images up to this size are read without asking how well they were compressed"""

HIGHEST_COMPRESSION = 200
"""decoded over stored size; a camera image never reaches it, a damaged header or a decompression bomb does"""

TIFF_DAMAGE = re.compile(
    r"invalid page offset|circular reference|corrupted|failed to reshape|TiffTag 270 .* invalid value offset"
)
"""what in tifffile's log means missing frames, or a missing description (tag 270)"""

MRC_HEADER_BYTES = 1024
DELTAVISION_ID = -16224

MICROMETRES = {
    "m": 1e6, "cm": 1e4, "mm": 1e3, "nm": 1e-3, "Å": 1e-4, "angstrom": 1e-4,
    "µm": 1.0, "μm": 1.0, "um": 1.0, "\\u00B5m": 1.0,
    "micron": 1.0, "microns": 1.0, "micrometer": 1.0, "micrometre": 1.0,
}  # fmt: skip
"""micrometres per unit, as OME and ImageJ spell units"""


@dataclass(frozen=True)
class ImageFile:
    """What a file holds.

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


def read(path: Path) -> ImageFile:
    """Read an image or a stack, in native byte order and with the shape it is stored in.

    Raises:
        BadInput: if the file is missing, empty, truncated, damaged or of an unknown format, or if
            its header announces far more data than the file can hold.
    """
    beginning = _beginning(path)
    with _damage_told_as_bad_input(path):
        if beginning[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
            image = _read_tiff(path)
        elif beginning.startswith(b"\x89PNG\r\n\x1a\n"):
            image = _read_png(path, beginning)
        elif _looks_like_mrc(path, beginning):
            image = _read_mrc(path, stamped=beginning[208:211] == b"MAP")
        else:
            raise BadInput(
                f"{path}: is no TIFF, OME-TIFF, MRC, DeltaVision or PNG file (it begins with "
                f"{beginning[:8]!r}); convert it to OME-TIFF, for example with Fiji or bfconvert"
            )
    return image


def write_ome(
    path: Path,
    data: NDArray[Any],
    axes: str,
    pixel_um: float,
    metadata: Mapping[str, Any],
    name: str,
) -> None:
    """Write an OME-TIFF in one step: the file is whole or not there, and equal input gives equal bytes.

    Angles (A) and phases (P) are stored as OME modulo dimensions along T and Z, so Bio-Formats and
    Fiji show them as sliders. `metadata` comes back from `read`; it must be JSON-able.

    Args:
        path: file to write or replace; its folder is made.
        data: the image, of an integer type up to 32 bits, float32 or float64.
        axes: one letter per dimension out of TCZAPYX, ending in YX.
        pixel_um: edge of a pixel of `data` in the specimen.
        metadata: what else the file should say about itself.
        name: shown by viewers as the image's title.

    Raises:
        BadInput: if the file cannot be written.
    """
    annotation = {
        "axes": axes, "shape": json.dumps(data.shape), "acquisition": json.dumps(metadata, sort_keys=True)
    }  # fmt: skip
    digest = hashlib.sha256(np.ascontiguousarray(data).data).hexdigest()
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(
            partial,
            data,
            ome=True,
            bigtiff=data.nbytes > 2**31,
            photometric="minisblack",
            compression="zlib",
            software="sim-models",
            metadata={
                "axes": axes,
                "Name": name,
                "Creator": "sim-models",
                "UUID": str(uuid.uuid5(uuid.NAMESPACE_OID, f"{name} {pixel_um} {annotation} {digest}")),
                "PhysicalSizeX": pixel_um,
                "PhysicalSizeXUnit": "µm",
                "PhysicalSizeY": pixel_um,
                "PhysicalSizeYUnit": "µm",
                "MapAnnotation": {"Namespace": NAMESPACE, "Value": annotation},
            },
        )
        partial.replace(path)
    except OSError as error:
        raise BadInput(
            f"{path}: cannot be written ({error.strerror}); choose a folder you may write to that has room"
        ) from None


def _beginning(path: Path) -> bytes:
    if path.is_dir():
        raise BadInput(f"{path}: is a folder; give one image file")
    try:
        with path.open("rb") as file:
            beginning = file.read(MRC_HEADER_BYTES)
    except FileNotFoundError:
        raise BadInput(f"{path}: does not exist; check the spelling of the path") from None
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror}); check who may read it") from None
    if not beginning:
        raise BadInput(f"{path}: is empty (0 bytes); copy or download it again")
    return beginning


@contextmanager
def _damage_told_as_bad_input(path: Path) -> Iterator[None]:
    """Decoders raise whatever they trip over in a damaged file, so every exception is meant here."""
    try:
        yield
    except BadInput:
        raise
    except Exception as error:
        raise BadInput(
            f"{path}: is damaged or uses a feature that cannot be read ({type(error).__name__}: "
            f"{' '.join(str(error).split())[:160]}); copy it again or save it as OME-TIFF"
        ) from None


def _refuse_bomb(path: Path, decoded_bytes: int) -> None:
    stored_bytes = path.stat().st_size
    if decoded_bytes > max(UNCHECKED_BYTES, HIGHEST_COMPRESSION * stored_bytes):
        raise BadInput(
            f"{path}: its header announces {decoded_bytes:,} bytes of image in a file of {stored_bytes:,}; "
            "the header is damaged or the file is a decompression bomb; copy it again from its source"
        )


def _truncated(path: Path, expected: str) -> BadInput:
    return BadInput(f"{path}: is truncated: {expected}; copy or download it again")


# TIFF


def _read_tiff(path: Path) -> ImageFile:
    with _tifffile_complaints() as complaints, tifffile.TiffFile(path) as tiff:
        if not tiff.series:
            raise BadInput(f"{path}: is a TIFF file without an image; save it again")
        series = tiff.series[0]
        _refuse_bomb(path, series.nbytes)
        _refuse_missing_strips(path, series)
        data = series.asarray()
        axes = series.axes
        _refuse_broken_structure(path, complaints, len(tiff.series))
        if len(tiff.series) > 1:
            complaints.append(f"holds {len(tiff.series)} images; only the first is read")
        kind, pixel_um = "TIFF", None
        metadata: dict[str, Any] = {}
        if tiff.is_ome and tiff.ome_metadata:
            ome = ElementTree.fromstring(tiff.ome_metadata)
            kind, pixel_um = "OME-TIFF", _ome_pixel_um(ome, complaints)
            axes, data, metadata = _with_our_annotation(ome, axes, data)
        elif tiff.is_imagej:
            kind, pixel_um = "ImageJ TIFF", _imagej_pixel_um(tiff, complaints)
    return ImageFile(_native(data), axes, pixel_um, kind, metadata, tuple(complaints))


@contextmanager
def _tifffile_complaints() -> Iterator[list[str]]:
    """What tifffile logs while reading; printed, nobody would connect it to the file."""
    complaints: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: complaints.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("tifffile")
    logger.addHandler(handler)
    try:
        yield complaints
    finally:
        logger.removeHandler(handler)


def _refuse_broken_structure(path: Path, complaints: list[str], num_images: int) -> None:
    """A cut chain of frames, or one frame that no longer fits the others, is only logged by tifffile."""
    if any(map(TIFF_DAMAGE.search, complaints)) or (complaints and num_images > 1):
        raise BadInput(
            f"{path}: is truncated or damaged ({complaints[0][:160]}); copy it again from its source"
        )


def _refuse_missing_strips(path: Path, series: tifffile.TiffPageSeries) -> None:
    """tifffile fills missing strips with zeros; zeros in place of data are worse than a refusal."""
    size = path.stat().st_size
    if series.dataoffset is not None and series.dataoffset + series.nbytes > size:
        raise _truncated(path, f"pixels should reach byte {series.dataoffset + series.nbytes:,} of {size:,}")
    for index, page in enumerate(series.pages):
        if page is None:
            raise _truncated(path, f"frame {index} of {len(series.pages)} is missing")
        ends = [start + count for start, count in zip(page.dataoffsets, page.databytecounts, strict=True)]
        if not ends or 0 in page.databytecounts or max(ends) > size:
            raise _truncated(path, f"frame {index} of {len(series.pages)} is incomplete")


def _with_our_annotation(
    ome: ElementTree.Element, axes: str, data: NDArray[Any]
) -> tuple[str, NDArray[Any], dict[str, Any]]:
    """Our metadata, and the axes of length one that OME-TIFF readers drop."""
    annotation = ome.find(f".//{{*}}MapAnnotation[@Namespace='{NAMESPACE}']")
    if annotation is None:
        return axes, data, {}
    ours = {entry.get("K"): entry.text or "" for entry in annotation.iter() if entry.get("K")}
    shape = tuple(json.loads(ours["shape"]))
    if int(np.prod(shape)) == data.size:
        axes, data = ours["axes"], data.reshape(shape)
    return axes, data, json.loads(ours["acquisition"])


def _ome_pixel_um(ome: ElementTree.Element, complaints: list[str]) -> float | None:
    pixels = ome.find(".//{*}Pixels")
    if pixels is None or "PhysicalSizeX" not in pixels.attrib:
        return None
    x_um, y_um = (
        float(pixels.get(f"PhysicalSize{axis}", pixels.attrib["PhysicalSizeX"]))
        * MICROMETRES.get(pixels.get(f"PhysicalSize{axis}Unit", "µm"), np.nan)
        for axis in "XY"
    )
    if not np.isfinite(x_um):
        complaints.append(f"pixel size is given in {pixels.get('PhysicalSizeXUnit')!r}, which is no length")
        return None
    if abs(x_um - y_um) > 0.01 * x_um:
        complaints.append(f"pixels are not square ({x_um:g} x {y_um:g} um); the width is used")
    return float(x_um)


def _imagej_pixel_um(tiff: tifffile.TiffFile, complaints: list[str]) -> float | None:
    unit = (tiff.imagej_metadata or {}).get("unit", "")
    resolution = tiff.pages.first.tags.get("XResolution")
    if resolution is None or unit not in MICROMETRES:
        return None
    pixels, units = resolution.value
    if pixels == units:
        complaints.append(f"pixel size is exactly 1 {unit}, ImageJ's value for 'not calibrated'; not used")
        return None
    return float(MICROMETRES[unit] * units / pixels)


# MRC


def _looks_like_mrc(path: Path, beginning: bytes) -> bool:
    if len(beginning) < MRC_HEADER_BYTES:
        return False
    ids = {struct.unpack_from(order, beginning, 96)[0] for order in ("<h", ">h")}
    return beginning[208:211] == b"MAP" or DELTAVISION_ID in ids or path.suffix.lower() in (".mrc", ".dv")


def _read_mrc(path: Path, stamped: bool) -> ImageFile:
    """Read MRC, and its dialect without 'MAP' stamp that DeltaVision and the BioSR dataset use.

    The stamp decides the unit of the cell lengths: angstrom in MRC2014 (Cheng et al. 2015, Table 1),
    micrometres in the dialect.
    """
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
    return ImageFile(_native(data), axes, pixel_um or None, "MRC", {}, tuple(told))


def _refuse_wrong_size(path: Path, header: Any) -> None:
    shape = int(header.nz), int(header.ny), int(header.nx)
    pixel_bytes = mrcfile.utils.dtype_from_mode(header.mode).itemsize
    expected = MRC_HEADER_BYTES + int(header.nsymbt) + shape[0] * shape[1] * shape[2] * pixel_bytes
    size = path.stat().st_size
    if min(shape) < 1 or expected != size:
        raise BadInput(
            f"{path}: its header announces {shape[0]} x {shape[1]} x {shape[2]} pixels, {expected:,} bytes, "
            f"but the file has {size:,}; it is truncated or its header is damaged; copy or download it again"
        )


# PNG


def _read_png(path: Path, beginning: bytes) -> ImageFile:
    width, height = struct.unpack_from(">II", beginning, 16)
    _refuse_bomb(path, width * height)
    stored = path.read_bytes()
    _refuse_damaged_chunks(path, stored)
    data = imagecodecs.png_decode(stored)
    return ImageFile(_native(data), "YXS"[: data.ndim], None, "PNG", {}, ())


def _refuse_damaged_chunks(path: Path, stored: bytes) -> None:
    """The decoder prints a wrong checksum and goes on, so it is compared here (PNG specification, 5.3)."""
    position, kind = 8, b""
    while kind != b"IEND":
        length, kind = struct.unpack_from(">I4s", stored, position)
        end = position + 8 + length
        if struct.unpack_from(">I", stored, end)[0] != zlib.crc32(stored[position + 4 : end]):
            raise BadInput(f"{path}: is damaged (checksum of its {kind!r} chunk); copy or download it again")
        position = end + 4


def _native(data: NDArray[Any]) -> NDArray[Any]:
    return np.ascontiguousarray(data.astype(data.dtype.newbyteorder("="), copy=False))
