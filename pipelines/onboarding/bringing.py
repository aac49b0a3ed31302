"""Cells of a folder of others as prepared fields, whole or not at all.

Without references the classical SIM of the brightest level takes their place. Then that level is not learned from: its
noise would be the same in what goes in and in what should come out.

What is wrong with one cell leaves that cell out; what is wrong with how all of them are read, as a frame layout or
missing optics, refuses the folder. Cells that were brought in before, from the same files in the same way by the same
code, are taken over.
"""

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np

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

CODE = tuple(
    Path(sim_models.__file__).parent / room for room in ("evaluation", "images", "optics", "sources")
)
"""what can change what a file is made to"""
SOURCE = "source.json"
"""beside the levels of a cell: what it was brought in from"""


class _Source(Settings):
    """What a cell was brought in from, and what was said of it."""

    key: str
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
    how = digest(repr(reading), repr(brightest), structure, *CODE)
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
    source = _Source(key=key, doubts=doubts)
    (folder / cell.name / SOURCE).write_text(source.model_dump_json(indent=2) + "\n")
    return source


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
    record = earlier / SOURCE
    if not record.is_file():
        return None
    source = _Source.model_validate_json(record.read_text())
    if source.key != key:
        return None
    for file in sorted(file for file in earlier.rglob("*") if file.is_file()):
        twin = target / file.relative_to(earlier)
        twin.parent.mkdir(parents=True, exist_ok=True)
        os.link(file, twin)
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
