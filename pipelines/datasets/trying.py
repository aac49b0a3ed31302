"""Cells read as the stage `bring_in` will read them, before anything is copied or trained."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pipelines.datasets.examining import Found
from pipelines.datasets.gathering import Gathered
from pipelines.onboarding.cells import Cell
from pipelines.onboarding.reading import raw_of, reference_of
from sim_models.config import BadInput
from sim_models.images import read
from sim_models.sources.listing import Listed
from sim_models.sources.raw import Declared
from sim_models.sources.split import FEWEST_CELLS


def tried(gathered: Gathered, cells: Sequence[str], found: Found, keep: bool) -> Found:
    """What was found, with cells left out that could not be brought in.

    Args:
        gathered: the stacks.
        cells: those of them that are wanted.
        found: what all have in common.
        keep: whether cells are kept that can be read but are otherwise unusable.

    Raises:
        BadInput: if none is left.
    """
    declared = Declared(
        angles=found.angles, phases=found.phases, order=found.order, rows="top-down", transposed=False, time="one"
    )  # fmt: skip
    left_out = dict(found.left_out)
    for name in cells:
        if name not in left_out and (reason := _wrong(_cell(gathered, name), declared, keep)):
            left_out[name] = reason
    if set(cells) <= set(left_out):
        raise BadInput(f"none of {len(cells)} cells can be used: {reasons(left_out)}")
    return replace(found, left_out=left_out)


def refuse_few(name: str, cells: Sequence[str], left_out: dict[str, str]) -> None:
    """Refuse a new dataset that cannot be split.

    Raises:
        BadInput: saying how many cells there are, and why others are left out.
    """
    if len(cells) >= FEWEST_CELLS:
        return
    why = f"; left out: {reasons(left_out)}" if left_out else ""
    raise BadInput(
        f"{name}: has {len(cells)} cells, but train, val and test need at least one each; add cells (crops of one cell "
        f"do not count: they are not independent){why}"
    )


def reasons(left_out: dict[str, str]) -> str:
    """The first few."""
    return "; ".join(f"{cell}: {reason}" for cell, reason in list(left_out.items())[:3])


def _cell(gathered: Gathered, name: str) -> Cell:
    def listed(path: Path, role: str, level: str | None) -> Listed:
        return Listed(name, role, level, (path,))  # type: ignore[arg-type] # these are roles

    raw = {level: listed(path, "raw", level) for level, path in gathered.raw[name].items()}
    good: dict[str | None, Listed] = {}
    if (path := gathered.references.get(name)) is not None:
        good[None] = listed(path, "reference", None)
    return Cell(name, raw, good, {}, None)


def _wrong(cell: Cell, declared: Declared, keep: bool) -> str | None:
    try:
        if keep:
            for listed in cell.references.values():
                read(listed.where)
            return None
        for level, listed in cell.raw.items():
            reference_of(cell, level, raw_of(listed, declared), declared)
    except BadInput as reason:
        return str(reason)
    return None
