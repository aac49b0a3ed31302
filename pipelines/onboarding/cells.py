"""What there is of each cell in a folder, whatever its layout; no image is opened for it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sim_models.config import BadInput
from sim_models.sources.listing import MOST_NAMED, LayoutSettings, Listed
from sim_models.sources.split import Part


@dataclass(frozen=True)
class Cell:
    """One cell: its raw stacks by light level, and the good images and clean stacks of it."""

    name: str
    raw: Mapping[str, Listed]
    """in order of level"""
    references: Mapping[str | None, Listed]
    """by light level; under None one that serves all"""
    clean: Mapping[str | None, Listed]
    """raw stacks with much light, likewise"""
    part: Part | None
    """where its publisher has set it apart"""

    def reference(self, level: str) -> Listed | None:
        """The good image for a level."""
        return self.references.get(level, self.references.get(None))


@dataclass(frozen=True)
class Survey:
    """The cells of a folder, in order of name."""

    layout: LayoutSettings
    cells: Sequence[Cell]

    @property
    def levels(self) -> list[str]:
        """Of the first cell; all have the same."""
        return list(self.cells[0].raw)

    @property
    def with_references(self) -> bool:
        """Whether good images are there, rather than to be made of the brightest level."""
        return bool(self.cells[0].references)

    @property
    def with_clean(self) -> bool:
        """Whether raw stacks with much light are there, that are no light level themselves."""
        return bool(self.cells[0].clean)


def survey(layout: LayoutSettings, structure: str | None = None) -> Survey:
    """Look which cells a folder has.

    Args:
        layout: the folder, and how it is laid out.
        structure: which of several to take; None where there is one.

    Raises:
        BadInput: if it is not of its layout, holds several structures and none or another was named, or if levels or
            references of some cells are missing.
    """
    listed = list(layout.images())
    found = sorted({each.structure for each in listed if each.structure})
    if structure is None and len(found) > 1:
        raise BadInput(f"{layout.folder}: holds {', '.join(found)}; say which structure is meant")
    named = [each for each in found if _plain(each) == _plain(structure or each)]
    if found and not named:
        raise BadInput(f"{layout.folder}: has no structure '{structure}'; there are {', '.join(found)}")
    meant = next(iter(named), None)
    chosen = [each for each in listed if each.structure in (None, meant)]
    images: dict[str, list[Listed]] = {}
    for each in chosen:
        images.setdefault(each.cell, []).append(each)
    cells = [cell_of(name, of) for name, of in images.items()]
    cells = sorted((cell for cell in cells if cell.raw), key=lambda cell: cell.name)
    if not cells:
        raise BadInput(f"{layout.folder}: holds no raw stacks; check folder and layout")
    _refuse_gaps(cells, layout)
    return Survey(layout, cells)


def _plain(structure: str) -> str:
    """A structure as definitions write it: `f_actin` for the folder `F-actin`."""
    return re.sub(r"[^a-z0-9]+", "_", structure.lower())


def cell_of(name: str, images: Sequence[Listed]) -> Cell:
    """One cell of all images that are of it."""
    parts = {each.part for each in images} - {None}
    return Cell(
        name,
        raw={each.level or "raw": each for each in images if each.role == "raw"},
        references={each.level: each for each in images if each.role == "reference"},
        clean={each.level: each for each in images if each.role == "raw_clean"},
        part=parts.pop() if len(parts) == 1 else None,
    )


def _refuse_gaps(cells: Sequence[Cell], layout: LayoutSettings) -> None:
    """Every cell at every level, and either all have references, or clean stacks, or none has."""
    first = cells[0]
    odd = [
        cell.name
        for cell in cells
        if set(cell.raw) != set(first.raw)
        or bool(cell.references) != bool(first.references)
        or bool(cell.clean) != bool(first.clean)
    ]
    if odd:
        more = f" and {len(odd) - MOST_NAMED} more" if len(odd) > MOST_NAMED else ""
        raise BadInput(
            f"{layout.folder}: {', '.join(odd[:MOST_NAMED])}{more} lack levels or references that {first.name} has, or "
            "have others; every cell needs the same, so add what is missing or take these cells away"
        )
    if not first.references and not first.clean and len(first.raw) == 1:
        raise BadInput(
            f"{layout.folder}: has one light level ({next(iter(first.raw))}) and no references, so nothing says what a "
            "restored image should be; add a good image of each cell, or a brighter level"
        )
