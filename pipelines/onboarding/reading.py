"""The images of one cell as fields: checked, above the camera's offset, each level with reference and classical SIM."""

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from pipelines.onboarding.cells import Cell, Survey
from pipelines.onboarding.clean import Moved, as_bright, shift_between
from pipelines.own_files.stacks import (
    Stated,
    above_offset,
    layout_of,
    microscope_of,
    refuse_scale,
    refuse_unusable,
)
from sim_models.config import BadInput
from sim_models.evaluation.squirrel import squirrel
from sim_models.field import Field, FrameOrder, Image
from sim_models.images import read
from sim_models.optics.fourier import block_mean
from sim_models.optics.reconstruct import SCALE, ReconstructionSettings
from sim_models.sources.checks import SATURATED_SHARE, saturated_share
from sim_models.sources.listing import Listed
from sim_models.sources.raw import Contradicted, Declared, Raw, read_image, read_raw
from sim_models.sources.reconstruction import with_reconstructions

UNLIKE = 0.5
"""correlation with the wide-field below which a reference may be that of another cell"""


LIKE = 0.8
"""correlation with the wide-field from which a reference is surely that of the cell, and as it should lie"""

OFF_PX = 1.0
"""raw pixels between a reference and its raw frames; programs differ by half of one in where they count from"""

SURELY_MORE = 0.2
"""by how much a turned reference must be more like it to be believed"""

TURNS: Mapping[str, Callable[[Image], Image]] = {
    "mirrored in y": lambda image: image[::-1],
    "mirrored in x": lambda image: image[:, ::-1],
    "turned by half a turn": lambda image: image[::-1, ::-1],
    "with rows and columns swapped": lambda image: image.T,
}


@dataclass(frozen=True)
class Reading:
    """How files are read, and what is made of them."""

    declared: Declared
    stated: Stated
    reconstruction: ReconstructionSettings


class Unusable(BadInput):
    """One cell that cannot be learned from."""


def declared_for(files: Survey, layout: tuple[int | None, int | None], order: FrameOrder) -> Declared:
    """How a person's own stacks lie in their files: one stack each, rows top-down.

    Angles and phases are as known, or as the first stack that can be read says.

    Raises:
        BadInput: if that does not decide it, or no stack can be read.
    """
    angles, phases = layout
    if angles is None or phases is None:
        angles, phases = _told_by_a_file(files, angles, phases)
    return Declared(angles=angles, phases=phases, order=order, rows="top-down", transposed=False, time="one")


def _told_by_a_file(files: Survey, angles: int | None, phases: int | None) -> tuple[int, int]:
    for cell in files.cells:
        path = next(iter(cell.raw.values())).where
        try:
            file = read(path)
        except BadInput:
            continue
        return layout_of(file, angles, phases, path)
    raise BadInput(f"{files.layout.folder}: none of its stacks can be read; give OME-TIFF, TIFF or MRC")


def light_of(listed: Listed, reading: Reading) -> float | None:
    """Mean of a stack as stored; None if it cannot be read."""
    try:
        return float(np.mean(read_raw(listed, reading.declared).stacks))
    except Contradicted:
        raise
    except BadInput:
        return None


def fields_of(
    cell: Cell, structure: str, reading: Reading, brightest: str | None
) -> tuple[list[Field], tuple[str, ...]]:
    """The fields of a cell, each with reference, reconstruction and clean frames if there are; and what is doubtful.

    Args:
        cell: its files.
        structure: what they are called.
        reading: how they are read.
        brightest: the level whose frames are the clean ones of the others, and their classical SIM the reference where
            none is given; None where there are clean frames of their own, or only one level.

    Raises:
        Unusable: if nothing can be learned from this cell.
        BadInput: if its files are of another kind than was asked for.
    """
    stacks = {level: raw_of(listed, reading.declared) for level, listed in cell.raw.items()}
    clean, doubts = _clean_stacks(cell, reading.declared)
    files = {**cell.raw, **{_name(key): listed for key, listed in cell.clean.items()}}
    _refuse_sizes(files, {**stacks, **clean})
    given = {level: reference_of(cell, level, raw, reading.declared) for level, raw in stacks.items()}
    taken = [
        _field(cell.name, level, raw, files[level].where, structure, reading)
        for level, raw in {**stacks, **clean}.items()
    ]
    made = _reconstructed(taken, reading, needed=stacks if cell.references else files)
    bright = max((made[level] for level in stacks), key=_light)
    fields, doubts = [], [*doubts, *_doubts(cell, bright, given[bright.level])]
    for level, reference in given.items():
        brighter = None if level == brightest else made.get(_brighter(cell, level, brightest))
        if not cell.references:
            if brighter is None:
                continue  # it is the reference of the others, and its noise that of what should come out
            reference = brighter.image("reconstruction")
        field = _with_reference(made[level], reference)
        field, doubt = _with_clean(field, brighter, needed=not cell.references)
        fields.append(field)
        doubts += [doubt] if doubt else []
    return fields, tuple(doubts)


def _clean_stacks(cell: Cell, declared: Declared) -> tuple[dict[str, Raw], list[str]]:
    """Stacks with much light, and which cannot be used: a cell with a good image of its own does without.

    Raises:
        Unusable: if one cannot be used and would be the reference.
    """
    stacks, doubts = {}, []
    for key, listed in cell.clean.items():
        try:
            stacks[_name(key)] = raw_of(listed, declared)
        except Unusable as reason:
            if not cell.references:
                raise
            doubts.append(f"has no clean frames: {reason}")
    return stacks, doubts


def _refuse_sizes(files: Mapping[str, Listed], stacks: Mapping[str, Raw]) -> None:
    """All stacks of a cell show the same field."""
    first, *others = stacks
    for name in others:
        one, other = (" x ".join(map(str, stacks[each].stacks.shape[-2:])) for each in (first, name))
        if one != other:
            raise Unusable(
                f"{files[name].where}: is {other} pixels, but {files[first].where} of the same cell {one}; all "
                "stacks of a cell show the same field"
            )


def _reconstructed(taken: Sequence[Field], reading: Reading, needed: Container[str]) -> dict[str, Field]:
    """Every stack of a cell with its classical SIM.

    Raises:
        Unusable: if one of the levels that are `needed` has none.
    """
    made = with_reconstructions(taken, reading.reconstruction)
    for field in made:
        if field.level in needed and "reconstruction" not in field.images:
            raise Unusable(f"{field.level}: {field.notes[-1].removeprefix('no reconstruction: ')}")
    return {field.level: field for field in made}


def _brighter(cell: Cell, level: str, brightest: str | None) -> str:
    """Which stack has the frames of a level with much light; empty where none has."""
    return _name(level if level in cell.clean else None) if cell.clean else brightest or ""


def _name(key: str | None) -> str:
    """Of clean frames among the light levels of a cell."""
    return "raw_clean" if key is None else f"raw_clean {key}"


def _light(field: Field) -> float:
    return float(field.image("widefield").mean())


def _with_clean(field: Field, brighter: Field | None, needed: bool) -> tuple[Field, str | None]:
    """A field with the frames of a brighter one as its `raw_clean`; or why these are no such thing.

    Raises:
        Unusable: if the cell moved between both, and the reference is of the brighter one (`needed`).
    """
    if brighter is None:
        return field, None
    microscope = field.microscope
    cutoff = microscope.cutoff_per_um * microscope.pixel_um
    try:
        clean = as_bright(brighter.image("raw"), field.image("raw"), cutoff)
    except BadInput as reason:
        if needed and isinstance(reason, Moved):
            raise Unusable(f"{field.level}: {reason}; what is made of those would be its reference") from None
        return field, f"{field.level} has no clean frames: {reason}"
    note = f"raw_clean: frames of {brighter.level} {clean.how}"
    field = replace(field.with_images({"raw_clean": clean.frames}), notes=(*field.notes, note))
    return field, clean.doubt and f"{field.level} is {clean.doubt}"


def _doubts(cell: Cell, field: Field, reference: Image | None) -> list[str]:
    """What is odd about a reference that was given."""
    if reference is None:
        return []
    widefield = field.image("widefield")
    found = squirrel(reference, widefield)
    if found.rsp >= LIKE:
        cutoff = field.microscope.cutoff_per_um * field.microscope.pixel_um
        shift = shift_between(_on_raw_pixels(reference), widefield, cutoff)
        if shift is None or shift.surely_px <= OFF_PX:
            return []
        return [f"its reference lies {shift.px:.1f} raw pixels beside its raw frames; register it first"]
    _refuse_turned(cell, field, reference, found.rsp)
    if found.rsp >= UNLIKE:
        return []
    return [
        f"its reference is hardly like its raw frames (correlation {found.rsp:.2f}); is it of the same cell?"
    ]


def _on_raw_pixels(image: Image) -> Image:
    fine = torch.from_numpy(np.ascontiguousarray(image, np.float32))
    coarse: Image = block_mean(fine, SCALE).numpy()
    return coarse


def _refuse_turned(cell: Cell, bright: Field, reference: Image, alike: float) -> None:
    """Refuse references that lie otherwise than the raw frames, as where one is stored bottom-up and the other not."""
    fits = {
        how: squirrel(np.ascontiguousarray(turned, np.float32), bright.image("widefield")).rsp
        for how, turn in TURNS.items()
        if (turned := turn(reference)).shape == reference.shape
    }
    how = max(fits, key=fits.__getitem__)
    listed = cell.reference(bright.level)
    if listed is not None and fits[how] > max(LIKE, alike + SURELY_MORE):
        raise BadInput(
            f"{listed.where}: lies {how} against the raw frames of {cell.name} (correlation {fits[how]:.2f}, as it is "
            f"{alike:.2f}); MRC keeps rows bottom-up and TIFF top-down, so store raw frames and references alike"
        )


def _with_reference(field: Field, reference: Image | None) -> Field:
    """A reference as bright as the frames of its level.

    Programs that make references scale them each in their own way, and one reference serves all levels; but learning
    and scores compare values. So gain and offset are those by which it explains the wide-field best.
    """
    if reference is None:
        raise Unusable(f"{field.level}: has no reference")
    found = squirrel(reference, field.image("widefield"))
    if found.gain <= 0:
        raise Unusable(f"{field.level}: its reference does not show what the raw frames show")
    scaled = (found.gain * reference.astype(np.float64) + found.offset).astype(np.float32)
    note = f"reference times {found.gain:.4g} plus {found.offset:.4g}, to explain the wide-field"
    return replace(field.with_images({"reference": scaled}), notes=(*field.notes, note))


@contextmanager
def _of_this_cell() -> Iterator[None]:
    """What is refused within leaves one cell out, unless all are read in a wrong way."""
    try:
        yield
    except Contradicted:
        raise
    except BadInput as refusal:
        raise Unusable(str(refusal)) from None


def raw_of(listed: Listed, declared: Declared) -> Raw:
    """Raw stacks that stripes can be seen in.

    Raises:
        Unusable: if they cannot be read, are damaged, dark or saturated.
        Contradicted: if they are not as declared.
    """
    with _of_this_cell():
        raw = read_raw(listed, declared)
        refuse_unusable(raw.stacks, listed.where)
        _refuse_constant(raw.stacks, listed.where)
    return raw


def _field(cell: str, level: str, raw: Raw, path: Path, structure: str, reading: Reading) -> Field:
    """One raw stack above its camera's offset, with its wide-field."""
    microscope = microscope_of(raw, reading.stated, path)
    refuse_scale(microscope, (raw.stacks.shape[-2], raw.stacks.shape[-1]), path)
    with _of_this_cell():
        # Of a series the first stack: fields have no time.
        frames, _ = above_offset(raw.stacks[:1], microscope.camera, reading.stated.offset, path)
    images: dict[str, Image] = {"raw": frames[0], "widefield": frames[0].mean(axis=(0, 1))}
    return Field(
        dataset=structure,
        structure=structure,
        cell=cell,
        level=level,
        images=images,  # type: ignore[arg-type] # these are roles
        microscope=microscope,
        unit="photons" if microscope.camera else "counts",
    )


def _refuse_constant(stacks: Image, path: Path) -> None:
    if np.ptp(stacks) == 0:
        raise BadInput(f"{path}: every pixel is {stacks.flat[0]}; the camera or the export went wrong")


def reference_of(cell: Cell, level: str, raw: Raw, declared: Declared, scale: int = SCALE) -> Image | None:
    """The good image (scale * Y, scale * X) of the first stack of a level; None where there is none.

    Raises:
        Unusable: if it cannot be read, or holds no image.
        BadInput: if it is not of that sampling.
    """
    listed = cell.reference(level)
    if listed is None:
        return None
    with _of_this_cell():
        data, _ = read_image(listed, declared)
    image, path, times = np.squeeze(np.asarray(data)), listed.where, len(raw.stacks)
    if image.ndim == 3 and len(image) == times:
        image = image[0]
    rows, columns = (scale * length for length in raw.stacks.shape[-2:])
    if image.shape != (rows, columns):
        shape = " x ".join(map(str, image.shape))
        raise BadInput(
            f"{path}: is {shape}, but the raw frames of {cell.name} are {rows // scale} x {columns // scale}, so a "
            f"reference has {rows} x {columns} pixels; give the image of the same field at {scale} times the sampling"
        )
    if np.iscomplexobj(image) or not np.isfinite(image).all() or np.ptp(image) == 0:
        raise Unusable(
            f"{path}: is no image: its values are constant, complex, NaN or infinite; export it again"
        )
    if (share := saturated_share(image)) > SATURATED_SHARE:
        raise Unusable(f"{path}: is saturated: {share:.1%} of its pixels are at the largest value there is")
    return image.astype(np.float32)
