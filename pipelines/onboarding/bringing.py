"""Cells of a folder of others as prepared fields, whole or not at all.

Of several light levels the frames of the brightest are the clean ones of the others, unless such are given. Without
references their classical SIM takes the place of these. Then the brightest level is not learned from: its noise would
be the same in what goes in and in what should come out.

What is wrong with one cell leaves that cell out; what is wrong with how all of them are read, as a frame layout or
missing optics, refuses the folder. Cells that were brought in before, from the same files in the same way by the same
code, are taken over; what was of no use then is not looked at again.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from pipelines.onboarding.cells import Survey
from pipelines.onboarding.making import Making, Source, Useless
from pipelines.onboarding.reading import Reading, light_of
from pipelines.shared.brought import BROUGHT, Brought
from pipelines.shared.side_by_side import in_order
from pipelines.shared.stage import whole_folder
from sim_models.config import BadInput, Settings
from sim_models.sources.listing import MOST_NAMED
from sim_models.sources.prepared import Prepared
from sim_models.sources.split import FEWEST_CELLS, Split

IN_VAIN = "in_vain.json"
"""beside the cells: which were looked at and are of no use"""


class _InVain(Settings):
    """All of a folder, so that nothing is looked at twice."""

    found: tuple[Useless, ...]


def bring_in(
    files: Survey,
    structure: str,
    reading: Reading,
    deal: Callable[[Sequence[str]], Split],
    into: Path,
    told: Callable[[int, int], None],
    licence: str | None = None,
) -> Brought:
    """Write prepared fields of all cells of a folder.

    Args:
        files: the cells.
        structure: what they are called from here on.
        reading: how their files are read.
        deal: which cells are for what, given those that can be used.
        into: the folder to write; cells in it that are as they would be written are kept.
        told: hears of every cell, as (done, all).
        licence: of the data, where it is known.

    Raises:
        BadInput: if files do not go together, or fewer cells are left than a split needs.
    """
    brightest = None if files.with_clean or len(files.levels) == 1 else _brightest(files, reading)
    with whole_folder(into) as folder:
        making = Making.of(structure, reading, brightest, into, folder, _looked_at(into))
        found: dict[str, Source | Useless] = {}
        with closing(in_order(making, files.cells)) as results:
            for number, (cell, result) in enumerate(zip(files.cells, results, strict=True)):
                found[cell.name] = result
                told(number + 1, len(files.cells))
        sources = {cell: each for cell, each in found.items() if isinstance(each, Source)}
        useless = {cell: each for cell, each in found.items() if isinstance(each, Useless)}
        left_out = {cell: each.reason for cell, each in useless.items()}
        _refuse_few(files.layout.folder, list(sources), left_out)
        Prepared.seal(folder, structure, deal(list(sources)))
        doubts = {cell: each.doubts for cell, each in sources.items()}
        notes = *_of_levels(files, brightest), *_together(doubts)
        brought = Brought(left_out=left_out, notes=notes, licence=licence)
        if useless:
            in_vain = _InVain(found=tuple(useless.values()))
            (folder / IN_VAIN).write_text(in_vain.model_dump_json(indent=2) + "\n")
        (folder / BROUGHT).write_text(brought.model_dump_json(indent=2) + "\n")
    return brought


def _looked_at(into: Path) -> dict[str, Useless]:
    try:
        found = _InVain.model_validate_json((into / IN_VAIN).read_bytes()).found
    except (OSError, ValidationError):
        return {}
    return {each.key: each for each in found}


def _of_levels(files: Survey, brightest: str | None) -> Iterator[str]:
    """What was made of the brightest level, for people."""
    folder = files.layout.folder
    if files.with_references or (brightest is None and not files.with_clean):
        return
    if brightest is None:
        yield f"{folder}: has no references, so the classical SIM of its frames with much light takes their place"
        return
    yield (
        f"{folder}: has no references, so the classical SIM of its brightest level ({brightest}) is "
        f"the reference of the others; '{brightest}' itself is not learned from"
    )


def _together(doubts: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """What is doubtful about cells; said once where it is true of several."""
    cells: dict[str, list[str]] = {}
    for cell, said in doubts.items():
        for doubt in said:
            cells.setdefault(doubt, []).append(cell)
    for doubt, names in cells.items():
        more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
        yield f"{', '.join(names[:MOST_NAMED])}{more}: {doubt}"


def _brightest(files: Survey, reading: Reading) -> str:
    """The level with the most light, over all cells that can be read."""

    def light(level: str) -> float:
        means = [light_of(cell.raw[level], reading) for cell in files.cells]
        known = [mean for mean in means if mean is not None]
        return float(np.mean(known)) if known else 0.0

    return max(files.levels, key=light)


def _refuse_few(folder: Path, used: Sequence[str], left_out: Mapping[str, str]) -> None:
    if len(used) >= FEWEST_CELLS:
        return
    reasons = "; ".join(f"{cell}: {reason}" for cell, reason in list(left_out.items())[:MOST_NAMED])
    raise BadInput(
        f"{folder}: {len(used)} of {len(used) + len(left_out)} cells can be used, but train, val and test need at "
        f"least one each; add cells{f' or mend these: {reasons}' if reasons else ''}"
    )
