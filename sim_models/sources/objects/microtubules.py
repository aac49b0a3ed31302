"""Microtubules: long, smooth, thin filaments that fan out from an organising centre and cross."""

from typing import Literal

import numpy as np
import torch
from pydantic import Field, PositiveFloat
from scipy.ndimage import gaussian_filter

from sim_models.sources.drawing import chance, scattered, smooth_paths, splat
from sim_models.sources.objects import ObjectSettings

_LENGTH_UM = 18.0


class Settings(ObjectSettings):
    """How dense, stiff and evenly labelled the filaments are."""

    name: Literal["microtubules"]
    density_um_per_um2: PositiveFloat
    """filament length per area; 1 to 3 in the lamella of a fibroblast"""
    persistence_um: PositiveFloat
    """apparent persistence length in a cell, about 20 to 30"""
    width_um: PositiveFloat
    """outer diameter, 0.025; about 0.06 with antibodies"""
    stray_share: float = Field(ge=0, le=1)
    """share of filaments that do not follow the fan but lie anyhow"""
    labels_per_um: PositiveFloat
    """fluorophores per length; few make the filaments grainy"""

    def draw(self, cell: int, shape: tuple[int, int], pixel_um: float, seed: int) -> torch.Tensor:
        """Fluorophore density (Y, X) of one cell; see `ObjectSettings.draw`."""
        rng = chance(self.name, cell, seed)
        extent_um = np.array(shape) * pixel_um
        step_um = pixel_um / 2
        middle = scattered(self.density_um_per_um2 / _LENGTH_UM, extent_um, _LENGTH_UM / 2, rng)
        direction = rng.uniform(0, 2 * np.pi)
        centre = extent_um / 2 + rng.uniform(0.6, 2.0) * extent_um.mean() * np.array(
            [np.sin(direction), np.cos(direction)]
        )
        away = np.arctan2(*(middle - centre).T) + rng.normal(0, 0.2, len(middle))
        stray = rng.random(len(middle)) < self.stray_share
        heading = np.where(stray, rng.uniform(0, 2 * np.pi, len(middle)), away)
        points, _ = smooth_paths(middle, heading, _LENGTH_UM, step_um, self.persistence_um, rng)
        labels = rng.poisson(self.labels_per_um * step_um, points.shape[:-1])
        density = gaussian_filter(splat(points, labels, shape, pixel_um), self.width_um / 2.355 / pixel_um)
        return torch.from_numpy(density.astype(np.float32))
