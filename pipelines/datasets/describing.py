"""The definition of a person's own dataset: from what they say and what their stacks show."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from pipelines.datasets.examining import Found
from pipelines.datasets.gathering import Gathered
from sim_models.config import BadInput, parse
from sim_models.datasets.definition import Definition
from sim_models.field import Camera, FrameOrder
from sim_models.inspection import Known
from sim_models.sources.split import PARTS, Part, Split, SplitSettings, split_by_cell

OWN = "own"
"""what a person says of the licence of data that are theirs"""


@dataclass(frozen=True)
class Options:
    """What a person says of their stacks."""

    name: str
    folder: Path | None
    raw: tuple[str, ...]
    references: tuple[str, ...]
    structure: str
    known: Known
    order: FrameOrder | None
    gain: float | None
    read_noise: float | None
    licence: str | None
    """SPDX, or 'own'"""
    split: SplitSettings
    into: Path
    keep: bool
    dry_run: bool


def described(
    options: Options, found: Found, gathered: Gathered, cells: Sequence[str], earlier: Definition | None
) -> Definition:
    """The definition of a dataset of `cells`, beside those of an earlier definition.

    Raises:
        BadInput: if something that was stated makes no sense.
    """
    known, own = options.known, options.licence == OWN
    parts = _dealt(cells, options.split, earlier, options.name)
    values: dict[str, Any] = {
        "name": options.name,
        "title": f"{options.structure}, own stacks",
        "origin": "own" if own else "public",
        "structures": {options.structure: sum(len(parts.cells(part)) for part in PARTS)},
        "licence": None if own else options.licence,
        "licence_from": None if own or options.licence is None else "stated by who added the stacks",
        "layout": {"name": "level_folders"},
        "raw": _raw(found),
        "storage": {"rows": "top-down", "transposed": False, "time": "one"},
        "targets": {
            "scale": 2,
            "files": {"reference": "reference"} if gathered.references else {},
            "never": [],
        },
        "levels": {"count": len(gathered.levels), "pattern": None, "noisiest": None, "photons": None},
        "optics": {
            "numerical_aperture": known.numerical_aperture,
            "refractive_index": None,
            "excitation_um": None,
            "emission_um": known.emission_um,
            "pixel_um": found.pixel_um,
            "camera": _camera(options),
        },
        "splits": {},
        "parts": parts.model_dump(mode="json"),
        "files": [],
        "notes": [],
        **dict.fromkeys(("cells", "doi", "url", "cite")),
    }
    return parse(Definition, values, f"definition of {options.name}")


def _raw(found: Found) -> Mapping[str, Any]:
    facts = ("angles", "phases", "rows", "columns", "dtype")
    return {
        **{fact: getattr(found, fact) for fact in facts},
        "order": str(found.order),
        "time_points": 1,
        "sections": 1,
    }


def _camera(options: Options) -> Mapping[str, Any] | None:
    if options.gain is None:
        return None
    if options.known.offset is None:
        raise BadInput("--gain (counts per photo-electron) needs --offset (counts of a dark frame) beside it")
    values = {"gain": options.gain, "offset": options.known.offset, "read_noise": options.read_noise or 0.0}
    return parse(Camera, values, "--gain, --offset and --read-noise").model_dump()


def _dealt(cells: Sequence[str], split: SplitSettings, earlier: Definition | None, name: str) -> Split:
    """New cells are dealt to the part that lacks most; one that is there stays where it is, since a test cell that
    became one to learn from would flatter every later model."""
    if earlier is None or earlier.parts is None:
        return split_by_cell(cells, split, name)
    parts = {part: list(earlier.parts.cells(part)) for part in PARTS}
    shares: dict[Part, float] = {"train": 1 - split.val - split.test, "val": split.val, "test": split.test}
    for cell in np.random.default_rng(split.seed).permutation(sorted(cells)):
        total = 1 + sum(len(names) for names in parts.values())
        lacking = max(PARTS, key=lambda part: shares[part] * total - len(parts[part]))
        parts[lacking].append(str(cell))
    return Split(**{part: tuple(sorted(names)) for part, names in parts.items()})


def refuse_other_kind(new: Definition, earlier: Definition, path: Path) -> None:
    """Refuse stacks that are not like those that are there.

    Raises:
        BadInput: saying in what they differ.
    """
    for what in ("structures", "raw", "levels", "optics", "layout"):
        one, other = getattr(new, what), getattr(earlier, what)
        if what == "structures":
            one, other = list(one), list(other)
        if one != other:
            raise BadInput(
                f"{path}: its {what} is {_short(other)}, but that of the new stacks {_short(one)}; state the same as "
                "before, or add them as another dataset"
            )


def _short(value: object) -> str:
    return str(value.model_dump(mode="json") if hasattr(value, "model_dump") else value)[:160]


def as_yaml(definition: Definition) -> str:
    """A definition as a file."""
    text = yaml.safe_dump(definition.model_dump(mode="json"), sort_keys=False, width=118, allow_unicode=True)
    return f"# Written by `sim-models data add`. What is not known is null; see docs/data.md.\n{text}"


def needed(definition: Definition) -> list[str]:
    """What must be known before the dataset can be used, and is not."""
    optics = definition.optics
    facts = {
        "optics.numerical_aperture (--na)": optics.numerical_aperture,
        "optics.emission_um (--emission-um)": optics.emission_um,
    }
    return [name for name, value in facts.items() if value is None]
