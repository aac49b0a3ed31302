"""Files as others write them, for toys and tests: what readers must understand, byte for byte."""

import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import tifffile
from numpy.typing import NDArray

from sim_models.images.mrc import DELTAVISION_ID, HEADER_BYTES, IMOD_STAMP

MODE_OF = {"i1": 0, "u1": 0, "i2": 1, "f4": 2, "c8": 4, "u2": 6}


def write_mrc(
    path: Path,
    sections: NDArray[Any],
    pixel_um: float,
    byte_order: Literal["<", ">"] = "<",
    extended_bytes: int = 0,
    deltavision: Mapping[str, Any] | None = None,
    imod: bool = False,
    emission_nm: Sequence[int] = (525,),
) -> None:
    """Sections (I, Y, X) as the BioSR dataset has them: no 'MAP' stamp, one-pixel cell with lengths in micrometres.

    Args:
        path: file to write.
        sections: of a type in `MODE_OF`, bottom row first.
        pixel_um: edge of a pixel.
        byte_order: of header and pixels.
        extended_bytes: length of the extended header.
        deltavision: `times` and `sequence` (0 ZTW, 1 WZT, 2 ZWT) where there is more than one.
        imod: with IMOD's stamp, and without that of DeltaVision; lengths stay in micrometres.
        emission_nm: one per wavelength.
    """
    header = bytearray(HEADER_BYTES)

    def put(at: int, kind: str, *values: float) -> None:
        struct.pack_into(byte_order + kind, header, at, *values)

    num, rows, columns = sections.shape
    put(0, "4i", columns, rows, num, MODE_OF[sections.dtype.str[1:]])
    put(28, "3i", 1, 1, 1)
    put(40, "6f", pixel_um, pixel_um, 0.16, 90, 90, 90)
    put(64, "3i", 1, 2, 3)
    put(92, "i", extended_bytes)
    if imod:
        put(152, "2i", IMOD_STAMP, 0)
    else:
        told = deltavision or {}
        put(96, "h", DELTAVISION_ID)
        put(180, "2h", told.get("times", 1), told.get("sequence", 0))
        put(196, f"{1 + len(emission_nm)}h", len(emission_nm), *emission_nm)
    pixels = sections.astype(sections.dtype.newbyteorder(byte_order)).tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(header) + bytes(extended_bytes) + pixels)


def write_tiff(path: Path, data: NDArray[Any], **how: Any) -> None:
    """A TIFF as cameras and scripts write it; `how` goes to tifffile."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, data, photometric="minisblack", **how)


def write_imagej(path: Path, data: NDArray[Any], axes: str, pixel_um: float) -> None:
    """An ImageJ hyperstack; `axes` in the order TZCYX."""
    calibration = {"axes": axes, "unit": "um", "finterval": 0.5}
    write_tiff(
        path, data, imagej=True, byteorder=">", resolution=(1 / pixel_um, 1 / pixel_um), metadata=calibration
    )


def write_zarr(
    folder: Path, data: NDArray[Any], axes: str, pixel_um: float, version: Literal["0.4", "0.5"]
) -> None:
    """An OME-Zarr with one resolution and one chunk per frame."""
    import zarr  # takes long to import

    said: dict[str, Any] = {
        "axes": [_axis(letter) for letter in axes.lower()],
        "datasets": [{
            "path": "0",
            "coordinateTransformations": [
                {"type": "scale", "scale": [pixel_um if letter in "YX" else 1.0 for letter in axes]}
            ],
        }],
    }  # fmt: skip
    folder.mkdir(parents=True)
    if version == "0.4":
        (folder / ".zgroup").write_text(json.dumps({"zarr_format": 2}))
        (folder / ".zattrs").write_text(json.dumps({"multiscales": [{"version": version, **said}]}))
    else:
        ome = {"version": version, "multiscales": [said]}
        group = {"zarr_format": 3, "node_type": "group", "attributes": {"ome": ome}}
        (folder / "zarr.json").write_text(json.dumps(group))
    array = zarr.create_array(
        folder / "0",
        shape=data.shape,
        chunks=(*(1 for _ in data.shape[:-2]), *data.shape[-2:]),
        dtype=data.dtype,
        zarr_format=2 if version == "0.4" else 3,
        config={"write_empty_chunks": True},
    )
    array[...] = data


def _axis(letter: str) -> dict[str, str]:
    if letter in "zyx":
        return {"name": letter, "type": "space", "unit": "micrometer"}
    return {"name": letter, "type": "time" if letter == "t" else "channel" if letter == "c" else "other"}
