"""Where an added dataset lies, what is there already, and how new cells come there: whole, or not at all.

<into>/<name>.yaml           the definition, for git
<into>/<name>/<level>/...    copies of the stacks, for DVC
<into>/<name>.dvc            what DVC makes of these, for git
<into>/.<name>.adding/       copies under way
"""

import filecmp
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipelines.datasets.gathering import Gathered
from pipelines.shared.dvc_command import dvc, dvc_root
from sim_models import datasets
from sim_models.config import BadInput
from sim_models.datasets.definition import Definition
from sim_models.images import stem
from sim_models.sources.layouts.level_folders import REFERENCE
from sim_models.sources.listing import MOST_NAMED, inside, stacks
from sim_models.sources.split import PARTS


@dataclass(frozen=True)
class Home:
    """The place of one dataset."""

    into: Path
    name: str

    @property
    def folder(self) -> Path:
        """Its stacks."""
        return self.into / self.name

    @property
    def file(self) -> Path:
        """Its definition."""
        return self.into / f"{self.name}.yaml"

    @property
    def pointer(self) -> Path:
        """DVC's file."""
        return self.into / f"{self.name}.dvc"

    @property
    def staging(self) -> Path:
        """Copies under way."""
        return self.into / f".{self.name}.adding"

    def project(self) -> Path:
        """The folder in which DVC keeps what it knows of the project that this is in.

        Raises:
            BadInput: if files are in the way, or it is in no DVC project.
        """
        for path in (self.folder, self.into, *self.into.absolute().parents):
            if path.exists() and not path.is_dir():
                raise BadInput(f"{path}: is a file; --into takes a folder, as datasets")
        root = dvc_root(self.into)
        if root is None:
            raise BadInput(
                f"{self.into.absolute()}: is in no DVC project, which stacks are kept by; go into one, or make this "
                "folder one by: git init && dvc init"
            )
        return root / ".dvc"

    def earlier(self) -> Definition | None:
        """The definition of what is there; None for a new dataset.

        Raises:
            BadInput: if it was not added by this command, or not all of it is there.
        """
        if not self.file.exists():
            if self.pointer.exists():
                raise BadInput(
                    f"{self.pointer}: is there, but {self.file} is not; get it back from git, or choose another name"
                )
            return None
        found = datasets.read(self.file)
        if found.layout is None or found.layout["name"] != "level_folders" or len(found.structures) != 1:
            raise BadInput(
                f"{self.file}: is no dataset of one structure in level_folders, so nothing can be added to it; choose "
                "another name"
            )
        if missing := sorted(_cells(found) - self._whole()):
            more = f" and {len(missing) - MOST_NAMED} more" if len(missing) > MOST_NAMED else ""
            raise BadInput(
                f"{self.folder}: lacks {', '.join(missing[:MOST_NAMED])}{more}, which are in {self.file}; get them "
                f"first, by: dvc pull {self.pointer}"
            )
        return found

    def _whole(self) -> set[str]:
        """Cells that have a file at every level."""
        levels = self.lying().values()
        return set.intersection(*(set(cells) for cells in levels)) if levels else set()

    def lying(self) -> dict[str, dict[str, Path]]:
        """What is there: level -> cell -> file."""
        homes = [path for path in inside(self.folder) if path.is_dir()] if self.folder.is_dir() else []
        found = {home.name: {stem(path): path for path in stacks(home)} for home in homes}
        return {level: cells for level, cells in found.items() if cells}

    def new_cells(self, gathered: Gathered, earlier: Definition | None) -> list[str]:
        """Cells that are not there yet, in order of name.

        Raises:
            BadInput: if one is there with other content, or what is there has other levels.
        """
        lying = self.lying()
        if earlier is not None:
            _refuse_other_levels(gathered, lying, self.file)
        for cell in gathered.raw:
            for level, path in gathered.files(cell).items():
                before = lying.get(level, {}).get(cell)
                if before is not None and not _same(path, before):
                    raise BadInput(
                        f"{path}: {self.folder} has another {cell}; a cell is never replaced, so give this one another "
                        "name"
                    )
        if earlier is None:
            self._refuse_strangers(gathered, lying)
        known = set() if earlier is None else _cells(earlier) or self._whole()
        return sorted(set(gathered.raw) - known)

    def _refuse_strangers(self, gathered: Gathered, lying: Mapping[str, Mapping[str, Path]]) -> None:
        """Without a definition only what an add has left that was killed may be there."""
        for level, cells in lying.items():
            for cell, path in cells.items():
                if cell not in gathered.raw or level not in gathered.files(cell):
                    raise BadInput(
                        f"{path}: is there, but {self.file} is not; take {self.folder} away, or choose another name"
                    )

    @contextmanager
    def holding(self, gathered: Gathered, cells: Sequence[str]) -> Iterator[None]:
        """Copies of all files of cells; where the block fails, none of them stays."""
        shutil.rmtree(self.staging, ignore_errors=True)
        placed: list[Path] = []
        made = [path for path in (self.into, self.folder) if not path.exists()]
        try:
            for target, path in self._targets(gathered, cells):
                _copy(path, self.staging / target.relative_to(self.folder))
            for target, _ in self._targets(gathered, cells):
                if not target.parent.exists():
                    made += [path for path in (target.parent,) if path not in made]
                target.parent.mkdir(parents=True, exist_ok=True)
                (self.staging / target.relative_to(self.folder)).rename(target)
                placed.append(target)
            yield
        except BaseException:
            for target in placed:
                shutil.rmtree(target) if target.is_dir() else target.unlink()
            shutil.rmtree(self.staging, ignore_errors=True)
            _remove_empty(made)
            raise
        shutil.rmtree(self.staging, ignore_errors=True)

    def _targets(self, gathered: Gathered, cells: Sequence[str]) -> Iterator[tuple[Path, Path]]:
        """Place and file of all that is not there yet."""
        for cell in cells:
            for level, path in gathered.files(cell).items():
                target = self.folder / level / path.name
                if not target.exists():
                    yield target, path

    def put_under_dvc(self) -> str | None:
        """Tell DVC of the stacks, unless it knows them as they are; the reason where it does not take them."""
        if (
            self.pointer.exists()
            and dvc(["status", "-q", self.pointer.name], self.into, show=False).code == 0
        ):
            return None
        ended = dvc(["add", "-q", self.name], self.into, show=False)
        return ended.reason if ended.code else None


def _cells(definition: Definition) -> set[str]:
    """By name, where it says what they are for."""
    parts = definition.parts
    return set() if parts is None else {cell for part in PARTS for cell in parts.cells(part)}


def _refuse_other_levels(gathered: Gathered, lying: Mapping[str, object], file: Path) -> None:
    new = set(gathered.levels) | ({REFERENCE} if gathered.references else set())
    if new != set(lying):
        raise BadInput(
            f"{file}: has the folders {', '.join(sorted(lying))}, but new are {', '.join(sorted(new))}; every cell of "
            "a dataset has the same levels, so name them alike or add these as another dataset"
        )


def _same(one: Path, other: Path) -> bool:
    if one.is_dir() != other.is_dir():
        return False
    if not one.is_dir():
        return filecmp.cmp(one, other, shallow=False)
    names = sorted(path.relative_to(one) for path in one.rglob("*") if path.is_file())
    theirs = sorted(path.relative_to(other) for path in other.rglob("*") if path.is_file())
    return names == theirs and all(filecmp.cmp(one / name, other / name, shallow=False) for name in names)


def _copy(path: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        shutil.copytree(path, target)
    else:
        shutil.copy2(path, target)


def _remove_empty(folders: Sequence[Path]) -> None:
    for folder in sorted(folders, key=lambda path: len(path.parts), reverse=True):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
