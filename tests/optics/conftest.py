"""A typical microscope and stripes with every parameter different, so that mix-ups show."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from sim_models.field import Camera, Illumination, Microscope
from sim_models.optics.estimate import Estimate
from sim_models.optics.otf import Otf


@pytest.fixture
def microscope() -> Microscope:
    return Microscope(
        numerical_aperture=1.4,
        refractive_index=1.518,
        emission_um=0.525,
        pixel_um=0.065,
        camera=Camera(gain=2.0, offset=100.0, read_noise=1.5),
    )


@pytest.fixture
def illumination() -> Illumination:
    return Illumination(
        angle_rad=(0.2, 1.3, 2.3),
        spacing_um=(0.2, 0.21, 0.22),
        phase_rad=((0.1, 2.2, 4.3), (0.5, 2.5, 4.6), (0.9, 3.0, 5.1)),
        modulation=((0.8,), (0.7,), (0.6,)),
    )


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(7)


@dataclass(frozen=True)
class Taken:
    """Frames with known truth from a simulator that shares no code with the project: NumPy alone, points for pixels."""

    frames: torch.Tensor
    """(A, P, Y, X) photo-electrons with noise"""
    clean: torch.Tensor
    """(A, P, Y, X) without"""
    light: torch.Tensor
    """(2 Y, 2 X) the object, photo-electrons per raw pixel; every second sample lies on a raw pixel"""
    reference: torch.Tensor
    """(2 Y, 2 X) what an ideal objective of the extended cutoff shows of it"""
    illumination: Illumination
    microscope: Microscope

    @property
    def otf(self) -> Otf:
        """Ideal, and of a camera that takes points."""
        return Otf(self.microscope.cutoff_per_um, 0.0)

    def wave_error(self, found: Estimate) -> float:
        """Largest distance of a wave vector from the true one, cycles per field."""
        field_um = self.microscope.pixel_um * np.array(self.frames.shape[-2:])
        return max(
            min(np.hypot(*((wave - true) * field_um)), np.hypot(*((wave + true) * field_um)))
            for wave, true in zip(waves(found.illumination), waves(self.illumination), strict=True)
        )

    def phase_error(self, found: Estimate) -> float:
        """Largest error of a frame's phase in the middle of the field, rad."""
        middle_um = self.microscope.pixel_um * (np.array(self.frames.shape[-2:]) - 1) / 2
        worst = 0.0
        for angle, (wave, true) in enumerate(
            zip(waves(found.illumination), waves(self.illumination), strict=True)
        ):
            sign = 1 if np.hypot(*(wave - true)) < np.hypot(*(wave + true)) else -1
            phases = sign * (np.array(found.illumination.phase_rad[angle]) + 2 * np.pi * wave @ middle_um)
            expected = np.array(self.illumination.phase_rad[angle]) + 2 * np.pi * true @ middle_um
            worst = max(worst, np.abs(np.angle(np.exp(1j * (phases - expected)))).max())
        return worst

    def depth_error(self, found: Estimate) -> float:
        """Largest error of a modulation."""
        return float(
            np.abs(np.array(found.illumination.modulation) - np.array(self.illumination.modulation)).max()
        )


def waves(illumination: Illumination) -> np.ndarray:
    """(A, 2) wave vectors as (y, x), cycles per um."""
    angle, spacing = np.array(illumination.angle_rad), np.array(illumination.spacing_um)
    return np.stack([np.sin(angle), np.cos(angle)], axis=1) / spacing[:, None]


@pytest.fixture(scope="session")
def take() -> Callable[..., Taken]:
    """Takes frames of filaments and points under stripes."""

    def take(
        photons: float = 200.0,
        shape: tuple[int, int] = (128, 128),
        phases: int = 3,
        modulation: tuple[float, ...] = (0.7,),
        of_cutoff: float = 0.88,
        phase_error_rad: float = 0.0,
        brightness: np.ndarray | None = None,
        haze: float = 0.0,
        lead_rad: float = 0.0,
        attenuation: float = 1.0,
        seed: int = 1,
        read_noise: float = 1.0,
    ) -> Taken:
        random = np.random.default_rng(seed)
        pixel_um, aperture, emission_um = 0.08, 1.2, 0.525
        cutoff, margin = 2 * aperture / emission_um, 16
        height, width = (2 * (size + 2 * margin) for size in shape)
        light = _object(random, height, width)
        rows = np.fft.fftfreq(height, pixel_um / 2)[:, None]
        columns = np.fft.rfftfreq(width, pixel_um / 2)
        share = np.clip(np.hypot(rows, columns) / cutoff, 0, 1)
        otf = 2 / np.pi * (np.arccos(share) - share * np.sqrt(1 - share**2)) * attenuation**share

        def seen(image: np.ndarray, transfer: np.ndarray = otf) -> np.ndarray:
            blurred = np.fft.irfft2(np.fft.rfft2(image) * transfer, s=image.shape)
            return blurred[::2, ::2][margin:-margin, margin:-margin]

        finest = of_cutoff * cutoff
        extended = np.clip(np.hypot(rows, columns) / (cutoff + finest), 0, 1)
        ideal = 2 / np.pi * (np.arccos(extended) - extended * np.sqrt(1 - extended**2))
        light *= photons / np.percentile(seen(light), 99.9)
        fog = haze * seen(light, np.exp(-((np.hypot(rows, columns) / 0.35) ** 2)))
        y = (np.arange(height)[:, None] / 2 - margin) * pixel_um
        x = (np.arange(width) / 2 - margin) * pixel_um
        angles = 0.31 + np.pi * np.arange(3) / 3 + random.normal(0, 0.01, 3)
        spacings = len(modulation) / (finest * (1 + random.normal(0, 0.004, 3)))
        steps = random.uniform(-np.pi, np.pi, (3, 1)) + 2 * np.pi * np.arange(phases) / phases
        steps = steps + phase_error_rad * random.standard_normal((3, phases))
        brightness = np.ones((3, phases)) if brightness is None else brightness
        clean = np.empty((3, phases, *shape))
        for angle, phase in np.ndindex(3, phases):
            turns = (np.cos(angles[angle]) * x + np.sin(angles[angle]) * y) / spacings[angle]
            argument = 2 * np.pi * turns + steps[angle, phase]
            ahead = [*[0.0] * (len(modulation) - 1), lead_rad]
            waves = (m * np.cos(h * argument + ahead[h - 1]) for h, m in enumerate(modulation, start=1))
            pattern = 1 + sum(waves)
            clean[angle, phase] = brightness[angle, phase] * (seen(light * pattern) + fog)
        noisy = random.poisson(np.maximum(clean, 0)) + random.normal(0, read_noise, clean.shape)
        inside = slice(2 * margin, -2 * margin)
        return Taken(
            torch.as_tensor(noisy, dtype=torch.float32),
            torch.as_tensor(clean, dtype=torch.float32),
            torch.as_tensor(light[inside, inside], dtype=torch.float32),
            torch.as_tensor(
                np.fft.irfft2(np.fft.rfft2(light) * ideal, s=light.shape)[inside, inside], dtype=torch.float32
            ),
            Illumination(
                angle_rad=tuple(angles.tolist()),
                spacing_um=tuple(spacings.tolist()),
                phase_rad=tuple(map(tuple, steps.tolist())),
                modulation=(modulation,) * 3,
                lead_rad=((*[0.0] * (len(modulation) - 1), lead_rad),) * 3 if lead_rad else None,
            ),
            Microscope(
                numerical_aperture=aperture,
                refractive_index=1.33,
                emission_um=emission_um,
                pixel_um=pixel_um,
                camera=Camera(gain=1.0, offset=0.0, read_noise=read_noise),
            ),
        )

    return take


def _object(random: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Filaments and points, a little smoothed."""
    light = np.zeros((height, width))
    for _ in range(14):
        steps = 2 * max(height, width)
        direction = random.uniform(0, 2 * np.pi) + np.cumsum(random.normal(0, 0.018, steps))
        x = random.uniform(0, width) + np.cumsum(0.5 * np.cos(direction))
        y = random.uniform(0, height) + np.cumsum(0.5 * np.sin(direction))
        inside = (x > 1) & (x < width - 2) & (y > 1) & (y < height - 2)
        np.add.at(light, (y[inside].astype(int), x[inside].astype(int)), 0.5)
    places = random.integers(0, height, 60), random.integers(0, width, 60)
    np.add.at(light, places, random.uniform(2, 10, 60))
    rows, columns = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)
    soft = np.exp(-2 * (0.6 * np.pi * np.hypot(rows, columns)) ** 2)
    return np.maximum(np.fft.irfft2(np.fft.rfft2(light) * soft, s=light.shape), 0)
