"""What lies in a fetched folder, and how it was verified: `fetched.json`.

It holds no time, no mirror and no name of a machine, so that the same definition gives the same folder anywhere, and
DVC the same hash.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import NonNegativeInt

from sim_models.config import BadInput, Settings, parse
from sim_models.datasets.cells import in_words
from sim_models.datasets.definition import RECEIPT
from sim_models.datasets.download import hashes_of


class Kept(Settings):
    """A file on disk, below the folder."""

    path: str
    bytes: NonNegativeInt
    sha256: str


class Entry(Settings):
    """What came of one file of the definition."""

    name: str
    how: Literal["whole", "parts"]
    """parts: members of an archive were read one by one, so its own checksum could not be looked at"""
    verified: tuple[str, ...]
    """what was published of it and is so; empty where nothing was published"""
    bytes: NonNegativeInt
    sha256: str | None
    """of the whole file, as computed here; null where only parts were read"""
    cells: tuple[int, ...] | None
    """cells that are there; null for all"""
    files: tuple[Kept, ...]

    def holds(self, cells: tuple[int, ...] | None) -> bool:
        """Whether these cells are among those that are there."""
        return self.cells is None or (cells is not None and set(cells) <= set(self.cells))

    @property
    def sentence(self) -> str:
        """How it was verified, for people."""
        which = "" if self.cells is None else f", cells {in_words(self.cells)}"
        many = "" if self.unchanged else f", {len(self.files):,} files{which}"
        if self.how == "parts":
            sized = "its size and " if "bytes" in self.verified else ""
            return (
                f"{self.name}: parts of {self.bytes:,} bytes{many}; {sized}the CRC-32 of every part verified, the "
                "checksum of the whole could not be"
            )
        if not {"md5", "sha256"} & set(self.verified):
            return (
                f"{self.name}: {self.bytes:,} bytes{many}; no checksum is published, so nobody can tell whether it is "
                f"the right file; its sha256 is {self.sha256}"
            )
        return f"{self.name}: {self.bytes:,} bytes{many}; {' and '.join(self.verified)} verified"

    @property
    def unchanged(self) -> bool:
        """Whether the file itself is what is kept."""
        return len(self.files) == 1 and self.files[0].sha256 == self.sha256


class Receipt(Settings):
    """Of a folder."""

    dataset: str
    entries: tuple[Entry, ...]

    def entry(self, name: str) -> Entry | None:
        """Of one file of the definition, None if it was not fetched."""
        return next((entry for entry in self.entries if entry.name == name), None)

    def with_entry(self, entry: Entry) -> "Receipt":
        """With what came of one file, in place of what came of it before."""
        others = [each for each in self.entries if each.name != entry.name]
        return Receipt(
            dataset=self.dataset, entries=tuple(sorted([*others, entry], key=lambda each: each.name))
        )

    def write(self, folder: Path) -> None:
        """Write it whole."""
        partial = folder / f".{RECEIPT}.partial"
        partial.write_text(json.dumps(self.model_dump(mode="json"), indent=1) + "\n")
        partial.replace(folder / RECEIPT)


def read_receipt(folder: Path) -> Receipt | None:
    """The receipt of a folder, None if it has none.

    Raises:
        BadInput: if it cannot be read.
    """
    path = folder / RECEIPT
    try:
        receipt = parse(Receipt, json.loads(path.read_text()), str(path))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        if isinstance(error, BadInput):
            raise
        raise BadInput(
            f"{path}: cannot be read as a record of what was fetched; move it away and fetch again"
        ) from None
    for kept in (kept for entry in receipt.entries for kept in entry.files):
        if kept.path.startswith("/") or ".." in kept.path.split("/"):
            raise BadInput(
                f"{path}: names '{kept.path}', which is not below its folder; fetch again elsewhere"
            )
    return receipt


@dataclass(frozen=True)
class Checked:
    """Of a fetched folder. No image is opened here: whoever reads layouts can look on from `folder` and `receipt`."""

    folder: Path
    receipt: Receipt
    missing: tuple[str, ...]
    changed: tuple[str, ...]
    more: tuple[str, ...]
    """files that were not fetched, and may be anybody's"""

    @property
    def good(self) -> bool:
        """Whether everything that was fetched is as it was."""
        return not self.missing and not self.changed


def check(folder: Path) -> Checked:
    """Hold every file of a fetched folder against its receipt, by size and SHA-256.

    Raises:
        BadInput: if there is no receipt.
    """
    receipt = read_receipt(folder) if folder.is_dir() else None
    if receipt is None:
        raise BadInput(
            f"{folder}: holds no {RECEIPT}; expected a folder that `sim-models data fetch` has written, or the name "
            "of a dataset that was fetched"
        )
    missing: list[str] = []
    changed: list[str] = []
    known = {RECEIPT}
    for kept in (kept for entry in receipt.entries for kept in entry.files):
        known.add(kept.path)
        state = state_of(folder, kept)
        if state != "good":
            (missing if state == "missing" else changed).append(kept.path)
    more = sorted(set(_files(folder)) - known)
    return Checked(folder, receipt, tuple(sorted(set(missing))), tuple(sorted(set(changed))), tuple(more))


def state_of(folder: Path, kept: Kept) -> Literal["good", "missing", "changed"]:
    """Of one file."""
    path = folder / kept.path
    if not path.exists():
        return "missing"
    same = path.is_file() and path.stat().st_size == kept.bytes and hashes_of(path).sha256 == kept.sha256
    return "good" if same else "changed"


def _files(folder: Path) -> Iterator[str]:
    for path in folder.rglob("*"):
        relative = path.relative_to(folder)
        if path.is_file() and not relative.parts[0].startswith("."):
            yield relative.as_posix()
