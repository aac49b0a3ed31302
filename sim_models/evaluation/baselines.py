"""Baselines: what can be had without training, on the grid of the target and in the unit of the field."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from sim_models.field import Field

Pixels = NDArray[np.float32]


def widefield(field: Field, scale: int) -> Pixels:
    """Mean over frames, each pixel repeated: what a microscope without stripes shows."""
    return _mean_frame(field).repeat(scale, axis=0).repeat(scale, axis=1)


def bicubic(field: Field, scale: int) -> Pixels:
    """Mean over frames, interpolated by cubic splines.

    A raw pixel covers a block of scale x scale pixels, so their centres coincide and nothing shifts.
    """
    from skimage.transform import resize  # slow to import

    mean = _mean_frame(field)
    enlarged = (scale * mean.shape[0], scale * mean.shape[1])
    return np.asarray(resize(mean, enlarged, order=3, mode="symmetric", anti_aliasing=False), np.float32)


def reconstruction(field: Field, scale: int) -> Pixels | None:
    """Classical SIM as `prepare` made it, with stripes estimated from the frames; None where it could not."""
    image = field.images.get("reconstruction")
    rows, columns = field.image("raw").shape[-2:]
    if image is None or image.shape != (scale * rows, scale * columns):
        return None
    return np.asarray(image, np.float32)


def _mean_frame(field: Field) -> Pixels:
    return np.asarray(field.image("raw").mean(axis=(0, 1)), np.float32)


BASELINES: dict[str, Callable[[Field, int], Pixels | None]] = {
    "widefield": widefield,
    "bicubic": bicubic,
    "reconstruction": reconstruction,
}
"""Each maps a field and a scale to (scale * Y, scale * X)."""
