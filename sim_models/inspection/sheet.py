"""One page about a stack, for people: what it shows, where its stripes are, and how steady its light was."""

import math
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from numpy.typing import NDArray
from scipy.signal.windows import tukey

from sim_models.inspection.doctor import Examined
from sim_models.inspection.report import Report

COLOURS = ("tab:orange", "tab:cyan", "tab:pink", "tab:olive", "tab:red")
"""of the angles"""

TEXT_WIDTH = 96


def save_sheet(examined: Examined, path: Path) -> None:
    """Write a PNG: mean of the frames, first frame and mean power spectrum above; brightness and report below."""
    report, frames = examined.report, examined.frames
    figure = Figure(figsize=(16, 10), layout="constrained")
    axes: Any = figure.subplot_mosaic([["mean", "frame", "power"], ["light", "told", "told"]])
    if len(frames):
        _image(axes["mean"], frames.mean(axis=0), f"mean of {len(frames)} frames, counts")
        _image(axes["frame"], frames[0], "first frame, counts")
        _power(axes["power"], frames, report)
        _light(axes["light"], report)
    else:
        for name in ("mean", "frame", "power", "light"):
            axes[name].set_axis_off()
    _told(axes["told"], report)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    figure.savefig(partial, dpi=80, format="png", metadata={"Software": None})
    partial.replace(path)


def _image(axes: Axes, image: NDArray[np.float32], title: str) -> None:
    low, high = np.percentile(image, [0.5, 99.8])
    shown = axes.imshow(image, cmap="gray", vmin=low, vmax=high)
    axes.set_title(title, fontsize=10)
    axes.set_axis_off()
    axes.figure.colorbar(shown, ax=axes, shrink=0.8)


def _power(axes: Axes, frames: NDArray[np.float32], report: Report) -> None:
    """Mean over frames of the power spectra, in which stripes are pairs of peaks."""
    rows, columns = frames.shape[1:]
    window = np.outer(tukey(rows, 0.3), tukey(columns, 0.3))
    spectra = np.fft.fft2((frames - frames.mean(axis=(1, 2), keepdims=True)) * window)
    power = np.fft.fftshift(np.log10(np.square(np.abs(spectra)).mean(axis=0) + 1e-12))
    axes.imshow(
        power,
        cmap="magma",
        vmin=np.percentile(power, 1),
        vmax=np.percentile(power, 99.9),
        extent=(-0.5, 0.5, 0.5, -0.5),
    )
    axes.set_title("power spectrum, cycles/px; circles: harmonics of the stripes", fontsize=10)
    for number, stripes in enumerate(report.pattern.angles if report.pattern else ()):
        for order in range(1, len(stripes.modulation) + 1):
            for side in (1, -1):
                radius = side * order * stripes.cycles_per_px
                place = radius * math.cos(stripes.direction_rad), radius * math.sin(stripes.direction_rad)
                axes.add_patch(Circle(place, 0.015, fill=False, color=COLOURS[number % len(COLOURS)], lw=1.5))


def _light(axes: Axes, report: Report) -> None:
    if not report.frame_brightness:
        axes.set_axis_off()
        return
    axes.bar(range(len(report.frame_brightness)), report.frame_brightness, color="0.5")
    axes.axhline(1.0, color="k", lw=0.6)
    axes.set(xlabel="frame, in the order of the file", ylabel="mean above the offset, over that of all")
    axes.set_title("brightness", fontsize=10)


def _told(axes: Axes, report: Report) -> None:
    axes.set_axis_off()
    lines = [fill(line, TEXT_WIDTH, subsequent_indent=" " * 12) for line in report.lines()]
    size = min(9.5, 420 / max(1, sum(line.count("\n") + 1 for line in lines)))
    # A file's name may hold dollar signs, which would start a formula.
    text = "\n".join(lines).replace("$", r"\$")
    axes.text(0, 1, text, family="monospace", fontsize=size, va="top", transform=axes.transAxes)
