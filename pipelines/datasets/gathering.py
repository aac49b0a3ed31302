"""What a person wants to add: which stacks and references, of which cell and light level; no file is opened."""

import glob
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines.onboarding.cells import survey
from sim_models.config import BadInput
from sim_models.sources.layouts.level_folders import REFERENCE
from sim_models.sources.layouts.level_folders import Settings as LevelFolders
from sim_models.sources.listing import MOST_NAMED, by_stem

LEVEL = "raw"
"""the light level of stacks of which there is one"""


@dataclass(frozen=True)
class Gathered:
    """Files by cell."""

    raw: Mapping[str, Mapping[str, Path]]
    """cell -> level -> file or folder of frames"""
    references: Mapping[str, Path]
    """cell -> file; empty where there are none"""

    @property
    def levels(self) -> list[str]:
        """Of every cell."""
        return list(next(iter(self.raw.values())))

    def files(self, cell: str) -> dict[str, Path]:
        """Folder in a dataset -> what lies there of a cell."""
        own = {REFERENCE: self.references[cell]} if cell in self.references else {}
        return {**self.raw[cell], **own}


def gather(folder: Path | None, raw: Sequence[str], references: Sequence[str]) -> Gathered:
    """Find stacks in a folder of light levels, or by patterns.

    Args:
        folder: with <level>/<cell>.tif and reference/<cell>.tif.
        raw: patterns of raw stacks at one light level, as `acq/*.tif`.
        references: patterns of the good images of the same cells, named as these.

    Raises:
        BadInput: if nothing is found, or files have no partner.
    """
    if (folder is None) == (not raw):
        raise BadInput(
            "give either a folder with <light level>/<cell>.tif and reference/<cell>.tif, or --raw 'acq/*.tif' with "
            "--reference 'sim/*.tif'"
        )
    if folder is not None:
        if references:
            raise BadInput(
                "--reference goes with --raw; in a folder, references lie in its folder 'reference'"
            )
        found = survey(LevelFolders(name="level_folders", folder=folder))
        stacks = {cell.name: {level: each.where for level, each in cell.raw.items()} for cell in found.cells}
        good = {cell.name: each.where for cell in found.cells for each in cell.references.values()}
        return Gathered(stacks, good)
    taken, good = _matching(raw, "--raw"), _matching(references, "--reference")
    if not good:
        raise BadInput(
            "stacks at one light level need good images of the same cells: --reference 'sim/*.tif'; or give a folder "
            "with several light levels, the brightest of which serves as such"
        )
    _refuse_without_partner(taken, good)
    return Gathered({cell: {LEVEL: path} for cell, path in taken.items()}, good)


def _matching(patterns: Sequence[str], option: str) -> dict[str, Path]:
    paths: list[Path] = []
    for pattern in patterns:
        found = [Path(name) for name in sorted(glob.glob(str(Path(pattern).expanduser()), recursive=True))]  # noqa: PTH207
        if not found:
            raise BadInput(f"{option} {pattern}: nothing is there; check the path (with quotes around a *)")
        paths += found
    return by_stem(list(dict.fromkeys(paths)))


def _refuse_without_partner(taken: Mapping[str, Path], good: Mapping[str, Path]) -> None:
    for one, other, what in ((taken, good, "reference"), (good, taken, "raw stack")):
        if missing := sorted(set(one) - set(other)):
            more = f" and {len(missing) - MOST_NAMED} more" if len(missing) > MOST_NAMED else ""
            raise BadInput(
                f"{one[missing[0]]}: has no {what} of the same name ({', '.join(missing[:MOST_NAMED])}{more}); files "
                "of one cell are named alike, so rename them or leave out what has no partner"
            )
