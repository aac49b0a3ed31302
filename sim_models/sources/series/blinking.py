"""Frames of single fluorophores that go on and off, from which fluctuations give a super-resolved image."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field as Limits
from pydantic import PositiveFloat, PositiveInt, model_validator

from sim_models.field import Field, Role
from sim_models.optics.forward import ideal_reference, widefield
from sim_models.optics.fourier import block_mean
from sim_models.optics.illumination import nominal
from sim_models.optics.srrf import SrrfSettings, srrf
from sim_models.sources.drawing import Array, chance, splat
from sim_models.sources.objects import ObjectSettings
from sim_models.sources.series import SeriesSettings
from sim_models.sources.simulation import MARGIN_PX, Acquisition, at_every_level, nothing_to_see

Bits = NDArray[np.bool_]


class Settings(SeriesSettings):
    """How many fluorophores there are, how they blink, and what is made of their frames."""

    name: Literal["blinking"]
    frames: int = Limits(ge=2)
    """taken of every field; about 200"""
    kept: PositiveInt
    """the first of these that stay with a prepared field; about 20"""
    labels_per_um2: PositiveFloat
    """expected number of fluorophores per area, on average over what was drawn"""
    on_share: float = Limits(gt=0, lt=1)
    """of the time that a fluorophore is on; about 0.1"""
    on_frames: float = Limits(ge=1)
    """mean length of being on, in frames"""
    srrf: SrrfSettings | None
    """how the role `srrf` is made of all frames in `prepare`; None: not at all"""

    @model_validator(mode="after")
    def _can_be(self) -> Self:
        if self.kept > self.frames:
            raise ValueError(f"kept {self.kept} must not be above frames {self.frames}")
        if self._turns_on > 1:
            raise ValueError(
                f"on_frames {self.on_frames} is too short for on_share {self.on_share}: off would last less than "
                "a frame; raise on_frames or lower on_share"
            )
        return self

    def simulate(
        self, objects: ObjectSettings, acquisition: Acquisition, structure: str, cell: int, seed: int
    ) -> list[Field]:
        """Fields with `blinking` (T, Y, X), `reference` and `truth`; see `SeriesSettings.simulate`.

        `truth` (scale Y, scale X) is every fluorophore with its mean light over time, `reference` the same as
        an ideal SIM with the stripes of the acquisition shows it, so that both kinds of super-resolution
        compare with one image. All levels see the same fluorophores blink in the same way.
        """
        size = (acquisition.field_px + 2 * MARGIN_PX) * acquisition.oversampling
        microscope, fine = acquisition.microscope, acquisition.oversampling
        fine_um = microscope.pixel_um / fine
        density = objects.draw(cell, (size, size), fine_um, seed).double().numpy()
        places_um = self._places_um(density, fine_um, chance(f"{structure} labels", cell, seed))
        states = self._states(len(places_um), chance(f"{structure} blinking", cell, seed))
        inside = slice(MARGIN_PX, -MARGIN_PX)
        frames = torch.stack(
            [
                widefield(lit, microscope, fine)[inside, inside]
                for lit in _lit(places_um, states, (size, size), fine_um)
            ]
        )
        labels = torch.from_numpy(splat(places_um, self.on_share, (size, size), fine_um)).float()
        best = _best(labels, acquisition)
        if not best["truth"].any():
            raise nothing_to_see(structure, cell)
        return at_every_level(
            {"blinking": frames, **best}, "blinking", frames.mean(dim=0), acquisition, structure, cell, seed
        )

    def prepared(self, field: Field) -> Field:
        """The field with `srrf` of all its frames and only the first `kept` of these.

        SRRF has no unit of light. It is scaled to the mean of the wide-field, so that it stays comparable in
        brightness with all other images of the field; its relative brightness within is SRRF's own.
        """
        frames = field.image("blinking")
        field = field.with_images({"blinking": frames[: self.kept]})
        notes = (
            *field.notes,
            f"{len(frames)} frames were taken, the first {len(field.image('blinking'))} kept",
        )
        if self.srrf is None:
            return replace(field, notes=notes)
        image = srrf(torch.as_tensor(np.asarray(frames, np.float32)), self.srrf)
        factor = float(np.mean(field.image("widefield"))) / max(float(image.mean()), 1e-30)
        field = field.with_images({"srrf": (factor * image).numpy()})
        return replace(field, notes=(*notes, "srrf of all frames, scaled to the mean of the wide-field"))

    @property
    def _turns_off(self) -> float:
        """Probability per frame that a fluorophore that is on goes off: on times are geometric."""
        return 1 / self.on_frames

    @property
    def _turns_on(self) -> float:
        """Probability per frame of going on: as many must go on as off, (1 - share) p_on = share p_off."""
        return self._turns_off * self.on_share / (1 - self.on_share)

    def _places_um(self, density: Array, pixel_um: float, rng: np.random.Generator) -> Array:
        """Places (N, 2) of fluorophores: a Poisson point process as dense as the drawing."""
        if not density.any():
            return np.zeros((0, 2))
        expected = density * (self.labels_per_um2 * pixel_um**2 / density.mean())
        pixel = np.repeat(np.arange(expected.size), rng.poisson(expected).ravel())
        corner = np.stack(np.unravel_index(pixel, expected.shape), axis=1)
        return np.asarray((corner + rng.random(corner.shape)) * pixel_um)

    def _states(self, num: int, rng: np.random.Generator) -> Bits:
        """Who is on (T, N): two-state Markov chains that start in equilibrium."""
        states = np.empty((self.frames, num), np.bool_)
        states[0] = rng.random(num) < self.on_share
        for frame in range(1, self.frames):
            draw = rng.random(num)
            states[frame] = np.where(states[frame - 1], draw >= self._turns_off, draw < self._turns_on)
        return states


def _lit(places_um: Array, states: Bits, shape: tuple[int, int], pixel_um: float) -> Iterator[torch.Tensor]:
    """Light (sY, sX) of the fluorophores that are on in every frame, each giving 1."""
    for on in states:
        yield torch.from_numpy(splat(places_um[on], 1.0, shape, pixel_um)).float()


def _best(labels: torch.Tensor, acquisition: Acquisition) -> dict[Role, torch.Tensor]:
    """Reference and truth (scale Y, scale X) of fluorophores drawn with their mean light (sY, sX)."""
    fine, scale = acquisition.oversampling, acquisition.scale
    inside = slice(scale * MARGIN_PX, -scale * MARGIN_PX)
    planned = nominal(
        acquisition.angles,
        acquisition.phases,
        acquisition.spacing_um,
        acquisition.modulation,
        acquisition.first_angle_rad,
    )
    reference = ideal_reference(labels, acquisition.microscope, planned, fine, scale)
    truth = block_mean(labels, fine // scale)
    return {"reference": reference[inside, inside], "truth": truth[inside, inside]}
