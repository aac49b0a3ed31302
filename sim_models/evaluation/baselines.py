"""Baselines: what can be had without training, on the grid of the target and in the unit of the field."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from sim_models.field import Field

Pixels = NDArray[np.float32]


def widefield(field: Field, scale: int) -> Pixels:
    """Mean over frames, each pixel repeated: what a microscope without stripes shows; of a volume, the noisy one."""
    return _noisy(field).repeat(scale, axis=-2).repeat(scale, axis=-1)


def bicubic(field: Field, scale: int) -> Pixels:
    """The same, interpolated by cubic splines.

    A raw pixel covers a block of scale x scale pixels, so their centres coincide and nothing shifts.
    """
    from skimage.transform import resize  # slow to import

    noisy = _noisy(field)
    if scale == 1:
        return noisy
    enlarged = (scale * noisy.shape[0], scale * noisy.shape[1])
    return np.asarray(resize(noisy, enlarged, order=3, mode="symmetric", anti_aliasing=False), np.float32)


def reconstruction(field: Field, scale: int) -> Pixels | None:
    """Classical SIM as `prepare` made it, with stripes estimated from the frames; None where it could not."""
    image = field.images.get("reconstruction")
    rows, columns = _noisy(field).shape[-2:]
    if image is None or image.shape != (scale * rows, scale * columns):
        return None
    return np.asarray(image, np.float32)


def _noisy(field: Field) -> Pixels:
    """What there is without any restoration: the volume, or the wide-field."""
    volume = field.images.get("volume")
    return np.asarray(field.image("widefield") if volume is None else volume, np.float32)


BASELINES: dict[str, Callable[[Field, int], Pixels | None]] = {
    "widefield": widefield,
    "bicubic": bicubic,
    "reconstruction": reconstruction,
}
"""Each maps a field and a scale to (scale * Y, scale * X), or to a volume (T, Z, Y, X)."""
