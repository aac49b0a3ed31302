"""How the images of a study were taken: simulated by `params.yaml`, or as the prepared stacks of a dataset show."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.shared.brought import what_was_brought
from pipelines.shared.params import Params
from pipelines.shared.stage import DATA
from sim_models.field import Field, Microscope
from sim_models.sources.listing import MOST_NAMED
from sim_models.sources.prepared import Prepared


@dataclass(frozen=True)
class Setup:
    """One microscope with its stripes and its light, in words."""

    of: tuple[str, ...]
    """structures or datasets"""
    facts: dict[str, str]


def setups(params: Params, structures: Iterable[str]) -> list[Setup]:
    """Of everything that a study learns from or judges by; what was simulated has one in common."""
    used = list(dict.fromkeys(params.under(each) for each in structures))
    simulated = tuple(each for each in used if each not in params.datasets)
    taken = [
        Setup((each,), _taken(Prepared.open(DATA / "fields" / each)))
        for each in used
        if each in params.datasets
    ]
    return [Setup(simulated, _simulated(params)), *taken] if simulated else taken


def _simulated(params: Params) -> dict[str, str]:
    optics = params.acquisition
    levels = dict(sorted(optics.levels.items(), key=lambda level: level[1]))
    return {
        "Microscope": f"{_microscope(optics.microscope)} (simulated)",
        "Stripes": (
            f"{optics.angles} angles × {optics.phases} phases, spacing {1000 * optics.spacing_um:.0f} nm, modulation "
            f"{', '.join(map(str, optics.modulation))}, with small errors in angle, phase and modulation"
        ),
        "Light": _light(levels, "photo-electrons"),
        "Field": _field(optics.field_px, optics.microscope, optics.scale),
    }


def _taken(prepared: Prepared) -> dict[str, str]:
    """As its training cells show it; the test cells stay closed."""
    fields = prepared.fields("train", limit_bytes=0)  # only few facts of many images are wanted
    first, light = fields[0], prepared.light(fields)
    unit = "photo-electrons" if first.unit == "photons" else "counts above the offset"
    rows, columns = first.image("raw").shape[-2:]
    facts = {
        "Microscope": _microscope(first.microscope),
        "Stripes": _stripes(fields),
        "Light": _light({level: light[level] for level in prepared.levels}, unit),
        "Field": _field(min(rows, columns), first.microscope, first.image("reference").shape[-1] // columns),
    }
    brought = what_was_brought(prepared.folder)
    if left_out := brought.left_out:
        more = f" and {len(left_out) - MOST_NAMED} more" if len(left_out) > MOST_NAMED else ""
        facts["Left out"] = f"{', '.join(list(left_out)[:MOST_NAMED])}{more}; scores are those of the others"
    if brought.notes:
        facts["To be known"] = "; ".join(brought.notes)
    return facts


def _microscope(microscope: Microscope) -> str:
    return (
        f"NA {microscope.numerical_aperture:g}, emission {1000 * microscope.emission_um:.0f} nm, raw pixel "
        f"{1000 * microscope.pixel_um:.0f} nm"
    )


def _light(levels: Mapping[str, float], unit: str) -> str:
    told = ", ".join(f"{level}: {light:.3g}" for level, light in levels.items())
    return f"{told} {unit} per pixel and frame in the bright parts"


def _stripes(fields: Sequence[Field]) -> str:
    known = [field.illumination for field in fields if field.illumination is not None]
    spacing = 1000 * np.array([each.spacing_um for each in known])
    depth = np.array([[angle[0] for angle in each.modulation] for each in known])
    angles, phases = fields[0].image("raw").shape[:2]
    return (
        f"{angles} angles × {phases} phases, spacing {_range(spacing, '.0f')} nm, modulation {_range(depth, '.2f')}, "
        "as the frames show"
    )


def _range(values: NDArray[np.float64], digits: str) -> str:
    low, high = (format(each, digits) for each in (values.min(), values.max()))
    return low if low == high else f"{low} to {high}"


def _field(edge_px: int, microscope: Microscope, scale: int) -> str:
    return f"{edge_px} pixels, {edge_px * microscope.pixel_um:.1f} µm wide, restored on a grid {scale} times finer"
