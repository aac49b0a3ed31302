"""How noisy frames are, measured where the objective passes nothing: beyond its cutoff."""

import math
from dataclasses import dataclass

import torch

from sim_models.field import Camera

FADE = 0.04
"""share of an edge over which a field fades out at its borders, where part of the light came from outside"""

SMALLEST_FADE_PX, LARGEST_FADE = 8, 0.25

BEYOND = 1.05
"""of the cutoff: from here on spectra hold nothing but noise"""

COLOURED = 1.5
"""ratio from which spectra beyond the cutoff are not white. Where they fall only just beyond it, it is too low and what
falls is the specimen; where they go on falling, frames were interpolated or smoothed"""

NEARBY, FURTHER = 1.3, 1.6
"""of the cutoff: up to the first is just beyond, from the first to the second further, and then far beyond"""

IN_BAND = (0.5, 0.7)
"""of the cutoff, between which the noise of smoothed frames is looked for"""

ENOUGH_FREQUENCIES = 300
"""beyond the cutoff, to measure noise there"""

OUTERMOST = 0.03
"""share of all frequencies, the highest ones, that serve where the cutoff leaves too few"""

MEAN_LOG_OF_EXPONENTIAL = -0.5772156649015329
"""of mean 1: minus Euler's constant. So exp(mean log) measures noise that a few peaks do not disturb"""


def power(spectrum: torch.Tensor) -> torch.Tensor:
    """|.|^2 of complex values; several times faster than by way of `abs`."""
    return spectrum.real.square().addcmul_(spectrum.imag, spectrum.imag)


@dataclass(frozen=True)
class Noise:
    """What is random in the frames of each angle."""

    variance: torch.Tensor
    """(A,) of a pixel, mean over the field, in the unit of the frames squared"""
    coloured: bool
    """whether neighbouring pixels share their noise: the frames were interpolated or smoothed"""


def frame_noise(frames: torch.Tensor, window: torch.Tensor, cutoff: float, camera: Camera | None) -> Noise:
    """Noise of frames (A, P, Y, X).

    From differences of frames, in which everything that stands still is gone, beyond the cutoff. Frames that were
    interpolated or smoothed have less noise there than below it, where the means of different angles tell it. Where
    the cutoff leaves no frequencies free, noise is told by the camera, or else by the highest frequencies there are,
    which is too much rather than too little.

    Args:
        frames: photo-electrons where there is a camera.
        window: (Y, X), fading at the borders.
        cutoff: of the objective, cycles per pixel.
        camera: None where it is not known.
    """
    rows = torch.fft.fftfreq(frames.shape[-2], device=frames.device)
    columns = torch.fft.rfftfreq(frames.shape[-1], device=frames.device)
    share = torch.hypot(rows[:, None], columns).flatten() / cutoff
    free = (share > BEYOND).nonzero()[:, 0]
    if len(free) < ENOUGH_FREQUENCIES:
        if camera is not None:
            return Noise(frames.mean(dim=(1, 2, 3)).double().cpu().clamp(min=0) + camera.read_noise**2, False)
        free = share.topk(max(1, int(OUTERMOST * len(share)))).indices
    spectra = power(torch.fft.rfft2((frames[:, 0] - frames[:, 1]) * window)).flatten(1)
    energy = float(window.square().sum())
    logs, share_free = _logs(spectra[:, free]), share[free]
    variance = _level(logs) / energy / 2
    rings = [share_free < NEARBY, (share_free > NEARBY) & (share_free < FURTHER), share_free > FURTHER]
    if min(int(ring.sum()) for ring in rings) < ENOUGH_FREQUENCIES:
        return Noise(variance, False)
    near, further, far = (_level(logs[:, ring]) for ring in rings)
    if near.mean() < COLOURED * far.mean():
        return Noise(variance, False)
    if further.mean() < COLOURED * far.mean() or len(frames) == 1:
        return Noise(far / energy / 2, False)
    in_band = (share > IN_BAND[0]) & (share < IN_BAND[1])
    return Noise(variance * _excess(frames, window, variance, in_band), True)


def _logs(spectra: torch.Tensor) -> torch.Tensor:
    return spectra.clamp(min=1e-30).log_()


def _level(logs: torch.Tensor) -> torch.Tensor:
    """(A,) mean of exponentially distributed powers, given their logarithms (A, K), from the mean of these."""
    return (logs.mean(dim=1) - MEAN_LOG_OF_EXPONENTIAL).exp().double().cpu()


def _excess(
    frames: torch.Tensor, window: torch.Tensor, variance: torch.Tensor, band: torch.Tensor
) -> torch.Tensor:
    """Noise in a band of frequencies over `variance` (A,), from the angles' means brought to one brightness."""
    mean = frames.mean(dim=1)
    brightness = mean.mean(dim=(1, 2))
    mean = mean / brightness[:, None, None]
    noise = variance / brightness.double().cpu().square() / frames.shape[1]
    spectra = power(torch.fft.rfft2((mean - mean.roll(1, 0)) * window)).flatten(1)[:, band]
    excess = _level(_logs(spectra)) / float(window.square().sum()) / (noise + noise.roll(1, 0))
    return excess.mean().clamp(min=1)


def fading(shape: tuple[int, int], least_px: int = SMALLEST_FADE_PX) -> torch.Tensor:
    """(Y, X): 1 inside, falling to 0 at the borders like a cosine, over at least so many pixels where there is room."""
    edges = []
    for size in shape:
        width = max(FADE * size, min(least_px, LARGEST_FADE * size))
        inwards = torch.minimum(torch.arange(size) + 0.5, size - 0.5 - torch.arange(size))
        edges.append(0.5 - 0.5 * torch.cos(math.pi * (inwards / width).clamp(max=1)))
    return edges[0][:, None] * edges[1]
