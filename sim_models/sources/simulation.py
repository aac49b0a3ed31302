"""Simulated fields: objects seen by a SIM microscope with small faults, at several light levels."""

import zlib
from collections.abc import Mapping
from dataclasses import replace
from math import ceil, degrees
from typing import Self

import numpy as np
import torch
from pydantic import Field as Limits
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from sim_models.config import BadInput, Settings
from sim_models.field import Camera, Field, Illumination, Microscope, Role
from sim_models.optics.camera import expose, saturated_share
from sim_models.optics.forward import acquire, ideal_reference, widefield
from sim_models.optics.fourier import block_mean
from sim_models.optics.illumination import deepest_shadow, nominal, patterns, pixel_centres_um, with_errors
from sim_models.sources.objects import ObjectSettings

MARGIN_PX = 16
"""Raw pixels simulated around the field and cut off: light spills in from outside, nothing wraps."""

_STOKES = 0.75
"""Shortest excitation wavelength assumed for an emission wavelength, as its fraction."""


class Acquisition(Settings):
    """One way of taking raw stacks: microscope, stripes, their faults, size and light of a field."""

    microscope: Microscope
    angles: PositiveInt
    phases: PositiveInt
    spacing_um: PositiveFloat
    """period of the first harmonic"""
    modulation: tuple[NonNegativeFloat, ...] = Limits(min_length=1)
    """(H,) depth of each harmonic: one for two beams, two for three"""
    first_angle_rad: float
    angle_error_rad: NonNegativeFloat
    """standard deviation, as for the two errors below: see `illumination.with_errors`"""
    phase_error_rad: NonNegativeFloat
    modulation_error: NonNegativeFloat
    """a fraction of the modulation"""
    field_px: PositiveInt
    """raw pixels along an edge of the square field"""
    scale: PositiveInt
    """pixels of reference and truth per raw pixel along an axis"""
    oversampling: PositiveInt
    """pixels of the object per raw pixel along an axis"""
    levels: dict[str, PositiveFloat] = Limits(min_length=1)
    """photo-electrons per raw pixel and frame, by name: the 99.9 percentile of the noise-free wide-field"""

    @property
    def camera(self) -> Camera:
        """The microscope's camera, which an acquisition always has."""
        assert self.microscope.camera is not None
        return self.microscope.camera

    @model_validator(mode="after")
    def _complete(self) -> Self:
        harmonics = len(self.modulation)
        if self.microscope.camera is None:
            raise ValueError("microscope.camera must be given (gain, offset, read_noise): counts need one")
        if self.oversampling % self.scale:
            raise ValueError(f"scale {self.scale} must divide oversampling {self.oversampling}")
        if self.phases < 2 * harmonics + 1:
            raise ValueError(
                f"phases {self.phases} must be at least {2 * harmonics + 1} to tell the bands of "
                f"{harmonics} harmonic(s) of modulation apart"
            )
        return self

    @model_validator(mode="after")
    def _stripes_possible(self) -> Self:
        finest_um = self.spacing_um / len(self.modulation)
        limit_um = _STOKES / self.microscope.cutoff_per_um
        needed = ceil(2 * self.microscope.pixel_um / finest_um)
        if deepest_shadow(self.modulation) > 1:
            raise ValueError(f"modulation {self.modulation} makes stripes darker than black; lower it")
        if finest_um < limit_um:
            raise ValueError(
                f"spacing_um {self.spacing_um} makes stripes of {finest_um:.3f} um, finer than the "
                f"{limit_um:.3f} um this objective can project; widen the spacing"
            )
        if self.oversampling < needed:
            raise ValueError(
                f"oversampling {self.oversampling} must be at least {needed} to draw stripes of "
                f"{finest_um:.3f} um"
            )
        return self


def simulate(
    objects: ObjectSettings, acquisition: Acquisition, structure: str, cell: int, seed: int
) -> list[Field]:
    """One cell at every light level: the same object and stripes, independent noise.

    Images of each field: `raw` (A, P, Y, X) uint16 counts; `raw_clean` (A, P, Y, X) the same frames as
    expected, without noise; `reference` (scale Y, scale X) what an ideal SIM shows; `truth` (scale Y,
    scale X) the object itself on that grid; the latter three float32 in photons per raw pixel and frame of
    that level. Its illumination is the true one, faults included.

    Raises:
        BadInput: if nothing of the object lies in the field.
    """
    size = (acquisition.field_px + 2 * MARGIN_PX) * acquisition.oversampling
    fine_um = acquisition.microscope.pixel_um / acquisition.oversampling
    specimen = objects.draw(cell, (size, size), fine_um, seed)
    illumination = _true_illumination(acquisition, seeded(structure, cell, seed, "illumination"))
    clean = _noise_free(specimen, acquisition, illumination)
    if not clean["truth"].any():
        raise nothing_to_see(structure, cell)
    light = clean.pop("widefield")
    fields = at_every_level(clean, "raw", light, acquisition, structure, cell, seed)
    planned = (
        "the illumination is the true one; planned were evenly spread angles and phases "
        f"from {degrees(acquisition.first_angle_rad):.1f} degrees with modulation {acquisition.modulation}"
    )
    return [replace(field, illumination=illumination, notes=(planned, *field.notes)) for field in fields]


def at_every_level(
    expected: Mapping[Role, torch.Tensor],
    taken: Role,
    mean_frame: torch.Tensor,
    acquisition: Acquisition,
    structure: str,
    cell: int,
    seed: int,
) -> list[Field]:
    """The fields of one cell: what is expected of it, in the light of each level and with its own noise.

    Args:
        expected: noise-free images by role, in the specimen's own units.
        taken: the role of the frames (..., Y, X) that the camera takes: these become uint16 counts, all
            others float32 photons.
        mean_frame: noise-free mean (Y, X) of these frames; its 99.9 percentile gets the photons of the level.
        acquisition: microscope, camera and levels.
        structure: with `cell` and `seed`, what the noise depends on.
        cell: see above.
        seed: see above.

    Raises:
        BadInput: if that mean is dark.
    """
    brightest = torch.quantile(mean_frame, 0.999)
    if brightest <= 0:
        raise nothing_to_see(structure, cell)
    fields = []
    for level, photons in acquisition.levels.items():
        images = {role: image * (photons / brightest) for role, image in expected.items()}
        counts = expose(images.pop(taken), acquisition.camera, seeded(structure, cell, seed, level))
        share = saturated_share(counts)
        fields.append(
            Field(
                dataset="simulated",
                structure=structure,
                cell=f"cell_{cell:03d}",
                level=level,
                images={
                    taken: counts.numpy().astype(np.uint16),
                    **{role: image.numpy() for role, image in images.items()},
                },
                microscope=acquisition.microscope,
                notes=(f"{100 * share:.2g} % of all raw pixels are saturated",) if share else (),
            )
        )
    return fields


def nothing_to_see(structure: str, cell: int) -> BadInput:
    """The refusal of a field without anything in it."""
    return BadInput(
        f"{structure}, cell {cell}: nothing to see in the field; raise the density of its objects or "
        "choose a larger field_px"
    )


def seeded(structure: str, cell: int, seed: int, purpose: str) -> torch.Generator:
    """Random numbers that stay as they are when other structures, cells or levels come and go."""
    words = [zlib.crc32(word.encode()) for word in (structure, purpose)]
    state = np.random.SeedSequence([*words, cell, seed]).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0]) >> 1)


def _true_illumination(acquisition: Acquisition, generator: torch.Generator) -> Illumination:
    planned = nominal(
        acquisition.angles,
        acquisition.phases,
        acquisition.spacing_um,
        acquisition.modulation,
        acquisition.first_angle_rad,
    )
    return with_errors(
        planned,
        acquisition.angle_error_rad,
        acquisition.phase_error_rad,
        acquisition.modulation_error,
        generator,
    )


def _noise_free(
    specimen: torch.Tensor, acquisition: Acquisition, illumination: Illumination
) -> dict[Role, torch.Tensor]:
    """Expected images of the field alone, by role, in units of the object."""
    microscope, fine = acquisition.microscope, acquisition.oversampling
    centres_um = pixel_centres_um(specimen.shape[-1], microscope.pixel_um, fine, -MARGIN_PX)
    stripes = patterns(illumination, centres_um, centres_um)
    inside = slice(MARGIN_PX, -MARGIN_PX)
    inside_fine = slice(acquisition.scale * MARGIN_PX, -acquisition.scale * MARGIN_PX)
    reference = ideal_reference(specimen, microscope, illumination, fine, acquisition.scale)
    frames = acquire(specimen, stripes, microscope, fine)[..., inside, inside]
    return {
        "raw": frames,
        "raw_clean": frames,
        "widefield": widefield(specimen, microscope, fine)[inside, inside],
        "reference": reference[inside_fine, inside_fine],
        "truth": block_mean(specimen, fine // acquisition.scale)[inside_fine, inside_fine],
    }
