import numpy as np
import pytest
import torch
from scipy.ndimage import zoom

from sim_models.field import Camera
from sim_models.optics.noise import fading, frame_noise

CUTOFF = 0.35
"""of the objective, cycles per pixel"""


def frames_with(light: torch.Tensor, read_noise: float, seed: int = 1, size: int = 128) -> torch.Tensor:
    """(A, 3, Y, X) flat frames with Poisson noise."""
    generator = torch.Generator().manual_seed(seed)
    expected = light[:, None, None, None].expand(len(light), 3, size, size)
    noise = torch.randn(expected.shape, generator=generator)
    return torch.poisson(expected, generator=generator) + read_noise * noise


@pytest.mark.parametrize("read_noise", [0.0, 3.0])
def test_noise_is_measured_beyond_the_cutoff_for_every_angle(read_noise: float) -> None:
    light = torch.tensor([20.0, 50.0])
    noise = frame_noise(frames_with(light, read_noise), fading((128, 128)), CUTOFF, None)
    assert noise.variance.tolist() == pytest.approx((light + read_noise**2).tolist(), rel=0.05)
    assert not noise.coloured


def test_structure_below_the_cutoff_is_not_noise() -> None:
    frames = frames_with(torch.tensor([50.0]), 0.0)
    plain = frame_noise(frames, fading((128, 128)), CUTOFF, None).variance
    wave = 200 * torch.cos(2 * torch.pi * 0.2 * torch.arange(128)).expand(128, 128)
    moving = frames + wave * torch.tensor([1.0, -1.0, 0.5])[:, None, None]
    assert float(frame_noise(moving, fading((128, 128)), CUTOFF, None).variance) == pytest.approx(
        float(plain), rel=0.1
    )


def test_interpolated_frames_are_told() -> None:
    """Their noise is correlated, and there is less of it beyond the cutoff than below."""
    frames = frames_with(torch.tensor([50.0, 50.0, 50.0]), 0.0, size=96)
    smooth = torch.as_tensor(zoom(frames.numpy(), (1, 1, 1.6, 1.6), order=1), dtype=torch.float32)
    shape = smooth.shape[-2], smooth.shape[-1]
    noise = frame_noise(smooth, fading(shape), CUTOFF / 1.6, None)
    white = frame_noise(frames, fading((96, 96)), CUTOFF, None)
    assert noise.coloured
    assert not white.coloured


def test_where_nothing_is_free_beyond_the_cutoff_the_camera_tells() -> None:
    frames = frames_with(torch.tensor([50.0]), 2.0, size=32)
    camera = Camera(gain=1.0, offset=0.0, read_noise=2.0)
    noise = frame_noise(frames, fading((32, 32)), 0.7, camera)
    assert float(noise.variance) == pytest.approx(54.0, rel=0.02)


def test_fading_is_one_inside_and_nearly_none_at_the_border() -> None:
    window = fading((100, 60), least_px=10)
    assert window.shape == (100, 60)
    assert float(window[50, 30]) == 1.0
    assert float(window[0].max()) < 0.01
    assert np.all(np.diff(window[:50, 30].numpy()) >= 0)
    assert float(window[10, 30]) == 1.0
