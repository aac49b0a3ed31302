"""Prepared fields: checked, in one unit, with their split; what every later stage reads.

<folder>/<cell>/<level>/<role>.ome.tif
<folder>/split.json
<folder>/upstream/                 where `synthetic` was derived: the restorer whose images it was made from
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from sim_models.config import BadInput, Settings, parse
from sim_models.field import AXES, Field, Role
from sim_models.sources import ome_fields
from sim_models.sources.split import Part, Split

SPLIT = "split.json"
UPSTREAM = "upstream"


SOME: frozenset[Role] = frozenset({"raw_clean", "volume_clean"})
"""roles that not every field needs to have: the brightest level is what they are made of"""


class _Record(Settings):
    """What `split.json` holds."""

    structure: str
    sha256: str
    cells: Split
    full_modulation: bool | None = None
    """of the stripes of derived frames; None where there are none"""


@dataclass(frozen=True)
class Prepared:
    """A folder of prepared fields of one structure."""

    folder: Path
    structure: str
    split: Split
    full_modulation: bool | None
    """whether the stripes of the role `synthetic` are as deep as can be; None where nothing is derived"""

    @staticmethod
    def open(folder: Path) -> "Prepared":
        """Open a folder that `prepare` wrote.

        Raises:
            BadInput: if it is not there or was written only in part.
        """
        try:
            values = json.loads((folder / SPLIT).read_text())
        except (OSError, ValueError):
            raise BadInput(f"{folder / SPLIT}: not found or damaged; run the stage `prepare` again") from None
        record = parse(_Record, values, str(folder / SPLIT))
        if record.cells.hash != record.sha256:
            raise BadInput(
                f"{folder / SPLIT}: its hash does not fit its cells; it was edited by hand, run `prepare` again"
            )
        return Prepared(folder, record.structure, record.cells, record.full_modulation)

    @staticmethod
    def seal(folder: Path, structure: str, split: Split, full_modulation: bool | None = None) -> None:
        """Write the split beside the fields; the last thing `prepare` and `derive` do."""
        record = _Record(structure=structure, sha256=split.hash, cells=split, full_modulation=full_modulation)
        (folder / SPLIT).write_text(record.model_dump_json(indent=2) + "\n")

    @property
    def upstream(self) -> Path | None:
        """The restorer whose images the role `synthetic` was made from."""
        return self.folder / UPSTREAM if (self.folder / UPSTREAM).is_dir() else None

    def fields(self, part: Part, limit_bytes: float = math.inf) -> list[Field]:
        """The fields of one part, in order of cell and level; those of other parts are not even opened.

        Images are held in memory up to `limit_bytes` together; those of the fields after that are read and checked
        once, and then anew whenever one is asked for.
        """
        found, held = [], 0
        for field in ome_fields.fields(self.folder, self.split.cells(part)):
            held += sum(image.nbytes for image in field.images.values())
            found.append(field if held <= limit_bytes else ome_fields.let_go(self.folder, field))
        return found

    def roles(self, parts: Sequence[Part]) -> set[Role]:
        """The images that every field of these parts has, of `SOME` one field of each; no file is opened."""
        found = [self._names(part) for part in parts]
        return {
            role
            for role in AXES
            if all((any if role in SOME else all)(role in names for names in of) for of in found)
        }

    def towards(self, target: str) -> "Prepared":
        """The same, of the training cells only those that have a target of `SOME`; no file is opened."""
        if target not in SOME:
            return self
        file = f"{target}{ome_fields.SUFFIX}"
        able = tuple(cell for cell in self.split.train if any((self.folder / cell).glob(f"*/{file}")))
        return replace(self, split=self.split.model_copy(update={"train": able}))

    def _names(self, part: Part) -> list[set[str]]:
        """Of the images of each field."""
        homes = [
            home
            for cell in self.split.cells(part)
            for home in (self.folder / cell).glob("*")
            if home.is_dir()
        ]
        return [{file.name.removesuffix(ome_fields.SUFFIX) for file in home.glob("*")} for home in homes]

    def light(self, fields: Sequence[Field]) -> dict[str, float]:
        """Light of each level: mean over its fields of the 99.9 percentile of the wide-field, in their unit."""
        levels = sorted({field.level for field in fields})
        return {level: _mean_light([field for field in fields if field.level == level]) for level in levels}

    @property
    def levels(self) -> list[str]:
        """Light levels from low to high, as the validation cells show them."""
        light = self.light(self.fields("val"))
        return sorted(light, key=light.__getitem__)


def _mean_light(fields: Sequence[Field]) -> float:
    return float(np.mean([np.percentile(field.image("widefield"), 99.9) for field in fields]))
