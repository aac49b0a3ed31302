"""Clathrin-coated pits: rings of 100 to 200 nm, filled young pits, and loose clathrin in between."""

from typing import Literal, Self

import numpy as np
import torch
from pydantic import Field, PositiveFloat, model_validator
from scipy.ndimage import gaussian_filter

from sim_models.sources.drawing import Array, chance, scattered, smooth_noise, splat
from sim_models.sources.objects import ObjectSettings

_LABELS_PER_PIT = 600


class Settings(ObjectSettings):
    """How many pits there are, how large, and how much light comes from elsewhere."""

    name: Literal["ccps"]
    pits_per_um2: PositiveFloat
    """about 1"""
    smallest_um: PositiveFloat
    """diameter of the smallest ring, about 0.1"""
    largest_um: PositiveFloat
    """diameter of the largest ring, about 0.2"""
    filled_share: float = Field(ge=0, le=1)
    """share of pits that are still a closed patch"""
    background: float = Field(ge=0, lt=1)
    """share of all light that is diffuse"""

    @model_validator(mode="after")
    def _ordered_sizes(self) -> Self:
        if self.smallest_um > self.largest_um:
            raise ValueError(f"smallest_um {self.smallest_um} must not be above largest_um {self.largest_um}")
        return self

    def draw(self, cell: int, shape: tuple[int, int], pixel_um: float, seed: int) -> torch.Tensor:
        """Fluorophore density (Y, X) of one cell; see `ObjectSettings.draw`."""
        rng = chance(self.name, cell, seed)
        extent_um = np.array(shape) * pixel_um
        density = splat(*self._pits(extent_um, rng), shape, pixel_um)
        loose = scattered(20 * self.pits_per_um2, extent_um, 0.0, rng)
        diffuse = splat(loose, rng.exponential(1, len(loose)), shape, pixel_um)
        diffuse = gaussian_filter(diffuse, 0.03 / pixel_um)
        diffuse /= max(diffuse.mean(), 1e-9)
        diffuse += 2 * np.exp(0.4 * smooth_noise(shape, 1.5, pixel_um, rng))
        level = self.background / (1 - self.background) * density.mean() / diffuse.mean()
        return torch.from_numpy((density + level * diffuse).astype(np.float32))

    def _pits(self, extent_um: Array, rng: np.random.Generator) -> tuple[Array, Array]:
        """Points (pits, labels, 2) and weights (pits, 1): clathrin on spherical caps seen from below."""
        centre = scattered(self.pits_per_um2, extent_um, self.largest_um, rng)
        num = len(centre)
        radius = rng.uniform(self.smallest_um, self.largest_um, num) / 2
        filled = rng.random(num) < self.filled_share
        # A ring is the steep wall of a deep pit; a young pit is a shallow cap without a wall.
        outer = np.where(filled, 0.9, 1.0)[:, None]
        inner = np.where(filled, 0.0, 0.72)[:, None]
        reach = radius[:, None] * np.sqrt(rng.uniform(inner**2, outer**2, (num, _LABELS_PER_PIT)))
        opening = np.where(rng.random(num) < 0.25, rng.uniform(np.pi / 3, np.pi, num), 0)[:, None]
        turn = rng.uniform(0, 2 * np.pi, (num, 1)) + rng.uniform(0, 1, reach.shape) * (2 * np.pi - opening)
        squash = rng.uniform(0.8, 1.0, (num, 1))
        offset = np.stack([reach * np.sin(turn), squash * reach * np.cos(turn)], axis=-1)
        brightness = rng.lognormal(0, 0.3, (num, 1)) * radius[:, None] / self.largest_um
        return centre[:, None] + offset, brightness / _LABELS_PER_PIT
