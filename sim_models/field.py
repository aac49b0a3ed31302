"""The words of the project as types: a field, its microscope and its illumination."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import NonNegativeFloat, PositiveFloat, model_validator

from sim_models.config import BadInput, Settings

Image = NDArray[np.floating] | NDArray[np.integer]

Role = Literal[
    "raw", "raw_clean", "widefield", "reconstruction", "reference", "truth", "synthetic",
    "volume", "volume_clean", "blinking", "srrf",
]  # fmt: skip
"""What an image of a field is.

raw             (A, P, Y, X)  frames as the camera gave them
raw_clean       (A, P, Y, X)  the same with little or no noise, as bright as `raw`
widefield       (Y, X)        mean over all frames
reconstruction  (sY, sX)      classical SIM of `raw`
reference       (sY, sX)      the best image there is of the field
truth           (sY, sX)      the object itself; only where it was simulated
synthetic       (A, P, Y, X)  frames made from a restored image by the forward model
volume          (T, Z, Y, X)  slices at several times, as the camera gave them
volume_clean    (T, Z, Y, X)  the same with little or no noise, as bright as `volume`
blinking        (T, Y, X)     frames of fluorophores that go on and off
srrf            (sY, sX)      radial fluctuations of many of those
"""

AXES: Mapping[Role, str] = {
    "raw": "APYX", "raw_clean": "APYX", "synthetic": "APYX",
    "volume": "TZYX", "volume_clean": "TZYX", "blinking": "TYX",
    "widefield": "YX", "reconstruction": "YX", "reference": "YX", "truth": "YX", "srrf": "YX",
}  # fmt: skip
"""axes of each role as files name them"""


class FrameOrder(StrEnum):
    """Which of the two changes slower from one frame of a stack to the next."""

    ANGLE_MAJOR = "angle-major"
    PHASE_MAJOR = "phase-major"


class Camera(Settings):
    """How photo-electrons become counts: `counts = gain * electrons + offset`."""

    gain: PositiveFloat
    """counts per photo-electron"""
    offset: NonNegativeFloat
    """counts of a dark frame"""
    read_noise: NonNegativeFloat
    """photo-electrons, root mean square"""


class Microscope(Settings):
    """What decides the optical transfer function and the sampling of the raw frames."""

    numerical_aperture: PositiveFloat
    refractive_index: PositiveFloat
    emission_um: PositiveFloat
    pixel_um: PositiveFloat
    """edge of a raw pixel in the specimen"""
    camera: Camera | None
    """None where it was not measured: then images stay in counts"""

    @model_validator(mode="after")
    def _aperture_fits_medium(self) -> Self:
        if self.numerical_aperture >= self.refractive_index:
            raise ValueError(
                f"numerical_aperture {self.numerical_aperture} must be below refractive_index "
                f"{self.refractive_index}"
            )
        return self

    @property
    def cutoff_per_um(self) -> float:
        """Highest spatial frequency the objective passes, 2 NA / wavelength, in cycles per um."""
        return 2 * self.numerical_aperture / self.emission_um


class Illumination(Settings):
    """The stripes of every frame.

    At a point r = (x, y) um from the centre of pixel (0, 0), x to the right and y down,
    angle a and phase p have the relative intensity

        brightness[a][p] * (1 + sum_h modulation[a][h] * cos((h + 1) * u + lead_rad[a][h]))

    with u = 2 pi k_a . r + phase_rad[a][p] and k_a = (cos(angle_rad[a]), sin(angle_rad[a])) / spacing_um[a].
    """

    angle_rad: tuple[float, ...]
    """(A,) direction of each wave vector"""
    spacing_um: tuple[PositiveFloat, ...]
    """(A,) period of the first harmonic"""
    phase_rad: tuple[tuple[float, ...], ...]
    """(A, P)"""
    modulation: tuple[tuple[NonNegativeFloat, ...], ...]
    """(A, H) depth of each harmonic; H = 1 for two beams, 2 for three"""
    lead_rad: tuple[tuple[float, ...], ...] | None = None
    """(A, H) by how much each harmonic is ahead of its multiple of the phase, as out of focus; None: not at all"""
    brightness: tuple[tuple[PositiveFloat, ...], ...] | None = None
    """(A, P) of each frame, 1 on average; None: all alike"""

    @model_validator(mode="after")
    def _one_entry_per_angle(self) -> Self:
        tables = {
            "phase_rad": self.phase_rad, "modulation": self.modulation,
            "lead_rad": self.lead_rad, "brightness": self.brightness,
        }  # fmt: skip
        given = {name: table for name, table in tables.items() if table is not None}
        if {len(self.angle_rad), len(self.spacing_um), *map(len, given.values())} != {len(self.angle_rad)}:
            raise ValueError(f"angle_rad, spacing_um, {', '.join(given)} must have one entry per angle")
        for names in (("phase_rad", "brightness"), ("modulation", "lead_rad")):
            if len({len(row) for name in names for row in given.get(name, ())}) != 1:
                raise ValueError(
                    f"{' and '.join(names)} must have the same number of entries for every angle"
                )
        return self


@dataclass(frozen=True)
class Field:
    """One field of view of one cell at one light level: its images by role, and who it is."""

    dataset: str
    structure: str
    cell: str
    level: str
    images: Mapping[Role, Image]
    microscope: Microscope
    illumination: Illumination | None = None
    unit: Literal["counts", "photons"] = "counts"
    notes: tuple[str, ...] = field(default=())

    @property
    def name(self) -> str:
        """How messages call it."""
        return f"{self.structure}/{self.cell}/{self.level}"

    def image(self, role: Role) -> Image:
        """The image of one role.

        Raises:
            BadInput: if the field has none.
        """
        if role not in self.images:
            raise BadInput(
                f"{self.name}: has no image of role '{role}' (it has {', '.join(self.images)}); "
                "choose another role in the task or add that image to the dataset"
            )
        return self.images[role]

    def with_images(self, images: Mapping[Role, Image]) -> "Field":
        """The same field with images added or replaced by role."""
        return replace(self, images={**self.images, **images})
