"""Pairs in four folders, as the code of SwinT-fairSIM and its relatives takes them.

trainx/<name>.tif, trainy/<name>.tif   what goes in and what should come out, to learn from
testx/<name>.tif, testy/<name>.tif     the same, set apart by the publisher

Files belong together by their names, never by their places in two sorted lists.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from sim_models.config import BadInput
from sim_models.images.dialects import write_tiff
from sim_models.sources import toy
from sim_models.sources.layouts import LayoutSettings, Listed
from sim_models.sources.listing import by_stem, inside, named, stacks
from sim_models.sources.split import Part

PARTS: tuple[Part, ...] = ("train", "test")


class Settings(LayoutSettings):
    """What lies in the folders that end in x and y."""

    name: Literal["train_test_pairs"]
    level: str
    x: Literal["raw", "widefield", "reconstruction"]
    y: Literal["raw_clean", "reference"]

    def images(self) -> Iterator[Listed]:
        """See `LayoutSettings.images`."""
        missing = [part + end for part in PARTS for end in "xy" if not (self.folder / (part + end)).is_dir()]
        if missing:
            raise BadInput(
                f"{self.folder}: holds {named(inside(self.folder))}, but expected folders trainx, trainy, testx and "
                f"testy ({', '.join(missing)} missing); check folder and layout"
            )
        for part in PARTS:
            given, wanted = (by_stem(stacks(self.folder / f"{part}{end}")) for end in "xy")
            if alone := sorted(given.keys() ^ wanted.keys()):
                home = self.folder / f"{part}{'x' if alone[0] in given else 'y'}"
                raise BadInput(
                    f"{home}: '{alone[0]}' has no partner of that name in {part}{'y' if alone[0] in given else 'x'} "
                    f"({len(alone)} such files); name pairs alike"
                )
            for cell, path in given.items():
                # The same number in both parts is another cell.
                yield Listed(f"{part}_{cell}", self.x, self.level, (path,), part=part)
                yield Listed(f"{part}_{cell}", self.y, None, (wanted[cell],), part=part)


def write_toy(folder: Path) -> None:
    """One cell to learn from and one set apart: 15 raw frames and an image at twice their sampling."""
    for cell, part in enumerate(PARTS):
        stack = toy.frames(cell, 3, 5).reshape(15, toy.EDGE_PX, toy.EDGE_PX)
        write_tiff(folder / f"{part}x" / "1.tif", stack)
        write_tiff(folder / f"{part}y" / "1.tif", toy.reference(cell, 2))


TOY = {"level": "low", "x": "raw", "y": "reference"}
"""what the settings say of it"""
