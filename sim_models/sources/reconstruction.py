"""The role `reconstruction`: classical SIM of the raw frames of every field, as a lab would make it.

Stripes are estimated blind. Where a dim level is refused, it is looked at again near the stripes of the brightest level
of the same cell, and else reconstructed with those: levels of a cell are taken one after the other with the same
stripes. Only where no level shows stripes are those of the field's metadata taken, and the notes say so.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from sim_models.config import BadInput
from sim_models.field import Field, Illumination, Image, Microscope
from sim_models.optics.estimate import Estimate, estimate, usual_harmonics
from sim_models.optics.forward import frames_of
from sim_models.optics.fourier import block_mean
from sim_models.optics.otf import Otf
from sim_models.optics.reconstruct import ReconstructionSettings, Reconstructor


def with_reconstructions(levels: Sequence[Field], settings: ReconstructionSettings) -> list[Field]:
    """The fields of one cell at all its light levels, in photons, each with its reconstruction where one can be made.

    A reconstruction that a field brings along gives way, so that all are made alike. A field without `illumination`
    gets the estimated one.
    """
    found = {field.level: _stripes(field) for field in levels}
    sure = {level: stripes for level, stripes in found.items() if isinstance(stripes, Estimate)}
    brightest = max((field for field in levels if field.level in sure), key=_light, default=None)
    guide = (brightest.level, sure[brightest.level]) if brightest else None
    return [_with_one(field, found[field.level], guide, settings) for field in levels]


@dataclass(frozen=True)
class Stripes:
    """What a reconstruction has to know beside the frames."""

    illumination: Illumination
    otf: Otf
    haze: Sequence[float]


def stripes_of(field: Field) -> Stripes:
    """Stripes of one field: estimated blind, else near those of its metadata, else these.

    Raises:
        BadInput: if its frames show none and its metadata tell none.
    """
    found = _stripes(field)
    told = field.illumination
    if isinstance(found, BadInput) and told is not None:
        near = _stripes(field, list(zip(told.angle_rad, told.spacing_um, strict=True)))
        if isinstance(near, BadInput):
            return Stripes(told, Otf.ideal(field.microscope), ())
        found = near
    if isinstance(found, BadInput):
        raise BadInput(f"{field.name}: {found}")
    return Stripes(found.illumination, found.otf, found.haze)


def reconstructed(
    frames: Image, field: Field, stripes: Stripes, settings: ReconstructionSettings
) -> NDArray[np.float32]:
    """Classical SIM (2 Y, 2 X) of frames (A, P, sY, sX) that were restored from those of a field (A, P, Y, X).

    Frames on a finer grid are brought back to the pixels of the camera, which stripes and OTF speak of.
    """
    finer = frames.shape[-1] // field.image("raw").shape[-1]
    stack = block_mean(torch.as_tensor(np.asarray(frames, np.float32)), finer)
    known = stripes.illumination, settings, stripes.otf, stripes.haze
    image: NDArray[np.float32] = Reconstructor(stack, field.microscope, *known)(stack).numpy()
    return image


def synthetic(
    guess: Image, microscope: Microscope, illumination: Illumination, scale: int, full_modulation: bool
) -> NDArray[np.float32]:
    """The frames (A, P, Y, X) that a guess (scale Y, scale X) of the object gives under stripes and objective.

    Pattern-modulated frames of Qiao et al., Nat. Biotechnol. 41:367 (2023). With `full_modulation` the stripes are as
    deep as can be, as published; else as deep as they were found.
    """
    if full_modulation:
        deepest = tuple((1.0, *each[1:]) for each in illumination.modulation)
        illumination = illumination.model_copy(update={"modulation": deepest})
    image = torch.as_tensor(np.asarray(guess, np.float32))
    frames: NDArray[np.float32] = frames_of(image, microscope, illumination, scale).numpy()
    return frames


def _with_one(
    field: Field,
    own: Estimate | BadInput,
    guide: tuple[str, Estimate] | None,
    settings: ReconstructionSettings,
) -> Field:
    """A field with its reconstruction: by its own stripes, or those of the level that guides, or of its metadata."""
    field = replace(
        field, images={role: image for role, image in field.images.items() if role != "reconstruction"}
    )
    if guide and not isinstance(own, Estimate):
        own = _stripes(field, [(angle.angle_rad, angle.spacing_um) for angle in guide[1].angles])
    try:
        if isinstance(own, Estimate):
            scores = ", ".join(f"{angle.score:.0f}" for angle in own.angles)
            note = "; ".join([f"stripes estimated, scores {scores}", *own.warnings])
            return _reconstructed(field, own.illumination, own.otf, own.haze, settings, note)
        if guide:
            level, theirs = guide
            note = f"stripes of level {level}, since at this one: {own}"
            return _reconstructed(field, theirs.illumination, theirs.otf, theirs.haze, settings, note)
        if field.illumination is not None:
            note = f"stripes of the metadata, since: {own}"
            otf = Otf.ideal(field.microscope)
            return _reconstructed(field, field.illumination, otf, (), settings, note)
    except BadInput as refusal:
        own = refusal
    return replace(field, notes=(*field.notes, f"no reconstruction: {own}"))


def _light(field: Field) -> float:
    return float(np.mean(field.image("raw")))


def _frames(field: Field) -> torch.Tensor:
    return torch.as_tensor(np.asarray(field.image("raw"), np.float32))


def _harmonics(field: Field) -> int:
    if field.illumination is not None:
        return len(field.illumination.modulation[0])
    return usual_harmonics(field.image("raw").shape[1])


def _stripes(field: Field, start: Sequence[tuple[float, float]] | None = None) -> Estimate | BadInput:
    """Looked for everywhere or near a start; else the reason why there are none."""
    try:
        return estimate(_frames(field), field.microscope, _harmonics(field), start=start)
    except BadInput as refusal:
        return refusal


def _reconstructed(
    field: Field,
    illumination: Illumination,
    otf: Otf,
    haze: Sequence[float],
    settings: ReconstructionSettings,
    note: str,
) -> Field:
    frames = _frames(field)
    image = Reconstructor(frames, field.microscope, illumination, settings, otf, haze)(frames)
    known = field.illumination or illumination
    return replace(
        field.with_images({"reconstruction": image.numpy()}),
        illumination=known,
        notes=(*field.notes, f"reconstruction: {note}"),
    )
