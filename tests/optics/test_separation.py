import math

import pytest
import torch

from sim_models.optics.separation import as_complex, equal_phases, mixing, num_bands, separated, unmixing


@pytest.fixture
def bands(generator: torch.Generator) -> torch.Tensor:
    return torch.rand(2, 5, 6, 7, generator=generator, dtype=torch.float64)


def frames_of(bands: torch.Tensor, phase: torch.Tensor, gain: torch.Tensor) -> torch.Tensor:
    """g (D_0 + 2 Re(D_1 e^(i phi)) + 2 Re(D_2 e^(2 i phi))), written out frame by frame."""
    harmonics = as_complex(bands)
    frames = []
    for angle in range(len(bands)):
        for turn, light in zip(phase.tolist(), gain.tolist(), strict=True):
            frame = bands[angle, 0].clone()
            for order in (1, 2):
                frame += (
                    2
                    * (
                        harmonics[angle, order - 1] * complex(math.cos(order * turn), math.sin(order * turn))
                    ).real
                )
            frames.append(light * frame)
    return torch.stack(frames).unflatten(0, (len(bands), len(phase)))


@pytest.mark.parametrize("phase", [equal_phases(5), torch.tensor([0.1, 1.0, 2.9, 3.3, 5.1, 5.5]).double()])
def test_separation_undoes_the_mixing_of_every_angle(bands: torch.Tensor, phase: torch.Tensor) -> None:
    gain = torch.linspace(0.8, 1.2, len(phase), dtype=torch.float64)
    weights = unmixing(phase, gain, 2).expand(2, -1, -1)
    torch.testing.assert_close(separated(frames_of(bands, phase, gain), weights), bands)


def test_mixing_is_what_it_says(bands: torch.Tensor) -> None:
    phase, gain = torch.tensor([0.3, 2.0]).double(), torch.tensor([1.0, 0.7]).double()
    mixed = (mixing(phase, gain, 2) @ bands.flatten(2)).unflatten(2, (6, 7))
    torch.testing.assert_close(mixed, frames_of(bands, phase, gain))


def test_the_mean_of_even_phases_is_the_widefield(bands: torch.Tensor) -> None:
    phase = equal_phases(5)
    torch.testing.assert_close(unmixing(phase, torch.ones(5).double(), 2)[0], torch.full((5,), 0.2).double())
    assert num_bands(2) == 5
    frames = frames_of(bands, phase, torch.ones(5))
    torch.testing.assert_close(frames.mean(dim=1), bands[:, 0])


def test_a_batch_of_stacks_is_separated_alike(bands: torch.Tensor) -> None:
    phase = equal_phases(5)
    weights = unmixing(phase, torch.ones(5).double(), 2).expand(2, -1, -1)
    frames = frames_of(bands, phase, torch.ones(5))
    both = separated(torch.stack([frames, 2 * frames]), weights)
    torch.testing.assert_close(both[1], 2 * bands)
