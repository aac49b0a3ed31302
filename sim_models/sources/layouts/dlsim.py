"""DL-SIM's demo data: one file per frame at high and low exposure, and SIM images of both (Jin et al. 2020).

HE_X2/<sample>/HE_00.tif ... HE_14.tif   raw frames at high exposure, doubled in size by interpolation
HE_X2/<sample>/HE_15.tif                 the mean of the 15, no frame
LE_X2/<sample>/LE_00.tif ...             the same at low exposure
HER/<sample>.tif, LER/<sample>.tif       SIM images of the two
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import PositiveInt

from sim_models.config import BadInput
from sim_models.field import Role
from sim_models.images.dialects import write_tiff
from sim_models.sources import toy
from sim_models.sources.layouts import LayoutSettings, Listed
from sim_models.sources.listing import existing, folders, inside, named

EXPOSURES: dict[str, tuple[str, Role]] = {"HE": ("high", "reference"), "LE": ("low", "reconstruction")}
"""beginning of names -> light level, and what the SIM image of it is"""


class Settings(LayoutSettings):
    """Folder with HE_X2, LE_X2, HER and LER."""

    name: Literal["dlsim"]
    frames: PositiveInt
    """per stack, without the mean behind them"""

    def images(self) -> Iterator[Listed]:
        """See `LayoutSettings.images`."""
        expected = "folders HE_X2, LE_X2, HER and LER"
        folders(self.folder, "HE_X2", expected)
        folders(self.folder, "LE_X2", expected)
        samples = [path.name for path in folders(self.folder / "HE_X2", ".+", "one folder per sample")]
        for sample in samples:
            for short, (level, role) in EXPOSURES.items():
                *frames, mean = self._frames(self.folder / f"{short}_X2" / sample, short)
                image = existing(self.folder / f"{short}R" / f"{sample}.tif", "the SIM image of this sample")
                yield Listed(sample, "raw", level, tuple(frames), mean=mean)
                yield Listed(sample, "widefield", level, (mean,))
                yield Listed(sample, role, None if role == "reference" else level, (image,))

    def _frames(self, home: Path, short: str) -> list[Path]:
        """Frames and their mean, by number."""
        wanted = [home / f"{short}_{number:02d}.tif" for number in range(self.frames + 1)]
        for number, path in enumerate(wanted):
            existing(
                path, f"frame {number} of {self.frames}" if number < self.frames else "the mean of the frames"
            )
        if more := [path for path in inside(home) if path.suffix == ".tif" and path not in wanted]:
            raise BadInput(
                f"{home}: also holds {named(more)}, but stated are {self.frames} frames and their mean; state the "
                "right number of frames"
            )
        return wanted


def write_toy(folder: Path) -> None:
    """Two samples at two exposures, 3 angles x 5 phases."""
    for cell in (1, 2):
        for short, light in (("HE", 1000.0), ("LE", 30.0)):
            stack = toy.frames(cell, 3, 5, light=light).reshape(15, toy.EDGE_PX, toy.EDGE_PX)
            mean = np.round(stack.mean(axis=0)).astype(np.uint16)
            for number, frame in enumerate([*stack, mean]):
                write_tiff(folder / f"{short}_X2" / f"Sample_{cell}" / f"{short}_{number:02d}.tif", frame)
            write_tiff(folder / f"{short}R" / f"Sample_{cell}.tif", toy.reference(cell, 1))


TOY = {"frames": 15}
"""what the settings say of it"""
