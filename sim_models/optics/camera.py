"""Photons to camera counts and back: `counts = gain * electrons + offset`."""

import torch

from sim_models.field import Camera

FULL_COUNTS = 65535
"""Largest count of a 16-bit camera; where a pixel shows it, light was lost."""


def expose(photons: torch.Tensor, camera: Camera, generator: torch.Generator) -> torch.Tensor:
    """Counts (int32, 0 to `FULL_COUNTS`) for expected photo-electrons per pixel, any shape.

    Shot noise is Poisson, read noise normal; then gain, offset, rounding and clipping to 16 bits.
    """
    electrons = torch.poisson(photons.clamp(min=0), generator=generator)
    electrons += camera.read_noise * torch.randn(
        photons.shape, generator=generator, dtype=photons.dtype, device=photons.device
    )
    counts = camera.gain * electrons + camera.offset
    return counts.round().clamp(0, FULL_COUNTS).to(torch.int32)


def saturated_share(counts: torch.Tensor) -> float:
    """Fraction of pixels at the camera's limit."""
    return float((counts >= FULL_COUNTS).float().mean())


def photons(counts: torch.Tensor, camera: Camera) -> torch.Tensor:
    """Photo-electrons per pixel (float32) from counts; read noise makes some of them negative."""
    return (counts.float() - camera.offset) / camera.gain
