"""The datasets there are, one line for each."""

from pathlib import Path
from textwrap import fill
from typing import Any

from pipelines.datasets.pages import cells_of, size_of
from sim_models import datasets
from sim_models.config import BadInput
from sim_models.datasets.cells import in_words
from sim_models.datasets.definition import Definition
from sim_models.datasets.receipt import read_receipt

WIDTH = 110
"""of the names of what is not known"""
COLUMNS = ("name", "structures and cells", "size", "licence", "not known", "fetched")


def rows(into: Path) -> list[dict[str, Any]]:
    """What is known of each dataset, for machines."""
    return [_row(datasets.find(name), into / name) for name in datasets.names()]


def rows_in_lines(found: list[dict[str, Any]], unknown: bool) -> list[str]:
    """The same in columns, for people; with `unknown` the names of all that is not known below each."""
    table = [COLUMNS, *(_shown(row) for row in found)]
    widths = [max(len(line[column]) for line in table) for column in range(len(COLUMNS) - 1)]
    lines = [
        "  ".join([*(cell.ljust(w) for cell, w in zip(line, widths, strict=False)), line[-1]]).rstrip()
        for line in table
    ]
    if not unknown:
        return lines
    named = [
        fill(f"    not known: {', '.join(row['unknown'])}", WIDTH, subsequent_indent=" " * 6) for row in found
    ]
    return [lines[0], *(line for pair in zip(lines[1:], named, strict=True) for line in pair)]


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


def _row(definition: Definition, folder: Path) -> dict[str, Any]:
    return {
        "name": definition.name,
        "title": definition.title,
        "structures": dict(definition.structures),
        "bytes": definition.size,
        "licence": definition.licence,
        "can_be_fetched": definition.reachable,
        "unknown": definition.unknown(),
        "fetched": fetched_state(folder),
    }


def _shown(row: dict[str, Any]) -> tuple[str, ...]:
    definition = datasets.find(row["name"])
    licence, unknown = row["licence"] or "?", f"{len(row['unknown'])} fields"
    return row["name"], cells_of(definition), size_of(definition), licence, unknown, row["fetched"] or "-"
