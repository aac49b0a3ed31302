"""What every step of the estimation looks at: the frames, and a guess of the object in them."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch

from sim_models.field import Microscope
from sim_models.optics.fourier import frequencies_per_um
from sim_models.optics.otf import Otf
from sim_models.optics.richardson_lucy import richardson_lucy

FADE = 0.08
"""share of an edge over which the field fades out at its borders, where part of the light came from outside"""

SMALLEST_FADE_PX = 8

BEYOND = 1.05
"""of the cutoff: where spectra hold nothing but noise"""

ENOUGH_FREQUENCIES = 300
"""beyond the cutoff, to measure noise there"""

MEAN_LOG_OF_EXPONENTIAL = -0.5772156649015329
"""of mean 1: minus Euler's constant. So exp(mean log) measures noise that a few peaks do not disturb"""


@dataclass(frozen=True)
class Scene:
    """Frames of one acquisition on their own grid. Frequencies are in cycles per pixel here."""

    frames: torch.Tensor
    """(A, P, Y, X) photo-electrons above the offset"""
    objective: Otf
    pixel_um: float
    otf: torch.Tensor
    """(Y, X) values of `objective`, order of `torch.fft.fft2`"""
    window: torch.Tensor
    """(Y, X) from 0 at the borders to 1"""
    variance: torch.Tensor
    """(A,) noise of a pixel of a frame, mean over the field, electrons squared"""
    read_variance: float
    """the part of it that does not come from light"""

    @property
    def shape(self) -> tuple[int, int]:
        """(Y, X)."""
        return self.frames.shape[-2], self.frames.shape[-1]

    @property
    def cutoff(self) -> float:
        """Of the detection."""
        return self.objective.cutoff_per_um * self.pixel_um

    @cached_property
    def radius(self) -> torch.Tensor:
        """(Y, X) |frequency|."""
        return _radius(self.shape, self.frames.device)

    @cached_property
    def finer_radius(self) -> torch.Tensor:
        """The same on a grid of twice as many points."""
        return _radius((2 * self.shape[0], 2 * self.shape[1]), self.frames.device)

    def guess(self, widefield: torch.Tensor) -> torch.Tensor:
        """The object (Y, X), from the wide-field (Y, X) that is the mean of all frames."""
        num = self.frames.shape[0] * self.frames.shape[1]
        return richardson_lucy(widefield * num, self.otf, self.read_variance * num) / num

    def blurred(self, images: torch.Tensor) -> torch.Tensor:
        """Complex images (..., Y, X) through the objective."""
        passed: torch.Tensor = torch.fft.ifft2(torch.fft.fft2(images) * self.otf)
        return passed

    def otf_at(self, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
        """Values of the OTF at frequencies that broadcast against each other."""
        return self.objective(rows / self.pixel_um, columns / self.pixel_um)

    def carrier(self, wave: torch.Tensor) -> torch.Tensor:
        """exp(2 pi i wave . r) on the grid (Y, X), r from the centre of the field; wave (2,) is (y, x)."""
        rows, columns = (
            torch.exp(2j * math.pi * frequency * axis).to(torch.complex64)
            for frequency, axis in zip(wave, centred(self.shape, wave.device), strict=True)
        )
        return rows[:, None] * columns


def centred(shape: tuple[int, int], device: torch.device | str = "cpu") -> tuple[torch.Tensor, torch.Tensor]:
    """Pixel coordinates (Y,) and (X,) counted from the centre of the field."""
    rows, columns = (torch.arange(size, dtype=torch.float64, device=device) - (size - 1) / 2 for size in shape)
    return rows, columns


def set_scene(frames: torch.Tensor, microscope: Microscope, objective: Otf) -> tuple[Scene, float]:
    """A scene of frames (A, P, Y, X) above the camera's offset, and photo-electrons per unit of theirs.

    Frames of a known camera are in photo-electrons already. Else their noise tells the unit: where it is all shot
    noise, its variance is the mean.
    """
    shape = frames.shape[-2], frames.shape[-1]
    window = fading(shape).to(frames.device)
    beyond = _radius(shape, frames.device) > BEYOND * objective.cutoff_per_um * microscope.pixel_um
    camera = microscope.camera
    mean = frames.mean(dim=(1, 2, 3)).double()
    if int(beyond.sum()) >= ENOUGH_FREQUENCIES or camera is None:
        if int(beyond.sum()) < ENOUGH_FREQUENCIES:
            beyond = _outermost(shape, frames.device)
        variance = noise_variance(frames, window, beyond)
    else:
        variance = mean.clamp(min=0) + camera.read_noise**2
    unit, read_variance = 1.0, camera.read_noise**2 if camera else 0.0
    if camera is None:
        unit = float(mean.mean().clamp(min=1e-12) / variance.mean().clamp(min=1e-12))
        frames, variance = frames * unit, variance * unit**2
    otf = raw_otf(shape, objective, microscope.pixel_um).to(frames.device)
    return Scene(frames, objective, microscope.pixel_um, otf, window, variance, read_variance), unit


def noise_variance(frames: torch.Tensor, window: torch.Tensor, beyond: torch.Tensor) -> torch.Tensor:
    """(A,) variance of a pixel of frames (A, P, Y, X), from the frequencies `beyond` (Y, X) the cutoff.

    Differences between the frames of an angle are looked at, in which everything that stands still is gone.
    """
    phases = frames.shape[1]
    differences = frames - frames.mean(dim=1, keepdim=True)
    power = torch.fft.fft2(differences * window).abs().square()[..., beyond].double()
    level = (power.clamp(min=1e-300).log().mean(dim=-1) - MEAN_LOG_OF_EXPONENTIAL).exp().mean(dim=-1)
    return level / window.square().sum() * phases / (phases - 1)


def fading(shape: tuple[int, int]) -> torch.Tensor:
    """(Y, X): 1 inside, falling to 0 at the borders like a cosine."""
    edges = []
    for size in shape:
        width = min(max(FADE * size, SMALLEST_FADE_PX), size / 2)
        inwards = torch.minimum(torch.arange(size) + 0.5, size - 0.5 - torch.arange(size))
        edges.append(0.5 - 0.5 * torch.cos(math.pi * (inwards / width).clamp(max=1)))
    return edges[0][:, None] * edges[1]


def raw_otf(shape: tuple[int, int], objective: Otf, pixel_um: float) -> torch.Tensor:
    """(Y, X) values of an OTF on the raw grid, float32, zero at Nyquist, which has no sign."""
    rows, columns = (axis.float() for axis in frequencies_per_um(shape, pixel_um))
    below = (rows.abs() < 0.4999 / pixel_um) & (columns.abs() < 0.4999 / pixel_um)
    return objective(rows, columns) * below


def _radius(shape: tuple[int, int], device: torch.device) -> torch.Tensor:
    rows, columns = (torch.fft.fftfreq(size, device=device) for size in shape)
    return torch.hypot(rows[:, None], columns)


def _outermost(shape: tuple[int, int], device: torch.device) -> torch.Tensor:
    """The highest frequencies there are, where the cutoff leaves no corner of the spectrum free."""
    radius = _radius(shape, device)
    return radius >= radius.flatten().kthvalue(max(1, int(0.97 * radius.numel()))).values
