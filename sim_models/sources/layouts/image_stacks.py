"""One file per cell, of any format that can be read, and nothing else: raw stacks without targets.

<cell>.tif, <cell>.ome.tif, <cell>.mrc, <cell>.dv ...
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from sim_models.config import BadInput
from sim_models.images import ENDINGS
from sim_models.images.dialects import write_imagej, write_mrc
from sim_models.sources import toy
from sim_models.sources.layouts import LayoutSettings, Listed
from sim_models.sources.listing import by_stem, inside, named


class Settings(LayoutSettings):
    """Folder of raw stacks at one light level."""

    name: Literal["image_stacks"]
    level: str

    def images(self) -> Iterator[Listed]:
        """See `LayoutSettings.images`."""
        content = inside(self.folder)
        files = [path for path in content if path.name.lower().endswith(ENDINGS)]
        if not files:
            raise BadInput(
                f"{self.folder}: holds {named(content)}, but expected image files, one per cell ({', '.join(ENDINGS)});"
                " check folder and layout"
            )
        for cell, path in by_stem(files).items():
            yield Listed(cell, "raw", self.level, (path,))


def write_toy(folder: Path) -> None:
    """An ImageJ hyperstack and a DeltaVision file, of 9 frames each."""
    first, second = (toy.frames(cell, 3, 3).reshape(9, toy.EDGE_PX, toy.EDGE_PX) for cell in (1, 2))
    write_imagej(folder / "cell_1.tif", first, "CYX", 0.065)
    write_mrc(folder / "cell_2.dv", second, 0.065, ">", 512)


TOY = {"level": "high"}
"""what the settings say of it"""
