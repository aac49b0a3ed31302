"""The datasets there are, one line for each: public ones, then a person's own."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

from pipelines.datasets.finding import Known
from pipelines.datasets.licences import licence_in_words
from pipelines.datasets.pages import cells_of, size_of
from sim_models.config import BadInput
from sim_models.datasets.cells import in_words
from sim_models.datasets.receipt import read_receipt

WIDTH = 110
"""of the names of what is not known"""
COLUMNS = ("name", "structures and cells", "size", "licence", "not known", "here")


def rows(found: Iterable[Known], into: Path) -> list[dict[str, Any]]:
    """What is known of each dataset, for machines."""
    return [_row(known, into) for known in found]


def lines(public: Sequence[Known], own: Sequence[Known], into: Path, unknown: bool) -> Iterator[str]:
    """The same in columns, for people; with `unknown` the names of all that is not known below each."""
    table = [COLUMNS, *(_cells(known, into) for known in (*public, *own))]
    widths = [max(len(line[column]) for line in table) for column in range(len(COLUMNS) - 1)]

    def aligned(line: tuple[str, ...]) -> str:
        padded = (cell.ljust(width) for cell, width in zip(line, widths, strict=False))
        return "  ".join([*padded, line[-1]]).rstrip()

    yield aligned(COLUMNS)
    for title, part in (("", public), ("your own:", own)):
        if title and part:
            yield from ("", title)
        for known in part:
            yield aligned(_cells(known, into))
            if unknown:
                named = f"    not known: {', '.join(known.definition.unknown())}"
                yield fill(named, WIDTH, subsequent_indent=" " * 6)


def fetched_state(folder: Path) -> str | None:
    """Where a dataset lies and how much of it; None if it was not fetched."""
    try:
        receipt = read_receipt(folder)
    except BadInput:
        return f"{folder} (its record cannot be read)"
    if receipt is None:
        return f"{folder} (begun)" if (folder / ".fetch").is_dir() else None
    parts = {entry.cells for entry in receipt.entries if entry.cells is not None}
    return f"{folder}, cells {in_words(min(parts))}" if parts else str(folder)


def _row(known: Known, into: Path) -> dict[str, Any]:
    definition, folder = known.definition, known.folder(into)
    return {
        "name": known.called,
        "title": definition.title,
        "structures": dict(definition.structures),
        "bytes": definition.size,
        "licence": definition.licence,
        "can_be_fetched": definition.reachable,
        "unknown": definition.unknown(),
        "fetched": fetched_state(folder),
        "own": None if known.file is None else str(known.file),
        "folder": str(folder) if folder.is_dir() else None,
    }


def _cells(known: Known, into: Path) -> tuple[str, ...]:
    definition = known.definition
    size = "-" if known.file is not None and not definition.files else size_of(definition)
    missing = f"{len(definition.unknown())} fields"
    return (
        known.called,
        cells_of(definition),
        size,
        licence_in_words(definition, "?"),
        missing,
        _here(known, into),
    )


def _here(known: Known, into: Path) -> str:
    folder = known.folder(into)
    if (state := fetched_state(folder)) is not None:
        return state
    if known.file is not None and folder.is_dir():
        return str(folder)
    return "-" if known.pointer is None else f"- (dvc pull {known.pointer})"
