"""Stacks that are to be added, as the data doctor sees them: what they have in common, and which are unusable."""

import math
import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from pipelines.datasets.gathering import Gathered
from pipelines.shared.side_by_side import in_order
from sim_models.config import BadInput
from sim_models.field import FrameOrder
from sim_models.inspection import Known, Report, inspect

T = TypeVar("T")

DTYPES = ("uint8", "int16", "uint16", "float32")
"""that a definition knows"""


@dataclass(frozen=True)
class Found:
    """What all stacks have in common."""

    angles: int
    phases: int
    order: FrameOrder
    rows: int
    columns: int
    dtype: str
    pixel_um: float
    photons: tuple[float, ...]
    """of each usable stack whose camera's gain could be measured"""
    left_out: dict[str, str]
    """cell -> why it cannot be used"""
    told: tuple[str, ...]


def examine(
    gathered: Gathered,
    known: Known,
    order: FrameOrder | None,
    keep: bool,
    told: Callable[[], None],
    usual_um: float | None = None,
) -> Found:
    """Look at every raw stack.

    Args:
        gathered: the stacks.
        known: what a person says of all of them.
        order: of the frames, where a person says it; else the frames have to.
        keep: whether cells with problems are kept, if their frames can be told apart.
        told: called after every stack.
        usual_um: the raw pixel where neither a person nor a file says it.

    Raises:
        BadInput: if stacks differ in what all must have in common, or that cannot be found out.
    """
    reports: dict[str, list[Report]] = {}
    left_out: dict[str, str] = {}
    look = partial(_looked_at, known)
    with closing(in_order(look, [list(levels.values()) for levels in gathered.raw.values()])) as looks:
        for cell, seen in zip(gathered.raw, looks, strict=True):
            for _ in gathered.levels:
                told()
            if isinstance(seen, str):
                left_out[cell] = seen
                continue
            apart = all(report.angles is not None for report in seen)
            if (reason := _unusable(seen)) and not (keep and apart):
                left_out[cell] = reason
            else:
                reports[cell] = seen
    usable = [report for each in reports.values() for report in each]
    if not usable:
        reasons = "; ".join(f"{cell}: {reason}" for cell, reason in list(left_out.items())[:3])
        raise BadInput(f"none of {len(gathered.raw)} cells can be used: {reasons}")
    return _common(usable, known, order, left_out, usual_um)


def _looked_at(known: Known, levels: Sequence[Path]) -> list[Report] | str:
    """Reports on the stacks of a cell, or why they cannot be read."""
    try:
        return [inspect(path, known) for path in levels]
    except BadInput as refusal:
        return str(refusal)


def _unusable(levels: Sequence[Report]) -> str | None:
    """Why a cell cannot be learned from; stripes of one level are enough, since all levels have the same."""
    for report in levels:
        if report.problems:
            return f"{report.path}: {report.problems[0]}"
        if report.angles is None:
            return f"{report.path}: holds a single image; a raw stack has one frame per angle and phase"
    if all(report.pattern is None for report in levels):
        return f"{levels[0].path}: no stripes are found in every angle, so it has no classical SIM to compare with"
    return None


def _common(
    reports: Sequence[Report],
    known: Known,
    order: FrameOrder | None,
    left_out: dict[str, str],
    usual_um: float | None,
) -> Found:
    angles, phases = _one(reports, lambda each: (each.angles or 0, each.phases or 0), "angles and phases")
    rows, columns = _one(reports, lambda each: each.shape[-2:], "pixels")
    dtype = _one(reports, lambda each: each.dtype, "type of values")
    if dtype not in DTYPES:
        raise BadInput(
            f"{reports[0].path}: holds {dtype} values; a dataset has {', '.join(DTYPES)}, so save it as one"
        )
    sections = _one(reports, lambda each: each.sections, "stacks in a file")
    if sections != 1:
        raise BadInput(
            f"{reports[0].path}: holds {sections} stacks, as of a volume or over time; give each stack as a file"
        )
    pixel_um = known.pixel_um or _pixel(reports, usual_um)
    decided, told = _order(reports, order)
    photons = tuple(each.light_photons for each in reports if each.light_photons is not None)
    return Found(
        angles, phases, decided, rows, columns, dtype, pixel_um, photons, left_out, (told,)
    )  # fmt: skip


def _pixel(reports: Sequence[Report], usual_um: float | None) -> float:
    """The raw pixel that all files state, but for digits that programs round."""
    sizes = [(each.pixel_um or usual_um, each.path) for each in reports]
    first, one = sizes[0]
    for pixel_um, path in sizes:
        if pixel_um is None:
            raise BadInput(f"{path}: does not state its pixel size; give --pixel-um")
        if first is None or not math.isclose(pixel_um, first, rel_tol=1e-3):
            raise BadInput(
                f"{path}: differs from {one} in its pixel size ({pixel_um:g} and {first:g} um); a dataset is of one "
                "kind, so add them as two, or state --pixel-um if the files are wrong"
            )
    assert first is not None
    return first


def _one(reports: Sequence[Report], of: Callable[[Report], T], what: str) -> T:
    """What all reports have in common."""
    values = {of(report): report for report in reports}
    if len(values) > 1:
        (first, one), (second, other) = list(values.items())[:2]
        raise BadInput(
            f"{other.path}: differs from {one.path} in its {what} ({second} and {first}); a dataset is of one kind, so "
            "add them as two"
        )
    return next(iter(values))


def _order(reports: Sequence[Report], stated: FrameOrder | None) -> tuple[FrameOrder, str]:
    """The order of the frames, and how it is known."""
    votes = Counter(report.order for report in reports if report.order is not None)
    said = ", ".join(f"{count} of {len(reports)} stacks say {order}" for order, count in votes.items())
    if stated is not None:
        if votes and str(stated) not in votes:
            raise BadInput(
                f"{reports[0].path}: {said}, but {stated} is stated, or was that of cells that are there; check the "
                "stacks"
            )
        return stated, f"order of the frames: {stated} as stated ({said or 'the stripes do not tell'})"
    if not votes:
        raise BadInput("the order of the frames cannot be told from the stripes; state --order")
    if len(votes) > 1:
        odd = next(report for report in reports if report.order == votes.most_common()[-1][0])
        raise BadInput(
            f"{odd.path}: the stacks differ in the order of their frames ({said}); add them as two datasets"
        )
    return FrameOrder(next(iter(votes))), f"order of the frames: {said}"


def light(photons: Sequence[float]) -> str:
    """Typical light and its range, for people."""
    if not photons:
        return "photons not measurable"
    return f"photons about {statistics.median(photons):.0f} ({min(photons):.0f} to {max(photons):.0f})"
