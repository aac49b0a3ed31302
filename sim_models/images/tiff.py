"""TIFF in its dialects: plain, ImageJ hyperstack, OME-TIFF."""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import tifffile

from sim_models.config import BadInput
from sim_models.images.damage import refuse_bomb, truncated
from sim_models.images.file import ImageFile, native, pixel_or_none
from sim_models.images.ome import MICROMETRES, SOFTWARE, pixel_um_of, with_our_annotation

DAMAGE = re.compile(
    r"invalid page offset|circular reference|corrupted|failed to reshape|TiffTag 270 .*(invalid|<\?xml|<OME|ImageJ=)"
    r"|TiffTag (0|25[6-9]|262|27[3789]|284|317|32[2-5]|339) .*(invalid|raised)"
)
"""what in tifffile's log means missing frames, a missing description (tag 270), or a tag of sizes, types and places"""

UNCOMPRESSED = 1


def read_tiff(path: Path) -> ImageFile:
    """Read the first image of a TIFF file, with what its dialect says about axes and pixel size.

    Raises:
        BadInput: if it holds no image, or frames or parts of them are missing.
    """
    with _tifffile_complaints() as complaints, tifffile.TiffFile(path) as tiff:
        if not tiff.series:
            raise BadInput(f"{path}: is a TIFF file without an image; save it again")
        series = tiff.series[0]
        paths = _files_of(path, series)
        refuse_bomb(path, series.nbytes // len(paths))
        _refuse_missing_strips(path, series)
        _refuse_contradictions(path, tiff, series)
        data = series.asarray()
        axes = series.axes
        _refuse_broken_structure(path, complaints, len(tiff.series))
        complaints += _lost_frames(tiff, series, len(paths))
        if len(tiff.series) > 1:
            complaints.append(f"holds {len(tiff.series)} images; only the first is read")
        kind, pixel_um = "TIFF", None
        metadata: dict[str, Any] = {}
        if tiff.is_ome and tiff.ome_metadata:
            ome = ElementTree.fromstring(tiff.ome_metadata)
            kind, pixel_um = "OME-TIFF", pixel_um_of(ome, complaints)
            axes, data, metadata = with_our_annotation(ome, axes, data)
        elif tiff.is_imagej:
            kind, pixel_um = "ImageJ TIFF", _imagej_pixel_um(tiff, complaints)
        header = _says(tiff)
    axes = axes.replace("Q", "I")  # what tifffile calls an axis that the file does not name
    return ImageFile(native(data), axes, pixel_um, kind, metadata, tuple(complaints), paths, header)


def _files_of(path: Path, series: tifffile.TiffPageSeries) -> tuple[Path, ...]:
    """The files an image lies in: an OME-TIFF may name others beside it."""
    names = dict.fromkeys(page.parent.filehandle.name for page in series.pages if page is not None)
    return tuple(path.with_name(name) for name in names) or (path,)


def _says(tiff: tifffile.TiffFile) -> dict[str, Any]:
    said: dict[str, Any] = {"byte_order": {"<": "little-endian", ">": "big-endian"}[tiff.byteorder]}
    interval = (tiff.imagej_metadata or {}).get("finterval") if tiff.is_imagej else None
    if isinstance(interval, int | float) and interval > 0:
        said["frame_interval_s"] = float(interval)
    return said


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
    if any(map(DAMAGE.search, complaints)) or (complaints and num_images > 1):
        raise BadInput(
            f"{path}: is truncated or damaged ({complaints[0][:160]}); copy it again from its source"
        )


def _refuse_missing_strips(path: Path, series: tifffile.TiffPageSeries) -> None:
    """tifffile fills missing strips with zeros; zeros in place of data are worse than a refusal."""
    size = path.stat().st_size
    if series.dataoffset is not None and series.dataoffset + series.nbytes > size:
        raise truncated(path, f"pixels should reach byte {series.dataoffset + series.nbytes:,} of {size:,}")
    for index, page in enumerate(series.pages):
        if page is None:
            raise BadInput(
                f"{path}: frame {index} of {len(series.pages)} is missing: the file is truncated, or it is one of "
                "several and another is not beside it; copy all of them again"
            )
        size = page.parent.filehandle.size
        ends = [start + count for start, count in zip(page.dataoffsets, page.databytecounts, strict=True)]
        if not ends or 0 in page.databytecounts or max(ends) > size:
            raise truncated(path, f"frame {index} of {len(series.pages)} is incomplete")


def _refuse_contradictions(path: Path, tiff: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> None:
    """What no tag says wrongly by itself, but several together do: damage that would read as another image."""
    if 0 in series.shape or not series.axes.endswith(("YX", "YXS")):
        raise BadInput(
            f"{path}: its header announces an image of {series.shape} ({series.axes}); it is damaged, copy it again"
        )
    if len(tiff.series) > 1 and not tiff.is_ome:
        shapes = ", ".join(str(each.shape) for each in tiff.series[:3])
        raise BadInput(
            f"{path}: holds {len(tiff.series)} images of different size or type ({shapes}); a stack has frames of one "
            "kind; copy it again if it is damaged, or save the one that is meant on its own"
        )
    tags = tiff.pages.first.tags
    description, software = (
        str(tags[name].value) if name in tags else "" for name in ("ImageDescription", "Software")
    )
    if not tiff.is_ome and ("<OME" in description[:2000] or software == SOFTWARE):
        raise BadInput(f"{path}: its OME description is cut or damaged; copy it again")
    for index, page in enumerate(series.pages):
        if page is not None:
            _refuse_wrong_counts(path, index, page.keyframe, sum(page.databytecounts), len(series.pages))


def _refuse_wrong_counts(path: Path, index: int, page: Any, stored: int, frames: int) -> None:
    """Bytes of an uncompressed frame follow from its size; a last strip may be as long as the others."""
    if page.compression != UNCOMPRESSED or page.is_tiled:
        return
    row = -(-page.imagewidth * page.samplesperpixel * page.bitspersample // 8)
    wanted, padded = (
        row * page.imagelength,
        row * page.rowsperstrip * -(-page.imagelength // page.rowsperstrip),
    )
    if not wanted <= stored <= max(wanted, padded) and stored != wanted * frames:
        raise BadInput(
            f"{path}: frame {index} of {page.imagelength} x {page.imagewidth} pixels of {page.bitspersample} bits "
            f"needs {wanted:,} bytes, but its header announces {stored:,}; the header is damaged, copy it again"
        )


def _lost_frames(tiff: tifffile.TiffFile, series: tifffile.TiffPageSeries, files: int) -> list[str]:
    """Frames whose directory was cut out of the chain leave their bytes behind, as programs do with data of theirs."""
    frames = [sum(page.databytecounts) for page in series.pages if page is not None]
    used = max(sum(frames), series.nbytes if series.dataoffset is not None else 0)
    directory = sum(20 + tag.valuebytecount for tag in series.keyframe.tags)  # 20 bytes an entry in a BigTIFF
    unused = tiff.filehandle.size - used - directory * len(frames)
    if files > 1 or tiff.is_ome or unused <= max(4096, sum(frames) / len(frames)):
        return []
    return [f"{unused:,} of its bytes belong to none of its {len(frames)} frames; frames may have been lost"]


def _imagej_pixel_um(tiff: tifffile.TiffFile, complaints: list[str]) -> float | None:
    unit = (tiff.imagej_metadata or {}).get("unit", "")
    resolution = tiff.pages.first.tags.get("XResolution")
    if resolution is None or unit not in MICROMETRES:
        return None
    pixels, units = resolution.value
    if not pixels or not units:
        return None
    if pixels == units:
        complaints.append(f"pixel size is exactly 1 {unit}, ImageJ's value for 'not calibrated'; not used")
        return None
    return pixel_or_none(float(MICROMETRES[unit] * units / pixels), complaints)
