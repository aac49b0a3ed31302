"""One page about a reconstruction: what came out, what it rests on, and what the raw frames say of it."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from sim_models.evaluation.consistency import percent
from sim_models.field import Image, Microscope
from sim_models.optics.consistency import Consistency
from sim_models.optics.estimate import Estimate
from sim_models.optics.reconstruct import Transfer

TRANSFER_BINS = 64

LARGEST_PT, LINE = 11, 1.5
"""font of the text, and the height of its lines in fonts"""

ROOM_PT = 340
"""height of a place for text: with many warnings the font is smaller"""

WIDTH_INCH = 16.5

WIDE = 2.0
"""columns for a row, from which on images get the whole width"""


@dataclass(frozen=True)
class Sheet:
    """What there is to show."""

    title: str
    widefield: Image
    """(Y, X)"""
    image: Image
    """(2 Y, 2 X)"""
    microscope: Microscope
    estimate: Estimate
    transfer: Transfer
    consistency: Consistency
    warnings: tuple[str, ...]


def save_sheet(sheet: Sheet, path: Path) -> None:
    """Wide-field, reconstruction and its spectrum above; transfer function, stripes and consistency below.

    Images of wide fields lie one below the other.
    """
    rows, columns = sheet.widefield.shape
    if columns < WIDE * rows:
        figure = Figure(figsize=(WIDTH_INCH, 11), layout="constrained")
        axes: Any = figure.subplot_mosaic([["wide", "image", "power"], ["transfer", "stripes", "check"]])
    else:
        high = WIDTH_INCH * rows / columns + 0.8
        figure = Figure(figsize=(WIDTH_INCH, 3 * high + 5), layout="constrained")
        axes = figure.subplot_mosaic(
            [["wide"] * 3, ["image"] * 3, ["check"] * 3, ["power", "transfer", "stripes"]],
            height_ratios=[high, high, high, 5],
        )
    raw_um = sheet.microscope.pixel_um
    _show(axes["wide"], sheet.widefield, "wide-field (mean of all frames)", raw_um)
    _show(axes["image"], sheet.image, "reconstruction", raw_um / 2)
    _show_spectrum(axes["power"], sheet)
    _show_transfer(axes["transfer"], sheet)
    _show_stripes(axes["stripes"], sheet)
    _show_consistency(axes["check"], sheet.consistency)
    figure.suptitle(sheet.title)
    figure.savefig(path, dpi=80, format="png", metadata={"Software": None})


def _show(axes: Any, image: Image, title: str, pixel_um: float) -> None:
    low, high = np.percentile(image, [0.5, 99.8])
    edge_um = (image.shape[1] * pixel_um, image.shape[0] * pixel_um)
    axes.imshow(
        image,
        cmap="gray",
        vmin=low,
        vmax=high,
        interpolation="nearest",
        extent=(0, edge_um[0], edge_um[1], 0),
    )
    axes.set_title(title)
    axes.set_xlabel("um")


def _show_spectrum(axes: Any, sheet: Sheet) -> None:
    """Power of the reconstruction by frequency, with the detection cutoff and the wave vectors."""
    image, pixel_um = sheet.image, sheet.microscope.pixel_um / 2
    window = np.outer(np.hanning(image.shape[0]), np.hanning(image.shape[1]))
    power = np.abs(np.fft.fftshift(np.fft.fft2((image - image.mean()) * window))) ** 2
    reach = 0.5 / pixel_um
    low, high = np.percentile(np.log10(power + power.max() * 1e-14), [20, 99.9])
    axes.imshow(
        np.log10(power + power.max() * 1e-14), cmap="magma", vmin=low, vmax=high, aspect="equal",
        extent=(-reach, reach, reach, -reach),
    )  # fmt: skip
    cutoff = sheet.estimate.otf.cutoff_per_um
    axes.add_patch(Circle((0, 0), cutoff, fill=False, edgecolor="white", linestyle="--", linewidth=1))
    for number, angle in enumerate(sheet.estimate.angles, start=1):
        x, y = math.cos(angle.angle_rad) / angle.spacing_um, math.sin(angle.angle_rad) / angle.spacing_um
        axes.plot([x, -x], [y, -y], "+", color=f"C{number - 1}", markersize=10, markeredgewidth=2)
    axes.set_title("spectrum (dashed: detection cutoff, crosses: stripes)")
    axes.set_xlabel("cycles per um")


def _show_transfer(axes: Any, sheet: Sheet) -> None:
    frequency, value = sheet.transfer.radial(TRANSFER_BINS)
    axes.plot(frequency.numpy(), value.numpy(), color="C1", label="reconstruction (mean over directions)")
    otf = sheet.estimate.otf(frequency.float() / math.sqrt(2), frequency.float() / math.sqrt(2))
    axes.plot(
        frequency.numpy(),
        otf.numpy(),
        color="C0",
        label=f"objective (attenuation {sheet.estimate.otf.attenuation:.2f})",
    )
    axes.axvline(sheet.estimate.otf.cutoff_per_um, color="0.5", linestyle="--", linewidth=1)
    axes.set_ylim(-0.02, 1.1)
    axes.set_xlim(0, float(frequency[-1]))
    axes.set_xlabel("cycles per um")
    axes.legend(loc="upper right")
    axes.set_title("transfer functions")


def _show_stripes(axes: Any, sheet: Sheet) -> None:
    axes.set_axis_off()
    axes.set_title("stripes, with one standard deviation")
    lines = []
    for number, angle in enumerate(sheet.estimate.angles, start=1):
        depths = ", ".join(
            f"{depth:.2f} ± {sigma:.2f}"
            for depth, sigma in zip(angle.modulation, angle.modulation_sigma, strict=True)
        )
        lines.append(
            f"angle {number}: {1000 * angle.spacing_um:.2f} ± {1000 * angle.spacing_sigma_um:.2f} nm, "
            f"{math.degrees(angle.angle_rad) % 180:.2f} ± {math.degrees(angle.angle_sigma_rad):.2f} degrees\n"
            f"    modulation {depths}\n"
            f"    score {angle.score:.0f}, {angle.limit:.0f} needed; found {angle.found}"
        )
    steps = "even" if sheet.estimate.equal_steps else "uneven, as measured"
    lines.append(f"phase steps: {steps}")
    if any(sheet.estimate.haze):
        lines.append(
            f"haze: {100 * sheet.estimate.haze[0]:.0f} % of the wide-field at the lowest frequencies"
        )
    lines += [f"\nwarning: {_wrapped(warning)}" for warning in sheet.warnings]
    text = "\n".join(lines)
    size = min(LARGEST_PT, ROOM_PT / LINE / (text.count("\n") + 1))
    axes.text(0, 0.98, text, va="top", fontsize=size, linespacing=LINE)


def _wrapped(text: str) -> str:
    lines, line = [], ""
    for word in text.split():
        if len(line) + len(word) > 64:
            lines.append(line)
            line = ""
        line = f"{line} {word}".strip()
    return "\n    ".join([*lines, line])


def _show_consistency(axes: Any, found: Consistency) -> None:
    share = 100 * float(found.flagged.float().mean())
    score = found.score_map.numpy()
    axes.imshow(score, cmap="PuOr", vmin=-found.limit, vmax=found.limit, interpolation="nearest")
    axes.set_axis_off()
    axes.set_title(
        f"raw frames against the image: {percent(share)} % contradicted\n"
        f"(orange: light missing, purple: too much, full at {found.limit:.1f} sigma)\n"
        f"chi-squared {found.chi2_reduced:.2f}, 1 expected",
        fontsize=10,
    )
