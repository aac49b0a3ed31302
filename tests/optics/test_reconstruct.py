import pytest
import torch

from sim_models.config import BadInput
from sim_models.field import Illumination, Microscope
from sim_models.optics.camera import expose, photons
from sim_models.optics.forward import acquire, ideal_reference, widefield
from sim_models.optics.illumination import patterns, pixel_centres_um
from sim_models.optics.reconstruct import reconstruct

SIZE, FINE, MARGIN = 48, 4, 12


def seen(
    specimen: torch.Tensor, microscope: Microscope, illumination: Illumination
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Frames, ideal reference and wide-field of the inside of a specimen, in photons per raw pixel."""
    centres = pixel_centres_um(specimen.shape[-1], 0.065, FINE, -MARGIN)
    frames = acquire(specimen, patterns(illumination, centres, centres), microscope, FINE)
    reference = ideal_reference(specimen, microscope, illumination, FINE, scale=2)
    inside, inside_fine = slice(MARGIN, -MARGIN), slice(2 * MARGIN, -2 * MARGIN)
    return (
        frames[..., inside, inside],
        reference[inside_fine, inside_fine],
        widefield(specimen, microscope, FINE)[inside, inside],
    )


def blank() -> torch.Tensor:
    edge = (SIZE + 2 * MARGIN) * FINE
    return torch.zeros(edge, edge)


def correlation(first: torch.Tensor, second: torch.Tensor) -> float:
    return torch.corrcoef(torch.stack([first.flatten(), second.flatten()]))[0, 1].item()


@pytest.fixture
def points(generator: torch.Generator) -> torch.Tensor:
    specimen = blank()
    place = torch.randint(0, specimen.shape[0], (2, 250), generator=generator)
    specimen[place[0], place[1]] = 1000 + 3000 * torch.rand(250, generator=generator)
    return specimen


THREE_BEAMS = Illumination(
    angle_rad=(0.2, 1.3, 2.3),
    spacing_um=(0.4, 0.42, 0.44),
    phase_rad=tuple(tuple(start + 1.2566 * phase for phase in range(5)) for start in (0.1, 0.4, 0.9)),
    modulation=((0.6, 0.5),) * 3,
)


@pytest.mark.parametrize("beams", ["two", "three"])
def test_noise_free_frames_give_the_ideal_reference(
    beams: str, points: torch.Tensor, microscope: Microscope, illumination: Illumination
) -> None:
    stripes = illumination if beams == "two" else THREE_BEAMS
    frames, reference, wide = seen(points, microscope, stripes)
    restored = reconstruct(frames, microscope, stripes, wiener=1e-4)
    enlarged = wide.repeat_interleave(2, 0).repeat_interleave(2, 1)
    assert correlation(restored, reference) > 0.98
    assert correlation(enlarged, reference) < 0.85
    assert restored.mean().item() == pytest.approx(reference.mean().item(), rel=0.02)


def test_two_lines_that_widefield_merges_are_told_apart(
    microscope: Microscope, illumination: Illumination
) -> None:
    """Lines 0.13 um apart, below the 0.1875 um of the detection cutoff."""
    specimen = blank()
    middle = specimen.shape[0] // 2
    specimen[:, middle - 4] = specimen[:, middle + 4] = 100.0
    frames, _, wide = seen(specimen, microscope, illumination)
    restored = reconstruct(frames, microscope, illumination, wiener=1e-4)
    across, across_wide = restored[SIZE // 2 : -SIZE // 2].mean(0), wide.mean(0)
    centre = across[SIZE - 1 : SIZE + 1].mean()
    assert centre < 0.7 * across.max()
    assert across_wide[SIZE // 2 - 1 : SIZE // 2 + 1].mean() > 0.9 * across_wide.max()


@pytest.mark.parametrize("wiener", [1e-3, 0.1])
def test_a_flat_specimen_keeps_its_value(
    wiener: float, microscope: Microscope, illumination: Illumination
) -> None:
    frames, _, _ = seen(blank() + 50.0, microscope, illumination)
    restored = reconstruct(frames, microscope, illumination, wiener)
    assert restored.mean().item() == pytest.approx(50.0, rel=0.01)
    assert restored[16:-16, 16:-16].std().item() < 1.0


def test_wrong_phases_are_worse_than_true_ones(
    points: torch.Tensor, microscope: Microscope, illumination: Illumination
) -> None:
    frames, reference, _ = seen(points, microscope, illumination)
    swapped = illumination.model_copy(
        update={"phase_rad": tuple(tuple(reversed(phases)) for phases in illumination.phase_rad)}
    )
    true = reconstruct(frames, microscope, illumination, 0.001)
    wrong = reconstruct(frames, microscope, swapped, 0.001)
    assert correlation(wrong, reference) < correlation(true, reference) - 0.1


def test_noisy_frames_still_beat_widefield(
    points: torch.Tensor, microscope: Microscope, illumination: Illumination, generator: torch.Generator
) -> None:
    assert microscope.camera is not None
    frames, reference, wide = seen(points, microscope, illumination)
    noisy = photons(expose(frames, microscope.camera, generator), microscope.camera)
    enlarged = wide.repeat_interleave(2, 0).repeat_interleave(2, 1)
    restored = reconstruct(noisy, microscope, illumination, wiener=0.01)
    assert correlation(restored, reference) > correlation(enlarged, reference) + 0.05


def test_frames_that_do_not_fit_the_illumination_are_refused(
    microscope: Microscope, illumination: Illumination
) -> None:
    with pytest.raises(BadInput, match="2 angles x 3 phases but its illumination describes 3 x 3"):
        reconstruct(torch.zeros(2, 3, 32, 32), microscope, illumination, 0.01)


def test_too_few_phases_are_refused(microscope: Microscope, illumination: Illumination) -> None:
    three_beams = illumination.model_copy(update={"modulation": ((0.5, 0.4),) * 3})
    with pytest.raises(BadInput, match="3 phases per angle cannot separate the 5 bands"):
        reconstruct(torch.zeros(3, 3, 32, 32), microscope, three_beams, 0.01)
