"""`sim-models inspect`: one stack in full, or several in a line each."""

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from sim_models.config import BadInput
from sim_models.images import holds_frames, image_paths, looks_like_zarr
from sim_models.inspection import Examined, Known, Report, examine

MOST = 10_000
"""stacks in one go; more are a mistyped folder"""


def look_at(paths: Sequence[Path], known: Known, as_json: bool, sheet: Path | None) -> list[str]:
    """Print what is found of all stacks at or below `paths`; what could not be read comes back, a sentence each.

    Args:
        paths: files, folders of frames, and folders of those.
        known: what is known of all of them.
        as_json: whether to print for machines: an object for one file or folder of frames, else a list.
        sheet: PNG to write for one stack, or a folder for those of several.

    Raises:
        BadInput: if there is nothing to look at, or the sheet cannot go where it should.
    """
    stacks, refusals = stacks_in(paths)
    if not stacks:
        raise BadInput("\nerror: ".join(refusals))
    alone = len(paths) == 1 and len(stacks) == 1
    sheets = _sheets(stacks, sheet)
    if alone:
        examined = examine(stacks[0], known)
        print(_json(examined.report.as_dict()) if as_json else "\n".join(examined.report.lines()))
        _draw(examined, sheets.get(stacks[0]))
        return []
    reports = []
    for stack in stacks:
        try:
            examined = examine(stack, known)
            _draw(examined, sheets.get(stack))
        except BadInput as refusal:
            refusals.append(str(refusal))
            continue
        reports.append(examined.report)
        if not as_json:
            print(row(examined.report), flush=True)
    if as_json:
        print(_json([report.as_dict() for report in reports]))
    # What is wrong with an option is the same for every stack.
    return list(dict.fromkeys(refusals))


def _json(values: object) -> str:
    """JSON has neither NaN nor infinity: what is not finite is null."""
    return json.dumps(_finite(values), indent=2, allow_nan=False)


def _finite(values: object) -> object:
    if isinstance(values, dict):
        return {key: _finite(value) for key, value in values.items()}
    if isinstance(values, list | tuple):
        return [_finite(value) for value in values]
    return None if isinstance(values, float) and not math.isfinite(values) else values


def stacks_in(paths: Sequence[Path]) -> tuple[list[Path], list[str]]:
    """Every file and every folder of frames at or below `paths`, each once, and what is wrong with others.

    Raises:
        BadInput: if there are far too many.
    """
    found: dict[Path, None] = {}
    refusals: list[str] = []
    for path in paths:
        before = None
        for before in _below(path):
            found[before] = None
            if len(found) > MOST:
                raise BadInput(f"{path}: holds more than {MOST} stacks; give a folder with fewer")
        if before is None:
            refusals.append(f"{path}: holds no image; give a raw stack, or a folder with some")
    return list(found), refusals


def _below(path: Path) -> Iterator[Path]:
    if not path.is_dir() or looks_like_zarr(path) or holds_frames(path):
        yield path
        return
    yield from image_paths(path)
    for folder in sorted(path.iterdir()):
        if folder.is_dir() and not folder.is_symlink() and not folder.name.startswith("."):
            yield from _below(folder)


def _sheets(stacks: Sequence[Path], sheet: Path | None) -> dict[Path, Path]:
    """The PNG of each stack, none of which is that of another or a stack itself."""
    if sheet is None:
        return {}
    png = sheet.suffix.lower() == ".png"
    if len(stacks) == 1:
        if not png or sheet.is_dir():
            raise BadInput(f"--sheet {sheet}: give a name that ends in .png (for several stacks a folder)")
        if sheet.exists() and sheet.samefile(stacks[0]):
            raise BadInput(f"--sheet {sheet}: is the stack itself; give the sheet another name")
        return {stacks[0]: sheet}
    if (png and not sheet.is_dir()) or sheet.is_file():
        raise BadInput(f"--sheet {sheet}: for {len(stacks)} stacks give a folder, and no name of a file")
    taken: dict[str, Path] = {}
    for stack in stacks:
        name, number = _flat(stack), 1
        while name in taken:
            number += 1
            name = f"{_flat(stack)}_{number}"
        taken[name] = stack
    return {stack: sheet / f"{name}.png" for name, stack in taken.items()}


def row(report: Report) -> str:
    """What matters most of a stack, in a line."""
    shape = " x ".join(map(str, report.shape))
    light = "" if report.light_photons is None else f"; {report.light_photons:.3g} photo-electrons"
    said = f"PROBLEM {report.problems[0]}" if report.problems else f"usable for {report.usable_for}"
    return f"{report.path}: {shape} {report.dtype}; {report.layout}{light}; {said}"


def _draw(examined: Examined, path: Path | None) -> None:
    if path is None:
        return
    from sim_models.inspection.sheet import save_sheet

    try:
        save_sheet(examined, path)
    except OSError as error:
        raise BadInput(
            f"--sheet {path}: cannot be written ({error.strerror}); choose another place"
        ) from None


def _flat(stack: Path) -> str:
    """A name for the sheet of a stack beside those of others."""
    return "_".join(part for part in stack.parts if part not in ("/", "..", "."))
