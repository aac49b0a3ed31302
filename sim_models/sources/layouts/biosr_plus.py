"""BioSR+ of rDL-SIM: a folder per cell and light level, each with its own stack with much light (Qiao et al. 2023).

Cell_NNN/Level_01/RawSIMData.mrc      raw stack
Cell_NNN/Level_01/RawSIMData_gt.mrc   the same with much light
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import PositiveInt

from sim_models.config import BadInput
from sim_models.images.dialects import write_mrc
from sim_models.sources import toy
from sim_models.sources.layouts import LayoutSettings, Listed
from sim_models.sources.listing import cells, existing, folders


class Settings(LayoutSettings):
    """Folder of cells, or of structures that hold them."""

    name: Literal["biosr_plus"]
    levels: PositiveInt
    """8 in the published set"""

    def images(self) -> Iterator[Listed]:
        """See `LayoutSettings.images`."""
        for structure, home in cells(self.folder):
            wanted = [f"Level_{level:02d}" for level in range(1, self.levels + 1)]
            found = folders(home, r"Level_\d+", "folders Level_01, Level_02 ...")
            if [path.name for path in found] != wanted:
                raise BadInput(
                    f"{home}: has {len(found)} levels ({found[0].name} to {found[-1].name}), but {self.levels} are "
                    f"stated ({wanted[0]} to {wanted[-1]}); state the right number or unpack this cell again"
                )
            for path in found:
                level = path.name.removeprefix("Level_")
                raw = existing(path / "RawSIMData.mrc", "the raw stack")
                clean = existing(path / "RawSIMData_gt.mrc", "the raw stack with much light")
                yield Listed(home.name, "raw", level, (raw,), structure)
                yield Listed(home.name, "raw_clean", level, (clean,), structure)


def write_toy(folder: Path) -> None:
    """Two cells at two levels, 62.6 nm."""
    for cell in (1, 2):
        for level, light in (("01", 60.0), ("02", 300.0)):
            for ending, much in (("", light), ("_gt", 2000.0 + light)):
                stack = toy.frames(cell, 3, 3, light=much).reshape(9, toy.EDGE_PX, toy.EDGE_PX)
                home = folder / f"Cell_{cell:03d}" / f"Level_{level}"
                write_mrc(home / f"RawSIMData{ending}.mrc", stack[:, ::-1], 0.0626)


TOY = {"levels": 2}
"""what the settings say of it"""
