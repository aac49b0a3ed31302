"""Drawing fine structures on a grid: seeded chance, smooth filaments, anti-aliased points.

Positions are in um from the grid's upper left corner, as (..., 2) arrays of (y, x).
"""

import zlib

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, gaussian_filter1d, zoom

Array = NDArray[np.float64]

_LONGEST_SMOOTHING_UM = 0.5


def chance(name: str, cell: int, seed: int) -> np.random.Generator:
    """The random numbers of one cell of one structure: always the same, and no other cell's."""
    return np.random.default_rng([zlib.crc32(name.encode()), cell, seed])


def splat(
    points_um: Array, weights: Array | NDArray[np.int64] | float, shape: tuple[int, int], pixel_um: float
) -> Array:
    """Add points (..., 2) with weights (...) to an empty grid (Y, X), shared bilinearly by four pixels.

    Points outside are left out: structures are cut by the border as a camera cuts them.
    """
    position = points_um.reshape(-1, 2) / pixel_um - 0.5
    weight = np.broadcast_to(weights, points_um.shape[:-1]).reshape(-1)
    inside = ((position > -1) & (position < np.array(shape))).all(axis=1)
    position, weight = position[inside], weight[inside]
    corner = np.floor(position).astype(np.int64)
    part = position - corner
    height, width = shape[0] + 2, shape[1] + 2
    grid = np.zeros(height * width)
    for down in (0, 1):
        for right in (0, 1):
            share = np.abs(1 - down - part[:, 0]) * np.abs(1 - right - part[:, 1])
            index = (corner[:, 0] + down + 1) * width + corner[:, 1] + right + 1
            grid += np.bincount(index, weight * share, minlength=grid.size)
    return grid.reshape(height, width)[1:-1, 1:-1]


def smooth_paths(
    middle_um: Array,
    heading_rad: Array,
    length_um: float,
    step_um: float,
    persistence_um: float,
    rng: np.random.Generator,
) -> tuple[Array, Array]:
    """Filaments as points (N, S, 2) every `step_um` and their headings (N, S).

    Their middles (N, 2) and the headings there (N,) are given; so filaments scattered evenly have the
    same density everywhere, even if they fan out. A worm-like chain in the plane: headings decorrelate
    over twice the persistence length (Kratky and Porod, 1949), smoothed because filaments have no kinks.
    """
    num_steps = round(length_um / step_um)
    turns = rng.standard_normal((len(middle_um), num_steps)) * np.sqrt(step_um / persistence_um)
    smoothing_um = min(0.1 * persistence_um, _LONGEST_SMOOTHING_UM)
    bend = gaussian_filter1d(
        np.cumsum(turns, axis=1), smoothing_um / step_um, axis=1, mode="nearest", truncate=2
    )
    middle = num_steps // 2
    heading = heading_rad[:, None] + bend - bend[:, [middle]]
    path = np.cumsum(step_um * np.stack([np.sin(heading), np.cos(heading)], axis=-1), axis=1)
    return middle_um[:, None] + path - path[:, [middle]], heading


def sideways(points_um: Array, heading_rad: Array, offset_um: Array | float) -> Array:
    """Move points (..., 2) at right angles to their heading (...)."""
    normal = np.stack([np.cos(heading_rad), -np.sin(heading_rad)], axis=-1)
    return np.asarray(points_um + normal * np.asarray(offset_um)[..., None])


def scattered(density_per_um2: float, extent_um: Array, margin_um: float, rng: np.random.Generator) -> Array:
    """Uniform random points (N, 2) on a field (height, width) and a margin around it; N is Poisson."""
    size = extent_um + 2 * margin_um
    num = rng.poisson(density_per_um2 * size.prod())
    return rng.uniform(-margin_um, extent_um + margin_um, (num, 2))


def smooth_noise(shape: tuple[int, int], scale_um: float, pixel_um: float, rng: np.random.Generator) -> Array:
    """A random field (Y, X) of mean about 0 and deviation about 1 that varies over `scale_um`."""
    coarse = max(1, round(scale_um / pixel_um / 3))
    spread_px = scale_um / pixel_um / coarse
    white = rng.standard_normal([size // coarse + 2 for size in shape])
    noise = 2 * np.sqrt(np.pi) * spread_px * gaussian_filter(white, spread_px, mode="wrap")
    return np.asarray(zoom(noise, np.divide(shape, noise.shape), order=1, mode="nearest"))
