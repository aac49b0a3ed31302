"""Baselines: what can be had without training, on the grid of the target and in the unit of the field."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from sim_models.field import Field
from sim_models.optics.reconstruct import SCALE, reconstruct

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


def wiener(field: Field, scale: int, strength: float) -> Pixels | None:
    """Classical SIM with the known stripes; None where stripes or light are not known or the scale is not 2.

    The regularisation is `strength` times the noise-to-signal ratio of the mean frame. One number for all
    light levels would be unfair to classical SIM: it blurs bright fields or lets noise into dim ones.
    """
    ratio = noise_to_signal(field)
    if field.illumination is None or ratio is None or scale != SCALE:
        return None
    frames = torch.as_tensor(field.image("raw").astype(np.float32))
    return reconstruct(frames, field.microscope, field.illumination, strength * ratio).float().numpy()


def noise_to_signal(field: Field) -> float | None:
    """Noise variance over signal variance of the mean frame, at most 1; None where photons are not known.

    In photons, shot noise has the variance of its mean and read noise adds its square; the mean of n frames
    has an n-th of both. What it varies beyond that is signal.
    """
    camera = field.microscope.camera
    frames = field.image("raw").astype(np.float64)
    if field.unit == "counts":
        if camera is None:
            return None
        frames = (frames - camera.offset) / camera.gain
    read_noise = camera.read_noise if camera else 0.0
    noise = (frames.mean() + read_noise**2) / (frames.shape[0] * frames.shape[1])
    signal = frames.mean(axis=(0, 1)).var() - noise
    return float(noise / max(signal, noise))


def _mean_frame(field: Field) -> Pixels:
    return np.asarray(field.image("raw").mean(axis=(0, 1)), np.float32)


BASELINES: dict[str, Callable[[Field, int, float], Pixels | None]] = {
    "widefield": lambda field, scale, _: widefield(field, scale),
    "bicubic": lambda field, scale, _: bicubic(field, scale),
    "wiener": wiener,
}
"""Each maps a field, a scale and the strength of the Wiener filter to (scale * Y, scale * X)."""
