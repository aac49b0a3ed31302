"""BioSR's ER, where every light level has a target of its own (Qiao et al. 2021).

Cell_NNN/RawSIMData/RawSIMData_level_01.mrc ...       raw stack of each level
Cell_NNN/RawGTSIMData/RawGTSIMData_level_01.mrc ...   the same with much light
Cell_NNN/GTSIM/GTSIM_level_01.mrc ...                 SIM image of the latter; plane 0 is meant
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import PositiveInt

from sim_models.field import Role
from sim_models.images.dialects import write_mrc
from sim_models.sources import toy
from sim_models.sources.layouts import LayoutSettings, Listed
from sim_models.sources.listing import cells, levels

FOLDERS: dict[str, Role] = {"RawSIMData": "raw", "RawGTSIMData": "raw_clean", "GTSIM": "reference"}


class Settings(LayoutSettings):
    """Folder of cells, or of structures that hold them."""

    name: Literal["biosr_er"]
    levels: PositiveInt
    """6 in the published set"""

    def images(self) -> Iterator[Listed]:
        """See `LayoutSettings.images`."""
        for structure, home in cells(self.folder):
            found = {name: levels(home / name, f"{name}_level_", self.levels) for name in FOLDERS}
            for level in found["RawSIMData"]:
                for name, role in FOLDERS.items():
                    plane = 0 if role == "reference" else None
                    yield Listed(home.name, role, level, (found[name][level],), structure, plane)


def write_toy(folder: Path) -> None:
    """Two cells at two levels, 62.6 nm."""
    for cell in (1, 2):
        for level, light in (("01", 60.0), ("02", 300.0)):
            for name, much in (("RawSIMData", light), ("RawGTSIMData", 2000.0 + light)):
                stack = toy.frames(cell, 3, 3, light=much).reshape(9, toy.EDGE_PX, toy.EDGE_PX)
                write_mrc(
                    folder / f"Cell_{cell:03d}" / name / f"{name}_level_{level}.mrc", stack[:, ::-1], 0.0626
                )
            image = toy.reference(cell, 2)[None, ::-1]
            write_mrc(folder / f"Cell_{cell:03d}" / "GTSIM" / f"GTSIM_level_{level}.mrc", image, 0.0313)


TOY = {"levels": 2}
"""what the settings say of it"""
