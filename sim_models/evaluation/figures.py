"""Figures of a study as SVG to stand inside a page: its text is text, its ink the colour of the page's."""

import math
import re
from collections.abc import Mapping, Sequence
from html import escape
from io import StringIO
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from sim_models.evaluation.intervals import Estimate
from sim_models.evaluation.panels import TITLES

INK = "#1b1d1f"
"""stands for the colour of the page's text, whichever that is"""
ARMS = {"direct": "#8b8f96", "finetune": "#e0791b", "finetune_equal": "#b565a7", "scratch": "#3d8fc6"}
"""colours that are told apart on light and dark ground, and by the colour-blind"""
BESIDE = {"direct": (8, -4), "finetune": (0, -17), "finetune_equal": (0, 8), "scratch": (8, -10)}
"""where the name of an arm stands beside its dot, in points: two that cost alike may be as good"""
DASHED = (0, (5, 3))
QUALITY = LinearSegmentedColormap.from_list("quality", mpl.colormaps["viridis"](np.linspace(0.12, 0.95, 64)))

WIDTH_IN = 5.6
STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "sim-models",  # otherwise ids are drawn at random and no two pages are equal
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
}


class Size(NamedTuple):
    """An arm trained with so many cells, over its seeds."""

    arm: str
    cells: int
    mean: float
    """dB, as are `low` and `high`, the worst and the best seed"""
    low: float
    high: float


class Mark(NamedTuple):
    """A number of training cells that means something."""

    arm: str
    cells: int
    said: str


class Offer(NamedTuple):
    """What an arm costs, and how far it is from the best on the validation cells."""

    arm: str
    tflop: float
    mean: float
    """dB, arm minus best"""
    low: float | None
    high: float | None


class Curve(NamedTuple):
    """One training: an arm with one seed."""

    arm: str
    points: tuple[tuple[int, float], ...]
    """(step, validation PSNR in dB)"""


class Goal(NamedTuple):
    """What training from scratch comes to, and when fine-tuning is there."""

    psnr: float
    """dB"""
    reached: float | None
    """step of the fine-tune, if it gets there"""
    scratch: float
    """step of training from scratch"""


@mpl.rc_context(STYLE)
def training_curve(curve: pd.DataFrame) -> str:
    """Validation PSNR by optimiser step, of one training from scratch: columns step, val_psnr (dB)."""
    figure, axes = _figure(3.3)
    axes.plot(
        curve["step"], curve["val_psnr"], color=ARMS["scratch"], linewidth=1.8, marker="o", markersize=3
    )
    axes.set_xlim(0, None)
    axes.set_xlabel("optimiser steps")
    axes.set_ylabel("validation PSNR (dB)")
    _grid(axes, "y")
    return _svg(figure, "Validation PSNR by optimiser step")


@mpl.rc_context(STYLE)
def learning_curves(sizes: Sequence[Size], direct_psnr: float, marks: Sequence[Mark]) -> str:
    """Validation PSNR by the number of training cells, with a band from the worst to the best seed.

    Args:
        sizes: every arm with every number of cells, rising.
        direct_psnr: of the source as it is (dB), a level line.
        marks: numbers of cells to point at.
    """
    figure, axes = _figure(3.5)
    ends = {}
    for arm in dict.fromkeys(size.arm for size in sizes):
        own = [size for size in sizes if size.arm == arm]
        cells = [size.cells for size in own]
        axes.fill_between(
            cells, [size.low for size in own], [size.high for size in own], color=ARMS[arm], alpha=0.25, lw=0
        )
        axes.plot(
            cells, [size.mean for size in own], color=ARMS[arm], linewidth=1.8, marker="o", markersize=4
        )
        ends[arm] = (float(cells[-1]), own[-1].mean)
    every = sorted({size.cells for size in sizes})
    axes.plot([every[0], every[-1]], [direct_psnr] * 2, color=ARMS["direct"], linewidth=1.5, linestyle=DASHED)
    ends["direct"] = (float(every[-1]), direct_psnr)
    axes.margins(y=0.1)
    _label_ends(axes, ends)
    for place, mark in enumerate(marks):
        _draw_mark(axes, place, mark, sizes)
    axes.set_xscale("log")
    axes.set_xticks(every, [f"{cells}" for cells in every])
    axes.minorticks_off()
    axes.set_xlim(every[0] * 0.9, every[-1] * max(1.2, (every[-1] / every[0]) ** 0.3))
    axes.set_xlabel("cells to learn from")
    axes.set_ylabel("validation PSNR (dB)")
    _grid(axes, "y")
    if marks:
        figure.legend(loc="outside upper left", handletextpad=0.4)
    return _svg(figure, "Validation PSNR by the number of training cells")


@mpl.rc_context(STYLE)
def quality_and_cost(offers: Sequence[Offer], margin_db: float) -> str:
    """How far each arm is from the best, by what it costs; the shaded band is what a saving may cost.

    The scale is linear within twice the margin and logarithmic beyond, so that an arm that is far off hides nothing.
    """
    figure, axes = _figure(3.5)
    axes.set_yscale("symlog", linthresh=max(2 * margin_db, 0.02), linscale=1.2)
    axes.axhspan(-margin_db, 0, color=ARMS["finetune"], alpha=0.15, lw=0)
    axes.axhline(0, color=INK, linewidth=0.8)
    free = min((offer.tflop for offer in offers if offer.tflop > 0), default=1.0) / 5
    for offer in offers:
        _draw_offer(axes, offer, max(offer.tflop, free))
    _fit_differences(axes, offers, margin_db)
    axes.set_xscale("log")
    _fit_costs(axes, [offer.tflop for offer in offers], free)
    axes.set_xlabel("compute of one training (TFLOP)")
    axes.set_ylabel("PSNR minus the best arm (dB)")
    _grid(axes, "y")
    return _svg(figure, "Validation PSNR of each arm minus the best, by compute")


@mpl.rc_context(STYLE)
def time_to_quality(curves: Sequence[Curve], direct_psnr: float, goal: Goal) -> str:
    """Validation PSNR by optimiser step, and when fine-tuning is as good as training from scratch in the end."""
    figure, axes = _figure(3.5)
    last = max(step for curve in curves for step, _ in curve.points)
    first = min(step for curve in curves for step, _ in curve.points if step > 0)
    ends = {}
    for curve in curves:
        points = [(step, psnr) for step, psnr in curve.points if step > 0]
        steps, psnrs = zip(*points, strict=True)
        axes.plot(steps, psnrs, color=ARMS[curve.arm], linewidth=1.2, alpha=0.8, marker="o", markersize=2)
        ends[curve.arm] = (float(steps[-1]), float(psnrs[-1]))
    axes.plot([first, last], [direct_psnr] * 2, color=ARMS["direct"], linewidth=1.5, linestyle=DASHED)
    axes.plot([first, last], [goal.psnr] * 2, color=ARMS["scratch"], linewidth=1, alpha=0.6)
    _hide_the_start(axes, [direct_psnr, goal.psnr])
    _label_ends(axes, {**ends, "direct": (last, direct_psnr)})
    axes.set_xscale("log")
    for arm, step in (("finetune", goal.reached), ("scratch", goal.scratch)):
        if step is not None:
            axes.axvline(step, color=ARMS[arm], linewidth=1, alpha=0.6)
            axes.text(
                step, 1.01, f"step {step:.0f}", transform=axes.get_xaxis_transform(), ha="center", va="bottom"
            )
    axes.set_xlim(first * 0.9, last * max(1.3, (last / first) ** 0.3))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda step, _: f"{step:g}"))
    axes.set_xlabel("optimiser steps")
    axes.set_ylabel("validation PSNR (dB)")
    _grid(axes, "y")
    return _svg(figure, "Validation PSNR of fine-tuning and of training from scratch by optimiser step")


@mpl.rc_context(STYLE)
def paired_differences(
    fields: Mapping[str, pd.DataFrame], estimates: Mapping[str, Estimate], arm: str, levels: Sequence[str]
) -> str:
    """How much better `arm` restored each test field than each other arm did.

    Args:
        fields: other arm -> columns cell, level, value (dB).
        estimates: other arm -> mean and interval over cells (dB).
        arm: that the others are subtracted from.
        levels: light levels from low to high.
    """
    figure, axes = _figure(0.85 * len(fields) + 0.9)
    shades = dict(zip(levels, QUALITY(np.linspace(0.2, 0.9, len(levels))), strict=True))
    axes.axvline(0, color=INK, linewidth=1)
    for row, (other, differences) in enumerate(fields.items()):
        for place, level in enumerate(levels):
            values = differences.loc[differences["level"] == level, "value"]
            heights = np.full(len(values), row + 0.16 * (place + 0.2))
            label = f"{level} light, a dot per field" if row == 0 else None
            axes.scatter(
                values, heights, s=34, color=shades[level], edgecolor=INK, linewidth=0.5, label=label
            )
        _draw_estimate(axes, row - 0.16, estimates[other])
    axes.set_yticks(range(len(fields)), [f"minus {TITLES[other]}" for other in fields])
    axes.set_ylim(len(fields) - 0.3, -0.5)
    axes.margins(x=0.08)
    axes.set_xlabel(f"PSNR: {TITLES[arm]} minus the other (dB)")
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    _grid(axes, "x")
    figure.legend(loc="outside upper center", ncols=len(levels), handletextpad=0.2, columnspacing=1.2)
    return _svg(figure, f"Difference in PSNR of {TITLES[arm]} to the other arms, per test field")


def _figure(height_in: float) -> tuple[Figure, Any]:
    figure = Figure(figsize=(WIDTH_IN, height_in), layout="constrained", facecolor="none")
    return figure, figure.subplots(subplot_kw={"facecolor": "none"})


def _hide_the_start(axes: Any, levels: Sequence[float]) -> None:
    """A network that has just begun is far below all that is compared, and would take most of the height."""
    low, high = axes.get_ylim()
    axes.set_ylim(max(low, min(levels) - max(high - min(levels), 0.5)), high)


def _draw_mark(axes: Any, place: int, mark: Mark, sizes: Sequence[Size]) -> None:
    """A ring around a point of a curve; what it means stands above the figure."""
    height = next(size.mean for size in sizes if (size.arm, size.cells) == (mark.arm, mark.cells))
    axes.plot(
        mark.cells,
        height,
        linestyle="none",
        marker="osD"[place % 3],
        markersize=11 + 3 * (place % 3),
        markerfacecolor="none",
        markeredgecolor=ARMS[mark.arm],
        markeredgewidth=1.6,
        label=mark.said,
    )


def _draw_offer(axes: Any, offer: Offer, tflop: float) -> None:
    if offer.low is not None and offer.high is not None:
        axes.plot([tflop, tflop], [offer.low, offer.high], color=ARMS[offer.arm], linewidth=2.5)
    axes.plot(tflop, offer.mean, marker="o", markersize=8, color=ARMS[offer.arm])
    axes.annotate(
        TITLES[offer.arm],
        (tflop, offer.mean),
        xytext=BESIDE[offer.arm],
        textcoords="offset points",
        ha="left" if BESIDE[offer.arm][0] else "center",
        color=ARMS[offer.arm],
        weight="bold",
    )


def _fit_costs(axes: Any, tflops: Sequence[float], free: float) -> None:
    """Powers of ten, and the place of what costs nothing."""
    dearest = max(*tflops, free)
    powers = range(math.floor(math.log10(2 * free)), math.ceil(math.log10(dearest)) + 1)
    ticks = [10.0**power for power in powers if 2 * free < 10.0**power <= 4 * dearest]
    axes.set_xlim(free / 2, 4 * dearest)
    axes.set_xticks([free, *ticks], ["none", *(f"{tick:g}" for tick in ticks)])
    axes.minorticks_off()


def _fit_differences(axes: Any, offers: Sequence[Offer], margin_db: float) -> None:
    """Limits and few, plain ticks of a scale that is linear in the middle."""
    heights = [
        height for offer in offers for height in (offer.mean, offer.low, offer.high) if height is not None
    ]
    low, high = min(*heights, -2 * margin_db), max(*heights, margin_db)
    axes.set_ylim(2 * low, 1.5 * high)
    ticks = {0.0, -margin_db, margin_db, -2 * margin_db, *(-(10.0**power) for power in range(-1, 3))}
    kept = sorted(tick for tick in ticks if 2 * low <= tick <= 1.5 * high)
    axes.set_yticks(kept, [f"{tick:+g}".replace("-", "−") if tick else "0" for tick in kept])


def _label_ends(axes: Any, ends: Mapping[str, tuple[float, float]]) -> None:
    """The name of each arm where its curve ends, pushed up where two would overlap."""
    low, high = axes.get_ylim()
    height = -np.inf
    for arm, (step, psnr) in sorted(ends.items(), key=lambda end: end[1][1]):
        height = max(psnr, height + 0.07 * (high - low))
        offset = {"xytext": (6, 0), "textcoords": "offset points", "va": "center"}
        axes.annotate(TITLES[arm], (step, height), color=ARMS[arm], weight="bold", **offset)


def _draw_estimate(axes: Any, height: float, estimate: Estimate) -> None:
    if estimate.low is not None and estimate.high is not None:
        axes.plot(
            [estimate.low, estimate.high], [height, height], color=INK, linewidth=2.5, solid_capstyle="butt"
        )
    axes.plot(estimate.mean, height, marker="D", markersize=7, color=INK)
    axes.annotate(
        f"{estimate.mean:+.2f} dB".replace("-", "−"),
        (estimate.mean, height),
        xytext=(0, 7),
        textcoords="offset points",
        ha="center",
        weight="bold",
    )


def _grid(axes: Any, axis: str) -> None:
    axes.grid(axis=axis, color=INK, alpha=0.15, linewidth=0.7)
    axes.set_axisbelow(True)


def _svg(figure: Figure, label: str) -> str:
    """The figure as one SVG element. Ids of groups go: nothing points at them, and figures share them."""
    written = StringIO()
    figure.savefig(written, format="svg", metadata={"Date": None, "Creator": None})
    svg = written.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"\s*<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<g id="[^"]+"', "<g", svg).replace(INK, "currentColor")
    return svg.replace("<svg ", f'<svg role="img" aria-label="{escape(label)}" ', 1)
