"""Better than classical SIM by how much, and at what price: one panel for every structure."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from outcome import OURS, Row, Table, difference

from sim_models.evaluation.intervals import Bootstrap

LOWEST_DB = -8.0
"""differences below it are drawn there, as triangles"""
COLOURS = {"corrected": "#3d8fc6", "as published": "#3d8fc6", "ours": "#e0791b", "baseline": "#8b8f96"}


class Point(NamedTuple):
    """One model."""

    row: Row
    seconds: float
    better_db: float

    @property
    def shown_db(self) -> float:
        """Where it is drawn."""
        return max(self.better_db, LOWEST_DB)


def draw(tables: Sequence[Table], bootstrap: Bootstrap, path: Path) -> bool:
    """Write the picture; False where no table has a classical reconstruction to compare with."""
    panels = [(table.structure, found) for table in tables if (found := _points(table, bootstrap))]
    if not panels:
        return False
    figure = Figure(figsize=(9.5, 5.2 * len(panels)), layout="constrained")
    for axes, (structure, points) in zip(
        figure.subplots(len(panels), 1, squeeze=False)[:, 0], panels, strict=True
    ):
        _panel(axes, points)
        axes.set_title(structure.replace("_", " "), loc="left")
    figure.savefig(path, dpi=110)
    return True


def _points(table: Table, bootstrap: Bootstrap) -> list[Point]:
    points = []
    for row in table.rows:
        found = difference(table.scores, row.key, "reconstruction", bootstrap)
        if row.cost is not None and found is not None:
            points.append(Point(row, row.cost.seconds, found.mean))
    return points


def _panel(axes: Any, points: Sequence[Point]) -> None:
    axes.set_xscale("log")
    axes.axhline(0, color="#8b8f96", linewidth=1)
    by_title: dict[str, list[Point]] = {}
    for point in points:
        open_one = point.row.version == "as published"
        colour = COLOURS[point.row.version]
        marker = "v" if point.better_db < LOWEST_DB else "o"
        axes.plot(
            point.seconds, point.shown_db, marker, markersize=7, markeredgecolor=colour, zorder=3,
            markerfacecolor="white" if open_one else colour,
        )  # fmt: skip
        by_title.setdefault(point.row.title, []).append(point)
    for pair in by_title.values():
        if len(pair) > 1:
            places = [point.seconds for point in pair], [point.shown_db for point in pair]
            axes.plot(*places, color=COLOURS["corrected"], linewidth=0.6, alpha=0.6)
    axes.set_xlabel("seconds to restore one raw megapixel")
    axes.set_ylabel("PSNR minus that of classical SIM (dB)")
    axes.spines[["top", "right"]].set_visible(False)
    low, high = axes.get_ylim()
    axes.set_ylim(low, high)
    _label(axes, [_best_version(pair) for pair in by_title.values()], low, high)


def _best_version(pair: Sequence[Point]) -> Point:
    """The one that is named: corrected, where there is one."""
    return min(pair, key=lambda point: point.row.version == "as published")


def _label(axes: Any, points: Sequence[Point], low: float, high: float) -> None:
    """Names in a column at the right, none over another, each with a line to its point."""
    ordered = sorted(points, key=lambda point: point.shown_db)
    heights = _spread([(point.shown_db - low) / (high - low) for point in ordered])
    for point, height in zip(ordered, heights, strict=True):
        axes.annotate(
            point.row.title, xy=(point.seconds, point.shown_db), xytext=(1.04, height), textcoords="axes fraction",
            va="center", fontsize=9, fontweight="bold" if point.row.title == OURS else "normal",
            annotation_clip=False, arrowprops={"arrowstyle": "-", "linewidth": 0.4, "color": "#8b8f96"},
        )  # fmt: skip


def _spread(wanted: Sequence[float]) -> list[float]:
    """Ascending heights as near to those wanted as keeps them apart, within [0, 1]."""
    gap = min(0.055, 1 / max(len(wanted), 1))
    heights = np.array(wanted, float)
    for index in range(1, len(heights)):
        heights[index] = max(heights[index], heights[index - 1] + gap)
    top = 1.0
    for index in reversed(range(len(heights))):
        heights[index] = min(heights[index], top)
        top = heights[index] - gap
    return [float(height) for height in heights]
