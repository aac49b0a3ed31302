"""A typical microscope and stripes with every parameter different, so that mix-ups show."""

import pytest
import torch

from sim_models.field import Camera, Illumination, Microscope


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
