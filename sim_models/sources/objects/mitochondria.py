"""Mitochondria: bent tubules with a bright membrane and cristae across them."""

from typing import Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, PositiveFloat, model_validator
from scipy.ndimage import gaussian_filter

from sim_models.sources.drawing import Array, chance, scattered, sideways, smooth_paths, splat
from sim_models.sources.objects import ObjectSettings

_POINTS_PER_UM = 4000
_MEMBRANE_UM = 0.02

Places = tuple[NDArray[np.int64], Array, Array]
"""Steps along an axis, offsets from it in um, and weights, each (N,)"""


class Settings(ObjectSettings):
    """How many mitochondria there are, how long, thick and bent, and what their inside looks like."""

    name: Literal["mitochondria"]
    density_um_per_um2: PositiveFloat
    """length of mitochondria per area, about 0.5"""
    shortest_um: PositiveFloat
    """length of the shortest, about 1"""
    longest_um: PositiveFloat
    """length of the longest, about 6"""
    narrowest_um: PositiveFloat
    """diameter of the narrowest, about 0.3"""
    widest_um: PositiveFloat
    """diameter of the widest, about 0.5"""
    persistence_um: PositiveFloat
    """the shorter the more bent; about 4"""
    cristae_spacing_um: PositiveFloat
    """mean distance between cristae, about 0.1"""
    cristae_share: float = Field(ge=0, le=1)
    """share of the label that sits in cristae, the rest in the membrane around"""

    @model_validator(mode="after")
    def _ordered_sizes(self) -> Self:
        if self.narrowest_um > self.widest_um or self.shortest_um > self.longest_um:
            raise ValueError("narrowest_um must not be above widest_um, nor shortest_um above longest_um")
        return self

    def draw(self, cell: int, shape: tuple[int, int], pixel_um: float, seed: int) -> torch.Tensor:
        """Fluorophore density (Y, X) of one cell; see `ObjectSettings.draw`."""
        rng = chance(self.name, cell, seed)
        extent_um = np.array(shape) * pixel_um
        step_um = pixel_um / 2
        mean_um = (self.shortest_um + self.longest_um) / 2
        middle = scattered(self.density_um_per_um2 / mean_um, extent_um, self.longest_um / 2, rng)
        heading = rng.uniform(0, 2 * np.pi) + rng.normal(0, 0.7, len(middle))
        axes, headings = smooth_paths(middle, heading, self.longest_um, step_um, self.persistence_um, rng)
        density = np.zeros(shape)
        for axis, along in zip(axes, headings, strict=True):
            cut = round((self.longest_um - rng.uniform(self.shortest_um, self.longest_um)) / 2 / step_um)
            radius_um = self._radius_um(len(axis) - 2 * cut, step_um, rng)
            for steps, offset_um, weight in (
                self._membrane(radius_um, step_um, rng),
                self._cristae(radius_um, step_um, rng),
            ):
                points_um = sideways(axis[cut + steps], along[cut + steps], offset_um)
                density += splat(points_um, weight, shape, pixel_um)
        return torch.from_numpy(gaussian_filter(density, _MEMBRANE_UM / pixel_um).astype(np.float32))

    def _radius_um(self, num_steps: int, step_um: float, rng: np.random.Generator) -> Array:
        """Radius at every step: round caps at both ends, slightly swollen and pinched between."""
        radius_um = rng.uniform(self.narrowest_um, self.widest_um) / 2
        along_um = step_um * np.arange(num_steps)
        to_end_um = np.minimum(along_um, along_um[::-1])
        cap = np.sqrt(1 - (1 - np.clip(to_end_um / radius_um, 0, 1)) ** 2)
        swelling = np.sin(2 * np.pi * (along_um / rng.uniform(0.8, 2.0) + rng.random()))
        return np.asarray(radius_um * cap * (1 + 0.12 * swelling))

    def _membrane(self, radius_um: Array, step_um: float, rng: np.random.Generator) -> Places:
        """The wall of a tube seen from the side: bright at its rims."""
        num = max(1, round(_POINTS_PER_UM * len(radius_um) * step_um))
        steps = rng.integers(0, len(radius_um), num)
        offset_um = radius_um[steps] * np.sin(rng.uniform(0, 2 * np.pi, num))
        return steps, offset_um, (1 - self.cristae_share) * radius_um[steps]

    def _cristae(self, radius_um: Array, step_um: float, rng: np.random.Generator) -> Places:
        """Thin walls that reach from one side more or less far across the tube, slightly tilted."""
        length_um = len(radius_um) * step_um
        num = max(1, round(length_um / self.cristae_spacing_um))
        each = max(1, round(_POINTS_PER_UM * length_um / num))
        place_um = (np.arange(num) + rng.normal(0.5, 0.25, num)) * length_um / num
        at = np.clip(place_um / step_um, 0, len(radius_um) - 1).astype(np.int64)[:, None]
        reach = rng.uniform(0.5, 1.0, (num, 1)) * rng.random((num, each))
        side = rng.choice([-1.0, 1.0], (num, 1))
        across = side * (1 - 2 * reach)
        tilt = rng.normal(0, 0.3, (num, 1)) * across * radius_um[at] / step_um
        steps = np.clip(at + tilt, 0, len(radius_um) - 1).astype(np.int64)
        depth = np.sqrt(1 - across**2)
        strength = rng.lognormal(-0.1, 0.5, (num, 1))
        weight = self.cristae_share * radius_um[steps] * strength * depth
        return steps.ravel(), (across * radius_um[steps]).ravel(), weight.ravel()
