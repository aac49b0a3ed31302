"""Figures of a study as SVG to stand inside a page: its text is text, its ink the colour of the page's."""

import re
from collections.abc import Mapping, Sequence
from html import escape
from io import StringIO
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter

from sim_models.evaluation.intervals import Estimate
from sim_models.evaluation.panels import TITLES

INK = "#1b1d1f"
"""stands for the colour of the page's text, whichever that is"""
ARMS = {"direct": "#8b8f96", "scratch": "#3d8fc6", "finetune": "#e0791b"}
"""colours that are told apart on light and dark ground, and by the colour-blind"""
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


class Bar(NamedTuple):
    """One trial of a freeze study: the stages `[start, end)` were frozen."""

    start: int
    end: int
    learning_rate: float
    trainable: float
    """share of the parameters that were trained, 0 to 1"""
    val_psnr: float
    """dB"""
    pruned: bool
    chosen: bool


@mpl.rc_context(STYLE)
def freeze_study(stages: Sequence[str], trials: Sequence[Bar]) -> str:
    """Stages from input to output as columns, each trial a bar over what it froze, the best on top."""
    rows = sorted(trials, key=lambda trial: trial.val_psnr, reverse=True)
    colours = _colours(trials)
    figure, axes = _figure(0.26 * len(rows) + 1.1)
    for row, trial in enumerate(rows):
        _draw_trial(axes, row, trial, len(stages), colours(trial.val_psnr))
    axes.set_xlim(-0.75, len(stages) + 2.9)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.xaxis.tick_top()
    axes.set_xticks(np.arange(len(stages)) + 0.5, stages, rotation=35, ha="left", rotation_mode="anchor")
    axes.set_yticks(range(len(rows)), [f"{trial.learning_rate:.2g}" for trial in rows])
    axes.set_ylabel("learning rate of the trial")
    axes.set_xlabel("input  →  stages of the network  →  output", loc="left")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return _svg(figure, f"Freeze study: {len(rows)} trials, best validation PSNR {rows[0].val_psnr:.2f} dB")


@mpl.rc_context(STYLE)
def quality_and_share(trials: Sequence[Bar]) -> str:
    """Validation PSNR of each trial by the share of parameters it trained."""
    colours = _colours(trials)
    figure, axes = _figure(3.1)
    for trial in trials:
        axes.plot(
            100 * trial.trainable,
            trial.val_psnr,
            marker="*" if trial.chosen else "o",
            markersize=15 if trial.chosen else 8,
            markerfacecolor="none" if trial.pruned else colours(trial.val_psnr),
            markeredgecolor=colours(trial.val_psnr) if trial.pruned else INK,
            markeredgewidth=1.5 if trial.pruned else 0.6,
        )
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda percent, _: f"{percent:g} %"))
    axes.minorticks_off()
    axes.margins(0.08, 0.12)
    axes.set_xlabel("share of the parameters that was trained")
    axes.set_ylabel("validation PSNR (dB)")
    _grid(axes, "y")
    return _svg(figure, "Validation PSNR of each trial by the share of parameters it trained")


@mpl.rc_context(STYLE)
def learning_curves(curves: pd.DataFrame, direct_psnr: float | None, passed: int | None) -> str:
    """Validation PSNR by optimiser step.

    Args:
        curves: columns arm, step, val_psnr (dB).
        direct_psnr: of the source model as it is (dB), a level line.
        passed: step at which the fine-tune reached the best of training from scratch, if it did.
    """
    figure, axes = _figure(3.3)
    last_step = int(curves["step"].max())
    ends = {}
    for arm, curve in curves.groupby("arm", sort=False):
        steps, psnrs = curve["step"], curve["val_psnr"]
        axes.plot(steps, psnrs, color=ARMS[str(arm)], linewidth=1.8, marker="o", markersize=3)
        ends[str(arm)] = (int(steps.iloc[-1]), float(psnrs.iloc[-1]))
    if direct_psnr is not None:
        axes.plot(
            [0, last_step], [direct_psnr] * 2, color=ARMS["direct"], linewidth=1.5, linestyle=(0, (5, 3))
        )
        ends["direct"] = (last_step, direct_psnr)
    _label_ends(axes, ends)
    if passed is not None:
        _mark_passing(axes, curves, passed)
    axes.set_xlim(0, 1.22 * last_step)
    axes.set_xlabel("optimiser steps")
    axes.set_ylabel("validation PSNR (dB)")
    _grid(axes, "y")
    return _svg(figure, "Validation PSNR by optimiser step")


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


def _colours(trials: Sequence[Bar]) -> Any:
    psnrs = [trial.val_psnr for trial in trials]
    scale = Normalize(min(psnrs), max(psnrs))
    return lambda psnr: QUALITY(scale(psnr))


def _draw_trial(axes: Any, row: int, trial: Bar, num_stages: int, colour: Any) -> None:
    for stage in range(num_stages):
        axes.add_patch(
            Rectangle((stage + 0.04, row - 0.36), 0.92, 0.72, fill=False, edgecolor=INK, alpha=0.22)
        )
    if trial.end > trial.start:
        width = trial.end - trial.start - 0.08
        axes.add_patch(Rectangle((trial.start + 0.04, row - 0.36), width, 0.72, **_fill(trial, colour)))
    axes.add_patch(Rectangle((num_stages + 0.3, row - 0.28), 0.4, 0.56, **_fill(trial, colour)))
    said = f"{trial.val_psnr:.2f} dB" + (", stopped" if trial.pruned else "")
    weight = "bold" if trial.chosen else "normal"
    axes.text(num_stages + 0.9, row, said, va="center", weight=weight)
    if trial.chosen:
        axes.plot(-0.4, row, marker="*", markersize=10, color=INK)


def _fill(trial: Bar, colour: Any) -> dict[str, Any]:
    if trial.pruned:
        return {"facecolor": "none", "edgecolor": colour, "hatch": "/////"}
    return {"facecolor": colour, "edgecolor": INK, "linewidth": 0.5}


def _label_ends(axes: Any, ends: Mapping[str, tuple[int, float]]) -> None:
    """The name of each arm where its curve ends, pushed up where two would overlap."""
    low, high = axes.get_ylim()
    height = -np.inf
    for arm, (step, psnr) in sorted(ends.items(), key=lambda end: end[1][1]):
        height = max(psnr, height + 0.07 * (high - low))
        offset = {"xytext": (6, 0), "textcoords": "offset points", "va": "center"}
        axes.annotate(TITLES[arm], (step, height), color=ARMS[arm], weight="bold", **offset)


def _mark_passing(axes: Any, curves: pd.DataFrame, passed: int) -> None:
    goal = curves.loc[curves["arm"] == "scratch", "val_psnr"].max()
    axes.plot([0, curves["step"].max()], [goal, goal], color=ARMS["scratch"], linewidth=1, alpha=0.5)
    axes.axvline(passed, color=ARMS["finetune"], linewidth=1, alpha=0.6)
    step_and_height = axes.get_xaxis_transform()
    axes.text(passed, 1.01, f"step {passed}", transform=step_and_height, ha="center", va="bottom")


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
