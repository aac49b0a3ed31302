"""`sim-models inspect`: one stack in full, or several in a line each."""

import json
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
        as_json: whether to print for machines: an object for one stack, else a list.
        sheet: PNG to write for one stack, or a folder for those of several.

    Raises:
        BadInput: if there is nothing to look at, or the sheet cannot go where it should.
    """
    stacks = stacks_in(paths)
    if len(stacks) == 1:
        examined = examine(stacks[0], known)
        print(
            json.dumps(examined.report.as_dict(), indent=2) if as_json else "\n".join(examined.report.lines())
        )
        _draw(examined, sheet)
        return []
    refusals, reports = [], []
    for stack in stacks:
        try:
            examined = examine(stack, known)
        except BadInput as refusal:
            refusals.append(str(refusal))
            continue
        reports.append(examined.report)
        if not as_json:
            print(row(examined.report), flush=True)
        _draw(examined, sheet and sheet / f"{_flat(stack)}.png")
    if as_json:
        print(json.dumps([report.as_dict() for report in reports], indent=2))
    return refusals


def stacks_in(paths: Sequence[Path]) -> list[Path]:
    """Every file, and every folder of frames, at or below `paths`, in order of name.

    Raises:
        BadInput: if a folder holds no image, or far too many.
    """
    found: list[Path] = []
    for path in paths:
        before = len(found)
        for stack in _below(path):
            found.append(stack)
            if len(found) > MOST:
                raise BadInput(f"{path}: holds more than {MOST} stacks; give a folder with fewer")
        if len(found) == before:
            raise BadInput(f"{path}: holds no image; give a raw stack, or a folder with some")
    return found


def _below(path: Path) -> Iterator[Path]:
    if not path.is_dir() or looks_like_zarr(path) or holds_frames(path):
        yield path
        return
    yield from image_paths(path)
    for folder in sorted(path.iterdir()):
        if folder.is_dir() and not folder.is_symlink() and not folder.name.startswith("."):
            yield from _below(folder)


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

    if path.suffix.lower() != ".png":
        raise BadInput(f"--sheet {path}: give a name that ends in .png (for several stacks a folder)")
    try:
        save_sheet(examined, path)
    except OSError as error:
        raise BadInput(
            f"--sheet {path}: cannot be written ({error.strerror}); choose another place"
        ) from None


def _flat(stack: Path) -> str:
    """A name for the sheet of a stack beside those of others."""
    return "_".join(part for part in stack.with_suffix("").parts if part not in ("/", "..", "."))
