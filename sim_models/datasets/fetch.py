"""Fetch a dataset into a folder: verified first, in place then, and only what is not there yet.

Everything comes to `.fetch` in the folder itself, so that it takes its place by a rename. What was interrupted there
goes on. A folder has one fetch at a time; a second one waits and finds the work done. A file that is there and is
another than the one fetched belongs to somebody, and is never overwritten.
"""

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sim_models.config import BadInput, NotReady
from sim_models.datasets.bringing import bring
from sim_models.datasets.definition import Definition, File
from sim_models.datasets.download import Line, Report, room
from sim_models.datasets.limits import Limits
from sim_models.datasets.placing import WORK
from sim_models.datasets.receipt import Entry, Receipt, read_receipt, state_of
from sim_models.datasets.turns import Tell, alone


@dataclass(frozen=True)
class Step:
    """What a fetch will do about one file."""

    file: File
    there: Entry | None
    """what is on disk already, looked at"""

    @property
    def needed(self) -> int:
        """Bytes of disk, at least; an archive and what is in it are there together for a while."""
        return 0 if self.there else (self.file.bytes or 0) * (2 if self.file.unpack else 1)


def plan(definition: Definition, folder: Path, cells: tuple[int, ...] | None) -> list[Step]:
    """What there is to do; nothing is fetched or written.

    Raises:
        BadInput: if it cannot be done.
    """
    receipt = refuse(definition, folder, cells)
    steps = []
    for file in definition.files:
        entry = receipt.entry(file.name)
        asked = cells if file.cells else None
        steps.append(Step(file, entry if entry and entry.holds(asked) and _is_there(folder, entry) else None))
    return steps


def fetch(
    definition: Definition,
    folder: Path,
    cells: tuple[int, ...] | None,
    limits: Limits,
    tell: Tell,
    report: Report,
) -> Receipt:
    """Fetch all files of a dataset, or those cells of them, into `folder`.

    Args:
        definition: what to fetch.
        folder: where to; made if it is not there.
        cells: numbers of the cells to keep; None for all.
        limits: how long is waited, and how much is believed.
        tell: takes a sentence for each file.
        report: takes progress.

    Raises:
        BadInput: if a file cannot be had as published; others are there all the same.
        NotReady: if no server was reached.
    """
    refuse(definition, folder, cells)
    folder.mkdir(parents=True, exist_ok=True)
    with alone(folder, "another fetch", limits.lock_s, tell):
        steps = plan(definition, folder, cells)
        needed_bytes = sum(each.needed for each in steps if not cells or not each.file.cells)
        if needed_bytes:
            room(folder, needed_bytes, f"fetching {definition.name}", limits)
        line = Line(limits, report)
        receipt = refuse(definition, folder, cells)

        def work(each: Step) -> Entry:
            if each.there:
                tell(f"{each.file.name}: is there, and as it was fetched")
                return each.there
            return bring(each.file, cells, folder, receipt.entry(each.file.name), line, tell)

        def keep(entry: Entry) -> None:
            nonlocal receipt
            if entry != receipt.entry(entry.name):
                receipt = receipt.with_entry(entry)
                receipt.write(folder)
                tell(entry.sentence)

        try:
            _all(steps, work, keep, line)
        except BadInput:
            # What broke off stays for the next fetch; where nothing has come, nothing stays.
            with suppress(OSError):
                (folder / WORK).rmdir()
            raise
        shutil.rmtree(folder / WORK, ignore_errors=True)
    return receipt


def refuse(definition: Definition, folder: Path, cells: tuple[int, ...] | None) -> Receipt:
    """Refuse what cannot be done, before anything is; else the receipt of what is there.

    Raises:
        BadInput: if there is nothing to fetch, no such folder, or no such cell.
    """
    if not definition.files:
        where = definition.url or definition.doi or "nowhere that is known"
        raise BadInput(
            f"{definition.name}: no file of it is known by its URL, so it cannot be fetched; it is described at {where}"
        )
    for part in (folder, *folder.parents):
        if part.exists() and not part.is_dir():
            raise BadInput(f"{part}: is a file; --into takes a folder, which is made if it is not there")
    receipt = read_receipt(folder) or Receipt(dataset=definition.name, entries=())
    if receipt.dataset != definition.name:
        raise BadInput(
            f"{folder}: holds '{receipt.dataset}'; fetch '{definition.name}' into a folder of its own"
        )
    if cells is None:
        return receipt
    if not any(file.cells for file in definition.files):
        raise BadInput(
            f"{definition.name}: its files do not say which cell they are of; fetch it without --cells"
        )
    counts = [
        definition.structures[file.structure] for file in definition.files if file.cells and file.structure
    ]
    if counts and None not in counts and max(cells) > max(count or 0 for count in counts):
        raise BadInput(
            f"{definition.name}: has cells 1-{max(count or 0 for count in counts)}, and no {max(cells)}"
        )
    return receipt


def _is_there(folder: Path, entry: Entry) -> bool:
    """Whether all that a receipt names is there as it was.

    Raises:
        BadInput: if a file was changed since: it may be somebody's work.
    """
    states = {kept.path: state_of(folder, kept) for kept in entry.files}
    if changed := [path for path, state in states.items() if state == "changed"]:
        raise BadInput(
            f"{folder / min(changed)}: is not as it was fetched ({len(changed)} of {len(states)} files of "
            f"{entry.name}); move it away and fetch again"
        )
    return "missing" not in states.values()


def _all(steps: list[Step], work: Callable[[Step], Entry], keep: Callable[[Entry], None], line: Line) -> None:
    """Work on several files at a time; one that fails leaves the others be."""
    failures: list[BadInput] = []
    pool = ThreadPoolExecutor(line.limits.jobs)
    try:
        for future in as_completed([pool.submit(work, each) for each in steps]):
            try:
                keep(future.result())
            except BadInput as failure:
                failures.append(failure)
    except BaseException:
        line.stop.set()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
    if failures:
        kinds = {type(failure) for failure in failures}
        kind = NotReady if kinds == {NotReady} else BadInput
        raise kind("\nerror: ".join(str(failure) for failure in failures))
