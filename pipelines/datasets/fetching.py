"""Fetching for people: what would come, a bar while it comes, and what was verified."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from pipelines.datasets.finding import Known, find
from pipelines.shared.stage import write_whole
from sim_models.config import BadInput, NotReady
from sim_models.datasets.cells import chosen
from sim_models.datasets.definition import Definition
from sim_models.datasets.download import in_words
from sim_models.datasets.fetch import fetch, plan, refuse
from sim_models.datasets.limits import Limits
from sim_models.datasets.receipt import Checked
from sim_models.datasets.web import host

SHOWN = 10
"""files that are named of many"""
Wanted = tuple[Definition, tuple[int, ...] | None]
"""a dataset, and the cells of it, or None for all"""


@dataclass(frozen=True)
class CheckReport:
    """What was found in a fetched folder."""

    found: Checked

    @property
    def verdict(self) -> str:
        """In a sentence."""
        folder, missing, changed = self.found.folder, self.found.missing, self.found.changed
        if self.found.good:
            count = sum(len(entry.files) for entry in self.found.receipt.entries)
            return f"{folder}: {count:,} files of {self.found.receipt.dataset} are as they were fetched"
        return (
            f"{folder}: {len(missing)} files are missing and {len(changed)} are not as they were fetched; move changed "
            "ones away and fetch again"
        )

    def lines(self) -> list[str]:
        """For people; a verdict that is bad comes as the error."""
        said = [entry.sentence for entry in self.found.receipt.entries]
        for what, paths in (
            ("missing", self.found.missing),
            ("changed", self.found.changed),
            ("not fetched", self.found.more),
        ):
            said += [f"{what}: {path}" for path in paths[:SHOWN]]
            if len(paths) > SHOWN:
                said.append(f"{what}: {len(paths) - SHOWN:,} more")
        return [*said, self.verdict] if self.found.good else said

    def as_dict(self) -> dict[str, Any]:
        """For machines."""
        found = self.found
        return {
            "dataset": found.receipt.dataset, "folder": str(found.folder), "good": found.good,
            "missing": list(found.missing), "changed": list(found.changed), "not_fetched": list(found.more),
            "files": [entry.model_dump(mode="json", exclude={"files"}) for entry in found.receipt.entries],
        }  # fmt: skip


def wanted(names: list[str], cells: str | None, into: Path, own: Path) -> list[Wanted]:
    """What a person asks for.

    Args:
        names: of datasets, or paths of definitions.
        cells: what they say of cells.
        into: folder of all that is fetched.
        own: folder of their own.

    Raises:
        BadInput: if there is no such thing, or nothing of it to fetch.
    """
    found = [find(name, own) for name in dict.fromkeys(names)]
    for known in found:
        _refuse_own(known, into)
    definitions = [known.definition for known in found]
    return [(each, None if cells is None else chosen(cells, each.cells)) for each in definitions]


def _refuse_own(known: Known, into: Path) -> None:
    definition = known.definition
    if known.file is None or definition.files or definition.url or definition.doi:
        return
    raise BadInput(
        f"{definition.name}: is a dataset of your own ({known.file}), with nothing to fetch; {known.whereabouts(into)}"
    )


def fetch_all(wanted: list[Wanted], into: Path, jobs: int | None) -> None:
    """Fetch one dataset after the other; one that fails leaves the others be.

    Raises:
        BadInput: with every failure.
    """
    limits = _limits(jobs)
    for definition, numbers in wanted:
        refuse(definition, into / definition.name, numbers)
    failures: list[BadInput] = []
    with _bar() as bar:
        shown = _Shown(bar)
        for definition, numbers in wanted:
            folder = into / definition.name
            try:
                fetch(definition, folder, numbers, limits, _say, shown)
            except BadInput as failure:
                failures.append(failure)
            else:
                _say(f"{folder}: {definition.title}; licence {definition.licence or 'not known'}")
    if failures:
        kind = NotReady if {type(failure) for failure in failures} == {NotReady} else BadInput
        raise kind("\nerror: ".join(map(str, failures)))


def promised(wanted: list[Wanted], into: Path) -> Iterator[str]:
    """What would be fetched.

    Raises:
        BadInput: if it cannot be.
    """
    for definition, numbers in wanted:
        folder = into / definition.name
        for step in plan(definition, folder, numbers):
            file = step.file
            if step.there:
                yield f"{file.name}: is there, and as it was fetched"
                continue
            size = (
                "of unknown size" if file.bytes is None else f"{in_words(file.bytes)} ({file.bytes:,} bytes)"
            )
            proof = (
                " and ".join(key for key in ("md5", "sha256") if getattr(file, key))
                or "no checksum is published"
            )
            part = ", these cells alone if a server serves parts" if numbers and file.cells else ""
            yield f"{file.name}: {size}{part}, {proof}, from {', then '.join(map(host, file.urls))} into {folder}"


def write_table(out: Path, text: str) -> None:
    """Write a table of licences.

    Raises:
        BadInput: if `out` is a folder.
    """
    if out.is_dir():
        raise BadInput(f"{out}: is a folder; --out takes a file, as {out / 'LICENCES.md'}")
    write_whole(out, text)


def _limits(jobs: int | None) -> Limits:
    try:
        return Limits() if jobs is None else Limits(jobs=jobs)
    except ValidationError:
        raise BadInput(
            f"--jobs {jobs}: is no number from 1 to 16; public servers ban who opens more lines"
        ) from None


def _bar() -> Progress:
    console = Console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn()
    # Where nobody watches, a bar would only leave lines.
    return Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal,
        redirect_stdout=sys.stdout.isatty(),
    )  # fmt: skip


def _say(sentence: str) -> None:
    """To stdout at once; a bar on the terminal lets it pass."""
    print(sentence, flush=True)


class _Shown:
    """A line for each file under way."""

    def __init__(self, bar: Progress) -> None:
        self.bar, self.tasks = bar, dict[str, TaskID]()

    def __call__(self, name: str, done: int, total: int | None) -> None:
        if name not in self.tasks:
            self.tasks[name] = self.bar.add_task(name)
        self.bar.update(self.tasks[name], completed=done, total=total, visible=done != total)
