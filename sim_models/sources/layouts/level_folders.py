"""A person's own stacks: a folder per light level and one of good images, files of one cell named alike.

<level>/<cell>.tif       raw stacks at each light level; also .mrc, OME-Zarr, or a folder with one file per frame
reference/<cell>.tif     the good image of the same cell
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sim_models.config import BadInput
from sim_models.images.dialects import write_tiff
from sim_models.sources import toy
from sim_models.sources.layouts import LayoutSettings, Listed
from sim_models.sources.listing import MOST_NAMED, by_stem, inside, stacks

REFERENCE = "reference"


class Settings(LayoutSettings):
    """Folder of folders of light levels."""

    name: Literal["level_folders"]

    def images(self) -> Iterator[Listed]:
        """See `LayoutSettings.images`."""
        found = survey(self.folder)
        for cell in found.cells:
            for level, named in found.levels.items():
                yield Listed(cell, "raw", level, (named[cell],))
            if found.references:
                yield Listed(cell, "reference", None, (found.references[cell],))


@dataclass(frozen=True)
class Survey:
    """The files of a folder, none of them opened."""

    folder: Path
    levels: Mapping[str, Mapping[str, Path]]
    """level -> cell -> file"""
    references: Mapping[str, Path]
    """by cell; empty where there are none"""

    @property
    def cells(self) -> list[str]:
        """In order of name."""
        return sorted(next(iter(self.levels.values())))


def survey(folder: Path) -> Survey:
    """Look which stacks and references there are.

    Raises:
        BadInput: if it is no folder of this layout, or files have no partner.
    """
    if not folder.is_dir():
        raise BadInput(f"{folder}: is no folder; give one with <level>/<cell>.tif and {REFERENCE}/<cell>.tif")
    homes = [path for path in inside(folder) if path.is_dir() and path.suffix.lower() != ".zarr"]
    found = {home.name: named for home in sorted(homes) if (named := by_stem(stacks(home)))}
    levels = {name: named for name, named in found.items() if name != REFERENCE}
    if not levels:
        raise BadInput(
            f"{folder}: holds no raw stacks; expected {folder.name}/<light level>/<cell>.tif (or .mrc, or a folder "
            f"with one file per frame) and {folder.name}/{REFERENCE}/<cell>.tif, the good image of the same cell"
        )
    if REFERENCE not in found and len(levels) == 1:
        raise BadInput(
            f"{folder}: has one light level ({next(iter(levels))}) and no folder '{REFERENCE}', so nothing says what a "
            f"restored image should be; add {folder.name}/{REFERENCE}/<cell>.tif or a brighter level"
        )
    _refuse_without_partner(found, folder)
    return Survey(folder, levels, found.get(REFERENCE, {}))


def _refuse_without_partner(found: Mapping[str, Mapping[str, Path]], folder: Path) -> None:
    every = sorted({cell for named in found.values() for cell in named})
    for name, named in found.items():
        if missing := [cell for cell in every if cell not in named]:
            more = f" and {len(missing) - MOST_NAMED} more" if len(missing) > MOST_NAMED else ""
            raise BadInput(
                f"{folder / name}: has no file of {', '.join(missing[:MOST_NAMED])}{more}, which other folders beside "
                "it have; files of one cell have the same name in every folder, so name them alike or take away "
                "what has no partner"
            )


def write_toy(folder: Path) -> None:
    """Two cells at two levels with references."""
    for cell in (1, 2):
        for level, light in (("bright", 1000.0), ("dim", 60.0)):
            stack = toy.frames(cell, 3, 3, light=light).reshape(9, toy.EDGE_PX, toy.EDGE_PX)
            write_tiff(folder / level / f"cell_{cell}.tif", stack)
        write_tiff(folder / REFERENCE / f"cell_{cell}.tif", toy.reference(cell, 2))


TOY: dict[str, object] = {}
"""what the settings say of it"""
