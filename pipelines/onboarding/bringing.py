"""Cells of a folder of others as prepared fields, whole or not at all.

Without references the classical SIM of the brightest level takes their place. Then that level is not learned from: its
noise would be the same in what goes in and in what should come out.

What is wrong with one cell leaves that cell out; what is wrong with how all of them are read, as a frame layout or
missing optics, refuses the folder. Cells that were brought in before, from the same files in the same way by the same
code, are taken over.
"""

import hashlib
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
from pydantic import ValidationError

import sim_models
from pipelines.onboarding.cells import Cell, Survey
from pipelines.onboarding.reading import Reading, Unusable, fields_of, light_of
from pipelines.shared.brought import BROUGHT, Brought
from pipelines.shared.side_by_side import in_order
from pipelines.shared.stage import digest, whole_folder
from sim_models.config import BadInput, Settings
from sim_models.sources import ome_fields
from sim_models.sources.listing import MOST_NAMED
from sim_models.sources.prepared import Prepared
from sim_models.sources.split import FEWEST_CELLS, Split

_HOME, _ROOMS = Path(sim_models.__file__).parent, Path(__file__).parents[1]
CODE = (
    *(_HOME / room for room in ("evaluation", "images", "optics", "sources")),
    _HOME / "field.py",
    _ROOMS / "onboarding",
    _ROOMS / "own_files" / "stacks.py",
)
"""what can change what a file is made to"""
SOURCE = "source.json"
"""beside the levels of a cell: what it was brought in from"""


class _Source(Settings):
    """What a cell was brought in from, and what was said of it."""

    key: str
    """digest of its files, and of how they were read"""
    made: str
    """digest of what was written, so that nothing that was damaged since is taken over"""
    doubts: tuple[str, ...]


def bring_in(
    files: Survey,
    structure: str,
    reading: Reading,
    deal: Callable[[Sequence[str]], Split],
    into: Path,
    told: Callable[[int, int], None],
    licence: str | None = None,
) -> Brought:
    """Write prepared fields of all cells of a folder.

    Args:
        files: the cells.
        structure: what they are called from here on.
        reading: how their files are read.
        deal: which cells are for what, given those that can be used.
        into: the folder to write; cells in it that are as they would be written are kept.
        told: hears of every cell, as (done, all).
        licence: of the data, where it is known.

    Raises:
        BadInput: if files do not go together, or fewer cells are left than a split needs.
    """
    brightest = None if files.with_references else _brightest(files, reading)
    left_out: dict[str, str] = {}
    notes: list[str] = []
    sources: dict[str, _Source] = {}
    if brightest:
        notes.append(
            f"{files.layout.folder}: has no references, so the classical SIM of its brightest level ({brightest}) is "
            f"the reference of the others; '{brightest}' itself is not learned from"
        )
    how = digest(repr(reading), repr(brightest), structure, *_texts(CODE))
    with whole_folder(into) as folder:
        work = partial(_one, structure, reading, brightest, how, into, folder)
        with closing(in_order(work, files.cells)) as results:
            for number, (cell, source) in enumerate(zip(files.cells, results, strict=True)):
                if isinstance(source, str):
                    left_out[cell.name] = source
                else:
                    sources[cell.name] = source
                    notes += source.doubts
                told(number + 1, len(files.cells))
        _refuse_few(files.layout.folder, list(sources), left_out)
        Prepared.seal(folder, structure, deal(list(sources)))
        brought = Brought(left_out=left_out, notes=tuple(notes), licence=licence)
        (folder / BROUGHT).write_text(brought.model_dump_json(indent=2) + "\n")
    return brought


def _one(
    structure: str, reading: Reading, brightest: str | None, how: str, into: Path, folder: Path, cell: Cell
) -> _Source | str:
    """A cell in `folder`, as it is in `into` already or else made now; or why it cannot be used."""
    key = _key(cell, how)
    try:
        return _taken_over(into / cell.name, folder / cell.name, key) or _brought(
            cell, structure, reading, brightest, folder, key
        )
    except Unusable as reason:
        return str(reason)


def _brought(
    cell: Cell, structure: str, reading: Reading, brightest: str | None, folder: Path, key: str
) -> _Source:
    fields, doubts = fields_of(cell, structure, reading, brightest)
    for field in fields:
        ome_fields.write(folder, field)
    source = _Source(key=key, made=_written(folder / cell.name), doubts=doubts)
    (folder / cell.name / SOURCE).write_text(source.model_dump_json(indent=2) + "\n")
    return source


def _texts(code: Sequence[Path]) -> list[str | Path]:
    """Folders as they are, and what stands in single files."""
    return [each if each.is_dir() else each.read_text() for each in code]


def _written(home: Path) -> str:
    """Digest of the images of a cell that was brought in."""
    total = hashlib.sha256()
    for file in sorted(file for file in home.rglob("*") if file.is_file() and file.name != SOURCE):
        total.update(str(file.relative_to(home)).encode())
        total.update(hashlib.sha256(file.read_bytes()).digest())
    return total.hexdigest()[:16]


def _key(cell: Cell, how: str) -> str:
    """Digest of the files of a cell, and of how they are read."""
    total = hashlib.sha256(how.encode())
    for listed in (*cell.raw.values(), *cell.references.values()):
        total.update(repr((listed.level, listed.role, listed.plane)).encode())
        for path in (*listed.paths, *([listed.mean] if listed.mean else [])):
            below = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
            for file in below:
                total.update(file.name.encode())
                total.update(hashlib.sha256(file.read_bytes()).digest() if file.exists() else b"")
    return total.hexdigest()[:16]


def _taken_over(earlier: Path, target: Path, key: str) -> _Source | None:
    """A cell as it was brought in before, if from the same; its files get a second name rather than a copy."""
    try:
        source = _Source.model_validate_json((earlier / SOURCE).read_bytes())
    except (OSError, ValidationError):
        return None
    if source.key != key or source.made != _written(earlier):
        return None
    for file in sorted(file for file in earlier.rglob("*") if file.is_file()):
        twin = target / file.relative_to(earlier)
        twin.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(file, twin)
        except OSError:
            shutil.copy2(file, twin)  # no hard links here
    return source


def _brightest(files: Survey, reading: Reading) -> str:
    """The level with the most light, over all cells that can be read."""

    def light(level: str) -> float:
        means = [light_of(cell.raw[level], reading) for cell in files.cells]
        known = [mean for mean in means if mean is not None]
        return float(np.mean(known)) if known else 0.0

    return max(files.levels, key=light)


def _refuse_few(folder: Path, used: Sequence[str], left_out: Mapping[str, str]) -> None:
    if len(used) >= FEWEST_CELLS:
        return
    reasons = "; ".join(f"{cell}: {reason}" for cell, reason in list(left_out.items())[:MOST_NAMED])
    raise BadInput(
        f"{folder}: {len(used)} of {len(used) + len(left_out)} cells can be used, but train, val and test need at "
        f"least one each; add cells{f' or mend these: {reasons}' if reasons else ''}"
    )
