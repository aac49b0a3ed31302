"""What an OME-TIFF says about its image, in both directions."""

import hashlib
import json
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import tifffile
from numpy.typing import NDArray

from sim_models.config import BadInput
from sim_models.images.file import pixel_or_none

NAMESPACE = "sim-models/acquisition"
"""marks our own annotation inside an OME-TIFF"""

SOFTWARE = "sim-models"
"""what our own files are marked with"""

MICROMETRES = {
    "m": 1e6, "cm": 1e4, "mm": 1e3, "nm": 1e-3, "Å": 1e-4, "angstrom": 1e-4,
    "µm": 1.0, "μm": 1.0, "um": 1.0, "\\u00B5m": 1.0,
    "micron": 1.0, "microns": 1.0, "micrometer": 1.0, "micrometre": 1.0,
    "meter": 1e6, "centimeter": 1e4, "millimeter": 1e3, "nanometer": 1e-3,
}  # fmt: skip
"""micrometres per unit, as OME, OME-Zarr (UDUNITS-2) and ImageJ spell units"""


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
            software=SOFTWARE,
            metadata={
                "axes": axes,
                "Name": name,
                "Creator": SOFTWARE,
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


def with_our_annotation(
    ome: ElementTree.Element, axes: str, data: NDArray[Any]
) -> tuple[str, NDArray[Any], dict[str, Any]]:
    """Axes, data and metadata as `write_ome` was given them; OME-TIFF readers drop axes of length one."""
    annotation = ome.find(f".//{{*}}MapAnnotation[@Namespace='{NAMESPACE}']")
    if annotation is None:
        return axes, data, {}
    ours = {entry.get("K"): entry.text or "" for entry in annotation.iter() if entry.get("K")}
    shape = tuple(json.loads(ours["shape"]))
    if int(np.prod(shape)) == data.size:
        axes, data = ours["axes"], data.reshape(shape)
    return axes, data, json.loads(ours["acquisition"])


def pixel_um_of(ome: ElementTree.Element, complaints: list[str]) -> float | None:
    """Edge of a pixel; None where it is not stated. What is odd about it is added to `complaints`."""
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
    return pixel_or_none(float(x_um), complaints)
