"""One cell as prepared fields: made, or taken over as it was made before from the same files in the same way."""

import hashlib
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

import sim_models
from pipelines.onboarding.cells import Cell
from pipelines.onboarding.reading import Reading, Unusable, fields_of
from pipelines.shared.stage import digest
from sim_models.config import Settings
from sim_models.sources import ome_fields

_HOME, _ROOMS = Path(sim_models.__file__).parent, Path(__file__).parents[1]
CODE = (
    *(_HOME / room for room in ("evaluation", "images", "optics", "sources")),
    _HOME / "field.py",
    _ROOMS / "onboarding",
    _ROOMS / "own_files" / "stacks.py",
)
"""what can change what a file is made to"""
SOURCE = "source.json"
"""beside the levels of a cell: what it was brought in from"""


class Source(Settings):
    """What a cell was brought in from, and what was said of it."""

    key: str
    """digest of its files, and of how they were read"""
    made: str
    """digest of what was written, so that nothing that was damaged since is taken over"""
    doubts: tuple[str, ...]


class Useless(Settings):
    """A cell as it was looked at in vain."""

    key: str
    """digest of its files, and of how they were read"""
    reason: str


@dataclass(frozen=True)
class Making:
    """How cells are brought in; it can be sent to processes that help."""

    structure: str
    reading: Reading
    brightest: str | None
    earlier: Path
    """where cells may lie that can be taken over"""
    folder: Path
    """that is written"""
    useless: Mapping[str, Useless]
    """what was looked at in vain before, by its key"""
    how: str
    """digest of how files are read"""

    @staticmethod
    def of(
        structure: str,
        reading: Reading,
        brightest: str | None,
        earlier: Path,
        folder: Path,
        useless: Mapping[str, Useless],
    ) -> "Making":
        """By the code as it is."""
        how = digest(repr(reading), repr(brightest), structure, *_texts(CODE))
        return Making(structure, reading, brightest, earlier, folder, useless, how)

    def __call__(self, cell: Cell) -> Source | Useless:
        """A cell in the folder, taken over or made now; or why it cannot be used."""
        key = _key(cell, self.how)
        if key in self.useless:
            return self.useless[key]
        try:
            return _taken_over(self.earlier / cell.name, self.folder / cell.name, key) or self._made(
                cell, key
            )
        except Unusable as reason:
            return Useless(key=key, reason=str(reason))

    def _made(self, cell: Cell, key: str) -> Source:
        fields, doubts = fields_of(cell, self.structure, self.reading, self.brightest)
        for field in fields:
            ome_fields.write(self.folder, field)
        source = Source(key=key, made=_written(self.folder / cell.name), doubts=doubts)
        (self.folder / cell.name / SOURCE).write_text(source.model_dump_json(indent=2) + "\n")
        return source


def _texts(code: Sequence[Path]) -> list[str | Path]:
    """Folders as they are, and what stands in single files."""
    return [each if each.is_dir() else each.read_text() for each in code]


def _written(home: Path) -> str:
    """Digest of the images of a cell that was brought in."""
    total = hashlib.sha256()
    for file in sorted(file for file in home.rglob("*") if file.is_file() and file.name != SOURCE):
        total.update(str(file.relative_to(home)).encode())
        total.update(hashlib.sha256(file.read_bytes()).digest())
    return total.hexdigest()[:16]


def _key(cell: Cell, how: str) -> str:
    """Digest of the files of a cell, and of how they are read."""
    total = hashlib.sha256(how.encode())
    for listed in (*cell.raw.values(), *cell.references.values(), *cell.clean.values()):
        total.update(repr((listed.level, listed.role, listed.plane)).encode())
        for path in (*listed.paths, *([listed.mean] if listed.mean else [])):
            below = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
            for file in below:
                total.update(file.name.encode())
                total.update(hashlib.sha256(file.read_bytes()).digest() if file.exists() else b"")
    return total.hexdigest()[:16]


def _taken_over(earlier: Path, target: Path, key: str) -> Source | None:
    """A cell as it was brought in before, if from the same; its files get a second name rather than a copy."""
    try:
        source = Source.model_validate_json((earlier / SOURCE).read_bytes())
    except (OSError, ValidationError):
        return None
    if source.key != key or source.made != _written(earlier):
        return None
    for file in sorted(file for file in earlier.rglob("*") if file.is_file()):
        twin = target / file.relative_to(earlier)
        twin.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(file, twin)
        except OSError:
            shutil.copy2(file, twin)  # no hard links here
    return source
