"""What every step of the estimation looks at: the frames, their noise, and a guess of the object in them."""

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from sim_models.field import Microscope
from sim_models.optics.noise import fading, frame_noise, power
from sim_models.optics.otf import Otf
from sim_models.optics.richardson_lucy import richardson_lucy

RADII = 1025


@dataclass(frozen=True)
class Scene:
    """Frames of one acquisition on their own grid. Frequencies are in cycles per pixel here."""

    frames: torch.Tensor
    """(A, P, Y, X) photo-electrons above the offset"""
    objective: Otf
    pixel_um: float
    window: torch.Tensor
    """(Y, X) from 0 at the borders to 1"""
    variance: torch.Tensor
    """(A,) noise of a pixel of a frame, mean over the field, electrons squared"""
    read_variance: float
    """the part of it that does not come from light"""
    coloured: bool
    """whether the noise of neighbouring pixels is the same in part"""

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
        rows, columns = (torch.fft.fftfreq(size, device=self.frames.device) for size in self.shape)
        return torch.hypot(rows[:, None], columns)

    @cached_property
    def otf(self) -> torch.Tensor:
        """(Y, X) values of the objective, order of `torch.fft.fft2`; none at Nyquist, which has no sign."""
        rows, columns = (torch.fft.fftfreq(size, device=self.frames.device) for size in self.shape)
        below = (rows.abs()[:, None] < 0.4999) & (columns.abs() < 0.4999)
        values: torch.Tensor = self.otf_at(rows[:, None], columns) * below
        return values

    def with_objective(self, objective: Otf) -> "Scene":
        """The same frames seen through another objective."""
        return replace(self, objective=objective)

    @cached_property
    def radial_otf(self) -> NDArray[np.float64]:
        """(RADII,) values from frequency zero to the cutoff, along the diagonal."""
        diagonal = torch.linspace(0, 1, RADII, dtype=torch.float64) * self.cutoff / math.sqrt(2)
        return self.otf_at(diagonal, diagonal).numpy()

    def otf_at(self, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
        """Values of the OTF at frequencies that broadcast against each other."""
        return self.objective(rows / self.pixel_um, columns / self.pixel_um)

    def blurred(self, images: torch.Tensor) -> torch.Tensor:
        """Complex images (..., Y, X) through the objective."""
        passed: torch.Tensor = torch.fft.ifft2(torch.fft.fft2(images) * self.otf)
        return passed

    def carrier(self, wave: torch.Tensor) -> torch.Tensor:
        """exp(2 pi i wave . r) on the grid (Y, X), r from the centre of the field; wave (2,) is (y, x)."""
        rows, columns = (
            torch.exp(2j * math.pi * frequency * axis).to(torch.complex64)
            for frequency, axis in zip(wave.tolist(), centred(self.shape, self.frames.device), strict=True)
        )
        return rows[:, None] * columns


@dataclass(frozen=True)
class Guess:
    """The object as the wide-field lets one guess it, and what it takes to look for it in stripes."""

    object: torch.Tensor
    """(Y, X), not negative"""
    energy: torch.Tensor
    """(Y, X), order of `torch.fft.fft2`: <s_q, s_q> of its image s_q in stripes of each wave vector q"""
    curvature: float
    """how fast noise decorrelates from one wave vector to another, see `search.expected_peaks`; pixels squared"""


def set_scene(frames: torch.Tensor, microscope: Microscope, objective: Otf) -> tuple[Scene, float]:
    """A scene of frames (A, P, Y, X) above the camera's offset, and photo-electrons per unit of theirs.

    Frames of a known camera are in photo-electrons already. Else their noise tells the unit: where it is all shot
    noise, its variance is the mean.
    """
    shape = frames.shape[-2], frames.shape[-1]
    window = fading(shape).to(frames.device)
    camera = microscope.camera
    noise = frame_noise(frames, window, objective.cutoff_per_um * microscope.pixel_um, camera)
    variance = noise.variance
    unit, read_variance = 1.0, camera.read_noise**2 if camera else 0.0
    if camera is None:
        unit = float(frames.mean().clamp(min=1e-12) / variance.mean().clamp(min=1e-12))
        frames, variance = frames * unit, variance * unit**2
    scene = Scene(frames, objective, microscope.pixel_um, window, variance, read_variance, noise.coloured)
    return scene, unit


def guess_object(scene: Scene, widefield: torch.Tensor, iterations: int) -> Guess:
    """Guess the object from the wide-field (Y, X), the mean of all frames; more iterations are sharper and noisier."""
    num = scene.frames.shape[0] * scene.frames.shape[1]
    light = richardson_lucy(widefield * num, scene.otf, scene.read_variance * num, iterations) / num
    # <s_q, s_q> = sum over k of otf(k)^2 |light(k - q)|^2: a correlation, so a product in real space.
    spectrum = power(torch.fft.rfft2(light * scene.window.sqrt()))
    half = scene.otf[:, : spectrum.shape[1]].square()
    product = torch.fft.irfft2(spectrum, s=scene.shape) * torch.fft.irfft2(half, s=scene.shape)
    energy = torch.fft.fft2(product).real
    return Guess(light, energy.clamp(min=1e-6 * float(energy.max())), _curvature(scene, light))


def _curvature(scene: Scene, light: torch.Tensor) -> float:
    """Square root of the determinant of the covariance of a random field's derivatives in q.

    The field is a sum of exp(2 pi i q . r) over the places r of the light with random amplitudes.
    """
    weight = (light * scene.window).square()
    product = 1.0
    for marginal, axis in zip(
        (weight.sum(1), weight.sum(0)), centred(scene.shape, light.device), strict=True
    ):
        share = marginal.double() / marginal.double().sum().clamp(min=1e-300)
        product *= max(float((share * axis.square()).sum() - (share * axis).sum().square()), 0.0)
    return (2 * math.pi) ** 2 * math.sqrt(product)


def centred(shape: tuple[int, int], device: torch.device | str = "cpu") -> tuple[torch.Tensor, torch.Tensor]:
    """Pixel coordinates (Y,) and (X,) counted from the centre of the field."""
    rows, columns = (
        torch.arange(size, dtype=torch.float64, device=device) - (size - 1) / 2 for size in shape
    )
    return rows, columns
