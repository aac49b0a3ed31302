"""How noisy frames are, measured where the objective passes nothing: beyond its cutoff."""

import math

import torch

from sim_models.field import Camera

FADE = 0.08
"""share of an edge over which a field fades out at its borders, where part of the light came from outside"""

SMALLEST_FADE_PX = 8

BEYOND = 1.05
"""of the cutoff: from here on spectra hold nothing but noise"""

ENOUGH_FREQUENCIES = 300
"""beyond the cutoff, to measure noise there"""

OUTERMOST = 0.03
"""share of all frequencies, the highest ones, that serve where the cutoff leaves too few"""

MEAN_LOG_OF_EXPONENTIAL = -0.5772156649015329
"""of mean 1: minus Euler's constant. So exp(mean log) measures noise that a few peaks do not disturb"""


def power(spectrum: torch.Tensor) -> torch.Tensor:
    """|.|^2 of complex values; several times faster than by way of `abs`."""
    return spectrum.real.square() + spectrum.imag.square()


def frame_variance(frames: torch.Tensor, window: torch.Tensor, cutoff: float, camera: Camera | None) -> torch.Tensor:
    """(A,) noise variance of a pixel of frames (A, P, Y, X), mean over the field, in their unit squared.

    From differences of frames, in which everything that stands still is gone. Where the cutoff (cycles per pixel)
    leaves no frequencies free, from the camera, or else from the highest frequencies there are, which is too much
    rather than too little.

    Args:
        frames: photo-electrons where there is a camera.
        window: (Y, X), fading at the borders.
        cutoff: of the objective, cycles per pixel.
        camera: None where it is not known.
    """
    rows = torch.fft.fftfreq(frames.shape[-2], device=frames.device)
    columns = torch.fft.rfftfreq(frames.shape[-1], device=frames.device)
    radius = torch.hypot(rows[:, None], columns).flatten()
    free = (radius > BEYOND * cutoff).nonzero()[:, 0]
    if len(free) < ENOUGH_FREQUENCIES:
        if camera is not None:
            return frames.mean(dim=(1, 2, 3)).double().clamp(min=0) + camera.read_noise**2
        free = radius.topk(max(1, int(OUTERMOST * len(radius)))).indices
    differences = (frames[:, 0] - frames[:, 1]) * window
    spectra = power(torch.fft.rfft2(differences)).flatten(1)[:, free]
    level = (spectra.clamp(min=1e-30).log().mean(dim=1) - MEAN_LOG_OF_EXPONENTIAL).exp().double()
    return level / window.square().sum() / 2


def fading(shape: tuple[int, int]) -> torch.Tensor:
    """(Y, X): 1 inside, falling to 0 at the borders like a cosine."""
    edges = []
    for size in shape:
        width = min(max(FADE * size, SMALLEST_FADE_PX), size / 2)
        inwards = torch.minimum(torch.arange(size) + 0.5, size - 0.5 - torch.arange(size))
        edges.append(0.5 - 0.5 * torch.cos(math.pi * (inwards / width).clamp(max=1)))
    return edges[0][:, None] * edges[1]
