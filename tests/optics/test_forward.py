import math

import pytest
import torch

from sim_models.field import Illumination, Microscope
from sim_models.optics.forward import acquire, acquire_adjoint, ideal_reference, widefield
from sim_models.optics.fourier import block_mean
from sim_models.optics.illumination import nominal, patterns, pixel_centres_um
from sim_models.optics.otf import circular_pupil_otf

SIZE, FINE = 32, 4


@pytest.fixture
def specimen(generator: torch.Generator) -> torch.Tensor:
    return torch.rand(SIZE * FINE, SIZE * FINE, generator=generator, dtype=torch.float64)


def fine_patterns(illumination: Illumination) -> torch.Tensor:
    centres = pixel_centres_um(SIZE * FINE, 0.065, FINE)
    return patterns(illumination, centres, centres)


def test_flat_light_is_widefield(specimen: torch.Tensor, microscope: Microscope) -> None:
    flat = torch.ones(2, 3, SIZE * FINE, SIZE * FINE, dtype=torch.float64)
    frames = acquire(specimen, flat, microscope, FINE)
    expected = widefield(specimen, microscope, FINE).expand(2, 3, SIZE, SIZE)
    torch.testing.assert_close(frames, expected)


def test_mean_over_even_phases_is_widefield_for_every_angle(
    specimen: torch.Tensor, microscope: Microscope
) -> None:
    stripes = fine_patterns(nominal(3, 3, spacing_um=0.2, modulation=(0.8,), first_angle_rad=0.2))
    mean = acquire(specimen, stripes, microscope, FINE).mean(dim=1)
    expected = widefield(specimen, microscope, FINE).expand(3, SIZE, SIZE)
    torch.testing.assert_close(mean, expected)


def test_photons_are_kept(specimen: torch.Tensor, microscope: Microscope, illumination: Illumination) -> None:
    stripes = fine_patterns(illumination)
    frames = acquire(specimen, stripes, microscope, FINE)
    torch.testing.assert_close(frames.mean(dim=(-2, -1)), (specimen * stripes).mean(dim=(-2, -1)))


def test_expected_photons_are_never_negative(microscope: Microscope) -> None:
    point = torch.zeros(SIZE * FINE, SIZE * FINE, dtype=torch.float64)
    point[40, 50] = 1.0
    assert widefield(point, microscope, FINE).min() > -1e-12


def test_the_adjoint_is_the_adjoint(
    specimen: torch.Tensor, microscope: Microscope, illumination: Illumination, generator: torch.Generator
) -> None:
    stripes = fine_patterns(illumination)
    frames = torch.rand(3, 3, SIZE, SIZE, generator=generator, dtype=torch.float64)
    forward = (acquire(specimen, stripes, microscope, FINE) * frames).sum()
    backward = (specimen * acquire_adjoint(frames, stripes, microscope, FINE)).sum()
    torch.testing.assert_close(forward, backward)


def test_automatic_differentiation_gives_the_adjoint(
    specimen: torch.Tensor, microscope: Microscope, illumination: Illumination, generator: torch.Generator
) -> None:
    stripes = fine_patterns(illumination)
    weights = torch.rand(3, 3, SIZE, SIZE, generator=generator, dtype=torch.float64)
    specimen.requires_grad_()
    (acquire(specimen, stripes, microscope, FINE) * weights).sum().backward()
    torch.testing.assert_close(specimen.grad, acquire_adjoint(weights, stripes, microscope, FINE))


def test_a_batch_is_the_same_as_one_by_one(
    specimen: torch.Tensor, microscope: Microscope, illumination: Illumination
) -> None:
    stripes = fine_patterns(illumination)
    batch = torch.stack([specimen, 2 * specimen.flip(0)])
    frames = acquire(batch, stripes, microscope, FINE)
    torch.testing.assert_close(frames[1], acquire(batch[1], stripes, microscope, FINE))


def test_a_wave_is_dampened_by_objective_and_pixel(microscope: Microscope) -> None:
    cycles_per_um = 4 / (SIZE * 0.065)
    x_um = pixel_centres_um(SIZE * FINE, 0.065, FINE)
    wave = (1 + torch.cos(2 * math.pi * cycles_per_um * x_um)).expand(SIZE * FINE, SIZE * FINE)
    otf = circular_pupil_otf(torch.zeros(1), torch.tensor([cycles_per_um]), microscope.cutoff_per_um).item()
    four_points = math.sin(math.pi * cycles_per_um * 0.065) / (
        FINE * math.sin(math.pi * cycles_per_um * 0.065 / FINE)
    )
    expected = 1 + otf * four_points * torch.cos(2 * math.pi * cycles_per_um * pixel_centres_um(SIZE, 0.065))
    image = widefield(wave, microscope, FINE)
    torch.testing.assert_close(image, expected.expand(SIZE, SIZE), atol=1e-6, rtol=0)


def test_fringes_of_a_flat_specimen_match_the_cosine_per_angle_and_phase(
    microscope: Microscope, illumination: Illumination
) -> None:
    """Stripes periodic on the grid: 10 and 8 cycles along x and y; nothing but their contrast changes."""
    field_um = SIZE * 0.065
    angles = (math.atan2(6, 8), math.atan2(-6, 8), math.atan2(8, 6))
    periodic = illumination.model_copy(update={"angle_rad": angles, "spacing_um": (field_um / 10,) * 3})
    flat = torch.ones(SIZE * FINE, SIZE * FINE, dtype=torch.float64)
    frames = acquire(flat, fine_patterns(periodic), microscope, FINE)
    centres = pixel_centres_um(SIZE, 0.065)
    expected = patterns(periodic, centres, centres)
    for angle in range(3):
        for phase in range(3):
            pair = torch.stack([frames[angle, phase].flatten(), expected[angle, phase].flatten()])
            assert torch.corrcoef(pair)[0, 1].item() == pytest.approx(1.0)


def test_the_ideal_reference_keeps_the_photons_and_the_place(
    microscope: Microscope, illumination: Illumination
) -> None:
    point = torch.zeros(SIZE * FINE, SIZE * FINE, dtype=torch.float64)
    point[40:44, 60:64] = 1.0
    reference = ideal_reference(point, microscope, illumination, FINE, scale=2)
    assert reference.shape == (2 * SIZE, 2 * SIZE)
    assert reference.mean().item() == pytest.approx(point.mean().item())
    brightest = block_mean(reference, 2)
    assert divmod(int(brightest.argmax()), SIZE) == (10, 15)


def test_the_ideal_reference_shows_what_widefield_cannot(
    microscope: Microscope, illumination: Illumination
) -> None:
    cycles_per_um = 16 / (SIZE * 0.065)
    assert cycles_per_um > microscope.cutoff_per_um
    x_um = pixel_centres_um(SIZE * FINE, 0.065, FINE)
    wave = (1 + torch.cos(2 * math.pi * cycles_per_um * x_um)).expand(SIZE * FINE, SIZE * FINE)
    assert widefield(wave, microscope, FINE).std().item() < 1e-9
    assert ideal_reference(wave, microscope, illumination, FINE, scale=2).std().item() > 0.05
