"""F-actin: stress fibres, bundles of parallel filaments, over the fine mesh of the cortex."""

from typing import Literal

import numpy as np
import torch
from pydantic import PositiveFloat, PositiveInt
from scipy.ndimage import gaussian_filter

from sim_models.sources.drawing import Array, chance, scattered, sideways, smooth_paths, splat
from sim_models.sources.objects import ObjectSettings

_BUNDLE_UM = 16.0
_BUNDLE_PERSISTENCE_UM = 80.0
_FILAMENT_PERSISTENCE_UM = 17.0
"""Gittes et al., J. Cell Biol. 120 (1993) 923"""


class Settings(ObjectSettings):
    """How many bundles there are, how thick, and how dense the mesh below them is."""

    name: Literal["f_actin"]
    bundles_per_um: PositiveFloat
    """stress fibres met per length on a way across them, about 0.8"""
    bundle_width_um: PositiveFloat
    """about 0.1 to 0.3"""
    filaments_per_bundle: PositiveInt
    """on average; 10 to 30"""
    mesh_um_per_um2: PositiveFloat
    """filament length per area in the mesh; meshes are about 2 over this wide"""
    mesh_filament_um: PositiveFloat
    """length of a filament of the mesh, 0.5 to 2"""
    filament_width_um: PositiveFloat
    """0.007; about 0.02 with phalloidin and its dye"""

    def draw(self, cell: int, shape: tuple[int, int], pixel_um: float, seed: int) -> torch.Tensor:
        """Fluorophore density (Y, X) of one cell; see `ObjectSettings.draw`."""
        rng = chance(self.name, cell, seed)
        extent_um = np.array(shape) * pixel_um
        step_um = pixel_um
        bundles, present = self._bundles(extent_um, step_um, rng)
        density = splat(bundles, step_um * present, shape, pixel_um)
        density += splat(self._mesh(extent_um, step_um, rng), step_um, shape, pixel_um)
        density = gaussian_filter(density, self.filament_width_um / 2.355 / pixel_um)
        return torch.from_numpy(density.astype(np.float32))

    def _mesh(self, extent_um: Array, step_um: float, rng: np.random.Generator) -> Array:
        length_um = self.mesh_filament_um
        middle = scattered(self.mesh_um_per_um2 / length_um, extent_um, length_um / 2, rng)
        heading = rng.uniform(0, 2 * np.pi, len(middle))
        points, _ = smooth_paths(middle, heading, length_um, step_um, _FILAMENT_PERSISTENCE_UM, rng)
        return points

    def _bundles(self, extent_um: Array, step_um: float, rng: np.random.Generator) -> tuple[Array, Array]:
        """Points (filaments, steps, 2) of filaments that share a way, and where each is present."""
        middle = scattered(self.bundles_per_um / _BUNDLE_UM, extent_um, _BUNDLE_UM / 2, rng)
        families = rng.uniform(0, np.pi) + np.array([0.0, rng.uniform(0.5, 1.2)])
        family = families[(rng.random(len(middle)) < 0.25).astype(int)]
        heading = family + rng.normal(0, 0.08, len(middle))
        axes, headings = smooth_paths(middle, heading, _BUNDLE_UM, step_um, _BUNDLE_PERSISTENCE_UM, rng)
        size = rng.poisson(self.filaments_per_bundle * rng.lognormal(-0.3, 0.8, len(middle))) + 1
        bundle = np.repeat(np.arange(len(middle)), size)
        offset = rng.normal(0, self.bundle_width_um / 2.355, len(bundle))
        return (
            sideways(axes[bundle], headings[bundle], self._woven(offset, axes.shape[1], step_um, rng)),
            _present(len(bundle), axes.shape[1], rng),
        )

    def _woven(self, offset_um: Array, steps: int, step_um: float, rng: np.random.Generator) -> Array:
        """Offsets (filaments, steps) that wander slowly, so that filaments of a bundle cross and fray."""
        along_um = step_um * np.arange(steps)
        wave_um = rng.uniform(2.0, 6.0, (len(offset_um), 1))
        sway = np.sin(2 * np.pi * (along_um / wave_um + rng.random((len(offset_um), 1))))
        return offset_um[:, None] + 0.3 * self.bundle_width_um * sway


def _present(filaments: int, steps: int, rng: np.random.Generator) -> Array:
    """1 where a filament (filaments, steps) is there: each begins and ends on its own, so bundles taper."""
    position = np.arange(steps) / steps
    begin, end = rng.uniform(0, 0.4, (filaments, 1)), rng.uniform(0.6, 1, (filaments, 1))
    return ((begin <= position) & (position < end)).astype(np.float64)
