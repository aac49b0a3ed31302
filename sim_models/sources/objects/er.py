"""Endoplasmic reticulum: a network of tubules that meet in threes, and sheets towards one side."""

from typing import Literal

import numpy as np
import torch
from pydantic import Field, PositiveFloat
from scipy.ndimage import gaussian_filter
from scipy.spatial import Voronoi, cKDTree

from sim_models.sources.drawing import Array, chance, scattered, smooth_noise, splat
from sim_models.sources.objects import ObjectSettings

_POINTS_PER_UM = 800
_MEMBRANE_UM = 0.012
_HOLE_THRESHOLD = 1.9
"""deviations of a smooth random field above which a sheet has a hole: 3 % of its area"""


class Settings(ObjectSettings):
    """How wide the meshes and tubules are and how much of the field sheets fill."""

    name: Literal["er"]
    mesh_um: PositiveFloat
    """typical distance between the middles of neighbouring meshes, about 0.9"""
    tubule_um: PositiveFloat
    """diameter of a tubule, 0.06 to 0.1"""
    open_share: float = Field(ge=0, lt=1)
    """share of tubules that are missing, so that meshes merge; about 0.1"""
    sheet_share: float = Field(ge=0, le=1)
    """share of meshes that are closed to sheets, all towards one side; about 0.2"""
    sheet_brightness: PositiveFloat
    """light of a sheet per area, relative to that of a tubule; about 0.5"""

    def draw(self, cell: int, shape: tuple[int, int], pixel_um: float, seed: int) -> torch.Tensor:
        """Fluorophore density (Y, X) of one cell; see `ObjectSettings.draw`."""
        rng = chance(self.name, cell, seed)
        extent_um = np.array(shape) * pixel_um
        network = _relaxed_voronoi(self.mesh_um, extent_um, rng)
        tubules = splat(self._tubules(network, extent_um, rng), 1.0, shape, pixel_um)
        tubule_per_pixel = _POINTS_PER_UM / self.tubule_um * pixel_um**2
        sheets = self._sheets(network, shape, pixel_um, rng)
        density = tubules * (1 - np.minimum(sheets, 1)) + self.sheet_brightness * tubule_per_pixel * sheets
        return torch.from_numpy(gaussian_filter(density, _MEMBRANE_UM / pixel_um).astype(np.float32))

    def _tubules(self, network: Voronoi, extent_um: Array, rng: np.random.Generator) -> Array:
        """Points (N, 2) on the walls of slightly bent tubes along the borders of the meshes."""
        near = (np.abs(network.vertices - extent_um / 2) < extent_um / 2 + self.mesh_um).all(axis=1)
        ends = np.array([pair for pair in network.ridge_vertices if -1 not in pair and near[pair].all()])
        ends = ends[rng.random(len(ends)) >= self.open_share]
        first, last = network.vertices[ends[:, 0]], network.vertices[ends[:, 1]]
        length_um = np.linalg.norm(last - first, axis=1)
        edge = np.repeat(np.arange(len(ends)), np.ceil(_POINTS_PER_UM * length_um).astype(int))
        place = rng.random(len(edge))[:, None]
        normal = ((last - first) / length_um[:, None])[:, ::-1] * np.array([1.0, -1.0])
        bow_um = rng.normal(0, 0.12, len(ends)) * length_um
        wall_um = self.tubule_um / 2 * np.sin(rng.uniform(0, 2 * np.pi, len(edge)))
        aside_um = bow_um[edge] * 4 * (place * (1 - place))[:, 0] + wall_um
        straight = first[edge] + place * (last - first)[edge]
        return np.asarray(straight + aside_um[:, None] * normal[edge])

    def _sheets(
        self, network: Voronoi, shape: tuple[int, int], pixel_um: float, rng: np.random.Generator
    ) -> Array:
        """Thickness (Y, X), about 1: closed meshes on one side, with rounded outlines and small holes."""
        direction = rng.uniform(0, 2 * np.pi)
        along = network.points @ np.array([np.sin(direction), np.cos(direction)])
        ragged = along + rng.normal(0, 0.6 * self.mesh_um, len(along))
        inside = ((network.points > 0) & (network.points < np.array(shape) * pixel_um)).all(axis=1)
        border = np.quantile(ragged[inside], 1 - self.sheet_share)
        pixels_um = (np.moveaxis(np.indices(shape), 0, -1) + 0.5) * pixel_um
        _, nearest = cKDTree(network.points).query(pixels_um)
        closed = (ragged > border)[nearest].astype(np.float64)
        rounded = gaussian_filter(closed, 0.1 * self.mesh_um / pixel_um) > 0.5
        thickness = np.exp(0.15 * smooth_noise(shape, 0.2, pixel_um, rng))
        holes = smooth_noise(shape, 0.06, pixel_um, rng) > _HOLE_THRESHOLD
        return np.asarray(gaussian_filter(rounded * thickness * ~holes, self.tubule_um / 4 / pixel_um))


def _relaxed_voronoi(mesh_um: float, extent_um: Array, rng: np.random.Generator) -> Voronoi:
    """Meshes around random points moved once towards their middles: unequal, but none a sliver.

    Three borders meet at every vertex of a Voronoi diagram, as tubules do.
    """
    points = scattered(1 / mesh_um**2, extent_um, 3 * mesh_um, rng)
    network = Voronoi(points)
    middles = [
        network.vertices[region].mean(axis=0) if region and -1 not in region else point
        for point, region in zip(points, (network.regions[i] for i in network.point_region), strict=True)
    ]
    return Voronoi(np.array(middles))
