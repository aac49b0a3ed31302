"""BioTISR in two dimensions: time-lapse SIM, the frames of one time after those of the other in one MRC.

Cell_NNN/RawSIMData_level_01.mrc ...   raw stacks of all times of each light level
Cell_NNN/SIM_gt.mrc                    the SIM image of every time, as many planes as there are times
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import PositiveInt

from sim_models.images.dialects import write_mrc
from sim_models.sources import toy
from sim_models.sources.layouts import LayoutSettings, Listed
from sim_models.sources.listing import cells, existing, levels


class Settings(LayoutSettings):
    """Folder of cells, or of structures that hold them."""

    name: Literal["biotisr"]
    levels: PositiveInt
    """3 in the published set"""

    def images(self) -> Iterator[Listed]:
        """See `LayoutSettings.images`."""
        for structure, home in cells(self.folder):
            for level, path in levels(home, "RawSIMData_level_", self.levels).items():
                yield Listed(home.name, "raw", level, (path,), structure)
            target = existing(home / "SIM_gt.mrc", "the SIM image of every time")
            yield Listed(home.name, "reference", None, (target,), structure)


TIMES = 3


def write_toy(folder: Path) -> None:
    """Two cells at two levels and three times, 62.6 nm."""
    for cell in (1, 2):
        home = folder / f"Cell_{cell:03d}"
        for level, light in (("01", 60.0), ("02", 300.0)):
            stack = toy.frames(cell, 3, 3, TIMES, light).reshape(-1, toy.EDGE_PX, toy.EDGE_PX)
            write_mrc(home / f"RawSIMData_level_{level}.mrc", stack[:, ::-1], 0.0626)
        planes = [toy.reference(cell, 2, time)[::-1] for time in range(TIMES)]
        write_mrc(home / "SIM_gt.mrc", np.stack(planes), 0.0313)


TOY = {"levels": 2}
"""what the settings say of it"""
