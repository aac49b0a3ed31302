"""`sim-models inspect`: one stack in full, or several in a line each."""

import json
import math
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from sim_models.config import BadInput, Refused
from sim_models.images import holds_frames, image_paths, looks_like_zarr, read
from sim_models.inspection import Examined, Known, Report, examine
from sim_models.inspection.known import refuse_nonsense

MOST = 10_000
"""stacks in one go; more are a mistyped folder"""


def look_at(paths: Sequence[Path], known: Known, as_json: bool, sheet: Path | None, strict: bool) -> None:
    """Print what is found of all stacks at or below `paths`. What cannot be read stops no other.

    Args:
        paths: files, folders of frames, and folders of those.
        known: what is known of all of them.
        as_json: whether to print for machines: an object for one file or folder of frames, else a list. What could
            not be read is in it too, as its path and the error.
        sheet: PNG to write for one stack, or a folder for those of several.
        strict: whether a stack with problems is refused.

    Raises:
        BadInput: before anything is printed, if what is known makes no sense or the sheet cannot go where it should;
            in the end, a sentence each, for what could not be read or drawn.
        Refused: in the end, with `strict`, if all could be read and some has problems.
    """
    refuse_nonsense(known)
    found = stacks_in(paths)
    sheets = _sheets([path for path, error in found.items() if error is None], sheet)
    alone = len(paths) == 1 and len(found) == 1
    told: list[dict[str, object]] = []
    errors: list[str] = []
    bad = 0
    for path, error in found.items():
        examined = error or _examined(path, known)
        if isinstance(examined, str):
            errors.append(examined)
            told.append({"path": str(path), "error": examined})
            continue
        bad += bool(examined.report.problems)
        told.append(examined.report.as_dict())
        if not as_json:
            print("\n".join(examined.report.lines()) if alone else row(examined.report), flush=True)
        if failure := _draw(examined, sheets.get(path)):
            errors.append(failure)
    if as_json:
        print(_json(told[0] if alone else told))
    _raise(errors, f"stacks with problems: {bad} of {len(told)}" if bad and strict else "")


def _examined(path: Path, known: Known) -> Examined | str:
    """What is found of a stack, or why it cannot be read."""
    try:
        return examine(path, known)
    except BadInput as error:
        return str(error)


def _raise(errors: Sequence[str], refused: str) -> None:
    """End badly if there is a reason to, saying all of them."""
    # What is wrong with the optics is the same for every stack.
    said = list(dict.fromkeys(errors))
    if refused:
        said.append(f"{refused}; mend them, take them again or leave them out (--strict)")
    if said:
        raise (BadInput if errors else Refused)("\nerror: ".join(said))


def _json(values: object) -> str:
    """JSON has neither NaN nor infinity: what is not finite is null."""
    return json.dumps(_finite(values), indent=2, allow_nan=False)


def _finite(values: object) -> object:
    if isinstance(values, dict):
        return {key: _finite(value) for key, value in values.items()}
    if isinstance(values, list | tuple):
        return [_finite(value) for value in values]
    return None if isinstance(values, float) and not math.isfinite(values) else values


def stacks_in(paths: Sequence[Path]) -> dict[Path, str | None]:
    """Every file and every folder of frames at or below `paths`, each once; with a sentence where there is none.

    Raises:
        BadInput: if there are far too many.
    """
    found: dict[Path, str | None] = {}
    for path in paths:
        below = dict(islice(_below(path), MOST + 1))
        found |= below or {path: f"{path}: holds no image; give a raw stack, or a folder with some"}
        if len(found) > MOST:
            raise BadInput(f"{path}: holds more than {MOST} stacks; give a folder with fewer")
    return found


def _below(path: Path) -> Iterator[tuple[Path, str | None]]:
    """What is to be looked at; a folder that cannot be listed comes with a sentence."""
    try:
        if not path.is_dir() or looks_like_zarr(path):
            yield path, None
            return
        stacks = [path] if _is_of_frames(path) else image_paths(path)
        folders = [each for each in sorted(path.iterdir()) if _is_to_be_entered(each)]
    except OSError as error:
        yield path, f"{path}: cannot be listed ({error.strerror}); check who may read it"
        return
    for stack in stacks:
        yield stack, None
    for folder in folders:
        yield from _below(folder)


def _is_to_be_entered(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink() and not path.name.startswith(".")


def _is_of_frames(folder: Path) -> bool:
    """Whether a folder is one stack, in a file per frame: no stack lies among its images.

    A damaged image does not make it a folder of stacks: it is that of a frame.
    """
    return holds_frames(folder) and not any(_is_stack(path) for path in image_paths(folder))


def _is_stack(path: Path) -> bool:
    try:
        return read(path).axes != "YX"
    except BadInput:
        return False


def _sheets(stacks: Sequence[Path], sheet: Path | None) -> dict[Path, Path]:
    """The PNG of each stack, none of which is that of another or a stack itself."""
    if sheet is None or not stacks:
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


def _draw(examined: Examined, path: Path | None) -> str | None:
    """Draw the sheet, if one is asked for; why it cannot be written, if so."""
    if path is None:
        return None
    from sim_models.inspection.sheet import save_sheet

    try:
        save_sheet(examined, path)
    except OSError as error:
        return f"--sheet {path}: cannot be written ({error.strerror}); choose another place"
    return None


def _flat(stack: Path) -> str:
    """A name for the sheet of a stack beside those of others."""
    return "_".join(part for part in stack.parts if part not in ("/", "..", "."))
