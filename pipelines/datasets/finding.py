"""Datasets by what a person calls them: the one door to public ones and to their own.

A name is that of a public dataset, or of a definition `NAME.yaml` in the folder of one's own, where its images lie
beside it in `NAME`; else it is the path of a definition. The name of a public dataset means that one, whatever else is
there.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sim_models import datasets
from sim_models.config import BadInput, read_yaml
from sim_models.datasets.definition import Definition

ENDINGS = (".yaml", ".yml")
TELLING = {"structures", "raw", "optics"}
"""keys of a definition, of which hardly any other file has two"""


@dataclass(frozen=True)
class Known:
    """A dataset that is described somewhere."""

    definition: Definition
    file: Path | None
    """its definition; None for a public one"""

    @property
    def called(self) -> str:
        """What it is asked for by: its path, where its name means a public one."""
        name = self.definition.name
        return str(self.file) if self.file is not None and name in datasets.names() else name

    @property
    def pointer(self) -> Path | None:
        """By which DVC knows its images, if it does."""
        path = None if self.file is None else self.file.with_suffix(".dvc")
        return path if path is not None and path.is_file() else None

    def folder(self, into: Path) -> Path:
        """Where its images lie or belong; `into` holds those that are fetched."""
        fetched = into / self.definition.name
        if self.file is None:
            return fetched
        beside = self.file.with_suffix("")
        there = (place for place in (beside, fetched) if place.is_dir())
        return next(there, fetched if self.definition.files else beside)

    def whereabouts(self, into: Path) -> str:
        """Where images are that were never on a server, or how they come here."""
        folder = self.folder(into)
        if folder.is_dir():
            return f"its images are in {folder}"
        return (
            f"its images belong into {folder}"
            if self.pointer is None
            else f"get it by: dvc pull {self.pointer}"
        )


@dataclass(frozen=True)
class Own:
    """What a folder of one's own holds."""

    found: tuple[Known, ...]
    """by name"""
    problems: tuple[str, ...]
    """definitions that cannot be read"""


def find(name: str, own: Path) -> Known:
    """A dataset by what a person calls it.

    Args:
        name: its name, or the path of its definition.
        own: folder of one's own.

    Raises:
        BadInput: if there is none, or it cannot be read.
    """
    known = look_up(name, own)
    if known is None:
        mine = ", ".join(each.called for each in own_in(own).found)
        raise BadInput(
            f"there is no dataset '{name}'; there are {', '.join(datasets.names())}, and of your own in {own}: "
            f"{mine or 'none'}"
        )
    return known


def look_up(name: str, own: Path) -> Known | None:
    """The same, None if nothing is called so.

    Raises:
        BadInput: if it is called so and cannot be read.
    """
    if name.endswith(ENDINGS):
        return Known(datasets.read(Path(name)), Path(name))
    if name in datasets.names():
        return Known(datasets.find(name), None)
    file = own / f"{name}.yaml"
    return _read(file) if name == Path(name).name and file.is_file() else None


def public() -> tuple[Known, ...]:
    """All public datasets, by name."""
    return tuple(Known(datasets.find(name), None) for name in datasets.names())


def own_in(folder: Path) -> Own:
    """All of one's own, past what cannot be read; none where there is no such folder."""
    found, problems = [], []
    for file in sorted(folder.glob("*.yaml")):
        try:
            if _is_meant(file):
                found.append(_read(file))
        except (BadInput, OSError) as problem:
            problems.append(str(problem))
    return Own(tuple(found), tuple(problems))


def _read(file: Path) -> Known:
    """A dataset in the folder of one's own, where it has one name, as the folder beside it."""
    known = Known(datasets.read(file), file)
    if known.definition.name != file.stem:
        raise BadInput(
            f"{file}: is called '{known.definition.name}', but a dataset of your own has the name of its file; write "
            f"name: {file.stem} into it, or rename it"
        )
    return known


def _is_meant(file: Path) -> bool:
    """Whether a file is to be a definition, good or not; what is no YAML may be one.

    Raises:
        BadInput: if it is no YAML.
    """
    if file.name.startswith(".") or not file.is_file():
        return False
    if file.with_suffix("").is_dir() or file.with_suffix(".dvc").is_file():
        return True
    values = read_yaml(file)
    return isinstance(values, Mapping) and len(TELLING & set(values)) > 1
