"""Where `sim-models reconstruct` writes, so that nothing of anyone else's is lost: image, record and sheet."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

from sim_models.config import BadInput
from sim_models.images import stem

SUFFIX = "_sim.ome.tif"
"""what is put behind the name of a raw stack where a folder is to be written into"""

MADE_BY = "sim-models"
"""how the maker's name begins in a record"""

NO_FOLDER = (".png", ".jpg", ".jpeg", ".mrc", ".dv", ".json")
"""endings by which a person means a file"""


def outputs(files: Sequence[Path], out: Path, records: Sequence[Path], sheet: bool) -> list[Path]:
    """Where the image of each file goes: `out` itself, or a folder of that name for several.

    Args:
        files: raw stacks.
        out: as a person gave it.
        records: of other reconstructions, which are read.
        sheet: whether a sheet will be written beside each image.

    Raises:
        BadInput: if nothing can be written there, or something would be lost: an input, or a file that no earlier
            reconstruction has written.
    """
    if out.name.lower().endswith((".tif", ".tiff")):
        if len(files) > 1:
            raise BadInput(f"{out}: is one image, but {len(files)} stacks are given; name a folder")
        targets = [out]
    elif out.suffix.lower() in NO_FOLDER and not out.is_dir():
        raise BadInput(
            f"{out}: the output is an OME-TIFF; give it a name that ends in .tif, or name a folder"
        )
    else:
        targets = [out / f"{stem(file)}{SUFFIX}" for file in files]
    doubled = {target for target in targets if targets.count(target) > 1}
    if doubled:
        raise BadInput(
            f"{min(doubled)}: would be written by several stacks of the same name; do them one by one"
        )
    raw = {file.resolve() for file in files}
    for target in targets:
        if target.resolve() in raw:
            raise BadInput(f"{target}: is a raw stack itself; choose another name for the output")
        if target.parent.resolve() in raw:
            raise BadInput(
                f"{target}: lies among the raw frames and would pass for one; choose another folder"
            )
    _refuse_place(targets[0].parent)
    for target in targets:
        _refuse_loss(target, records, sheet)
    return targets


def _refuse_place(folder: Path) -> None:
    standing = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not standing.is_dir() or not os.access(standing, os.W_OK):
        raise BadInput(f"{standing}: is no folder you may write to; choose another place for the output")


def _refuse_loss(target: Path, records: Sequence[Path], sheet: bool) -> None:
    """Only what an earlier reconstruction wrote may be replaced."""
    record = beside(target, ".json")
    if record.resolve() in [given.resolve() for given in records]:
        raise BadInput(
            f"{record}: its stripes are asked for, and it would be replaced; choose another name for the output"
        )
    written = [target, record, *([beside(target, ".png")] if sheet else [])]
    standing = [path for path in written if path.exists()]
    if standing and not is_record(record):
        raise BadInput(
            f"{standing[0]}: exists, and no earlier reconstruction has written it; choose another name for the output"
        )


def is_record(path: Path) -> bool:
    """Whether a file calls itself the record of a reconstruction."""
    try:
        values = json.loads(path.read_text())
    except (OSError, ValueError):
        return False
    return isinstance(values, dict) and str(values.get("made_by")).startswith(MADE_BY)


def beside(out: Path, suffix: str) -> Path:
    """The file of the same name with another ending: the record (.json) or the sheet (.png) of an image."""
    return out.with_name(f"{stem(out)}{suffix}")
