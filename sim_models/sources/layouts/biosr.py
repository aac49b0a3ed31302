"""BioSR, all structures but ER: linear and non-linear SIM at several light levels (Qiao et al. 2021).

Cell_NNN/RawSIMData_level_01.mrc ...   raw stack of each level, 01 the noisiest
Cell_NNN/RawSIMData_gt.mrc             mean of three more acquisitions with much light
Cell_NNN/SIM_gt.mrc                    mean of three SIM images; plane 0 is meant. Non-linear: SIM_gt_a.mrc.
                                       SIM_gt_b.mrc has a gamma of 0.6 and is never read.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import PositiveInt

from sim_models.images.dialects import write_mrc
from sim_models.sources import toy
from sim_models.sources.layouts import LayoutSettings, Listed
from sim_models.sources.listing import cells, existing, levels


class Settings(LayoutSettings):
    """Folder of cells, or of structures that hold them."""

    name: Literal["biosr"]
    levels: PositiveInt
    """9 for most structures, 12 for linear F-actin"""
    target: Literal["SIM_gt", "SIM_gt_a"]
    """the second for non-linear SIM"""

    def images(self) -> Iterator[Listed]:
        """See `LayoutSettings.images`."""
        for structure, home in cells(self.folder):
            for level, path in levels(home, "RawSIMData_level_", self.levels).items():
                yield Listed(home.name, "raw", level, (path,), structure)
            clean = existing(home / "RawSIMData_gt.mrc", "the raw stack with much light")
            yield Listed(home.name, "raw_clean", None, (clean,), structure)
            target = existing(home / f"{self.target}.mrc", "the target")
            yield Listed(home.name, "reference", None, (target,), structure, plane=0)


def write_toy(folder: Path) -> None:
    """Two cells at two levels, linear, 62.6 nm; targets of three planes."""
    for cell in (1, 2):
        home = folder / f"Cell_{cell:03d}"
        for level, light in {"level_01": 60.0, "level_02": 300.0, "gt": 2000.0}.items():
            stack = toy.frames(cell, 3, 3, light=light).reshape(9, toy.EDGE_PX, toy.EDGE_PX)
            write_mrc(home / f"RawSIMData_{level}.mrc", stack[:, ::-1], 0.0626)
        image = toy.reference(cell, 2)[None, ::-1].astype("f4")
        write_mrc(home / "SIM_gt.mrc", image.repeat(3, axis=0), 0.0313)


TOY = {"levels": 2, "target": "SIM_gt"}
"""what the settings say of it"""
