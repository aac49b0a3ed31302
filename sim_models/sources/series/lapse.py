"""Slices through a living cell over time, as a light sheet gives them: planes that drift past each other."""

import math
from collections.abc import Iterator
from typing import Literal

import numpy as np
import torch
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt

from sim_models.field import Field
from sim_models.optics.forward import widefield
from sim_models.optics.fourier import shifted
from sim_models.sources.drawing import Array, chance
from sim_models.sources.objects import ObjectSettings
from sim_models.sources.series import SeriesSettings
from sim_models.sources.simulation import MARGIN_PX, Acquisition, at_every_level, nothing_to_see

_REACH = 3.0
"""Planes farther from a slice than this many axial standard deviations give it no light."""


class Settings(SeriesSettings):
    """How many slices and times there are, how thick slices are and how fast the cell moves."""

    name: Literal["lapse"]
    times: PositiveInt
    slices: PositiveInt
    slice_um: PositiveFloat
    """from one slice to the next; planes of the object lie as dense"""
    axial_um: PositiveFloat
    """standard deviation of the light sheet along z; above slice_um, neighbouring slices are alike"""
    speed_um: NonNegativeFloat
    """way of every plane from one time to the next, each in a direction of its own"""

    def simulate(
        self, objects: ObjectSettings, acquisition: Acquisition, structure: str, cell: int, seed: int
    ) -> list[Field]:
        """Fields with `volume` and `volume_clean` (T, Z, Y, X); see `SeriesSettings.simulate`.

        Every plane is a drawing of its own that moves at constant velocity. The sheet is a Gaussian along
        z, whose light comes through the objective as if in focus: blur by defocus is left out.
        """
        pixel_um = acquisition.microscope.pixel_um
        margin_px = MARGIN_PX + math.ceil(self.speed_um * (self.times - 1) / 2 / pixel_um)
        planes = self._planes(objects, acquisition, margin_px, cell, seed)
        inside = slice(margin_px, -margin_px)
        inside_fine = slice(acquisition.oversampling * margin_px, -acquisition.oversampling * margin_px)
        if not planes[:, inside_fine, inside_fine].any():
            raise nothing_to_see(structure, cell)
        velocity_px = self._velocity_um(structure, cell, seed) / pixel_um * acquisition.oversampling
        volume = torch.stack(
            [
                widefield(slices, acquisition.microscope, acquisition.oversampling)[:, inside, inside]
                for slices in self._moving(planes, velocity_px)
            ]
        )
        return at_every_level(
            {"volume": volume, "volume_clean": volume},
            "volume",
            volume.mean(dim=(0, 1)),
            acquisition,
            structure,
            cell,
            seed,
        )

    @property
    def _beyond(self) -> int:
        """Planes above the first slice, and below the last, whose light reaches it."""
        return math.ceil(_REACH * self.axial_um / self.slice_um)

    def _planes(
        self, objects: ObjectSettings, acquisition: Acquisition, margin_px: int, cell: int, seed: int
    ) -> torch.Tensor:
        """Density (K, sY, sX) of every plane with its margin, each drawn by a seed of its own."""
        size = (acquisition.field_px + 2 * margin_px) * acquisition.oversampling
        fine_um = acquisition.microscope.pixel_um / acquisition.oversampling
        seeds = np.random.SeedSequence([seed]).generate_state(self.slices + 2 * self._beyond)
        return torch.stack([objects.draw(cell, (size, size), fine_um, int(own)) for own in seeds])

    def _velocity_um(self, structure: str, cell: int, seed: int) -> Array:
        """Way (K, 2) of every plane along y and x per time."""
        direction = chance(f"{structure} motion", cell, seed).uniform(
            0, 2 * np.pi, self.slices + 2 * self._beyond
        )
        return self.speed_um * np.stack([np.sin(direction), np.cos(direction)], axis=1)

    def _moving(self, planes: torch.Tensor, velocity_px: Array) -> Iterator[torch.Tensor]:
        """Slices (Z, sY, sX) at every time; planes stand as they were drawn in the middle of the series."""
        sheet = self._sheet().to(planes)
        for time in range(self.times):
            way_px = velocity_px * (time - (self.times - 1) / 2)
            moved = [shifted(plane, *way) for plane, way in zip(planes, way_px.tolist(), strict=True)]
            yield torch.einsum("zk,kyx->zyx", sheet, torch.stack(moved))

    def _sheet(self) -> torch.Tensor:
        """Light (Z, K) of every plane in every slice: a sampled Gaussian, 1 in sum over the planes."""
        slices = torch.arange(self.slices)[:, None] + self._beyond
        distance_um = self.slice_um * (torch.arange(self.slices + 2 * self._beyond) - slices)
        light = torch.exp(-((distance_um / self.axial_um) ** 2) / 2)
        return light / light.sum(dim=1, keepdim=True)
