import math

import pytest
import torch

from sim_models.field import Illumination
from sim_models.optics.illumination import deepest_shadow, nominal, patterns, pixel_centres_um, with_errors


def test_every_angle_and_every_phase_is_its_own_cosine(illumination: Illumination) -> None:
    stripes = patterns(illumination, pixel_centres_um(7, 0.065), pixel_centres_um(9, 0.065))
    assert stripes.shape == (3, 3, 7, 9)
    for angle in range(3):
        for phase in range(3):
            for row, column in [(0, 0), (0, 5), (6, 0), (3, 8)]:
                path_um = 0.065 * (
                    column * math.cos(illumination.angle_rad[angle])
                    + row * math.sin(illumination.angle_rad[angle])
                )
                argument = 2 * math.pi * path_um / illumination.spacing_um[angle]
                expected = 1 + illumination.modulation[angle][0] * math.cos(
                    argument + illumination.phase_rad[angle][phase]
                )
                assert stripes[angle, phase, row, column].item() == pytest.approx(expected)


def test_phase_zero_is_brightest_in_the_centre_of_raw_pixel_zero_on_any_grid() -> None:
    stripes = nominal(1, 3, spacing_um=0.26, modulation=(0.8,), first_angle_rad=0.0)
    raw = patterns(stripes, torch.zeros(1), pixel_centres_um(8, 0.065))
    assert raw[0, 0, 0, 0].item() == pytest.approx(1.8)
    odd_fine = patterns(stripes, torch.zeros(1), pixel_centres_um(24, 0.065, oversampling=3))
    torch.testing.assert_close(odd_fine[..., 1::3], raw)
    with_margin = patterns(stripes, torch.zeros(1), pixel_centres_um(10, 0.065, first_px=-2))
    torch.testing.assert_close(with_margin[..., 2:], raw)


def test_fine_pixels_fill_the_raw_pixel_evenly() -> None:
    centres = pixel_centres_um(4, 0.08, oversampling=4)
    torch.testing.assert_close(centres, torch.tensor([-0.03, -0.01, 0.01, 0.03], dtype=torch.float64))


def test_three_beams_have_a_second_harmonic_of_the_same_phase() -> None:
    stripes = Illumination(
        angle_rad=(0.0,), spacing_um=(0.4,), phase_rad=((0.3,),), modulation=((0.5, 0.25),)
    )
    x_um = torch.tensor([0.07], dtype=torch.float64)
    argument = 2 * math.pi * 0.07 / 0.4 + 0.3
    expected = 1 + 0.5 * math.cos(argument) + 0.25 * math.cos(2 * argument)
    assert patterns(stripes, torch.zeros(1), x_um).item() == pytest.approx(expected)


def test_nominal_phases_of_every_angle_average_to_flat_light() -> None:
    stripes = nominal(3, 5, spacing_um=0.4, modulation=(0.5, 0.4), first_angle_rad=0.3)
    centres = pixel_centres_um(32, 0.065)
    mean = patterns(stripes, centres, centres).mean(dim=1)
    torch.testing.assert_close(mean, torch.ones_like(mean))


def test_angles_are_spread_over_half_a_turn_from_the_first() -> None:
    stripes = nominal(3, 3, spacing_um=0.2, modulation=(0.8,), first_angle_rad=0.5)
    assert stripes.angle_rad == pytest.approx((0.5, 0.5 + math.pi / 3, 0.5 + 2 * math.pi / 3))


def test_errors_have_the_sizes_asked_for_and_come_again_with_the_seed() -> None:
    planned = nominal(400, 3, spacing_um=0.2, modulation=(0.5,), first_angle_rad=0.0)
    true, again = (with_errors(planned, 0.01, 0.05, 0.1, torch.Generator().manual_seed(3)) for _ in range(2))
    angle = torch.tensor(true.angle_rad) - torch.tensor(planned.angle_rad)
    phase = torch.tensor(true.phase_rad) - torch.tensor(planned.phase_rad)
    depth = torch.tensor(true.modulation) / 0.5
    assert true == again
    assert angle.std().item() == pytest.approx(0.01, rel=0.1)
    assert phase.std().item() == pytest.approx(0.05, rel=0.1)
    assert depth.std().item() == pytest.approx(0.1, rel=0.1)


def test_no_errors_change_nothing(generator: torch.Generator) -> None:
    planned = nominal(3, 3, spacing_um=0.2, modulation=(0.8,), first_angle_rad=0.1)
    true = with_errors(planned, 0.0, 0.0, 0.0, generator)
    assert true.angle_rad == pytest.approx(planned.angle_rad)
    assert true.modulation == planned.modulation


def test_stripes_never_become_darker_than_black(generator: torch.Generator) -> None:
    planned = nominal(50, 5, spacing_um=0.4, modulation=(0.9, 0.3), first_angle_rad=0.0)
    true = with_errors(planned, 0.0, 0.0, 0.5, generator)
    assert max(deepest_shadow(depths) for depths in true.modulation) == pytest.approx(1.0)


def test_a_second_harmonic_lifts_the_shadow_of_the_first() -> None:
    assert deepest_shadow((0.8,)) == pytest.approx(0.8)
    assert deepest_shadow((0.8, 0.2)) == pytest.approx(0.6)


def test_harmonics_run_ahead_by_their_lead() -> None:
    """The second harmonic a quarter turn ahead is minus a sine."""
    stripes = nominal(1, 5, spacing_um=0.4, modulation=(0.0, 0.5), first_angle_rad=0.0)
    ahead = stripes.model_copy(update={"lead_rad": ((0.0, math.pi / 2),)})
    x_um = pixel_centres_um(16, 0.065)
    found = patterns(ahead, torch.zeros(1, dtype=torch.float64), x_um)[0, :, 0]
    for phase, turned in enumerate(ahead.phase_rad[0]):
        argument = 2 * math.pi * x_um / 0.4 + turned
        torch.testing.assert_close(found[phase], 1 - 0.5 * torch.sin(2 * argument))


def test_frames_are_as_bright_as_they_say(illumination: Illumination) -> None:
    brightness = tuple(tuple(1 - 0.05 * (3 * angle + phase) for phase in range(3)) for angle in range(3))
    x_um = pixel_centres_um(16, 0.065)
    plain = patterns(illumination, x_um, x_um)
    dimmed = patterns(illumination.model_copy(update={"brightness": brightness}), x_um, x_um)
    torch.testing.assert_close(
        dimmed / plain,
        torch.tensor(brightness)[:, :, None, None].double().expand_as(plain),
        atol=1e-6,
        rtol=0,
    )


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"lead_rad": ((0.0,),) * 2}, "must have one entry per angle"),
        ({"lead_rad": ((0.0, 0.1),) * 3}, "modulation and lead_rad must have the same number of entries"),
        ({"brightness": ((1.0, 1.0),) * 3}, "phase_rad and brightness must have the same number of entries"),
        ({"brightness": ((1.0, 0.0, 1.0),) * 3}, "greater than 0"),
    ],
)
def test_tables_that_do_not_fit_are_refused(
    wrong: dict[str, object], told: str, illumination: Illumination
) -> None:
    with pytest.raises(ValueError, match=told):
        Illumination(**{**illumination.model_dump(), **wrong})
