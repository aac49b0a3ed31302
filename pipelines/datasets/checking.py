"""`sim-models data check`: the files of a dataset as they were fetched, and its images as its definition says."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.datasets.fetching import CheckReport
from pipelines.datasets.finding import look_up
from pipelines.datasets.imaging import Looked, look
from sim_models.config import BadInput
from sim_models.datasets.definition import RECEIPT, Definition
from sim_models.datasets.receipt import check, read_receipt


@dataclass(frozen=True)
class Checkup:
    """What was found in a folder."""

    folder: Path
    files: CheckReport | None
    """None where it was not fetched"""
    images: Looked | None
    """None where no layout of it is known"""

    @property
    def good(self) -> bool:
        """Whether nothing is wrong."""
        return not ((self.files and not self.files.found.good) or (self.images and self.images.problems))

    @property
    def verdict(self) -> str:
        """What is wrong, in a sentence."""
        said = [] if self.files is None or self.files.found.good else [self.files.verdict]
        if self.images and self.images.problems:
            many = len(self.images.problems)
            said.append(
                f"{self.folder}: {many} {'problem' if many == 1 else 'problems'} with its images, listed above; mend "
                "these files or what its definition says"
            )
        return "; ".join(said)

    def lines(self) -> list[str]:
        """For people; a verdict that is bad comes as the error."""
        said = self.files.lines() if self.files else []
        if self.images:
            said += [f"problem: {problem}" for problem in self.images.problems]
            said.append(f"{self.folder}: {self.images.summary}")
        return said

    def as_dict(self) -> dict[str, Any]:
        """For machines."""
        files = self.files.as_dict() if self.files else {"folder": str(self.folder)}
        return files | {"good": self.good, "images": self.images.as_dict() if self.images else None}


def checked(name: str, into: Path, own: Path, told: Callable[[int, int], None]) -> Checkup:
    """Check a dataset.

    Args:
        name: of a dataset, a definition file, or a folder.
        into: folder of those that are fetched.
        own: folder of one's own.
        told: hears of every cell whose images were read, as (done, all).

    Raises:
        BadInput: if nothing is there that could be checked.
    """
    folder, definition = _found(name, into, own)
    receipt = read_receipt(folder) if folder.is_dir() else None
    if definition is None and receipt is not None and (known := look_up(receipt.dataset, own)):
        definition = known.definition
    if receipt is None and (definition is None or not folder.is_dir()):
        # says what was expected
        check(folder)
    files = None if receipt is None else CheckReport(check(folder))
    if definition is None or definition.layout is None:
        if files is None:
            raise BadInput(
                f"{folder}: holds no {RECEIPT}, and no layout of it is known, so nothing can be checked"
            )
        return Checkup(folder, files, None)
    return Checkup(folder, files, look(definition, folder, told))


def _found(name: str, into: Path, own: Path) -> tuple[Path, Definition | None]:
    """The folder, and the definition where there is one.

    A name may also be that of a folder here; that is meant where nothing lies in the dataset's own place.
    """
    known, path = look_up(name, own), Path(name)
    if known is not None and (known.folder(into).is_dir() or not path.is_dir()):
        folder = known.folder(into)
        if known.file is not None and not known.definition.files and not folder.is_dir():
            raise BadInput(f"{folder}: is not there; {known.whereabouts(into)}")
        return folder, known.definition
    folder = next((place for place in (path, into / name) if place.is_dir()), path)
    beside = folder.with_name(f"{folder.name}.yaml") if folder.name else folder
    described = look_up(str(beside), own) if beside.is_file() else None
    return folder, described.definition if described else None
