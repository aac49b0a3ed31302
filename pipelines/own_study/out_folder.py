"""Where `sim-models transfer` writes: what it may replace, and what lies there while it is under way."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipelines.registry.own import FIELDS, MADE_BY, RECORD, OwnStudy, TransferRecord
from pipelines.shared.fitting import hold
from pipelines.shared.stage import write_whole
from sim_models.config import BadInput

WORK, MARK = ".work", "made_by"


@dataclass(frozen=True)
class Place:
    """The output of one study, held by this process."""

    out: Path

    @property
    def work(self) -> Path:
        """What lets a study go on after an interruption."""
        return self.out / WORK

    def ended(self, key: str) -> TransferRecord | None:
        """The record of a study that has ended here; None where none has.

        Raises:
            BadInput: if it is another one than that of `key`.
        """
        if not (self.out / RECORD).exists():
            return None
        record = OwnStudy.open(self.out).record
        if record.key != key:
            raise BadInput(
                f"{self.out}: holds a study that has ended, of other settings, stacks, sources or code; choose another "
                "--out, or take that folder away if you do not need it"
            )
        return record

    def once(self, name: str, make: Callable[[], str]) -> str:
        """A text that stays the same until the study has ended."""
        path = self.work / name
        if not path.exists():
            write_whole(path, make())
        return path.read_text()

    def fresh(self, name: str) -> Path:
        """An empty folder among what is under way."""
        folder = self.work / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return folder

    def is_mine(self, path: Path) -> bool:
        """Whether something was made for this study alone."""
        return self.work.resolve() in path.resolve().parents

    def move(self, result: Path, fields: Path, record: TransferRecord) -> None:
        """Put every file in its place; what says that the study has ended comes last.

        Prepared fields that were made for this study stay with it, so that its models can be judged again; those of a
        person stay where they are.
        """
        places = {path: self.out / path.name for path in sorted(result.iterdir())}
        if self.is_mine(fields):
            places[fields] = self.out / FIELDS
        for path, target in places.items():
            if target.is_dir():
                shutil.rmtree(target)  # of the same study, that was interrupted here
            path.replace(target)
        write_whole(self.out / RECORD, record.model_dump_json(indent=2) + "\n")

    def clear(self) -> None:
        """Take away what lies under way."""
        shutil.rmtree(self.work)


def refuse_place(out: Path, target: Path) -> None:
    """Refuse an output in which something would be lost, or that cannot be written.

    Raises:
        BadInput: with the reason.
    """
    if out.resolve() == target.resolve() or target.resolve() in out.resolve().parents:
        raise BadInput(
            f"{out}: lies in the folder of the stacks, and would pass for some; choose another --out"
        )
    if out.resolve() in target.resolve().parents:
        raise BadInput(f"{out}: holds the folder of the stacks; choose another --out")
    standing = next(place for place in (out, *out.absolute().parents) if place.exists())
    if not standing.is_dir() or not os.access(standing, os.W_OK):
        raise BadInput(f"{standing}: is no folder you may write to; choose another --out")
    if standing == out and any(out.iterdir()) and not _is_ours(out):
        raise BadInput(
            f"{out}: holds {min(path.name for path in out.iterdir())} and more, and no earlier study of this command; "
            "choose another --out, or an empty folder"
        )


def _is_ours(out: Path) -> bool:
    if (out / RECORD).is_file():
        return MADE_BY in (out / RECORD).read_text()
    work = out / WORK
    return work.is_dir() and ((work / MARK).is_file() or not any(work.iterdir()))


@contextmanager
def open_place(out: Path) -> Iterator[Place]:
    """The output, for this process alone; after a refusal before anything was trained nothing of it is left.

    Raises:
        BadInput: if another process writes there.
    """
    is_new = not out.exists()
    place = Place(out)
    place.work.mkdir(parents=True, exist_ok=True)
    write_whole(place.work / MARK, MADE_BY)
    with (place.work / "lock").open("a+") as lock:
        hold(lock.fileno(), place.work / "lock")
        try:
            yield place
        except BadInput:
            if not any(place.work.glob("trials/*/*/*.pt")):
                place.clear()
                if is_new:
                    out.rmdir()
            raise
        if (out / RECORD).exists() and place.work.exists():
            place.clear()
