"""Pictures of a restored field: the same contrast limits in every image of a row."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from sim_models.evaluation.consistency import percent
from sim_models.evaluation.scores import Restored, first_frame
from sim_models.field import Image

TITLES = {
    "widefield": "wide-field",
    "bicubic": "bicubic",
    "reconstruction": "classical SIM",
    "direct": "direct",
    "scratch": "from scratch",
    "finetune_equal": "fine-tuned, long",
    "finetune": "fine-tuned",
}
"""how arms and baselines are called in pictures, in the order they are shown"""

COLUMN_IN, PICTURE_IN, TITLE_IN, HEAD_IN, GAP_IN = 2.2, 2.0, 0.35, 0.35, 0.06
"""inches: of a column, the longer edge of a picture, its title, the title of all, and between picture and title"""
ROW_IN = PICTURE_IN + TITLE_IN

CAPTION = "psnr_targetrange_noscale"


def save_panel(restored: Restored, table: pd.DataFrame, path: Path) -> None:
    """One raw frame, the restored images and the reference; what is wrong with each; what the frames say of each.

    Grey runs from 0.1 to 99.9 percentile of the reference in all restored images; errors from minus to
    plus half of that. Below each stands its PSNR, taken from the score `table`. The last row shows where an image
    would have given other raw frames (see `optics.consistency`), up to the limit of chance.
    """
    names = [name for name in TITLES if name in restored.images and name != "bicubic"]
    target, field = plane(restored.target), restored.field
    low, high = (float(limit) for limit in np.percentile(target, [0.1, 99.9]))
    reach = (high - low) / 2
    grid = _Grid(rows=3 if restored.consistency else 2, columns=len(names) + 2)
    raw = first_frame(field)
    grid.show(0, 0, raw, "one raw frame", *np.percentile(raw, [0.1, 99.9]))
    grid.say(1, 0, "restored\nminus reference")
    for column, name in enumerate(names, 1):
        image = plane(restored.images[name])
        grid.show(0, column, image, TITLES[name], low, high)
        grid.show(1, column, image - target, _caption(table, restored, name), -reach, reach, "RdBu_r")
    grid.show(0, len(names) + 1, target, "reference", low, high)
    grid.say(1, len(names) + 1, f"red: too bright\nblue: too dark\nfull colour: {reach:.3g} {field.unit}")
    if restored.consistency:
        _show_consistency(grid, restored, names)
    grid.save(path, f"{field.structure}, {field.cell}, {field.level} light")


def plane(image: Image) -> Image:
    """What is shown of an image: the middle slice at the middle time of a volume."""
    return image if image.ndim == 2 else image[len(image) // 2, image.shape[1] // 2]


def _show_consistency(grid: "_Grid", restored: Restored, names: list[str]) -> None:
    """What the raw frames say of each image."""
    grid.say(2, 0, "raw frames\nagainst image")
    limit = next(iter(restored.consistency.values())).limit
    for column, name in enumerate(names, 1):
        if found := restored.consistency.get(name):
            share = 100 * float(found.flagged.float().mean())
            score = found.score_map.numpy()
            grid.show(2, column, score, f"{percent(share)} % contradicted", -limit, limit, "PuOr")
    grid.say(2, len(names) + 1, f"brown: light missing\npurple: too much\nfull colour: {limit:.1f} sigma")


def _caption(table: pd.DataFrame, restored: Restored, arm: str) -> str:
    wanted = {"cell": restored.field.cell, "level": restored.field.level, "arm": arm, "metric": CAPTION}
    rows = table[(table[list(wanted)] == pd.Series(wanted)).all(axis=1)]
    return f"PSNR {rows['value'].item():.1f} dB"


class _Grid:
    """Pictures in rows and columns, all in one pair of axes counted in inches.

    A pair of axes for each, laid out by what it holds, takes five times as long to draw.
    """

    def __init__(self, rows: int, columns: int) -> None:
        self.height_in = HEAD_IN + rows * ROW_IN + GAP_IN
        figure = Figure(figsize=(columns * COLUMN_IN, self.height_in))
        self.axes: Any = figure.add_axes(
            (0, 0, 1, 1), xlim=(0, columns * COLUMN_IN), ylim=(self.height_in, 0)
        )
        self.axes.set_axis_off()
        self.figure = figure

    def show(
        self, row: int, column: int, image: Image, title: str, low: float, high: float, colours: str = "gray"
    ) -> None:
        """An image from `low` to `high`, as large as fits, with a title above it."""
        height, width = PICTURE_IN * np.array(image.shape[-2:]) / max(image.shape[-2:])
        middle, top = (column + 0.5) * COLUMN_IN, HEAD_IN + row * ROW_IN + TITLE_IN
        extent = (middle - width / 2, middle + width / 2, top + height, top)
        style = {"cmap": colours, "vmin": low, "vmax": high, "interpolation": "nearest", "aspect": "auto"}
        self.axes.imshow(image, extent=extent, **style)
        self.axes.text(middle, top - GAP_IN, title, ha="center", va="bottom", fontsize=10)

    def say(self, row: int, column: int, text: str) -> None:
        """Words where an image might be."""
        middle, top = (column + 0.5) * COLUMN_IN, HEAD_IN + row * ROW_IN + TITLE_IN
        self.axes.text(middle, top + PICTURE_IN / 2, text, ha="center", va="center", fontsize=9)

    def save(self, path: Path, title: str) -> None:
        """As a PNG that says nothing of the programs that wrote it."""
        self.axes.text(
            self.figure.get_figwidth() / 2, HEAD_IN / 2, title, ha="center", va="center", fontsize=11
        )
        # `imshow` moves the limits to the image.
        self.axes.set(xlim=(0, self.figure.get_figwidth()), ylim=(self.height_in, 0))
        self.figure.savefig(path, dpi=110, metadata={"Software": None})
