"""OME-Zarr, versions 0.4 (Zarr 2) and 0.5 (Zarr 3): a folder that is one image, at full resolution.

Facts: the OME-Zarr specifications 0.4 and 0.5, sections on multiscales and on the layout of bioformats2raw.
"""

import json
import math
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from sim_models.config import BadInput
from sim_models.images.damage import HIGHEST_COMPRESSION, UNCHECKED_BYTES, told_as_bad_input
from sim_models.images.file import ImageFile, native, pixel_or_none
from sim_models.images.ome import MICROMETRES

MARKS = ("zarr.json", ".zgroup", ".zattrs", ".zarray")
"""one of these lies in every Zarr folder"""

MOST_META_BYTES = 2**20
"""of a file of metadata; real ones have a few thousand"""

OTHER_AXIS = "I"


def looks_like_zarr(folder: Path) -> bool:
    """Whether a folder is Zarr, and not one of frames."""
    return any((folder / mark).is_file() for mark in MARKS)


def read_zarr(folder: Path, at: int | None = None) -> ImageFile:
    """Read the first and largest image of an OME-Zarr; with `at` only that index of its first axis.

    Only the chunks that are needed are read, and all of those must be there: Zarr would fill in a value.

    Raises:
        BadInput: if it is no OME-Zarr image, is damaged, lacks chunks, uses a codec that is not installed, or
            announces far more data than it can hold.
    """
    with told_as_bad_input(folder):
        told: list[str] = []
        home, image = _image(folder, told)
        scale = _dict_of(image, "multiscales", folder)
        level = _dict_of(scale, "datasets", folder)
        where = home / _safe_name(level.get("path"), folder)
        if not looks_like_zarr(where):
            raise BadInput(f"{folder}: names the image '{where.name}', which is not there; copy it again")
        _meta(where, ".zarray" if (where / ".zarray").is_file() else "zarr.json", folder)
        array = _open(where)
        axes = _axes(scale, array.ndim, folder)
        _refuse_absurd(folder, where, array)
        _refuse_missing_chunks(folder, where, array, at)
        data = np.asarray(array[...] if at is None else array[at])
        pixel_um = _pixel_um(scale, level, told)
    said = {"byte_order": "little-endian", "zarr_format": array.metadata.zarr_format}
    axes = axes if at is None else axes[1:]
    return ImageFile(native(data), axes, pixel_um, "OME-Zarr", {}, tuple(told), (folder,), said)


def _open(where: Path) -> Any:
    import zarr  # takes longer to import than most images take to read
    import zarr.storage

    return zarr.open_array(zarr.storage.LocalStore(where, read_only=True), mode="r")


def _image(folder: Path, told: list[str]) -> tuple[Path, Mapping[str, Any]]:
    """The group that holds the image, and its OME metadata."""
    said = _attributes(folder, folder)
    if "plate" in said or "well" in said:
        raise BadInput(f"{folder}: is a plate of many images; give the folder of one of them")
    if "multiscales" in said:
        return folder, said
    if "bioformats2raw.layout" in said or looks_like_zarr(folder / "0"):
        if looks_like_zarr(folder / "1"):
            told.append("holds several images; only the first is read")
        if "multiscales" in (inner := _attributes(folder / "0", folder)):
            return folder / "0", inner
    raise BadInput(
        f"{folder}: is Zarr without the metadata 'multiscales' of OME-Zarr; save it as OME-Zarr 0.4 or 0.5"
    )


def _attributes(group: Path, folder: Path) -> Mapping[str, Any]:
    """What OME-Zarr says of a group: 0.5 in zarr.json under 'ome', 0.4 in .zattrs."""
    if (group / "zarr.json").is_file():
        said = _meta(group, "zarr.json", folder).get("attributes", {})
        said = said.get("ome", said) if isinstance(said, dict) else {}
    else:
        said = _meta(group, ".zattrs", folder) if (group / ".zattrs").is_file() else {}
    return said if isinstance(said, dict) else {}


def _meta(group: Path, name: str, folder: Path) -> dict[str, Any]:
    path = group / name
    if path.stat().st_size > MOST_META_BYTES:
        raise BadInput(
            f"{folder}: its {name} has {path.stat().st_size:,} bytes and is no metadata; copy it again"
        )
    try:
        said = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict):
        raise BadInput(
            f"{folder}: its {path.relative_to(folder)} is no JSON object; it is damaged, copy it again"
        )
    return said


def _dict_of(said: Mapping[str, Any], key: str, folder: Path) -> dict[str, Any]:
    """The first entry of a list of dictionaries."""
    entries = said.get(key)
    if not isinstance(entries, list) or not entries or not isinstance(entries[0], dict):
        raise BadInput(f"{folder}: its OME-Zarr metadata have no list '{key}' with an entry; save it again")
    return entries[0]


def _safe_name(name: object, folder: Path) -> str:
    """A path that stays inside the folder."""
    parts = PurePosixPath(name).parts if isinstance(name, str) else ()
    if not parts or ".." in parts or PurePosixPath(*parts).is_absolute():
        raise BadInput(
            f"{folder}: its OME-Zarr metadata name an image {str(name)[:40]!r}, which is no path inside it"
        )
    return str(PurePosixPath(*parts))


def _axes(scale: Mapping[str, Any], ndim: int, folder: Path) -> str:
    named = scale.get("axes")
    names = (
        [axis.get("name") if isinstance(axis, dict) else axis for axis in named]
        if isinstance(named, list)
        else []
    )
    letters = [str(name).upper() for name in names]
    axes = "".join(letter if letter in tuple("TCZYXAP") else OTHER_AXIS for letter in letters)
    if len(axes) != ndim or not axes.endswith("YX") or any(axes.count(axis) > 1 for axis in "TCZYXAP"):
        raise BadInput(
            f"{folder}: its axes are {str(names)[:80]} but its image has {ndim} dimensions; expected a name for each, "
            "y and x last; save it again"
        )
    return axes


def _refuse_absurd(folder: Path, where: Path, array: Any) -> None:
    """Refuse, before anything is decoded, shapes and chunks far larger than what is stored."""
    if array.dtype.kind not in "biufc" or 0 in array.shape:
        raise BadInput(f"{folder}: holds {array.shape} values of type {array.dtype}, which are no image")
    stored = sum(path.stat().st_size for path in where.rglob("*") if path.is_file())
    limit = max(UNCHECKED_BYTES, HIGHEST_COMPRESSION * stored)
    for what, shape in (("image", array.shape), ("each chunk", array.chunks)):
        if (announced := math.prod(shape) * array.dtype.itemsize) > limit:
            raise BadInput(
                f"{folder}: its metadata announce {announced:,} bytes for {what}, but {stored:,} are stored; chunks "
                "are missing or the metadata are damaged; copy it again"
            )


def _refuse_missing_chunks(folder: Path, where: Path, array: Any, at: int | None) -> None:
    files = array.shards or array.chunks
    counts = [math.ceil(length / size) for length, size in zip(array.shape, files, strict=True)]
    needed: list[Sequence[int]] = [range(count) for count in counts]
    if at is not None:
        if not 0 <= at < array.shape[0]:
            raise BadInput(
                f"{folder}: has {array.shape[0]} entries along its first axis, so none number {at}"
            )
        needed[0] = [at // files[0]]
    keys = map(array.metadata.encode_chunk_key, product(*needed))
    missing = next((key for key in keys if not (where / key).is_file()), None)
    if missing is not None:
        raise BadInput(
            f"{folder}: its chunk {where.name}/{missing} is not there, and Zarr would fill in {array.fill_value}; copy "
            "it again, or write it with chunks that are empty too"
        )


def _pixel_um(scale: Mapping[str, Any], level: Mapping[str, Any], told: list[str]) -> float | None:
    """Edge along x: the scales of the level and of all levels multiply; no unit means micrometres to nobody."""
    axis = scale["axes"][-1]
    unit = axis.get("unit") if isinstance(axis, dict) else None
    if unit not in MICROMETRES:
        if unit is not None:
            told.append(f"pixel size is given in {str(unit)[:40]!r}, which is no length; not used")
        return None
    factors = [
        float(step["scale"][-1])
        for each in (level, scale)
        for step in each.get("coordinateTransformations", [])
        if step.get("type") == "scale"
    ]
    return pixel_or_none(float(f"{MICROMETRES[unit] * math.prod(factors):.9g}"), told) if factors else None
