"""One OME-Zarr per cell.

<cell>.zarr or <cell>.ome.zarr
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from sim_models.images.dialects import write_zarr
from sim_models.sources import toy
from sim_models.sources.layouts import LayoutSettings, Listed
from sim_models.sources.listing import by_stem, folders


class Settings(LayoutSettings):
    """Folder of OME-Zarr folders at one light level."""

    name: Literal["ome_zarr"]
    level: str

    def images(self) -> Iterator[Listed]:
        """See `LayoutSettings.images`."""
        found = folders(self.folder, r"(?i).+\.zarr", "folders <cell>.zarr, one OME-Zarr per cell")
        for cell, path in by_stem(found).items():
            yield Listed(cell, "raw", self.level, (path,))


def write_toy(folder: Path) -> None:
    """Two cells of two times and 9 frames, one in each version of the format."""
    versions: tuple[Literal["0.4", "0.5"], ...] = ("0.4", "0.5")
    for cell, version in enumerate(versions, 1):
        stack = toy.frames(cell, 3, 3, 2).reshape(2, 9, toy.EDGE_PX, toy.EDGE_PX)
        write_zarr(folder / f"cell_{cell}.ome.zarr", stack, "TCYX", 0.065, version)


TOY = {"level": "high"}
"""what the settings say of it"""
