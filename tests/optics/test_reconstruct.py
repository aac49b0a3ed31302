"""Laws a reconstruction has to obey, and what it makes of frames from a simulator that shares no code with it."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from sim_models.config import BadInput
from sim_models.field import Illumination, Microscope
from sim_models.optics.camera import expose, photons
from sim_models.optics.forward import acquire, ideal_reference, widefield
from sim_models.optics.fourier import shifted, upsampled
from sim_models.optics.illumination import nominal, patterns, pixel_centres_um
from sim_models.optics.reconstruct import DEFAULT, POINTS, ReconstructionSettings, Reconstructor

SIZE, FINE, MARGIN = 48, 4, 12
BORDER = 12
"""pixels of the reconstruction that are not compared"""

Take = Callable[..., Any]

POSITIVE = DEFAULT.model_copy(update={"positive": True})
FAIRSIM = DEFAULT.model_copy(update={"look": "fairsim_like"})
SUPPORT = DEFAULT.model_copy(update={"apodisation": "support"})
EVERY_LOOK = pytest.mark.parametrize("settings", [DEFAULT, SUPPORT, POSITIVE, FAIRSIM])


def reconstructor(taken: Any, settings: ReconstructionSettings = DEFAULT, **options: Any) -> Reconstructor:
    given = {"otf": taken.otf, "first_px": POINTS, **options}
    return Reconstructor(taken.frames, taken.microscope, taken.illumination, settings, **given)


def restored(taken: Any, settings: ReconstructionSettings = DEFAULT, **options: Any) -> torch.Tensor:
    return reconstructor(taken, settings, **options)(taken.frames)


def error(image: torch.Tensor, taken: Any) -> float:
    """Root mean square difference from the reference, in parts of its spread."""
    inside = slice(BORDER, -BORDER)
    reference = taken.reference[inside, inside]
    return float((image[inside, inside] - reference).square().mean().sqrt() / reference.std())


def enlarged(frames: torch.Tensor) -> torch.Tensor:
    """The wide-field on the points of a reconstruction."""
    return shifted(upsampled(frames.mean(dim=(0, 1)), 2), -0.5, -0.5)


def noiseless(taken: Any) -> Any:
    return replace(taken, frames=taken.clean)


def like(settings: dict[str, Any]) -> ReconstructionSettings:
    return DEFAULT.model_copy(update=settings)


SCENES: dict[str, dict[str, Any]] = {
    "two beams": {},
    "beyond the cutoff": {"of_cutoff": 1.1},
    "three beams": {"phases": 5, "modulation": (0.5, 0.6)},
    "five phases": {"phases": 5},
    "uneven phases": {"phase_error_rad": 0.25},
    "not square": {"shape": (80, 144)},
    "odd": {"shape": (131, 117)},
}


@pytest.mark.parametrize("scene", SCENES)
def test_clean_frames_give_what_an_ideal_objective_of_the_extended_cutoff_shows(
    scene: str, take: Take
) -> None:
    taken = noiseless(take(photons=1000.0, **SCENES[scene]))
    assert error(restored(taken), taken) < 0.05
    assert error(enlarged(taken.frames), taken) > 0.4


@pytest.mark.parametrize(("photons_peak", "beaten"), [(1000.0, 0.3), (100.0, 0.5), (10.0, 0.8)])
def test_noisy_frames_beat_the_widefield_at_every_light_level(
    photons_peak: float, beaten: float, take: Take
) -> None:
    taken = take(photons=photons_peak)
    assert error(restored(taken), taken) < beaten * error(enlarged(taken.frames), taken)


@pytest.mark.parametrize("photons_peak", [1000.0, 50.0, 5.0])
def test_the_measured_regularisation_is_about_the_best(photons_peak: float, take: Take) -> None:
    taken = take(photons=photons_peak)
    errors = {
        strength: error(restored(taken, like({"strength": strength})), taken)
        for strength in (0.1, 0.3, 1.0, 3.0, 10.0)
    }
    assert errors[1.0] < 1.1 * min(errors.values())
    assert max(errors.values()) > 1.15 * errors[1.0]


def test_more_strength_is_smoother(take: Take) -> None:
    taken = take(photons=20.0)
    roughness = [
        float(restored(taken, like({"strength": strength})).diff(dim=0).square().mean())
        for strength in (0.1, 1.0, 10.0)
    ]
    assert roughness == sorted(roughness, reverse=True)


def test_light_that_is_never_negative_is_closer_to_the_truth_in_the_dim(take: Take) -> None:
    taken = take(photons=20.0)
    assert error(restored(taken, POSITIVE), taken) < 0.95 * error(restored(taken), taken)


def test_positive_leaves_no_dark_holes(take: Take) -> None:
    taken = take(photons=20.0)
    lowest = [float(restored(taken, settings).min()) for settings in (DEFAULT, POSITIVE)]
    assert lowest[1] > 0.2 * lowest[0]


def test_the_reconstruction_is_linear(take: Take, generator: torch.Generator) -> None:
    taken = take()
    other = torch.rand(taken.frames.shape, generator=generator) * 100
    make = reconstructor(taken)
    torch.testing.assert_close(
        make(2 * taken.frames - 3 * other),
        2 * make(taken.frames) - 3 * make(other),
        atol=1e-3 * float(taken.frames.max()),
        rtol=0,
    )


def test_its_gradient_is_its_adjoint(take: Take, generator: torch.Generator) -> None:
    """<R f, w> = <f, R* w> for the R* of automatic differentiation, as R is linear."""
    taken = take(shape=(64, 80))
    make = reconstructor(taken)
    frames = taken.frames.clone().requires_grad_()
    weights = torch.rand(128, 160, generator=generator)
    product = (make(frames) * weights).sum()
    product.backward()
    assert frames.grad is not None
    other = torch.rand(frames.shape, generator=generator)
    assert float((frames.grad * other).sum()) == pytest.approx(float((make(other) * weights).sum()), rel=1e-4)


@pytest.mark.parametrize("settings", [DEFAULT, SUPPORT])
@pytest.mark.parametrize("scene", ["two beams", "three beams", "uneven phases"])
def test_a_flat_specimen_keeps_its_value(scene: str, settings: ReconstructionSettings, take: Take) -> None:
    """Stripes of a flat specimen are all there is beyond zero, and they all go."""
    taken = take(photons=200.0, **SCENES[scene])
    height, width = taken.frames.shape[-2:]
    pixel_um = taken.microscope.pixel_um
    y_um, x_um = (pixel_centres_um(size, pixel_um) for size in (height, width))
    seen = patterns(dimmed(taken), y_um, x_um).float() * 50.0
    image = reconstructor(taken, settings)(seen)
    inside = slice(32, -32)
    torch.testing.assert_close(
        image[inside, inside], torch.full_like(image[inside, inside], 50.0), rtol=0.01, atol=0
    )


def dimmed(taken: Any) -> Illumination:
    """The stripes as the objective shows them: less deep by its OTF."""
    found: Illumination = taken.illumination
    depths = []
    for angle, (spacing, row) in enumerate(zip(found.spacing_um, found.modulation, strict=True)):
        direction = found.angle_rad[angle]
        depths.append(
            tuple(
                depth
                * float(
                    taken.otf(
                        torch.tensor([order * math.sin(direction) / spacing]),
                        torch.tensor([order * math.cos(direction) / spacing]),
                    )
                )
                for order, depth in enumerate(row, start=1)
            )
        )
    return found.model_copy(update={"modulation": tuple(depths)})


@pytest.mark.parametrize("settings", [DEFAULT, SUPPORT, POSITIVE])
def test_light_is_neither_won_nor_lost(settings: ReconstructionSettings, take: Take) -> None:
    taken = noiseless(take(photons=1000.0))
    image, wide = restored(taken, settings), taken.frames.mean(dim=(0, 1))
    inner = image[BORDER:-BORDER, BORDER:-BORDER].mean()
    expected = wide[BORDER // 2 : -BORDER // 2, BORDER // 2 : -BORDER // 2].mean()
    assert float(inner) == pytest.approx(float(expected), rel=0.03)


def test_the_look_of_fairsim_halves_low_frequencies_and_has_no_negative_light(take: Take) -> None:
    taken = take(photons=10.0)
    _, transfer = reconstructor(taken, FAIRSIM).transfer.radial(64)
    assert float(transfer[0]) == pytest.approx(0.5, abs=0.02)
    assert float(restored(taken, FAIRSIM).min()) == 0.0


def test_the_transfer_is_what_is_left_of_the_object(take: Take) -> None:
    """The spectrum of the image of a single point, in a field that is otherwise empty, is the transfer itself."""
    taken = take(shape=(96, 96))
    image_of_a_point = point_frames(taken, (48.0, 48.0))
    make = reconstructor(taken)
    spectrum = (
        torch.fft.fft2(make(image_of_a_point)) / 4
    )  # finer pixels are a quarter of the raw ones they count in
    rows, columns = (
        torch.fft.fftfreq(size, taken.microscope.pixel_um / 2, dtype=torch.float64) for size in spectrum.shape
    )
    back = torch.exp(2j * math.pi * (rows[:, None] + columns) * 48.0 * taken.microscope.pixel_um)
    seen = torch.fft.fftshift((spectrum * back).real)
    at_rows, at_columns = (torch.fft.fftshift(axis) for axis in (rows, columns))
    expected = sampled(make, at_rows, at_columns)
    assert float((seen - expected).abs().max()) < 0.03
    assert float(expected.max()) > 0.9


def point_frames(taken: Any, place_px: tuple[float, float]) -> torch.Tensor:
    """Frames of one photo-electron of light at a place in the stripes of a scene, without noise."""
    height, width = taken.frames.shape[-2:]
    pixel_um = taken.microscope.pixel_um
    rows, columns = (torch.fft.fftfreq(size, pixel_um, dtype=torch.float64) for size in (height, width))
    otf = taken.otf(rows[:, None], columns)
    y_um, x_um = place_px[0] * pixel_um, place_px[1] * pixel_um
    away = torch.exp(-2j * math.pi * (rows[:, None] * y_um + columns * x_um))
    psf = torch.fft.ifft2(otf * away).real
    light = patterns(taken.illumination, torch.tensor([y_um]).double(), torch.tensor([x_um]).double())
    return (psf * light).float()


def sampled(make: Reconstructor, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """The transfer at other frequencies, by interpolation."""
    transfer = make.transfer
    places = [
        (axis.float() / float(known.max()))
        for axis, known in ((rows, transfer.rows_per_um), (columns, transfer.columns_per_um))
    ]
    grid = torch.stack(torch.meshgrid(places[0], places[1], indexing="ij")[::-1], dim=-1)
    return torch.nn.functional.grid_sample(
        transfer.values[None, None].float(), grid[None], align_corners=True
    )[0, 0]


@pytest.mark.parametrize("shift_px", [(0.3, 0.0), (0.0, -0.4), (1.7, 2.25)])
def test_an_object_moved_by_parts_of_a_pixel_moves_by_twice_as_many_finer_ones(
    shift_px: tuple[float, float], take: Take
) -> None:
    taken = take(shape=(96, 96))
    make = reconstructor(taken)
    here = make(point_frames(taken, (48.0, 48.0)))
    there = make(point_frames(taken, (48.0 + shift_px[0], 48.0 + shift_px[1])))
    moved = shifted(here, 2 * shift_px[0], 2 * shift_px[1])
    assert float((there - moved).abs().max()) < 0.01 * float(here.max())


@pytest.mark.parametrize("angle", [0, 1, 2])
@pytest.mark.parametrize("phase", [0, 1, 2])
def test_every_phase_of_every_angle_counts(angle: int, phase: int, take: Take) -> None:
    """A sign or an order that is wrong for some frames only would not show in sums over all of them."""
    taken = noiseless(take(photons=1000.0))
    phases = [list(row) for row in taken.illumination.phase_rad]
    phases[angle][phase] += 0.7
    wrong = taken.illumination.model_copy(update={"phase_rad": tuple(map(tuple, phases))})
    image = Reconstructor(taken.frames, taken.microscope, wrong, DEFAULT, taken.otf, first_px=POINTS)(
        taken.frames
    )
    assert error(image, taken) > 1.8 * error(restored(taken), taken)


def test_frames_of_other_brightness_give_the_same_image(take: Take) -> None:
    taken = noiseless(take(photons=1000.0))
    brightness = 0.95 ** torch.arange(9.0).reshape(3, 3)
    brightness = brightness / brightness.mean()
    bleached = replace(taken, frames=taken.frames * brightness[:, :, None, None])
    stripes = taken.illumination.model_copy(update={"brightness": tuple(map(tuple, brightness.tolist()))})
    assert error(restored(replace(bleached, illumination=stripes)), taken) < 1.1 * error(
        restored(taken), taken
    )
    assert error(restored(bleached), taken) > 1.5 * error(restored(taken), taken)


def test_a_harmonic_ahead_of_its_phase_is_put_right(take: Take) -> None:
    taken = noiseless(take(photons=1000.0, phases=5, modulation=(0.5, 0.6), lead_rad=2.0))
    assert error(restored(taken), taken) < 0.05
    unaware = taken.illumination.model_copy(update={"lead_rad": None})
    assert error(restored(replace(taken, illumination=unaware)), taken) > 0.2


def test_out_of_focus_light_is_left_to_the_side_bands(take: Take) -> None:
    taken = take(photons=1000.0, phases=5, modulation=(0.5, 0.5), haze=1.5, shape=(160, 160))
    plain, told = restored(taken), restored(taken, haze=(0.9, 0.9, 0.8, 0.6, 0.3))
    assert float(told.mean()) < float(plain.mean())
    assert error(told, taken) < 0.8 * error(plain, taken)


@EVERY_LOOK
def test_a_batch_is_the_same_as_one_by_one(settings: ReconstructionSettings, take: Take) -> None:
    taken = take(shape=(64, 80))
    make = reconstructor(taken, settings)
    stacks = torch.stack([taken.frames, taken.clean, taken.frames.flip(-1)]).unflatten(0, (1, 3))
    together = make(stacks)
    assert together.shape == (1, 3, 128, 160)
    for index in range(3):
        torch.testing.assert_close(
            together[0, index], make(stacks[0, index]), atol=1e-4 * float(together.max()), rtol=0
        )


def test_one_angle_improves_one_direction(take: Take) -> None:
    taken = noiseless(take(photons=1000.0))
    names = ("angle_rad", "spacing_um", "phase_rad", "modulation")
    stripes = taken.illumination.model_copy(
        update={name: getattr(taken.illumination, name)[:1] for name in names}
    )
    image = restored(replace(taken, frames=taken.frames[:1], illumination=stripes))
    assert error(restored(taken), taken) < error(image, taken) < error(enlarged(taken.frames), taken)


@EVERY_LOOK
def test_edges_do_not_wrap_around(settings: ReconstructionSettings, take: Take) -> None:
    """Bright light at the right border leaves the left one dark."""
    taken = take(shape=(96, 96))
    frames = torch.zeros_like(taken.frames)
    frames[..., -6:] = 100.0
    image = reconstructor(taken, settings)(frames)
    assert float(image[:, :24].abs().max()) < 0.02 * float(image.max())


def test_the_same_frames_give_the_same_image(take: Take) -> None:
    taken = take()
    assert torch.equal(restored(taken), restored(taken))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@EVERY_LOOK
def test_gpu_and_cpu_give_the_same_numbers(settings: ReconstructionSettings, take: Take) -> None:
    taken = take()
    image = restored(taken, settings)
    frames = taken.frames.cuda()
    make = Reconstructor(frames, taken.microscope, taken.illumination, settings, taken.otf, first_px=POINTS)
    assert float((make(frames).cpu() - image).abs().max()) < 1e-4 * float(image.max() - image.min())


def blank() -> torch.Tensor:
    edge = (SIZE + 2 * MARGIN) * FINE
    return torch.zeros(edge, edge)


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


def test_pixels_are_areas_that_lie_where_the_ideal_reference_has_them(
    microscope: Microscope, illumination: Illumination, generator: torch.Generator
) -> None:
    assert microscope.camera is not None
    specimen = blank()
    place = torch.randint(0, specimen.shape[0], (2, 250), generator=generator)
    specimen[place[0], place[1]] = 1000 + 3000 * torch.rand(250, generator=generator)
    frames, reference, _ = seen(specimen, microscope, illumination)
    noisy = photons(expose(frames, microscope.camera, generator), microscope.camera)
    image = Reconstructor(noisy, microscope, illumination)(noisy)

    def off(image: torch.Tensor) -> float:
        inside = slice(BORDER, -BORDER)
        return float((image - reference)[inside, inside].square().mean().sqrt() / reference.std())

    assert off(image) < 0.2
    assert min(off(shifted(image, *moved)) for moved in ((0.5, 0.0), (-0.5, 0.0), (0.0, 0.5))) > 1.5 * off(
        image
    )


def test_two_lines_that_widefield_merges_are_told_apart(
    microscope: Microscope, illumination: Illumination
) -> None:
    """Lines 0.13 um apart, below the 0.1875 um of the detection cutoff."""
    specimen = blank()
    middle = specimen.shape[0] // 2
    specimen[:, middle - 4] = specimen[:, middle + 4] = 100.0
    frames, _, wide = seen(specimen, microscope, illumination)
    image = Reconstructor(frames, microscope, illumination)(frames)
    across, across_wide = image[SIZE // 2 : -SIZE // 2].mean(0), wide.mean(0)
    centre = across[SIZE - 1 : SIZE + 1].mean()
    assert centre < 0.7 * across.max()
    assert across_wide[SIZE // 2 - 1 : SIZE // 2 + 1].mean() > 0.9 * across_wide.max()


def test_frames_that_do_not_fit_the_illumination_are_refused(
    microscope: Microscope, illumination: Illumination
) -> None:
    with pytest.raises(BadInput, match="2 angles x 3 phases but its illumination describes 3 x 3"):
        Reconstructor(torch.zeros(2, 3, 32, 32), microscope, illumination)


def test_too_few_phases_are_refused(microscope: Microscope, illumination: Illumination) -> None:
    three_beams = illumination.model_copy(update={"modulation": ((0.5, 0.4),) * 3})
    with pytest.raises(BadInput, match="3 phases per angle cannot separate the 5 bands"):
        Reconstructor(torch.zeros(3, 3, 32, 32), microscope, three_beams)


def test_tiny_frames_are_refused(microscope: Microscope, illumination: Illumination) -> None:
    with pytest.raises(BadInput, match="8 x 32 pixels are too small; 16 a side"):
        Reconstructor(torch.zeros(3, 3, 8, 32), microscope, illumination)


def test_frames_of_another_size_than_it_was_made_for_are_refused(take: Take) -> None:
    make = reconstructor(take(shape=(64, 64)))
    with pytest.raises(BadInput, match="do not fit a reconstruction made for"):
        make(torch.zeros(3, 3, 64, 65))


def test_five_angles_of_five_phases(microscope: Microscope, generator: torch.Generator) -> None:
    stripes = nominal(5, 5, spacing_um=0.4, modulation=(0.5, 0.5), first_angle_rad=0.1)
    specimen = blank()
    place = torch.randint(0, specimen.shape[0], (2, 150), generator=generator)
    specimen[place[0], place[1]] = 3000.0
    frames, reference, _ = seen(specimen, microscope, stripes)
    image = Reconstructor(frames, microscope, stripes)(frames)
    inside = slice(BORDER, -BORDER)
    difference = (image - reference)[inside, inside].square().mean().sqrt() / reference.std()
    assert float(difference) < 0.12
