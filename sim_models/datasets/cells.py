"""Which cells: `1-10,14` or names, and which paths in an archive are theirs."""

import re
from typing import Annotated

from pydantic import AfterValidator

from sim_models.config import BadInput

MOST_CELLS = 100_000
"""a longer list is a slip of the keyboard"""
_NUMBER = re.compile(r"\{number(?::0(\d)d)?\}")


def _checked(pattern: str) -> str:
    if len(_NUMBER.findall(pattern)) != 1 or "/" in pattern:
        raise ValueError(
            f"'{pattern}' must be the name of a folder with one {{number}}, as Cell_{{number:03d}}"
        )
    return pattern


CellPattern = Annotated[str, AfterValidator(_checked)]
"""name of a cell, as `Cell_{number:03d}`"""


def numbers_of(text: str) -> tuple[int, ...]:
    """The cells that a text like `1-10,14` names, sorted, each once.

    Raises:
        ValueError: if it is no such text.
    """
    found: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)\s*(?:-\s*(\d+)\s*)?", part, re.ASCII)
        if match is None or len(match[1]) > 9 or len(match[2] or "") > 9:
            raise ValueError(f"'{part.strip()}' is no number of a cell and no range; write 1-10,14")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first or last - first >= MOST_CELLS:
            raise ValueError(f"'{part.strip()}' runs backwards or is too long; write 1-10,14")
        found.update(range(first, last + 1))
    return tuple(sorted(found))


def chosen(text: str, pattern: str | None) -> tuple[int, ...]:
    """What `--cells` says: numbers, ranges, or names as `pattern` makes them.

    Raises:
        BadInput: if it says nothing of the kind.
    """
    parts = []
    for part in text.split(","):
        number = None if pattern is None else number_in(part.strip(), pattern)
        parts.append(part if number is None else str(number))
    try:
        return numbers_of(",".join(parts))
    except ValueError as error:
        also = "" if pattern is None else f", or a name as {named(1, pattern)}"
        raise BadInput(f"--cells {text}: {error}{also}") from None


def named(number: int, pattern: str) -> str:
    """The name of a cell."""
    match = _NUMBER.search(pattern)
    assert match is not None
    return pattern[: match.start()] + f"{number:0{match[1] or 1}d}" + pattern[match.end() :]


def number_in(path: str, pattern: str) -> int | None:
    """The number of the cell whose folder, or file but for its suffix, is on a path; None if there is none."""
    before, _, after = _NUMBER.sub("\0", pattern).partition("\0")
    part = re.compile(rf"{re.escape(before)}(\d{{1,9}}){re.escape(after)}(?:\.[A-Za-z.]+)?", re.ASCII)
    for name in path.split("/"):
        if match := part.fullmatch(name):
            return int(match[1])
    return None


def in_words(cells: tuple[int, ...]) -> str:
    """`1-10, 14`."""
    runs: list[list[int]] = []
    for cell in cells:
        if runs and cell == runs[-1][1] + 1:
            runs[-1][1] = cell
        else:
            runs.append([cell, cell])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)
