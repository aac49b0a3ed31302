"""The definition of a person's own dataset: from what they say and what their stacks show."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.datasets.examining import Found
from pipelines.datasets.gathering import Gathered
from pipelines.datasets.stating import OWN, Options, camera_of
from sim_models.config import BadInput, parse
from sim_models.datasets.definition import Definition
from sim_models.sources.split import FEWEST_CELLS, PARTS, Part, Split, SplitSettings, split_by_cell

STATED = "stated by who added the stacks"
"""where a licence was read"""

SAME = 1e-3
"""relative difference between two lengths that are one, stored by two programs"""


def described(options: Options, found: Found, gathered: Gathered, cells: Sequence[str]) -> Definition:
    """The definition of a dataset of `cells`.

    Raises:
        BadInput: if something that was stated makes no sense.
    """
    known, own = options.known, options.licence == OWN
    parts = None if len(cells) < FEWEST_CELLS else split_by_cell(cells, options.split, options.name)
    values: dict[str, Any] = {
        "name": options.name,
        "title": f"{options.seen}: stacks added by sim-models data add",
        "origin": "own" if own else "unstated" if options.licence is None else "public",
        "structures": {options.seen: len(cells)},
        "licence": None if own else options.licence,
        "licence_from": None if own or options.licence is None else STATED,
        "layout": {"name": "level_folders"},
        "raw": _raw(found),
        "storage": {"rows": "top-down", "transposed": False, "time": "one"},
        "targets": {
            "scale": 2 if gathered.references else None,
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
            "camera": camera_of(options),
        },
        "splits": {},
        "parts": None if parts is None else parts.model_dump(mode="json"),
        "files": [],
        "notes": [],
        **dict.fromkeys(("cells", "doi", "url", "cite")),
    }
    return parse(Definition, values, f"definition of {options.name}")


def extended(
    earlier: Definition, new: Definition, cells: Sequence[str], options: Options, file: Path
) -> Definition:
    """An earlier definition with more cells; all else that stands in it stays.

    Args:
        earlier: of what is there.
        new: of the new cells alone.
        cells: their names.
        options: what a person says of them.
        file: the earlier definition, for messages.

    Raises:
        BadInput: if the new cells are of another kind.
    """
    _refuse_other_kind(new, earlier, file)
    (structure, count), *_ = earlier.structures.items()
    parts = None if earlier.parts is None else _dealt(cells, options.split, earlier.parts)
    changes: dict[str, Any] = {
        "structures": {structure: None if count is None else count + len(cells)},
        "parts": parts,
    }
    return licensed(earlier, options, file).model_copy(update=changes)


def licensed(earlier: Definition, options: Options, file: Path) -> Definition:
    """An earlier definition with the licence that is stated now, if none was before.

    Raises:
        BadInput: if it has another.
    """
    own = options.licence == OWN
    origin, licence = ("own", None) if own else ("public", options.licence)
    said = options.licence is not None
    if said and (earlier.licence, earlier.origin) == (None, "unstated"):
        stated = None if own else STATED
        return earlier.model_copy(update={"origin": origin, "licence": licence, "licence_from": stated})
    if said and (earlier.licence, earlier.origin) != (licence, origin):
        before = earlier.licence or OWN
        raise BadInput(
            f"{file}: is under the licence {before}, but --licence is {options.licence}; a dataset has one licence, so "
            "add these stacks as another, or mend it there if it was wrong"
        )
    return earlier


def _raw(found: Found) -> Mapping[str, Any]:
    facts = ("angles", "phases", "rows", "columns", "dtype")
    return {
        **{fact: getattr(found, fact) for fact in facts},
        "order": str(found.order),
        "time_points": 1,
        "sections": 1,
    }


def _dealt(cells: Sequence[str], split: SplitSettings, earlier: Split) -> Split:
    """New cells are dealt to the part that lacks most; one that is there stays where it is, since a test cell that
    became one to learn from would flatter every later model."""
    parts = {part: list(earlier.cells(part)) for part in PARTS}
    shares: dict[Part, float] = {"train": 1 - split.val - split.test, "val": split.val, "test": split.test}
    for cell in np.random.default_rng(split.seed).permutation(sorted(cells)):
        total = 1 + sum(len(names) for names in parts.values())
        lacking = max(PARTS, key=lambda part: shares[part] * total - len(parts[part]))
        parts[lacking].append(str(cell))
    return Split(**{part: tuple(sorted(names)) for part, names in parts.items()})


def _refuse_other_kind(new: Definition, earlier: Definition, path: Path) -> None:
    """Refuse stacks that are not like those that are there, saying in what they differ."""
    if list(new.structures) != list(earlier.structures):
        raise BadInput(
            f"{path}: is of {', '.join(earlier.structures)}, but the new stacks of {', '.join(new.structures)}; add "
            "them as another dataset"
        )
    for room in ("raw", "optics"):
        for key, ours in getattr(new, room):
            theirs = getattr(getattr(earlier, room), key)
            if not _alike(ours, theirs):
                raise BadInput(
                    f"{path}: its {room}.{key} is {_short(theirs)}, but that of the new stacks {_short(ours)}; state "
                    "the same as before, or add them as another dataset"
                )


def _alike(ours: object, theirs: object) -> bool:
    """Whether a fact of new stacks is that of earlier ones; what is not known of the new is no contradiction."""
    if isinstance(ours, float) and isinstance(theirs, float):
        return math.isclose(ours, theirs, rel_tol=SAME)
    return ours is None or ours == theirs


def _short(value: object) -> str:
    return str(value.model_dump(mode="json") if hasattr(value, "model_dump") else value)[:160]


def needed(definition: Definition) -> list[str]:
    """What must be known before the dataset can be used, and is not."""
    optics = definition.optics
    facts = {
        "optics.numerical_aperture (--na)": optics.numerical_aperture,
        "optics.emission_um (--emission-um)": optics.emission_um,
    }
    return [name for name, value in facts.items() if value is None]
