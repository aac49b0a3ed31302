"""One file per frame, as many cameras leave them: a folder per stack, or one folder that is a stack.

<cell>/<frame>.tif   in the natural order of their names, 2 before 10
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import PositiveInt

from sim_models.config import BadInput
from sim_models.images import ENDINGS
from sim_models.images.dialects import write_tiff
from sim_models.sources import toy
from sim_models.sources.layouts import LayoutSettings, Listed
from sim_models.sources.listing import inside, named


class Settings(LayoutSettings):
    """Folder of folders of frames, or a single one of those."""

    name: Literal["frame_folders"]
    level: str
    frames: PositiveInt
    """per stack, all times together"""
    mean_at_end: bool
    """whether one more file behind them is their mean"""

    def images(self) -> Iterator[Listed]:
        """See `LayoutSettings.images`."""
        content = inside(self.folder)
        homes = [path for path in content if path.is_dir()] or [self.folder]
        for home in homes:
            files = [path for path in inside(home) if path.is_file() and path.name.lower().endswith(ENDINGS)]
            expected = self.frames + self.mean_at_end
            if len(files) != expected:
                raise BadInput(
                    f"{home}: holds {len(files)} images ({named(files)}), but expected {self.frames} frames"
                    f"{' and their mean' if self.mean_at_end else ''}; state the right number or copy this stack again"
                )
            mean = files[-1] if self.mean_at_end else None
            yield Listed(home.resolve().name, "raw", self.level, tuple(files[: self.frames]), mean=mean)


def write_toy(folder: Path) -> None:
    """Two stacks of 9 frames, numbered without leading zeros from 5 on: 'X10' sorts before 'X5'."""
    for cell in (1, 2):
        for number, frame in enumerate(toy.frames(cell, 3, 3).reshape(9, toy.EDGE_PX, toy.EDGE_PX)):
            write_tiff(folder / f"cell_{cell}" / f"1_X{number + 5}.tif", frame)


TOY = {"level": "high", "frames": 9, "mean_at_end": False}
"""what the settings say of it"""
