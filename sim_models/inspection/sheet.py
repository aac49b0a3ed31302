"""One page about a stack, for people: what it shows, where its stripes are, and how steady its light was."""

import math
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from scipy.signal.windows import tukey

from sim_models.inspection.doctor import Examined
from sim_models.inspection.report import Report

COLOURS = ("tab:orange", "tab:cyan", "tab:pink", "tab:olive", "tab:red")
"""of the angles"""

UNDECIDED = "0.5"
"""colour of frames whose angle is not known"""

PLACES = {"left": 0.045, "right": 0.945, "top": 0.96, "bottom": 0.07, "wspace": 0.3, "hspace": 0.22}
"""of the panels, as shares of the page and of a panel: a layout that fits itself lets titles stick out at the top"""

TEXT_WIDTH = 110
"""characters that fit beside the brightness"""


def save_sheet(examined: Examined, path: Path) -> None:
    """Write a PNG: mean of the frames, first frame and mean power spectrum above; brightness and report below."""
    report, frames = examined.report, examined.frames
    figure = Figure(figsize=(16, 10))
    axes: Any = figure.subplot_mosaic(
        [["mean", "frame", "power"], ["light", "told", "told"]], gridspec_kw=PLACES
    )
    for panel in axes.values():
        panel.set_axis_off()
    if len(frames) > 1:
        _image(axes["mean"], frames.mean(axis=0), f"mean of {len(frames)} frames, counts")
    if len(frames):
        one = "first of these frames, counts" if len(frames) > 1 else "the image, counts"
        _image(axes["frame"], frames[0], one)
        _power(axes["power"], frames, report)
    if report.frame_brightness:
        _light(axes["light"], report)
    _told(axes["told"], report)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    figure.savefig(partial, dpi=80, format="png", metadata={"Software": None})
    partial.replace(path)


def _image(axes: Axes, image: NDArray[np.float32], title: str) -> None:
    low, high = np.percentile(image, [0.5, 99.8])
    shown = axes.imshow(image, cmap="gray", vmin=low, vmax=high)
    axes.set_title(title, fontsize=10)
    # Beside the image and as high as it is, also where the field is narrow.
    axes.figure.colorbar(shown, cax=axes.inset_axes((1.02, 0, 0.04, 1)))


def _power(axes: Axes, frames: NDArray[np.float32], report: Report) -> None:
    """Mean over frames of the power spectra, in which stripes are pairs of peaks."""
    rows, columns = frames.shape[1:]
    window = np.outer(tukey(rows, 0.3), tukey(columns, 0.3))
    spectra = np.fft.fft2((frames - frames.mean(axis=(1, 2), keepdims=True)) * window)
    power = np.fft.fftshift(np.log10(np.square(np.abs(spectra)).mean(axis=0) + 1e-12))
    axes.set_axis_on()
    axes.imshow(
        power,
        cmap="magma",
        vmin=np.percentile(power, 1),
        vmax=np.percentile(power, 99.9),
        extent=(-0.5, 0.5, 0.5, -0.5),
    )
    # To the right, away from the scale of the image beside.
    axes.yaxis.tick_right()
    axes.yaxis.set_label_position("right")
    axes.set(xlabel="cycles/px along x", ylabel="cycles/px along y, downwards")
    axes.set_title("power spectrum (logarithm)" + _circles(axes, report), fontsize=10)


def _circles(axes: Axes, report: Report) -> str:
    """Mark the stripes; what the marks are, for the title."""
    if report.pattern is None:
        return "" if report.angles is None else "; no stripes found"
    for number, stripes in enumerate(report.pattern.angles):
        label = f"angle {number + 1}"
        for order in range(1, len(stripes.modulation) + 1):
            for side in (1, -1):
                radius = side * order * stripes.cycles_per_px
                place = radius * math.cos(stripes.direction_rad), radius * math.sin(stripes.direction_rad)
                colour = COLOURS[number % len(COLOURS)]
                circle = Circle(place, 0.015, fill=False, color=colour, lw=1.5, label=label)
                # To be seen on bright ground too.
                circle.set_path_effects([withStroke(linewidth=3, foreground="k")])
                axes.add_patch(circle)
                label = ""
    axes.legend(loc="lower left", fontsize=8, framealpha=0.8)
    return "; circles: harmonics of the stripes"


def _light(axes: Axes, report: Report) -> None:
    """Brightness of each frame, in the colours of the angles where the order is known."""
    numbers = range(1, len(report.frame_brightness) + 1)
    axes.set_axis_on()
    axes.bar(numbers, report.frame_brightness, color=_colours(report))
    axes.axhline(1.0, color="k", lw=0.6)
    axes.set_xlim(0.4, len(numbers) + 0.6)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set(xlabel="frame, in the order of the file", ylabel="mean light, mean of all frames = 1")
    axes.set_title("brightness above the offset", fontsize=10)


def _colours(report: Report) -> list[str]:
    frames = len(report.frame_brightness)
    if report.order is None or report.angles is None or report.phases is None:
        return [UNDECIDED] * frames
    by_angle = report.order == "angle-major"
    angles = (each // report.phases if by_angle else each % report.angles for each in range(frames))
    return [COLOURS[angle % len(COLOURS)] for angle in angles]


def _told(axes: Axes, report: Report) -> None:
    # "3 x 5" stays on one line.
    lines = [
        fill(
            line.replace(" x ", "\u00a0x\u00a0"),
            TEXT_WIDTH,
            subsequent_indent=" " * 12,
            break_on_hyphens=False,
        )
        for line in report.lines()
    ]
    size = min(9.5, 420 / max(1, sum(line.count("\n") + 1 for line in lines)))
    # A file's name may hold dollar signs, which would start a formula.
    text = "\n".join(lines).replace("$", r"\$")
    axes.text(0, 1, text, family="monospace", fontsize=size, va="top", transform=axes.transAxes)
