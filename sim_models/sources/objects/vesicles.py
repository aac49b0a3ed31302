"""Vesicles: hollow and filled spheres of varied size in loose clusters, some of them out of focus."""

from itertools import pairwise
from typing import Literal

import numpy as np
import torch
from pydantic import Field, PositiveFloat
from scipy.ndimage import gaussian_filter

from sim_models.sources.drawing import Array, chance, scattered, smooth_noise, splat
from sim_models.sources.objects import ObjectSettings

_LABELS_PER_VESICLE = 1500
_MEMBRANE_UM = 0.015
_BLUR_PER_DEPTH = 0.35
"""um of blur per um out of focus: half the slope of the light cone of an oil objective"""


class Settings(ObjectSettings):
    """How many vesicles there are, how large, filled and clustered, and how deep they lie."""

    name: Literal["vesicles"]
    vesicles_per_um2: PositiveFloat
    """about 1"""
    per_cluster: PositiveFloat
    """mean number in a cluster"""
    cluster_um: PositiveFloat
    """standard deviation of a cluster's extent, about 0.8"""
    median_um: PositiveFloat
    """median diameter, about 0.25"""
    size_spread: float = Field(ge=0, le=1)
    """standard deviation of the logarithm of the diameter, about 0.4"""
    filled_share: float = Field(ge=0, le=1)
    """share with the label inside; the others have it in the membrane"""
    depth_um: PositiveFloat
    """standard deviation of the distance from focus, about 0.3"""
    background: float = Field(ge=0, lt=1)
    """share of all light that is diffuse"""

    def draw(self, cell: int, shape: tuple[int, int], pixel_um: float, seed: int) -> torch.Tensor:
        """Fluorophore density (Y, X) of one cell; see `ObjectSettings.draw`."""
        rng = chance(self.name, cell, seed)
        centre = self._clustered(np.array(shape) * pixel_um, rng)
        points, weights = self._spheres(centre, rng)
        depth_um = np.abs(rng.normal(0, self.depth_um, len(centre)))
        density = np.zeros(shape)
        edges_um = (0.0, 0.15, 0.35, 0.65, 1.1, np.inf)
        for nearest, farthest in pairwise(edges_um):
            layer = (nearest <= depth_um) & (depth_um < farthest)
            blur_um = _MEMBRANE_UM + _BLUR_PER_DEPTH * nearest
            sharp = splat(points[layer], weights[layer], shape, pixel_um)
            density += gaussian_filter(sharp, blur_um / pixel_um)
        haze = np.exp(0.5 * smooth_noise(shape, 1.5, pixel_um, rng))
        level = self.background / (1 - self.background) * density.mean() / haze.mean()
        return torch.from_numpy((density + level * haze).astype(np.float32))

    def _clustered(self, extent_um: Array, rng: np.random.Generator) -> Array:
        """Centres (N, 2) of a Thomas process: Poisson clusters of normally scattered vesicles."""
        margin_um = 3 * self.cluster_um
        middle = scattered(self.vesicles_per_um2 / self.per_cluster, extent_um, margin_um, rng)
        members = np.repeat(middle, rng.poisson(self.per_cluster, len(middle)), axis=0)
        return members + rng.normal(0, self.cluster_um, members.shape)

    def _spheres(self, centre: Array, rng: np.random.Generator) -> tuple[Array, Array]:
        """Points (N, labels, 2) and weights (N, 1) of spheres seen from above, brighter when larger."""
        num = len(centre)
        radius_um = self.median_um / 2 * rng.lognormal(0, self.size_spread, (num, 1))
        filled = rng.random((num, 1)) < self.filled_share
        direction = rng.standard_normal((num, _LABELS_PER_VESICLE, 3))
        direction /= np.linalg.norm(direction, axis=-1, keepdims=True)
        reach = np.where(filled, rng.random((num, _LABELS_PER_VESICLE)) ** (1 / 3), 1.0)
        offset = (radius_um * reach)[..., None] * direction[..., :2]
        brightness = (radius_um / self.median_um) ** 1.5 * rng.lognormal(0, 0.4, (num, 1))
        return centre[:, None] + offset, brightness
