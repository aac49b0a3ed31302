"""Stripes found blind agree with another simulator, know how sure they are, and are refused where none are."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from sim_models.config import BadInput
from sim_models.optics.estimate import Estimate, NoPattern, estimate, refuse_other_stripes, usual_harmonics
from sim_models.optics.estimate.refuse import _misplaced
from sim_models.optics.estimate.search import expected_peaks, score_limit
from sim_models.optics.reconstruct import POINTS, Reconstructor

Take = Callable[..., Any]


def found_in(taken: Any, **options: Any) -> Estimate:
    harmonics = len(taken.illumination.modulation[0])
    return estimate(taken.frames, taken.microscope, harmonics, otf=taken.otf, **options)


CASES: dict[str, tuple[dict[str, Any], tuple[float, float, float]]] = {
    "bright": ({"photons": 1000.0}, (0.02, 0.02, 0.02)),
    "dim": ({"photons": 20.0}, (0.06, 0.06, 0.06)),
    "shallow": ({"photons": 200.0, "modulation": (0.25,)}, (0.06, 0.1, 0.02)),
    "beyond the cutoff": ({"of_cutoff": 1.1}, (0.04, 0.04, 0.04)),
    "not square": ({"shape": (96, 160)}, (0.05, 0.03, 0.03)),
    "odd": ({"shape": (131, 117)}, (0.05, 0.03, 0.03)),
    "four phases": ({"phases": 4}, (0.04, 0.03, 0.03)),
    "three beams": ({"phases": 5, "modulation": (0.5, 0.8)}, (0.02, 0.02, 0.03)),
    "uneven phases": ({"photons": 1000.0, "phase_error_rad": 0.25, "shape": (256, 256)}, (0.02, 0.04, 0.02)),
    "a soft objective": ({"photons": 500.0, "attenuation": 0.3}, (0.05, 0.04, 0.06)),
}


@pytest.mark.parametrize("case", CASES)
def test_stripes_are_found_blind(case: str, take: Take) -> None:
    settings, (wave, phase, depth) = CASES[case]
    taken = take(**settings)
    found = found_in(taken)
    assert taken.wave_error(found) < wave
    assert taken.phase_error(found) < phase
    assert taken.depth_error(found) < depth
    assert all(angle.score > angle.limit for angle in found.angles)
    assert found.warnings == ()


def test_five_phases_five_angles_are_found(take: Take) -> None:
    """25 frames: the frames of five angles out of two acquisitions with other first angles."""
    first, second = take(phases=5, modulation=(0.5, 0.6)), take(phases=5, modulation=(0.5, 0.6), seed=1)
    frames = torch.cat([first.frames, second.frames[:2].flip(-1)])
    found = estimate(frames, first.microscope, 2, otf=first.otf)
    mirrored = [math.pi - angle for angle in first.illumination.angle_rad[:2]]
    for angle, expected in zip(found.angles, [*first.illumination.angle_rad, *mirrored], strict=True):
        assert abs(math.remainder(angle.angle_rad - expected, math.pi)) < 0.002


def test_uneven_phases_are_believed_only_where_the_data_insist(take: Take) -> None:
    assert found_in(take(photons=1000.0)).equal_steps
    assert not found_in(take(photons=1000.0, phase_error_rad=0.25)).equal_steps
    assert found_in(take(photons=10.0, phase_error_rad=0.03)).equal_steps


def test_bleaching_is_found_frame_by_frame(take: Take) -> None:
    brightness = 0.96 ** np.arange(9.0).reshape(3, 3)
    taken = take(photons=500.0, brightness=brightness)
    found = found_in(taken)
    assert np.array(found.illumination.brightness) == pytest.approx(brightness / brightness.mean(), abs=0.015)
    assert taken.wave_error(found) < 0.03


def test_an_angle_that_was_stretched_on_its_own_is_found(take: Take) -> None:
    taken = take(photons=100.0)
    stretched = taken.frames * torch.tensor([1.0, 3.9, 2.2])[:, None, None, None]
    unknown = taken.microscope.model_copy(update={"camera": None})
    found = estimate(stretched, unknown, 1, otf=taken.otf)
    assert taken.wave_error(found) < 0.05
    brightness = [np.mean(angle.gain) for angle in found.angles]
    assert np.array(brightness) / brightness[0] == pytest.approx([1.0, 3.9, 2.2], rel=0.03)


def test_without_a_camera_noise_tells_the_photo_electrons(take: Take) -> None:
    taken = take(photons=200.0, read_noise=0.0)
    unknown = taken.microscope.model_copy(update={"camera": None})
    found = estimate(3 * taken.frames, unknown, 1, otf=taken.otf)
    assert found.electrons_per_count == pytest.approx(1 / 3, rel=0.05)
    assert taken.wave_error(found) < 0.04


def test_the_depth_is_not_flattened_by_noise(take: Take) -> None:
    """The noise that is left in the denominator of a plain regression halves the modulation in dim light."""
    errors = [
        np.mean([angle.modulation[0] for angle in found_in(take(photons=10.0, seed=seed)).angles]) - 0.7
        for seed in (1, 2, 3, 5)
    ]
    assert abs(np.mean(errors)) < 0.04


def test_uncertainties_hold_the_errors(take: Take) -> None:
    """Squared errors over their variances average to about one; if they were off by two, to four or a quarter."""
    waves, phases, depths = [], [], []
    for seed in range(1, 13):
        taken = take(photons=15.0, seed=seed, shape=(160, 160))
        found = found_in(taken)
        field_um = 160 * taken.microscope.pixel_um
        for angle, (true_angle, spacing, depth) in enumerate(
            zip(
                taken.illumination.angle_rad,
                taken.illumination.spacing_um,
                taken.illumination.modulation,
                strict=True,
            )
        ):
            each = found.angles[angle]
            turned = math.remainder(each.angle_rad - true_angle, math.pi)
            waves += [turned / each.angle_sigma_rad, (each.spacing_um - spacing) / each.spacing_sigma_um]
            depths.append((each.modulation[0] - depth[0]) / each.modulation_sigma[0])
        phases.append(taken.phase_error(found) / max(found.angles[0].phase_sigma_rad))
        assert found.angles[0].spacing_sigma_um / found.angles[0].spacing_um ** 2 * field_um < 0.1
    assert 0.4 < np.mean(np.square(waves)) < 1.8
    assert 0.4 < np.mean(np.square(depths)) < 2.5
    assert np.median(phases) < 2.5


def test_an_attenuated_objective_is_noticed(take: Take) -> None:
    found = found_in(take(photons=1000.0, attenuation=0.3, shape=(256, 256)))
    assert found.otf.attenuation == pytest.approx(0.3, abs=0.03)
    assert found.otf_fit.attenuation == pytest.approx(1.0, abs=0.05)  # of what is left to say
    ideal = found_in(take(photons=1000.0, shape=(256, 256)))
    assert ideal.otf_fit.believed == "stated"
    assert ideal.otf.attenuation == 1.0


@pytest.mark.parametrize("factor", [1.4, 1 / 1.4])
@pytest.mark.parametrize("photons", [20.0, 1000.0])
def test_a_wrong_pixel_size_is_noticed(factor: float, photons: float, take: Take) -> None:
    taken = take(photons=photons, shape=(192, 192))
    wrong = taken.microscope.model_copy(update={"pixel_um": factor * taken.microscope.pixel_um})
    found = estimate(taken.frames, wrong, 1, otf=taken.otf)
    assert found.otf.cutoff_per_um / taken.otf.cutoff_per_um == pytest.approx(1 / factor, rel=0.05)
    assert "check pixel size, numerical aperture and wavelength" in found.warnings[0]


@pytest.mark.parametrize(("factor", "attenuation"), [(1.3, 1.0), (1 / 1.3, 1.0), (1.25, 0.3), (1.0, 0.1)])
def test_an_image_is_as_good_as_with_the_true_otf(factor: float, attenuation: float, take: Take) -> None:
    """The OTF that the bands insist on is used, and what it leaves unexplained is not taken for haze."""
    taken = take(photons=300.0, shape=(192, 192), attenuation=attenuation)
    wrong = taken.microscope.model_copy(update={"pixel_um": factor * taken.microscope.pixel_um})
    found = estimate(taken.frames, wrong, 1, otf=taken.otf)
    blind = Reconstructor(
        taken.frames, wrong, found.illumination, otf=found.otf, haze=found.haze, first_px=POINTS
    )
    true_otf = taken.otf.attenuated(attenuation)
    told = Reconstructor(taken.frames, taken.microscope, taken.illumination, otf=true_otf, first_px=POINTS)
    reference = taken.reference.flatten()
    likeness = [
        float(torch.corrcoef(torch.stack([make(taken.frames).flatten(), reference]))[0, 1])
        for make in (blind, told)
    ]
    assert not any(found.haze)
    assert likeness[1] > 0.97
    assert likeness[0] > likeness[1] - 0.01


def test_haze_is_noticed(take: Take) -> None:
    three_beams: dict[str, Any] = {
        "phases": 5,
        "modulation": (0.5, 0.5),
        "photons": 500.0,
        "shape": (160, 160),
    }
    assert not any(found_in(take(**three_beams)).haze)
    hazy = found_in(take(**three_beams, haze=1.5))
    assert hazy.haze[0] > 0.3
    assert hazy.haze[-1] == 0
    assert hazy.hazy_per_um > 0


def test_start_values_find_what_is_too_dim_to_be_found_alone(take: Take) -> None:
    """A dim stack in which the whole plane has too many rivals, but the neighbourhood of the truth has not."""
    refused = given = 0
    for seed in range(1, 9):
        taken = take(photons=4.0, seed=seed, shape=(160, 160))
        start = list(zip(taken.illumination.angle_rad, taken.illumination.spacing_um, strict=True))
        try:
            found_in(taken)
        except NoPattern:
            refused += 1
        try:
            assert taken.wave_error(found_in(taken, start=start)) < 0.3
            given += 1
        except NoPattern:
            pass
    assert given >= 8 - refused


def test_start_values_elsewhere_find_nothing(take: Take) -> None:
    taken = take()
    start = [
        (angle + 0.5, spacing) for angle, spacing in zip(*[taken.illumination.angle_rad] * 2, strict=True)
    ]
    start = [(angle, 0.4) for angle, _ in start]
    with pytest.raises(NoPattern):
        found_in(taken, start=start)


def assert_refused(frames: torch.Tensor, taken: Any, told: str) -> NoPattern:
    with pytest.raises(NoPattern, match=told) as caught:
        estimate(frames, taken.microscope, 1, otf=taken.otf)
    return caught.value


def test_camera_noise_is_refused(take: Take) -> None:
    taken = take()
    noise = torch.randn(taken.frames.shape, generator=torch.Generator().manual_seed(3))
    refusal = assert_refused(noise, taken, r"no stripes found in angles 1, 2 and 3 of 3: score .* needed")
    assert refusal.angle is not None
    assert refusal.score is not None
    assert refusal.limit is not None
    assert refusal.score < refusal.limit


@pytest.mark.parametrize("photons", [10.0, 100.0, 1000.0])
def test_an_object_without_stripes_is_refused(photons: float, take: Take) -> None:
    taken = take(photons=photons, modulation=(0.0,))
    assert_refused(taken.frames, taken, "no stripes found")


def test_copies_of_one_image_are_refused(take: Take) -> None:
    taken = take()
    assert_refused(taken.frames[:1, :1].expand(3, 3, -1, -1).clone(), taken, "no stripes found")


@pytest.mark.parametrize("photons", [20.0, 1000.0])
def test_frames_phase_by_phase_are_refused_and_the_order_is_told(photons: float, take: Take) -> None:
    taken = take(photons=photons, shape=(160, 160))
    stored = taken.frames.swapaxes(0, 1).contiguous()
    assert_refused(stored, taken, "angles and phases have to be swapped")


def test_shuffled_frames_are_refused(take: Take) -> None:
    taken = take(photons=300.0)
    order = torch.tensor([4, 0, 6, 5, 7, 2, 8, 3, 1])
    shuffled = taken.frames.flatten(0, 1)[order].unflatten(0, (3, 3))
    assert_refused(shuffled, taken, "check the frame order|no stripes found")


@pytest.mark.parametrize(
    ("strongest", "told"),
    [
        ([0, 4, 5], "are in frames 1, 5 and 6 of 9, not in its own 4 to 6; check the frame order"),
        (
            [1, 4, 7],
            "are in frames 2, 5 and 8 of 9, not in its own 4 to 6; so angles and phases have to be swapped",
        ),
        (
            [3, 4, 5],
            "are in its own frames, but not in even steps or not equally strong in each; check the order of",
        ),
    ],
)
def test_it_is_told_where_stripes_are(strongest: list[int], told: str) -> None:
    assert _misplaced(strongest, 1, 3, 3, strongest == [1, 4, 7]).startswith(told)


def test_two_angles_with_the_same_stripes_are_refused(take: Take) -> None:
    taken, again = take(photons=300.0), take(photons=300.0)
    noise = torch.Generator().manual_seed(1)
    doubled = taken.frames.clone()
    doubled[1] = torch.poisson(again.clean[0].clamp(min=0), generator=noise)
    assert_refused(doubled, taken, "have the same stripes|not in its own")


def test_stripes_that_cannot_be_placed_well_enough_are_refused(take: Take) -> None:
    """Somewhere between dim and dark, stripes are there for sure, but not known to a tenth of a cycle."""
    told = []
    for seed in range(1, 13):
        taken = take(photons=3.0, shape=(96, 96), seed=seed)
        try:
            assert taken.wave_error(found_in(taken)) < 0.3
        except NoPattern as refusal:
            told.append(str(refusal))
    assert any("only to 0." in each for each in told)


@pytest.mark.parametrize(
    ("frames", "harmonics", "told"),
    [
        (torch.zeros(9, 64, 64), 1, "expected angles x phases x rows x columns"),
        (torch.zeros(3, 3, 64, 64), 2, "3 phases per angle cannot tell the 5 bands of 2 harmonics apart"),
        (torch.zeros(3, 3, 16, 64), 1, "frames of 16 x 64 pixels are too small; 32 a side"),
        (torch.full((3, 3, 64, 64), math.nan), 1, "NaN or infinite"),
    ],
)
def test_frames_that_cannot_hold_stripes_are_refused(
    frames: torch.Tensor, harmonics: int, told: str, take: Take
) -> None:
    with pytest.raises(BadInput, match=told):
        estimate(frames, take().microscope, harmonics)


def test_constant_frames_are_refused(take: Take) -> None:
    with pytest.raises(BadInput, match="all pixels of all frames are 7"):
        estimate(torch.full((3, 3, 64, 64), 7.0), take().microscope, 1)


@pytest.mark.parametrize("pixel_um", [80.0, 0.0002])
def test_pixel_sizes_that_cannot_be_are_refused(pixel_um: float, take: Take) -> None:
    taken = take()
    wrong = taken.microscope.model_copy(update={"pixel_um": pixel_um})
    with pytest.raises(BadInput, match="check pixel size"):
        estimate(taken.frames, wrong, 1)


def test_start_values_must_be_one_per_angle(take: Take) -> None:
    with pytest.raises(BadInput, match="1 start values for 3 angles"):
        found_in(take(), start=[(0.0, 0.2)])


def test_an_angle_with_another_spacing_is_doubted(take: Take) -> None:
    taken, other = take(photons=500.0), take(photons=500.0, of_cutoff=0.78)
    mixed = torch.cat([taken.frames[:2], other.frames[2:]])
    assert found_in(taken).warnings == ()
    found = estimate(mixed, taken.microscope, 1, otf=taken.otf)
    assert any("angle 3: stripes" in each and "where others have" in each for each in found.warnings)


def test_the_same_frames_give_the_same_numbers(take: Take) -> None:
    taken = take(photons=50.0)
    assert found_in(taken) == found_in(taken)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gpu_and_cpu_find_the_same(take: Take) -> None:
    taken = take(photons=500.0)
    here, there = found_in(taken), found_in(replace(taken, frames=taken.frames.cuda()))
    for one, other in zip(here.angles, there.angles, strict=True):
        assert other.angle_rad == pytest.approx(one.angle_rad, abs=1e-4)
        assert other.spacing_um == pytest.approx(one.spacing_um, rel=1e-4)
        assert other.phase_rad == pytest.approx(one.phase_rad, abs=1e-3)
        assert other.modulation == pytest.approx(one.modulation, abs=1e-3)
    assert there.noise_variance == pytest.approx(here.noise_variance, rel=1e-4)


def test_frames_are_not_changed(take: Take) -> None:
    taken = take()
    before = taken.frames.clone()
    found_in(taken)
    assert torch.equal(taken.frames, before)


def test_the_limit_is_exceeded_by_noise_as_often_as_it_says(take: Take) -> None:
    """Highest scores of pure noise against limits for 3, 10 and 30 false alarms in a hundred, over 240 angles."""
    from sim_models.optics.estimate.bands import even_steps, take_apart
    from sim_models.optics.estimate.scene import set_scene
    from sim_models.optics.estimate.search import Atlas, likelihood, mapped

    taken = take(shape=(128, 128))
    generator = torch.Generator().manual_seed(11)
    highest, curvatures = [], []
    for _ in range(80):
        frames = torch.poisson(torch.full((3, 3, 128, 128), 30.0), generator=generator)
        scene, _ = set_scene(frames, taken.microscope, taken.otf)
        bands, atlas = take_apart(scene, even_steps(scene), 1), Atlas(scene, 1)
        for angle in range(3):
            seen = mapped(atlas, likelihood(atlas, bands.of(angle), bands.guess))
            highest.append(float((seen.grid * atlas.searched).max()))
            curvatures.append(bands.guess.curvature)
    for rate in (0.03, 0.1, 0.3):
        limit = score_limit(atlas.area, float(np.mean(curvatures)), 1, rate)
        exceeded = np.mean(np.array(highest) > limit)
        assert rate / 6 < exceeded < 2 * rate


def test_more_area_and_more_harmonics_need_higher_scores() -> None:
    limits = [score_limit(area, 3000.0, 1) for area in (0.001, 0.01, 0.1)]
    assert limits == sorted(limits)
    assert score_limit(0.1, 3000.0, 2) > limits[-1]
    assert expected_peaks(limits[-1], 0.1, 3000.0, 1) == pytest.approx(1e-3, rel=0.05)


@pytest.mark.parametrize(("phases", "harmonics"), [(3, 1), (4, 1), (5, 2), (7, 2)])
def test_usual_harmonics(phases: int, harmonics: int) -> None:
    assert usual_harmonics(phases) == harmonics


# Stripes of other frames


@pytest.mark.parametrize("photons", [10.0, 60.0, 1000.0])
def test_a_stack_holds_the_stripes_that_were_found_in_another_one_of_its_field(
    photons: float, take: Take
) -> None:
    bright, dim = take(photons=500.0, shape=(160, 160)), take(photons=photons, shape=(160, 160), seed=1)
    refuse_other_stripes(dim.frames, dim.microscope, found_in(bright), "the bright one")


def turned(frames: torch.Tensor) -> torch.Tensor:
    return frames.roll(1, dims=1)


def swapped(frames: torch.Tensor) -> torch.Tensor:
    return torch.cat([frames[:1, [0, 2, 1]], frames[1:]])


def shuffled(frames: torch.Tensor) -> torch.Tensor:
    mixed = frames.flatten(0, 1)[torch.randperm(9, generator=torch.Generator().manual_seed(1))]
    return mixed.reshape(frames.shape)


@pytest.mark.parametrize("spoil", [turned, swapped, shuffled])
@pytest.mark.parametrize("photons", [60.0, 1000.0])
def test_stripes_that_are_elsewhere_are_refused_in_dim_light_too(
    spoil: Callable[[torch.Tensor], torch.Tensor], photons: float, take: Take
) -> None:
    known, taken = found_in(take(photons=500.0, shape=(160, 160))), take(photons=photons, shape=(160, 160))
    with pytest.raises(
        NoPattern, match=r"where those of the bright one are: they seem to be .* rad off"
    ) as caught:
        refuse_other_stripes(spoil(taken.frames), taken.microscope, known, "the bright one")
    assert caught.value.angle is not None


def test_stripes_are_others_where_one_phase_is_off(take: Take) -> None:
    taken = take(photons=500.0, shape=(160, 160))
    known = found_in(taken)
    phases = (known.angles[0].phase_rad[0] + 0.8, *known.angles[0].phase_rad[1:])
    off = replace(known, angles=(replace(known.angles[0], phase_rad=phases), *known.angles[1:]))
    with pytest.raises(NoPattern, match="the frames of angle 1 of 3"):
        refuse_other_stripes(taken.frames, taken.microscope, off, "these")
