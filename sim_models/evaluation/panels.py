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
    rows = 3 if restored.consistency else 2
    figure = Figure(figsize=(2.2 * (len(names) + 2), 2.6 * rows), layout="constrained")
    axes: Any = figure.subplots(rows, len(names) + 2)
    raw = first_frame(field)
    _show(axes[0, 0], raw, "one raw frame", *np.percentile(raw, [0.1, 99.9]))
    _say(axes[1, 0], "restored\nminus reference")
    for column, name in enumerate(names, 1):
        image = plane(restored.images[name])
        _show(axes[0, column], image, TITLES[name], low, high)
        _show(axes[1, column], image - target, _caption(table, restored, name), -reach, reach, "RdBu_r")
    _show(axes[0, -1], target, "reference", low, high)
    _say(axes[1, -1], f"red: too bright\nblue: too dark\nfull colour: {reach:.3g} {field.unit}")
    if restored.consistency:
        _show_consistency(axes[2], restored, names)
    figure.suptitle(f"{field.structure}, {field.cell}, {field.level} light", fontsize=11)
    figure.savefig(path, dpi=110, metadata={"Software": None})


def plane(image: Image) -> Image:
    """What is shown of an image: the middle slice at the middle time of a volume."""
    return image if image.ndim == 2 else image[len(image) // 2, image.shape[1] // 2]


def _show_consistency(axes: Any, restored: Restored, names: list[str]) -> None:
    """What the raw frames say of each image."""
    _say(axes[0], "raw frames\nagainst image")
    limit = next(iter(restored.consistency.values())).limit
    for column, name in enumerate(names, 1):
        if found := restored.consistency.get(name):
            share = 100 * float(found.flagged.float().mean())
            score = found.score_map.numpy()
            _show(axes[column], score, f"{percent(share)} % contradicted", -limit, limit, "PuOr")
        else:
            axes[column].set_axis_off()
    _say(axes[-1], f"brown: light missing\npurple: too much\nfull colour: {limit:.1f} sigma")


def _caption(table: pd.DataFrame, restored: Restored, arm: str) -> str:
    wanted = {"cell": restored.field.cell, "level": restored.field.level, "arm": arm, "metric": CAPTION}
    rows = table[(table[list(wanted)] == pd.Series(wanted)).all(axis=1)]
    return f"PSNR {rows['value'].item():.1f} dB"


def _show(axes: Any, image: Image, title: str, low: float, high: float, colours: str = "gray") -> None:
    axes.imshow(image, cmap=colours, vmin=low, vmax=high, interpolation="nearest")
    axes.set_title(title, fontsize=10)
    axes.set_axis_off()


def _say(axes: Any, text: str) -> None:
    axes.text(0.5, 0.5, text, ha="center", va="center", fontsize=9)
    axes.set_axis_off()
