"""What a layout says of a folder of others: which images there are and what each is. No image is opened for it."""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sim_models.config import BadInput, Settings
from sim_models.field import Role
from sim_models.images import ENDINGS, natural, stem
from sim_models.sources.split import Part

MOST_NAMED = 5
"""names in a message"""


@dataclass(frozen=True)
class Listed:
    """One image of one cell, not opened yet."""

    cell: str
    role: Role
    level: str | None
    """None where one image serves all light levels of its cell"""
    paths: tuple[Path, ...]
    """one file or folder, or one file per frame in order"""
    structure: str | None = None
    """None where the folder does not name it"""
    plane: int | None = None
    """index of the one image that is meant, where the file holds several along its first axis"""
    part: Part | None = None
    """where the publisher has set this cell apart"""
    mean: Path | None = None
    """an image said to be the mean of the frames, which they are held against"""

    @property
    def where(self) -> Path:
        """The path that messages name."""
        return self.paths[0] if len(self.paths) == 1 else self.paths[0].parent


class LayoutSettings(Settings, ABC):
    """A folder of images in the layout `name`, which is the name of its file in `layouts`.

    Beside its `Settings(LayoutSettings)`, every layout has `write_toy(folder)`, which writes two tiny cells in its own
    true dialect, so that no test needs a download.
    """

    name: str
    folder: Path

    @abstractmethod
    def images(self) -> Iterator[Listed]:
        """Every image in a fixed order.

        Raises:
            BadInput: if the folder is not of this layout, or files are missing.
        """


def inside(folder: Path) -> list[Path]:
    """What lies in a folder, 2 before 10, without hidden files.

    Raises:
        BadInput: if it is no folder.
    """
    if not folder.is_dir():
        raise BadInput(
            f"{folder}: {'is no folder' if folder.exists() else 'does not exist'}; give a dataset's folder"
        )
    return sorted((path for path in folder.iterdir() if not path.name.startswith(".")), key=natural)


def folders(folder: Path, pattern: str, expected: str) -> list[Path]:
    """The folders in `folder` whose names are of a pattern; there is at least one.

    Raises:
        BadInput: if there is none; `expected` says in the message what there should be.
    """
    content = inside(folder)
    found = [path for path in content if path.is_dir() and re.fullmatch(pattern, path.name)]
    if not found:
        raise BadInput(f"{folder}: holds {named(content)}, but expected {expected}; check folder and layout")
    return found


def stacks(home: Path) -> list[Path]:
    """Image files, OME-Zarr folders and folders of frames in a folder."""
    return [path for path in inside(home) if path.is_dir() or path.name.lower().endswith(ENDINGS)]


def by_stem(paths: Sequence[Path]) -> dict[str, Path]:
    """Files by the name of their cell.

    Raises:
        BadInput: if two are of one cell.
    """
    found: dict[str, Path] = {}
    for path in paths:
        if (cell := stem(path)) in found:
            raise BadInput(
                f"{path}: and {found[cell].name} beside it are both of cell '{cell}'; keep one of them"
            )
        found[cell] = path
    return found


def existing(path: Path, what: str) -> Path:
    """A file that has to be there.

    Raises:
        BadInput: if it is not; `what` says in the message what it is.
    """
    if not path.is_file():
        raise BadInput(f"{path}: is missing, {what}; unpack or copy this cell again, or take its folder away")
    return path


def levels(home: Path, before: str, count: int) -> dict[str, Path]:
    """Files `<before><level>.mrc` by level, '01' the first; all of `count` levels and no other.

    Raises:
        BadInput: if one is missing or there are more.
    """
    wanted = {f"{level:02d}": home / f"{before}{level:02d}.mrc" for level in range(1, count + 1)}
    more = [path for path in home.glob(f"{before}*.mrc") if path not in wanted.values()]
    if more:
        raise BadInput(
            f"{min(more)}: is of a level beyond the {count} that are stated; state the right number of levels"
        )
    return {level: existing(path, f"level {level} of {count}") for level, path in wanted.items()}


def cells(folder: Path) -> list[tuple[str | None, Path]]:
    """(structure, folder) of every cell of a dataset of Tsinghua: `Cell_NNN` in `folder`, or in folders of structures.

    Raises:
        BadInput: if there is none.
    """
    pattern, content = r"Cell_?\d+", inside(folder)
    if any(path.is_dir() and re.fullmatch(pattern, path.name) for path in content):
        return [(None, path) for path in folders(folder, pattern, "")]
    homes = [path for path in content if path.is_dir() and any(path.glob("Cell_*"))]
    if not homes:
        raise BadInput(
            f"{folder}: holds {named(content)}, but expected folders Cell_001, Cell_002 ..., or one per structure that "
            "holds them; check folder and layout"
        )
    return [
        (home.name, cell)
        for home in homes
        for cell in folders(home, pattern, "folders Cell_001, Cell_002 ...")
    ]


def named(paths: Sequence[Path]) -> str:
    """A few names for a message."""
    if not paths:
        return "nothing"
    more = f" and {len(paths) - MOST_NAMED} more" if len(paths) > MOST_NAMED else ""
    return ", ".join(path.name for path in paths[:MOST_NAMED]) + more
