"""The role `reconstruction`: classical SIM of the raw frames of every field, as a lab would make it.

Stripes are estimated blind. Where a dim level is refused, it is looked at again near the stripes of the brightest level
of the same cell, and else reconstructed with those: levels of a cell are taken one after the other with the same
stripes. Only where no level shows stripes are those of the field's metadata taken, and the notes say so.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from sim_models.field import Field, Illumination
from sim_models.optics.estimate import Estimate, NoPattern, estimate, usual_harmonics
from sim_models.optics.otf import Otf
from sim_models.optics.reconstruct import ReconstructionSettings, Reconstructor


def with_reconstructions(levels: Sequence[Field], settings: ReconstructionSettings) -> list[Field]:
    """The fields of one cell at all its light levels, in photons, each with its reconstruction where one can be made.

    A field without `illumination` gets the estimated one.
    """
    found = {field.level: _blind(field) for field in levels}
    brightest = max(
        (field for field in levels if isinstance(found[field.level], Estimate)), key=_light, default=None
    )
    guide = found[brightest.level] if brightest else None
    done = []
    for field in levels:
        own = found[field.level]
        if isinstance(own, NoPattern) and isinstance(guide, Estimate) and brightest is not None:
            own = _near(field, guide)
            if isinstance(own, NoPattern):
                note = f"stripes of level {brightest.level}, since at this one: {own}"
                done.append(_reconstructed(field, guide.illumination, guide.otf, guide.haze, settings, note))
                continue
        if isinstance(own, Estimate):
            scores = ", ".join(f"{angle.score:.0f}" for angle in own.angles)
            note = "; ".join([f"stripes estimated, scores {scores}", *own.warnings])
            done.append(_reconstructed(field, own.illumination, own.otf, own.haze, settings, note))
        elif field.illumination is not None:
            note = f"stripes of the metadata, since: {own}"
            done.append(
                _reconstructed(field, field.illumination, Otf.ideal(field.microscope), (), settings, note)
            )
        else:
            done.append(replace(field, notes=(*field.notes, f"no reconstruction: {own}")))
    return done


def _light(field: Field) -> float:
    return float(np.mean(field.image("raw")))


def _frames(field: Field) -> torch.Tensor:
    return torch.as_tensor(np.asarray(field.image("raw"), np.float32))


def _harmonics(field: Field) -> int:
    if field.illumination is not None:
        return len(field.illumination.modulation[0])
    return usual_harmonics(field.image("raw").shape[1])


def _blind(field: Field) -> Estimate | NoPattern:
    try:
        return estimate(_frames(field), field.microscope, _harmonics(field))
    except NoPattern as refusal:
        return refusal


def _near(field: Field, guide: Estimate) -> Estimate | NoPattern:
    start = [(angle.angle_rad, angle.spacing_um) for angle in guide.angles]
    try:
        return estimate(_frames(field), field.microscope, _harmonics(field), start=start)
    except NoPattern as refusal:
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
