"""MRC in its dialects: MRC2014, IMOD, DeltaVision, and what the BioSR dataset makes of the latter.

Facts: Cheng et al. 2015 (J. Struct. Biol. 192:146) for MRC2014, whose words are counted from 1 there; the header
description of IMOD for its stamp and flags; that of Priism (UCSF) for DeltaVision's numbers of times and wavelengths.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim_models.config import BadInput
from sim_models.images.file import ImageFile, native, pixel_or_none

HEADER_BYTES = 1024
DELTAVISION_ID = -16224
IMOD_STAMP = 1146047817
"""the four letters IMOD"""
SIGNED_BYTES = 1
"""bit of IMOD's flags"""
VOLUME_STACKS = range(401, 631)
"""space group 1 to 230 plus 400: several volumes in one file"""

MODES: Mapping[int, str] = {0: "i1", 1: "i2", 2: "f4", 4: "c8", 6: "u2", 7: "i4", 12: "f2"}
"""mode -> type of a pixel"""
STAMPED_ONLY, UNSTAMPED_ONLY = 12, 7
"""modes that MRC2014 and DeltaVision do not share"""

SEQUENCES: Mapping[int, tuple[str, str]] = {0: ("ZTW", "CTI"), 1: ("WZT", "TIC"), 2: ("ZWT", "TCI")}
"""number of DeltaVision -> its name, fastest first, and our axes, slowest first"""

HEADER = {
    "shape": ("3i4", 0), "mode": ("i4", 12), "grid": ("3i4", 28), "cell": ("3f4", 40), "order": ("3i4", 64),
    "space_group": ("i4", 88), "extended": ("i4", 92), "deltavision_id": ("i2", 96), "imod": ("i4", 152),
    "imod_flags": ("i4", 156), "times": ("i2", 180), "sequence": ("i2", 182), "waves": ("i2", 196),
    "emission_nm": ("5i2", 198), "stamp": ("S3", 208),
}  # fmt: skip
"""field -> its type and the byte it begins at"""


@dataclass(frozen=True)
class _Header:
    """The first 1024 bytes, read in one byte order."""

    order: str
    values: Any
    """structured scalar of `HEADER`"""

    @staticmethod
    def read(beginning: bytes, order: str) -> "_Header":
        kinds = {"names": list(HEADER), "formats": [order + kind for kind, _ in HEADER.values()],
                 "offsets": [at for _, at in HEADER.values()], "itemsize": HEADER_BYTES}  # fmt: skip
        return _Header(order, np.frombuffer(beginning, np.dtype(kinds), count=1)[0])  # type: ignore[call-overload]

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    @property
    def shape(self) -> tuple[int, ...]:
        """(sections, rows, columns)"""
        return tuple(int(length) for length in self["shape"][::-1])

    @property
    def stamped(self) -> bool:
        """Whether it is MRC2014, whose lengths are angstrom."""
        return bool(self["stamp"] == b"MAP")

    @property
    def deltavision(self) -> bool:
        return int(self["deltavision_id"]) == DELTAVISION_ID

    @property
    def dtype(self) -> np.dtype[Any] | None:
        """None for modes that cannot be read. Bytes have no sign in DeltaVision, nor in IMOD unless it says so."""
        mode = int(self["mode"])
        imod_unsigned = int(self["imod"]) == IMOD_STAMP and not int(self["imod_flags"]) & SIGNED_BYTES
        if mode == 0 and (imod_unsigned or (self.deltavision and not self.stamped)):
            return np.dtype("u1")
        if mode not in MODES or mode == (UNSTAMPED_ONLY if self.stamped else STAMPED_ONLY):
            return None
        return np.dtype(self.order + MODES[mode])

    @property
    def expected_bytes(self) -> int | None:
        """None if this cannot be a header in this byte order."""
        if self.dtype is None or min(self.shape) < 1 or int(self["extended"]) < 0:
            return None
        sections, rows, columns = self.shape
        return HEADER_BYTES + int(self["extended"]) + sections * rows * columns * self.dtype.itemsize


def looks_like_mrc(path: Path, beginning: bytes) -> bool:
    """Whether a file that begins with `beginning` is MRC; without stamp and number its name must say so."""
    if len(beginning) < HEADER_BYTES:
        return False
    headers = [_Header.read(beginning, order) for order in "<>"]
    return (
        headers[0].stamped
        or any(each.deltavision or int(each["imod"]) == IMOD_STAMP for each in headers)
        or path.suffix.lower() in (".mrc", ".dv")
    )


def read_mrc(path: Path, beginning: bytes) -> ImageFile:
    """Read MRC, and its dialect without 'MAP' stamp that DeltaVision and the BioSR dataset use.

    The stamp decides the unit of the cell lengths: angstrom in MRC2014, micrometres in the dialect. Several times and
    wavelengths of DeltaVision become axes, always as (T, C, I, Y, X), whatever their order in the file.

    Raises:
        BadInput: if the file is not as large as its header says, or holds values of a kind that cannot be read.
    """
    header = _header(path, beginning)
    told = ["rows are kept bottom-up as MRC stores them: directions are mirrored in y against a TIFF copy"]
    if not header.stamped:
        told.append("no 'MAP' stamp: read as the DeltaVision dialect, lengths in micrometres")
    if extended := int(header["extended"]):
        told.append(f"its extended header of {extended} bytes is passed over")
    if sorted(header["order"].tolist()) == [1, 2, 3] and header["order"].tolist() != [1, 2, 3]:
        told.append(f"says its axes are {header['order'].tolist()} of x, y, z; they are kept as stored")
    flat = np.fromfile(path, header.dtype, offset=HEADER_BYTES + extended)
    data, axes = _with_axes(path, flat.reshape(header.shape), header)
    pixel_um = pixel_or_none(_width(header) * (1e-4 if header.stamped else 1.0), told)
    return ImageFile(native(data), axes, pixel_um, "MRC", {}, tuple(told), (path,), _says(header))


def _header(path: Path, beginning: bytes) -> _Header:
    """In the byte order in which it fits the file."""
    headers = [_Header.read(beginning, order) for order in "<>"]
    size = path.stat().st_size
    for header in headers:
        if header.expected_bytes == size:
            return header
    possible = [header for header in headers if header.expected_bytes is not None]
    if not possible:
        raise BadInput(
            f"{path}: its header announces {' x '.join(map(str, headers[0].shape))} pixels of mode "
            f"{int(headers[0]['mode'])}, which no file of modes {', '.join(map(str, MODES))} can have; it is damaged "
            "or of a kind that cannot be read; copy it again or save it as OME-TIFF"
        )
    header = min(possible, key=lambda each: each.expected_bytes or 0)
    raise BadInput(
        f"{path}: its header announces {' x '.join(map(str, header.shape))} pixels, {header.expected_bytes:,} bytes, "
        f"but the file has {size:,}; it is truncated or its header is damaged; copy or download it again"
    )


def _with_axes(path: Path, data: NDArray[Any], header: _Header) -> tuple[NDArray[Any], str]:
    """Sections (I, Y, X) with an axis each for what else they differ in; axes of length one are left out."""
    if header.deltavision and not header.stamped:
        return _times_and_waves(path, data, header)
    volume = int(header["grid"][2])
    if header.stamped and int(header["space_group"]) in VOLUME_STACKS and volume > 0:
        if len(data) % volume:
            raise BadInput(
                f"{path}: its header announces volumes of {volume} sections, but {len(data)} in all; the header is "
                "damaged; copy it again"
            )
        return data.reshape(-1, volume, *data.shape[1:]), "IZYX"
    return _without_single(data, "IYX")


def _times_and_waves(path: Path, data: NDArray[Any], header: _Header) -> tuple[NDArray[Any], str]:
    times, waves = (max(1, int(header[name])) for name in ("times", "waves"))
    if times * waves == 1:
        return _without_single(data, "IYX")
    if len(data) % (times * waves) or int(header["sequence"]) not in SEQUENCES:
        raise BadInput(
            f"{path}: its header announces {times} times and {waves} wavelengths in sequence "
            f"{int(header['sequence'])}, which {len(data)} sections cannot have; the header is damaged; copy it again"
        )
    stored = SEQUENCES[int(header["sequence"])][1]
    lengths = {"T": times, "C": waves, "I": len(data) // (times * waves)}
    split = data.reshape(*(lengths[axis] for axis in stored), *data.shape[1:])
    return _without_single(split.transpose(*(stored.index(axis) for axis in "TCI"), 3, 4), "TCIYX")


def _without_single(data: NDArray[Any], axes: str) -> tuple[NDArray[Any], str]:
    """The same without axes of length one before rows and columns."""
    kept = [i for i, axis in enumerate(axes) if axis in "YX" or data.shape[i] > 1]
    return data.reshape([data.shape[i] for i in kept]), "".join(axes[i] for i in kept)


def _width(header: _Header) -> float:
    """Edge of a pixel along x, in the unit of the cell; the shortest number meant by a float32, as 0.0626."""
    grid = int(header["grid"][0])
    if grid < 1:
        return 0.0
    with np.errstate(all="ignore"):  # what a damaged header holds is judged by who asks
        return float(str(np.float32(header["cell"][0]) / np.float32(grid)))


def _says(header: _Header) -> dict[str, Any]:
    said: dict[str, Any] = {
        "byte_order": {"<": "little-endian", ">": "big-endian"}[header.order],
        "extended_header_bytes": int(header["extended"]),
        "rows": "bottom-up",
    }
    if header.deltavision and not header.stamped:
        waves = [int(wave) / 1000 for wave in header["emission_nm"][: max(1, int(header["waves"]))]]
        said["emission_um"] = tuple(wave for wave in waves if wave > 0)
        said["sequence"] = SEQUENCES.get(int(header["sequence"]), ("unknown", ""))[0]
    return said
