"""Interactive figures of a study, by plotly: a reader points at a mark and reads what it stands for.

A figure stands in the page as numbers; `library` draws all of them, with plotly's code inside the page, so that it
works without a network. Colours that must fit a light and a dark page are named by the page's own variables.
"""

import json
from collections.abc import Hashable, Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import plotly.offline
from numpy.typing import NDArray
from plotly.subplots import make_subplots

INK, MUTED, LINE, CARD, ACCENT = (f"var(--{name})" for name in ("ink", "muted", "line", "card", "accent"))
"""variables of the page's style"""
QUALITY = "Viridis"
STARTER = """
(() => {
  const named = text => text.replaceAll(/var\\((--[a-z]+)\\)/g,
    (_, name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim());
  const draw = () => document.querySelectorAll(".plot").forEach(box => {
    const { data, layout } = JSON.parse(named(box.parentElement.querySelector("script").textContent));
    const modeBarButtons = [["zoom2d", "pan2d", "resetScale2d", "toImage"]];
    Plotly.react(box, data, layout, { responsive: true, displaylogo: false, modeBarButtons });
  });
  draw();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
})();
"""
"""draws every figure in the colours of the page, and again when these change"""


class Trial(NamedTuple):
    """One trial of a search: the stages `[start, end)` were frozen."""

    number: int
    start: int
    end: int
    label: str
    learning_rate: float
    psnr: float
    """dB, best look at the validation cells"""
    first_psnr: float
    """dB, likewise up to the first rung, to which every trial was trained"""
    steps: int
    tflop: float
    """floating-point operations of a whole fine-tune like it, in 10^12"""
    trainable: float
    """share of the parameters that were trained, 0 to 1"""
    stopped: bool
    """at a rung, for others did better there"""
    pareto: bool
    """ran to its end, and no other beats it in both quality and compute"""
    curve: tuple[tuple[int, float], ...]
    """(step, validation PSNR in dB)"""


def library() -> str:
    """What draws the figures, for the end of a page, once: 5 MB."""
    return f"<script>{plotly.offline.get_plotlyjs()}</script>\n<script>{STARTER}</script>"


def quality_and_compute(trials: Sequence[Trial]) -> str:
    """Validation PSNR by what a whole fine-tune costs, with the trials that no other beats in both."""
    figure = go.Figure()
    front = sorted((trial for trial in trials if trial.pareto), key=lambda trial: trial.tflop)
    figure.add_scatter(
        x=[trial.tflop for trial in front],
        y=[trial.psnr for trial in front],
        mode="lines",
        line={"color": ACCENT, "width": 2, "shape": "hv"},
        name="best for their cost",
        hoverinfo="skip",
    )
    for stopped, name in ((False, "ran to the end"), (True, "stopped")):
        _add_trials(figure, [trial for trial in trials if trial.stopped == stopped], name, stopped)
    figure.update_xaxes(title="compute of a whole fine-tune (TFLOP)", rangemode="tozero")
    figure.update_yaxes(title="validation PSNR (dB)")
    return _box(figure, 400, f"Quality and compute of {len(trials)} trials")


def lattice(stages: Sequence[str], trials: Sequence[Trial]) -> str:
    """Every freeze range by its first and last stage, coloured by the best PSNR at the first rung."""
    names = ["none", *stages]
    best = np.full((len(names), len(names)), np.nan)
    told = np.full(best.shape, "", dtype=object)
    for trial in sorted(trials, key=lambda trial: -trial.first_psnr):
        row, column = (0, 0) if trial.start == trial.end else (trial.end, trial.start + 1)
        best[row, column] = np.fmax(best[row, column], trial.first_psnr)
        told[row, column] += f"<br>{_said(trial)}"
    label = {(0, 0): "freezing nothing"} | {
        (end, start): f"frozen: {names[start] if start == end else f'{names[start]} to {names[end]}'}"
        for end in range(1, len(names))
        for start in range(1, end + 1)
    }
    figure = go.Figure(
        go.Heatmap(
            x=names,
            y=names,
            z=_numbers(best),
            text=[
                [
                    f"{label.get((row, column), '')}{told[row, column]}" if told[row, column] else ""
                    for column in range(len(names))
                ]
                for row in range(len(names))
            ],
            texttemplate="%{z:.1f}",
            hovertemplate="%{text}<extra></extra>",
            hoverongaps=False,
            xgap=2,
            ygap=2,
            colorscale=QUALITY,
            zmin=_floor(trials),
            zmax=max(trial.first_psnr for trial in trials),
            colorbar={"title": {"text": "dB"}, "thickness": 12, "outlinewidth": 0},
        )
    )
    figure.update_xaxes(title="first frozen stage", type="category", showgrid=False, zeroline=False)
    figure.update_yaxes(title="last frozen stage", type="category", showgrid=False, zeroline=False)
    return _box(figure, 440, "Best validation PSNR at the first rung of every freeze range that was tried")


def curves(trials: Sequence[Trial]) -> str:
    """Validation PSNR of every trial at every look: which were stopped at a rung, and which went on."""
    figure = go.Figure()
    for stopped, colour, name in ((True, MUTED, "stopped at a rung"), (False, ACCENT, "ran to the end")):
        group = [trial for trial in trials if trial.stopped == stopped]
        for place, trial in enumerate(group):
            figure.add_scatter(
                x=[step for step, _ in trial.curve],
                y=[psnr for _, psnr in trial.curve],
                mode="lines+markers",
                line={"color": colour, "width": 1 if stopped else 2.2},
                marker={"size": 4},
                opacity=0.55 if stopped else 1,
                name=name,
                legendgroup=name,
                showlegend=not place,
                hovertemplate=f"{_said(trial, whole=True)}<br>step %{{x}}: %{{y:.2f}} dB<extra></extra>",
            )
    figure.update_xaxes(title="optimiser steps", rangemode="tozero")
    figure.update_yaxes(title="validation PSNR (dB)", range=[_floor(trials), None])
    return _box(figure, 400, f"Validation PSNR of {len(trials)} trials by optimiser step")


def transfer_matrix(table: pd.DataFrame, after: str) -> str:
    """Validation PSNR of every source on every target, as it is and fine-tuned; one light level at a time.

    Args:
        table: columns source, target, own, level, direct, finetune, gain_mean, gain_low, gain_high, cells (dB); where
            a source is `own`, trained on the target, there is nothing to fine-tune.
        after: what the second panel is called.
    """
    figure = make_subplots(
        cols=2, shared_yaxes=True, horizontal_spacing=0.06, subplot_titles=("used as it is", after)
    )
    levels = list(dict.fromkeys(table["level"]))
    span = {
        "cmin": table[["direct", "finetune"]].min().min(),
        "cmax": table[["direct", "finetune"]].max().max(),
    }
    sources, targets = (list(dict.fromkeys(table[side])) for side in ("source", "target"))
    for place, level in enumerate(levels):
        shown = table[table["level"] == level]
        for column, arm in enumerate(("direct", "finetune"), 1):
            figure.add_trace(_sources_by_targets(shown, sources, targets, arm, place == 0), 1, column)
    figure.update_layout(coloraxis={"colorscale": QUALITY, **span, "colorbar": {"title": {"text": "dB"}}})
    figure.update_layout(coloraxis_colorbar={"thickness": 12, "outlinewidth": 0})
    figure.update_xaxes(title="target", type="category", showgrid=False)
    figure.update_yaxes(type="category", showgrid=False, autorange="reversed")
    figure.update_yaxes(title="source", col=1)
    if len(levels) > 1:
        figure.update_layout(updatemenus=[_chooser(levels)])
    return _box(figure, 210 + 48 * len(sources), "Validation PSNR of every source on every target", top=90)


def _add_trials(figure: go.Figure, trials: Sequence[Trial], name: str, stopped: bool) -> None:
    figure.add_scatter(
        x=[trial.tflop for trial in trials],
        y=[trial.psnr for trial in trials],
        mode="markers",
        marker={
            "size": 11,
            "symbol": "circle-open" if stopped else "circle",
            "color": MUTED if stopped else ACCENT,
            "line": {"width": 1.5},
        },
        text=[_said(trial, whole=True) for trial in trials],
        hovertemplate="%{text}<extra></extra>",
        name=name,
    )


def _sources_by_targets(
    table: pd.DataFrame, sources: Sequence[str], targets: Sequence[str], arm: str, visible: bool
) -> go.Heatmap:
    pairs = {(row["source"], row["target"]): row for row in table.to_dict("records")}
    found = [[pairs.get((source, target)) for target in targets] for source in sources]
    return go.Heatmap(
        x=list(targets),
        y=list(sources),
        z=_numbers(np.array([[row[arm] if row else np.nan for row in rows] for rows in found], float)),
        text=[[_said_of_pair(row) if row else "" for row in rows] for rows in found],
        texttemplate="%{z:.1f}",
        hovertemplate="%{y} → %{x}%{text}<extra></extra>",
        hoverongaps=False,
        xgap=2,
        ygap=2,
        coloraxis="coloraxis",
        visible=visible,
    )


def _said_of_pair(row: Mapping[Hashable, Any]) -> str:
    if row["own"]:
        return f" (trained on it)<br>as it is {row['direct']:.2f} dB on {row['cells']:.0f} validation cells"
    gain = f"{row['gain_mean']:+.2f} dB"
    if pd.notna(row["gain_low"]):
        gain += f" [{row['gain_low']:+.2f}, {row['gain_high']:+.2f}]"
    return (
        f"<br>as it is {row['direct']:.2f} dB, fine-tuned {row['finetune']:.2f} dB<br>"
        f"gain {gain} on {row['cells']:.0f} validation cells"
    )


def _chooser(levels: Sequence[str]) -> dict[str, object]:
    """Buttons that show the two panels of one light level."""
    buttons = [
        {
            "label": "all light levels" if level == "all" else f"{level} light",
            "method": "restyle",
            "args": [{"visible": [shown == level for shown in levels for _ in range(2)]}],
        }
        for level in levels
    ]
    place = {"x": 0, "xanchor": "left", "y": 1.0, "yanchor": "bottom", "pad": {"b": 34}}
    style = {"bgcolor": CARD, "bordercolor": LINE, "font": {"color": MUTED}}
    return {"type": "buttons", "direction": "right", "buttons": buttons, **place, **style}


def _said(trial: Trial, whole: bool = False) -> str:
    """A trial as it is told when pointed at."""
    end = f"stopped at step {trial.steps}" if trial.stopped else f"ran to step {trial.steps}"
    rate = f"rate {trial.learning_rate:g}"
    if not whole:
        return f"{trial.first_psnr:.2f} dB with {rate} (trial {trial.number}, {end})"
    frozen = "nothing" if trial.start == trial.end else trial.label
    return (
        f"trial {trial.number}: {frozen} frozen, {rate}<br>{trial.psnr:.2f} dB, {end}<br>"
        f"{100 * trial.trainable:.3g} % of the parameters trained, {trial.tflop:.3g} TFLOP for a whole fine-tune"
    )


def _floor(trials: Sequence[Trial]) -> float:
    """Where a scale begins: the worst tenth shares a colour, or one failure would take all of it."""
    return float(np.quantile([trial.first_psnr for trial in trials], 0.1)) - 0.1


def _numbers(values: NDArray[np.float64]) -> list[list[float | None]]:
    """Rows of numbers; None where there is none. plotly would write arrays as base64, which no reader could check."""
    return [[None if np.isnan(value) else round(float(value), 4) for value in row] for row in values]


def _box(figure: go.Figure, height: int, label: str, top: int = 64) -> str:
    """A place in the page, and the numbers that are drawn there."""
    axis = {
        "gridcolor": LINE,
        "linecolor": LINE,
        "zeroline": False,
        "automargin": True,
        "title_font_size": 13,
    }
    figure.update_layout(
        template="none",
        height=height,
        margin={"l": 60, "r": 16, "t": top, "b": 56},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"color": INK, "family": "system-ui, sans-serif", "size": 13},
        hoverlabel={"bgcolor": CARD, "bordercolor": LINE, "font": {"color": INK}, "align": "left"},
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        hovermode="closest",
        modebar={"bgcolor": "rgba(0,0,0,0)", "color": MUTED, "activecolor": INK},
    )
    figure.update_xaxes(**axis)
    figure.update_yaxes(**axis)
    drawn = json.dumps(figure.to_plotly_json(), sort_keys=True, ensure_ascii=False)
    inert = drawn.replace("<", "\\u003c")  # no text of a figure may end the script
    place = f'<div class="plot" style="height:{height}px" role="img" aria-label="{escape(label)}"></div>'
    return f'{place}<script type="application/json">{inert}</script>'
