import copy
import math
from typing import Any, Literal

import numpy as np
import pytest
import torch

from sim_models.config import BadInput, parse
from sim_models.field import Field
from sim_models.optics.camera import photons
from sim_models.optics.illumination import patterns, pixel_centres_um
from sim_models.optics.reconstruct import Reconstructor
from sim_models.sources.objects import ObjectSettings
from sim_models.sources.simulation import Acquisition, simulate

VALUES: dict[str, Any] = {
    "microscope": {
        "numerical_aperture": 1.4,
        "refractive_index": 1.518,
        "emission_um": 0.525,
        "pixel_um": 0.065,
        "camera": {"gain": 2.0, "offset": 100.0, "read_noise": 1.5},
    },
    "angles": 3,
    "phases": 3,
    "spacing_um": 0.2,
    "modulation": [0.8],
    "first_angle_rad": 0.2,
    "angle_error_rad": 0.02,
    "phase_error_rad": 0.1,
    "modulation_error": 0.1,
    "field_px": 32,
    "scale": 2,
    "oversampling": 4,
    "levels": {"low": 20.0, "high": 200.0},
}
COARSE_PIXELS = {**VALUES["microscope"], "pixel_um": 0.25}


class Drawn(ObjectSettings):
    """A simple object of which the images are known."""

    name: Literal["drawn"] = "drawn"
    picture: Literal["flat", "empty", "left half", "points", "corner"]

    def draw(self, cell: int, shape: tuple[int, int], pixel_um: float, seed: int) -> torch.Tensor:
        density = torch.zeros(shape)
        match self.picture:
            case "flat":
                density[:] = 1.0
            case "left half":
                density[:, : shape[1] // 2] = 1.0
            case "corner":
                density[0, 0] = 1.0
            case "points":
                rows, columns = np.random.default_rng([cell, seed]).integers(0, shape[0], (2, 120))
                density[rows, columns] = 1.0
        return density


FLAT, EMPTY, LEFT_HALF, POINTS = (
    Drawn(picture="flat"),
    Drawn(picture="empty"),
    Drawn(picture="left half"),
    Drawn(picture="points"),
)


def acquisition(**changed: Any) -> Acquisition:
    return parse(Acquisition, {**copy.deepcopy(VALUES), **changed}, "acquisition")


def frames(field: Field) -> torch.Tensor:
    assert field.microscope.camera is not None
    return photons(torch.from_numpy(field.image("raw").astype(np.int32)), field.microscope.camera)


def test_a_field_for_every_level_says_who_it_is() -> None:
    fields = simulate(POINTS, acquisition(), "points", cell=7, seed=1)
    assert [field.name for field in fields] == ["points/cell_007/low", "points/cell_007/high"]
    for field in fields:
        assert field.dataset == "simulated"
        assert field.unit == "counts"
        assert field.image("raw").shape == (3, 3, 32, 32)
        assert field.image("raw").dtype == np.uint16
        assert field.image("reference").shape == field.image("truth").shape == (64, 64)
        assert field.image("reference").dtype == field.image("truth").dtype == np.float32


def test_the_same_seed_gives_the_same_fields_and_another_cell_does_not() -> None:
    first, again, other = (simulate(POINTS, acquisition(), "points", cell, 1)[0] for cell in (0, 0, 1))
    np.testing.assert_array_equal(first.image("raw"), again.image("raw"))
    assert first.illumination == again.illumination
    assert first.illumination != other.illumination
    assert (first.image("raw") != other.image("raw")).any()


def test_a_level_stays_as_it_was_when_another_is_added() -> None:
    both = simulate(POINTS, acquisition(), "points", 0, 1)
    alone = simulate(POINTS, acquisition(levels={"high": 200.0}), "points", 0, 1)
    np.testing.assert_array_equal(both[1].image("raw"), alone[0].image("raw"))


def test_levels_share_the_object_and_not_the_noise() -> None:
    low, high = simulate(POINTS, acquisition(levels={"low": 100.0, "high": 200.0}), "points", 0, 1)
    np.testing.assert_allclose(2 * low.image("truth"), high.image("truth"), rtol=1e-5)
    noise = [
        (frames(field) / level - field.image("reference").mean() / level).numpy()
        for field, level in ((low, 100.0), (high, 200.0))
    ]
    assert np.abs(noise[0] - noise[1]).max() > 0.05


@pytest.mark.parametrize(("level", "expected"), [("low", 20.0), ("high", 200.0)])
def test_a_flat_object_puts_the_photons_of_its_level_into_every_image(level: str, expected: float) -> None:
    field = {one.level: one for one in simulate(FLAT, acquisition(), "flat", 0, 1)}[level]
    np.testing.assert_allclose(field.image("truth"), expected, rtol=1e-4)
    np.testing.assert_allclose(field.image("reference"), expected, rtol=1e-4)
    assert frames(field).mean().item() == pytest.approx(expected, rel=0.03)


def test_the_clean_frames_are_the_raw_ones_without_their_noise() -> None:
    """Shot and read noise of the camera: variance = photons + read_noise ** 2."""
    field = simulate(FLAT, acquisition(levels={"bright": 400.0}), "flat", 0, 1)[0]
    clean = torch.from_numpy(field.image("raw_clean"))
    assert clean.shape == (3, 3, 32, 32)
    assert clean.dtype == torch.float32
    deviation = (frames(field) - clean) / torch.sqrt(clean + 1.5**2)
    assert deviation.mean().item() == pytest.approx(0, abs=0.04)
    assert deviation.std().item() == pytest.approx(1, abs=0.04)
    assert clean.mean(dim=(0, 1)).std() < 0.1 * clean.std()  # hardly any stripes in the mean over phases


def test_the_level_is_the_brightest_part_of_the_widefield() -> None:
    field = simulate(POINTS, acquisition(levels={"bright": 5000.0}), "points", 0, 1)[0]
    widefield = frames(field).mean(dim=(0, 1))
    assert torch.quantile(widefield, 0.999).item() == pytest.approx(5000, rel=0.05)


def test_the_stripes_in_the_counts_are_those_of_the_illumination_per_angle_and_phase() -> None:
    """Demodulating each frame with its own true stripe finds it at its phase, with its contrast."""
    field = simulate(FLAT, acquisition(levels={"bright": 20000.0}), "flat", 0, 1)[0]
    assert field.illumination is not None
    centres = pixel_centres_um(32, 0.065)
    stripes = patterns(field.illumination, centres, centres) - 1
    contrast = frames(field) / 20000.0 - 1
    for angle in range(3):
        for phase in range(3):
            pair = torch.stack([stripes[angle, phase].flatten(), contrast[angle, phase].flatten().double()])
            assert torch.corrcoef(pair)[0, 1].item() > 0.5
    assert not math.isclose(field.illumination.angle_rad[0], 0.2)


def test_nothing_wraps_around_the_border() -> None:
    field = simulate(LEFT_HALF, acquisition(), "side", 0, 1)[1]
    assert field.image("reference")[:, -8:].mean() < 0.02 * field.image("reference")[:, :8].mean()


def test_its_reconstruction_is_its_reference() -> None:
    field = simulate(POINTS, acquisition(levels={"bright": 5000.0}), "points", 0, 1)[0]
    assert field.illumination is not None
    stack = frames(field)
    restored = Reconstructor(stack, field.microscope, field.illumination)(stack).numpy()
    assert np.corrcoef(restored.ravel(), field.image("reference").ravel())[0, 1] > 0.95


def test_saturation_is_said() -> None:
    field = simulate(POINTS, acquisition(levels={"glare": 60000.0}), "points", 0, 1)[0]
    assert any("saturated" in note for note in field.notes)
    assert not any("saturated" in note for note in simulate(POINTS, acquisition(), "points", 0, 1)[0].notes)


def test_an_empty_field_is_refused() -> None:
    with pytest.raises(BadInput, match="dust, cell 2: nothing to see in the field"):
        simulate(EMPTY, acquisition(), "dust", 2, 1)


def test_light_from_outside_alone_is_no_field() -> None:
    with pytest.raises(BadInput, match="nothing to see in the field"):
        simulate(Drawn(picture="corner"), acquisition(), "dust", 0, 1)


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"scale": 3}, "scale 3 must divide oversampling 4"),
        ({"phases": 2}, "phases 2 must be at least 3"),
        ({"modulation": [0.4, 0.5], "spacing_um": 0.4}, "phases 3 must be at least 5"),
        ({"modulation": [1.2]}, "darker than black"),
        ({"spacing_um": 0.1}, "finer than the 0.141 um this objective can project"),
        ({"oversampling": 2, "microscope": COARSE_PIXELS}, "oversampling 2 must be at least 3"),
        ({"microscope": {**VALUES["microscope"], "camera": None}}, "camera must be given"),
        ({"levels": {}}, "levels"),
        ({"modulation": []}, "modulation"),
    ],
)  # fmt: skip
def test_acquisitions_that_cannot_be_are_refused(changed: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        acquisition(**changed)


def test_settings_survive_json() -> None:
    settings = acquisition()
    assert Acquisition.model_validate_json(settings.model_dump_json()) == settings
