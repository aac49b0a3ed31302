"""A person's own stacks as prepared fields, for `sim-models transfer`.

They lie as `sim_models.sources.layouts.level_folders` says, with references at twice the sampling.

Without references the classical SIM of the brightest level takes their place. Then that level is not learned from: its
noise would be the same in what goes in and in what should come out.

Files are read and refused as `restore` and `reconstruct` do it. What is wrong with one cell leaves that cell out; what
is wrong with how all of them are read, as a frame layout or missing optics, refuses the folder.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pipelines.own_files.stacks import (
    Stated,
    above_offset,
    layout_of,
    microscope_of,
    refuse_scale,
    refuse_unusable,
    stacks_of,
)
from pipelines.shared.stage import whole_folder
from sim_models.config import BadInput, Settings
from sim_models.evaluation.squirrel import squirrel
from sim_models.field import Field, FrameOrder, Image
from sim_models.images import ImageFile, read
from sim_models.optics.reconstruct import SCALE, ReconstructionSettings
from sim_models.sources import ome_fields
from sim_models.sources.checks import SATURATED_SHARE, CopiedFrames, repeated_frames, saturated_share
from sim_models.sources.layouts.level_folders import REFERENCE, Survey, survey
from sim_models.sources.listing import MOST_NAMED
from sim_models.sources.prepared import Prepared
from sim_models.sources.reconstruction import with_reconstructions
from sim_models.sources.split import FEWEST_CELLS, SplitSettings, split_by_cell

BROUGHT = "brought_in.json"

UNLIKE = 0.5
"""correlation with the wide-field below which a reference may be that of another cell"""


@dataclass(frozen=True)
class Reading:
    """How files are read, and what is made of them."""

    layout: tuple[int | None, int | None]
    """angles and phases, where they are known"""
    order: FrameOrder
    stated: Stated
    reconstruction: ReconstructionSettings
    split: SplitSettings


class Brought(Settings):
    """What a person should know of fields that were brought in."""

    left_out: dict[str, str]
    """cell -> why"""
    notes: tuple[str, ...]


class Unusable(BadInput):
    """One cell that cannot be learned from."""


def bring_in(folder: Path, reading: Reading, into: Path, told: Callable[[int, int], None]) -> Brought:
    """Write prepared fields of the stacks of `folder`, whole or not at all.

    Args:
        folder: of the layout above.
        reading: how its files are read.
        into: the folder to write.
        told: hears of every cell, as (done, all).

    Raises:
        BadInput: if files do not go together, or fewer cells are left than a split needs.
    """
    files = survey(folder)
    layout = _layout(files, reading)
    brightest = None if files.references else _brightest(files)
    left_out: dict[str, str] = {}
    notes, used = [], []
    if brightest:
        notes.append(
            f"{folder}: has no folder '{REFERENCE}', so the classical SIM of its brightest level ({brightest}) is the "
            f"reference of the others; '{brightest}' itself is not learned from"
        )
    with whole_folder(into) as partial:
        for number, cell in enumerate(files.cells):
            try:
                fields, doubts = _fields(files, cell, layout, reading, brightest)
            except Unusable as reason:
                left_out[cell] = str(reason)
            else:
                for field in fields:
                    ome_fields.write(partial, field)
                used.append(cell)
                notes += doubts
            told(number + 1, len(files.cells))
        _refuse_few(folder, used, left_out)
        Prepared.seal(partial, _name(folder), split_by_cell(used, reading.split, str(folder)))
        brought = Brought(left_out=left_out, notes=tuple(notes))
        (partial / BROUGHT).write_text(brought.model_dump_json(indent=2) + "\n")
    return brought


def what_was_brought(into: Path) -> Brought:
    """What `bring_in` said when it wrote a folder."""
    return Brought.model_validate_json((into / BROUGHT).read_text())


def _name(folder: Path) -> str:
    return folder.resolve().name


def _refuse_few(folder: Path, used: list[str], left_out: Mapping[str, str]) -> None:
    if len(used) >= FEWEST_CELLS:
        return
    reasons = "; ".join(f"{cell}: {reason}" for cell, reason in list(left_out.items())[:MOST_NAMED])
    raise BadInput(
        f"{folder}: {len(used)} of {len(used) + len(left_out)} cells can be used, but train, val and test need at "
        f"least one each; add cells{f' or mend these: {reasons}' if reasons else ''}"
    )


def _layout(files: Survey, reading: Reading) -> tuple[int, int]:
    """As known, or as the first stack that can be read says."""
    angles, phases = reading.layout
    if angles is not None and phases is not None:
        return angles, phases
    for path in next(iter(files.levels.values())).values():
        with suppress(Unusable):
            return layout_of(_read(path), angles, phases, path)
    raise BadInput(f"{files.folder}: none of its stacks can be read; give OME-TIFF, TIFF or MRC")


@contextmanager
def _of_this_cell() -> Iterator[None]:
    """What is refused within leaves one cell out."""
    try:
        yield
    except BadInput as refusal:
        raise Unusable(str(refusal)) from None


def _read(path: Path) -> ImageFile:
    with _of_this_cell():
        return read(path)


def _brightest(files: Survey) -> str:
    """The level with the most light, over all cells that can be read."""

    def light(level: str) -> float:
        means = []
        for path in files.levels[level].values():
            with suppress(Unusable):
                means.append(float(np.mean(_read(path).data)))
        return float(np.mean(means)) if means else 0.0

    return max(files.levels, key=light)


def _fields(
    files: Survey, cell: str, layout: tuple[int, int], reading: Reading, brightest: str | None
) -> tuple[list[Field], list[str]]:
    """The fields of a cell, each with reference and reconstruction, and what is doubtful about them.

    Raises:
        Unusable: if nothing can be learned from this cell.
        BadInput: if its files are of another kind than was asked for.
    """
    taken = [_field(files, level, cell, layout, reading) for level in files.levels]
    reference = _reference(files.references[cell], taken[0]) if files.references else None
    levels = with_reconstructions(taken, reading.reconstruction)
    for field in levels:
        if "reconstruction" not in field.images:
            raise Unusable(f"{field.level}: {field.notes[-1].removeprefix('no reconstruction: ')}")
    if reference is None:
        reference = next(field.image("reconstruction") for field in levels if field.level == brightest)
    doubts = []
    bright = max(levels, key=lambda field: float(field.image("widefield").mean()))
    alike = squirrel(reference, bright.image("widefield")).rsp
    if alike < UNLIKE:
        doubts.append(
            f"{cell}: its reference is hardly like its raw frames (correlation {alike:.2f}); is it of the same cell?"
        )
    return [_with_reference(field, reference) for field in levels if field.level != brightest], doubts


def _with_reference(field: Field, reference: Image) -> Field:
    """A reference as bright as the frames of its level.

    Programs that make references scale them each in their own way, and one reference serves all levels; but learning
    and scores compare values. So gain and offset are those by which it explains the wide-field best.
    """
    found = squirrel(reference, field.image("widefield"))
    if found.gain <= 0:
        raise Unusable(f"{field.level}: its reference does not show what the raw frames show")
    scaled = (found.gain * reference.astype(np.float64) + found.offset).astype(np.float32)
    note = f"reference times {found.gain:.4g} plus {found.offset:.4g}, to explain the wide-field"
    return replace(field.with_images({"reference": scaled}), notes=(*field.notes, note))


def _field(files: Survey, level: str, cell: str, layout: tuple[int, int], reading: Reading) -> Field:
    """One raw stack above its camera's offset, with its wide-field."""
    path = files.levels[level][cell]
    file = _read(path)
    stacks = stacks_of(file, layout, reading.order, path, "asked for are stacks of")
    if len(stacks) != 1:
        raise BadInput(f"{path}: holds {len(stacks)} stacks; give each cell as one file with one stack")
    microscope = microscope_of(file, reading.stated, path)
    refuse_scale(microscope, (stacks.shape[-2], stacks.shape[-1]), path)
    with _of_this_cell():
        refuse_unusable(stacks, path)
        _refuse_copies(stacks[0], path)
        frames, _ = above_offset(stacks, microscope.camera, reading.stated.offset, path)
    images: dict[str, Image] = {"raw": frames[0], "widefield": frames[0].mean(axis=(0, 1))}
    return Field(
        dataset=_name(files.folder),
        structure=_name(files.folder),
        cell=cell,
        level=level,
        images=images,  # type: ignore[arg-type] # these are roles
        microscope=microscope,
        unit="photons" if microscope.camera else "counts",
    )


def _refuse_copies(stack: Image, path: Path) -> None:
    if np.ptp(stack) == 0:
        raise BadInput(f"{path}: every pixel is {stack.flat[0]}; the camera or the export went wrong")
    if repeated_frames(stack.reshape(-1, *stack.shape[-2:])):
        raise CopiedFrames(f"{path}: frames are copies of one image; a raw stack has one exposure for each")


def _reference(path: Path, field: Field) -> Image:
    """The good image of a cell (2 Y, 2 X)."""
    file = _read(path)
    image = np.squeeze(np.asarray(file.data))
    rows, columns = (SCALE * length for length in field.image("raw").shape[-2:])
    if image.shape != (rows, columns):
        shape = " x ".join(map(str, image.shape))
        raise BadInput(
            f"{path}: is {shape}, but the raw frames of {field.cell} are {rows // SCALE} x {columns // SCALE}, so a "
            f"reference has {rows} x {columns} pixels; give the image of the same field at twice the sampling"
        )
    if np.iscomplexobj(image) or not np.isfinite(image).all() or np.ptp(image) == 0:
        raise Unusable(
            f"{path}: is no image: its values are constant, complex, NaN or infinite; export it again"
        )
    if (share := saturated_share(image)) > SATURATED_SHARE:
        raise Unusable(f"{path}: is saturated: {share:.1%} of its pixels are at the largest value there is")
    return image.astype(np.float32)
