"""A perfect image contradicts nothing; structure that was invented or lost is found where it is."""

import math
from collections.abc import Callable

import pytest
import torch

from sim_models.config import BadInput
from sim_models.field import Camera, Illumination, Microscope
from sim_models.optics.camera import expose, photons
from sim_models.optics.consistency import Consistency, Degradation, check_consistency
from sim_models.optics.forward import acquire, ideal_reference
from sim_models.optics.illumination import patterns, pixel_centres_um
from sim_models.optics.otf import Otf
from sim_models.optics.reconstruct import Reconstructor

SIZE, FINE, MARGIN = 64, 4, 12

Scene = tuple[torch.Tensor, torch.Tensor]
"""frames (A, P, Y, X) with noise, and the ideal image (2 Y, 2 X)"""


@pytest.fixture
def see(
    microscope: Microscope, illumination: Illumination, generator: torch.Generator
) -> Callable[..., Scene]:
    """Looks at soft spots under stripes; light is a factor, haze light without stripes."""

    def see(light: float = 1.0, haze: float = 0.0) -> Scene:
        assert microscope.camera is not None
        edge = (SIZE + 2 * MARGIN) * FINE
        specimen = torch.full((edge, edge), 20.0)
        place = torch.randint(0, edge, (2, 300), generator=generator)
        specimen[place[0], place[1]] += 400 + 800 * torch.rand(300, generator=generator)
        specimen *= light
        centres = pixel_centres_um(edge, microscope.pixel_um, FINE, -MARGIN)
        frames = acquire(specimen, patterns(illumination, centres, centres), microscope, FINE)
        reference = ideal_reference(specimen, microscope, illumination, FINE, scale=2)
        inside, inside_fine = slice(MARGIN, -MARGIN), slice(2 * MARGIN, -2 * MARGIN)
        frames, reference = frames[..., inside, inside], reference[inside_fine, inside_fine]
        slope = torch.linspace(0, 2 * haze * float(frames.mean()), SIZE)
        counts = expose(frames + slope, microscope.camera, generator)
        return photons(counts, microscope.camera), reference

    return see


def spot(image: torch.Tensor, row: int, column: int, height: float) -> torch.Tensor:
    """The image with a spot of the size of its resolution more."""
    rows, columns = torch.arange(image.shape[0])[:, None] - row, torch.arange(image.shape[1]) - column
    changed: torch.Tensor = image + height * torch.exp(-(rows**2 + columns**2) / (2 * 1.5**2))
    return changed


def psnr(image: torch.Tensor, reference: torch.Tensor) -> float:
    return 10 * math.log10(float(reference.max() ** 2 / (image - reference).square().mean()))


@pytest.mark.parametrize("light", [1.0, 0.1])
def test_a_perfect_image_contradicts_nothing(
    light: float, see: Callable[..., Scene], microscope: Microscope, illumination: Illumination
) -> None:
    frames, reference = see(light)
    found = check_consistency(reference, frames, microscope, illumination)
    assert found.chi2_reduced == pytest.approx(1.0, abs=0.05)
    assert float(found.score_map[12:-12, 12:-12].std()) == pytest.approx(1.0, abs=0.15)
    assert not found.flagged.any()


@pytest.mark.parametrize("sign", [1, -1])
def test_structure_invented_or_lost_is_flagged_where_psnr_misses_it(
    sign: int, see: Callable[..., Scene], microscope: Microscope, illumination: Illumination
) -> None:
    """PSNR against a reference with noise, the only one a lab has, changes by a hundredth of a decibel."""
    frames, ideal = see()
    noisy_reference = Reconstructor(frames, microscope, illumination)(frames)
    height = sign * 0.4 * float(ideal.max() - ideal.median())
    changed = spot(ideal, 50, 70, height)
    assert abs(psnr(changed, noisy_reference) - psnr(ideal, noisy_reference)) < 0.3
    found = check_consistency(changed, frames, microscope, illumination)
    places = found.flagged.nonzero()
    assert len(places) > 0
    assert float((places - torch.tensor([50, 70])).abs().max()) < 8
    at_spot = float(found.score_map[50, 70])
    assert (
        math.copysign(1, at_spot) == -sign
    )  # what was invented is missing in the frames, and the other way round
    quiet = check_consistency(ideal, frames, microscope, illumination)
    assert float(found.chi2_map[25, 35]) > float(quiet.chi2_map[25, 35])


def test_the_widefield_enlarged_contradicts_its_frames(
    see: Callable[..., Scene], microscope: Microscope, illumination: Illumination
) -> None:
    frames, _ = see(10.0)
    blurred = frames.mean(dim=(0, 1)).repeat_interleave(2, 0).repeat_interleave(2, 1)
    found = check_consistency(blurred, frames, microscope, illumination)
    assert found.chi2_reduced > 1.2
    assert found.flagged.any()


def test_wrong_stripes_contradict_the_frames(
    see: Callable[..., Scene], microscope: Microscope, illumination: Illumination
) -> None:
    frames, ideal = see(30.0)
    wrong = illumination.model_copy(update={"phase_rad": ((1.1, 3.2, 5.3), *illumination.phase_rad[1:])})
    assert check_consistency(ideal, frames, microscope, wrong).chi2_reduced > 1.2


def test_the_scale_of_an_image_can_be_fitted(
    see: Callable[..., Scene], microscope: Microscope, illumination: Illumination
) -> None:
    frames, ideal = see()

    def chi2(**options: bool) -> float:
        return check_consistency(0.3 * ideal + 5, frames, microscope, illumination, **options).chi2_reduced

    assert chi2() > 2
    assert chi2(fit_scale=True) == pytest.approx(1.0, abs=0.05)


def test_out_of_focus_light_is_not_held_against_an_image_without_it(
    see: Callable[..., Scene], microscope: Microscope, illumination: Illumination
) -> None:
    frames, ideal = see(haze=1.0)

    def found(hazy_per_um: float) -> Consistency:
        return check_consistency(ideal, frames, microscope, illumination, hazy_per_um=hazy_per_um)

    assert found(0.0).chi2_reduced > 2
    assert found(1.0).chi2_reduced < 1.1
    invented = spot(ideal, 50, 70, 0.4 * float(ideal.max()))
    assert check_consistency(invented, frames, microscope, illumination, hazy_per_um=1.0).flagged[50, 70]


def degradation(microscope: Microscope, illumination: Illumination) -> Degradation:
    return Degradation(microscope, illumination, Otf.ideal(microscope), (24, 32), torch.device("cpu"))


def test_the_way_back_is_the_adjoint(
    microscope: Microscope, illumination: Illumination, generator: torch.Generator
) -> None:
    """<frames(x), y> = <x, light(y)> for light x inside the field, put into the margin's zeros."""
    degrade = degradation(microscope, illumination)
    light = torch.rand(48, 64, generator=generator)
    weights = torch.rand(3, 3, 24, 32, generator=generator)
    wide = torch.nn.functional.pad(light, (16,) * 4)
    forward = (degrade.frames(wide) * weights).sum()
    backward = (light * degrade.light(weights)).sum()
    torch.testing.assert_close(forward, backward, rtol=1e-4, atol=0)


def test_the_information_of_a_place_is_what_a_point_there_leaves_in_the_frames(
    microscope: Microscope, illumination: Illumination, generator: torch.Generator
) -> None:
    degrade = degradation(microscope, illumination)
    weights = torch.rand(3, 3, 24, 32, generator=generator)
    information = degrade.information(weights)
    for row, column in ((20, 30), (21, 33), (31, 20)):
        point = torch.zeros(48 + 32, 64 + 32)
        point[row + 16, column + 16] = 1.0
        expected = (weights * degrade.frames(point).square()).sum()
        assert float(information[row, column]) == pytest.approx(float(expected), rel=1e-3)


def test_images_of_another_size_are_refused(microscope: Microscope, illumination: Illumination) -> None:
    with pytest.raises(BadInput, match=r"\(64, 64\) is needed"):
        check_consistency(torch.zeros(32, 32), torch.zeros(3, 3, 32, 32), microscope, illumination)


def test_frames_that_do_not_fit_the_stripes_are_refused(
    microscope: Microscope, illumination: Illumination
) -> None:
    with pytest.raises(BadInput, match=r"frames of \(2, 3\) angles x phases, but stripes of \(3, 3\)"):
        check_consistency(torch.zeros(64, 64), torch.zeros(2, 3, 32, 32), microscope, illumination)


def test_a_camera_is_needed(microscope: Microscope, illumination: Illumination) -> None:
    blind = microscope.model_copy(update={"camera": None})
    with pytest.raises(BadInput, match="needs the camera's gain, offset and read noise"):
        check_consistency(torch.zeros(64, 64), torch.zeros(3, 3, 32, 32), blind, illumination)


def test_a_noise_free_camera_does_not_make_dark_pixels_decide(
    see: Callable[..., Scene], microscope: Microscope, illumination: Illumination
) -> None:
    frames, ideal = see(0.1)
    silent = microscope.model_copy(update={"camera": Camera(gain=2.0, offset=100.0, read_noise=0.0)})
    assert math.isfinite(check_consistency(ideal, frames, silent, illumination).chi2_reduced)
