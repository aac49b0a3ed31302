"""The role `reconstruction`: stripes of each field's own, else those of a brighter one, else those it came with."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch

from sim_models.config import parse
from sim_models.field import Field, Illumination
from sim_models.optics.estimate import Estimate, NoPattern, estimate
from sim_models.optics.reconstruct import DEFAULT, Reconstructor
from sim_models.sources import reconstruction
from sim_models.sources.objects import microtubules
from sim_models.sources.reconstruction import with_reconstructions
from sim_models.sources.simulation import Acquisition, simulate

ACQUISITION: dict[str, Any] = {
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
    "angle_error_rad": 0.01,
    "phase_error_rad": 0.05,
    "modulation_error": 0.05,
    "field_px": 96,
    "scale": 2,
    "oversampling": 4,
    "levels": {"high": 200.0, "low": 40.0},
}
OBJECTS = {
    "name": "microtubules",
    "density_um_per_um2": 2.0,
    "persistence_um": 20.0,
    "width_um": 0.05,
    "stray_share": 0.3,
    "labels_per_um": 400.0,
}
WRONG = Illumination(
    angle_rad=(0.7, 1.8, 2.8),
    spacing_um=(0.25, 0.25, 0.25),
    phase_rad=((0.0, 2.1, 4.2),) * 3,
    modulation=((0.5,),) * 3,
)


@pytest.fixture(scope="session")
def cell() -> tuple[Field, Field]:
    """One simulated cell in photons, at high and at low light."""
    settings = parse(Acquisition, ACQUISITION, "acquisition")
    objects = parse(microtubules.Settings, OBJECTS, "objects")
    high, low = (in_photons(field) for field in simulate(objects, settings, "microtubules", 3, 11))
    return high, low


def in_photons(field: Field) -> Field:
    raw = (field.image("raw").astype(np.float32) - 100) / 2
    return replace(field.with_images({"raw": raw}), unit="photons", notes=())


def stripes(found: Estimate) -> list[tuple[float, float]]:
    return [(angle.angle_rad, angle.spacing_um) for angle in found.angles]


def image_of(field: Field, with_stripes: Estimate) -> np.ndarray:
    """What a lab would make of the frames with the stripes of another stack."""
    frames = torch.as_tensor(field.image("raw"))
    known, otf, haze = with_stripes.illumination, with_stripes.otf, with_stripes.haze
    return Reconstructor(frames, field.microscope, known, DEFAULT, otf, haze)(frames).numpy()


@dataclass(frozen=True)
class Asked:
    """One call of the estimate: for which field, and where it was to look."""

    level: str
    harmonics: int
    start: Sequence[tuple[float, float]] | None


@pytest.fixture
def refuse(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Asked]]:
    """Makes the estimate refuse fields by their level: everywhere, or also near a start. Says what it was asked."""

    def make(fields: Sequence[Field], blind: tuple[str, ...], near: tuple[str, ...] = ()) -> list[Asked]:
        asked: list[Asked] = []
        levels = {float(field.image("raw").mean()): field.level for field in fields}

        def look(frames: torch.Tensor, microscope: Any, harmonics: int, start: Any = None) -> Estimate:
            level = levels[float(frames.numpy().mean())]
            asked.append(Asked(level, harmonics, start))
            if level in (blind if start is None else near):
                raise NoPattern(f"no stripes {'anywhere' if start is None else 'near those'}")
            return estimate(frames, microscope, harmonics, start=start)

        monkeypatch.setattr(reconstruction, "estimate", look)
        return asked

    return make


def test_every_level_gets_an_image_that_is_close_to_the_reference(cell: tuple[Field, Field]) -> None:
    for field in with_reconstructions(cell, DEFAULT):
        image, reference = field.image("reconstruction"), field.image("reference")
        assert (image.shape, image.dtype) == (reference.shape, np.float32)
        widefield = field.image("raw").mean(axis=(0, 1)).repeat(2, axis=0).repeat(2, axis=1)
        errors = [np.square(each - reference)[8:-8, 8:-8].mean() for each in (image, widefield)]
        assert errors[0] < 0.25 * errors[1]
        assert field.notes[0].startswith("reconstruction: stripes estimated, scores ")


def test_the_levels_come_back_in_their_order_with_all_they_had(cell: tuple[Field, Field]) -> None:
    for order in (cell, cell[::-1]):
        done = with_reconstructions(
            [replace(field, notes=("taken on a Monday",)) for field in order], DEFAULT
        )
        assert [field.level for field in done] == [field.level for field in order]
        for before, after in zip(order, done, strict=True):
            assert after.notes[0] == "taken on a Monday"
            assert all(after.image(role) is before.image(role) for role in before.images)


def test_stripes_are_found_in_the_frames_whatever_the_metadata_say(cell: tuple[Field, Field]) -> None:
    (told,) = with_reconstructions(cell[:1], DEFAULT)
    (misled,) = with_reconstructions([replace(cell[0], illumination=WRONG)], DEFAULT)
    assert np.array_equal(told.image("reconstruction"), misled.image("reconstruction"))
    assert misled.illumination == WRONG


def test_a_field_without_stripes_gets_those_that_were_found(cell: tuple[Field, Field]) -> None:
    (done,) = with_reconstructions([replace(cell[0], illumination=None)], DEFAULT)
    assert cell[0].illumination is not None
    assert done.illumination is not None
    assert done.illumination.spacing_um == pytest.approx(cell[0].illumination.spacing_um, rel=0.01)


def test_every_level_is_looked_at_blind_and_once_where_that_does(
    cell: tuple[Field, Field], refuse: Callable[..., list[Asked]]
) -> None:
    asked = refuse(cell, blind=())
    with_reconstructions(cell, DEFAULT)
    assert asked == [Asked("high", 1, None), Asked("low", 1, None)]


@pytest.mark.parametrize("turned", [False, True])
def test_a_dim_level_is_looked_at_again_near_the_stripes_of_the_brightest(
    cell: tuple[Field, Field], refuse: Callable[..., list[Asked]], turned: bool
) -> None:
    middle = replace(cell[0], level="middle").with_images({"raw": 0.5 * cell[0].image("raw")})
    fields = [cell[1], cell[0], middle] if turned else [middle, cell[0], cell[1]]
    asked = refuse(fields, blind=("low",))
    done = {field.level: field for field in with_reconstructions(fields, DEFAULT)}
    guide = estimate(torch.as_tensor(cell[0].image("raw")), cell[0].microscope, 1)
    assert [each for each in asked if each.start] == [Asked("low", 1, stripes(guide))]
    assert done["low"].notes[0].startswith("reconstruction: stripes estimated, scores ")
    own = estimate(torch.as_tensor(cell[1].image("raw")), cell[1].microscope, 1, start=stripes(guide))
    assert np.array_equal(done["low"].image("reconstruction"), image_of(cell[1], own))


def test_a_level_too_dim_even_for_that_is_put_together_with_the_stripes_of_the_brightest(
    cell: tuple[Field, Field], refuse: Callable[..., list[Asked]]
) -> None:
    refuse(cell, blind=("low",), near=("low",))
    high, low = with_reconstructions([replace(field, illumination=None) for field in cell], DEFAULT)
    guide = estimate(torch.as_tensor(cell[0].image("raw")), cell[0].microscope, 1)
    assert low.notes == ("reconstruction: stripes of level high, since at this one: no stripes near those",)
    assert low.illumination == high.illumination == guide.illumination
    assert np.array_equal(low.image("reconstruction"), image_of(cell[1], guide))


def test_without_any_stripes_those_of_the_metadata_are_taken(
    cell: tuple[Field, Field], refuse: Callable[..., list[Asked]]
) -> None:
    asked = refuse(cell, blind=("high", "low"))
    for before, after in zip(cell, with_reconstructions(cell, DEFAULT), strict=True):
        assert after.notes == ("reconstruction: stripes of the metadata, since: no stripes anywhere",)
        assert before.illumination is not None
        frames = torch.as_tensor(before.image("raw"))
        expected = Reconstructor(frames, before.microscope, before.illumination)(frames).numpy()
        assert np.array_equal(after.image("reconstruction"), expected)
    assert [each.start for each in asked] == [None, None]


def test_without_any_stripes_at_all_a_note_says_why_there_is_none(
    cell: tuple[Field, Field], refuse: Callable[..., list[Asked]]
) -> None:
    refuse(cell, blind=("high", "low"))
    done = with_reconstructions([replace(field, illumination=None) for field in cell], DEFAULT)
    for field in done:
        assert "reconstruction" not in field.images
        assert field.illumination is None
        assert field.notes == ("no reconstruction: no stripes anywhere",)


def test_frames_of_noise_alone_are_refused_for_a_reason(cell: tuple[Field, Field]) -> None:
    noise = np.random.default_rng(0).normal(20, 5, (3, 3, 96, 96)).astype(np.float32)
    dark = replace(cell[0], illumination=None, level="dark").with_images({"raw": noise})
    (done,) = with_reconstructions([dark], DEFAULT)
    assert "reconstruction" not in done.images
    assert done.notes[0].startswith("no reconstruction: no stripes found in angles 1, 2 and 3 of 3: score ")


@pytest.mark.parametrize(("blind", "kept"), [((), True), (("high",), False)])
def test_a_reconstruction_that_a_field_brings_along_gives_way(
    cell: tuple[Field, Field], refuse: Callable[..., list[Asked]], blind: tuple[str, ...], kept: bool
) -> None:
    """So that the baseline is the same method in every field, or none."""
    foreign = np.full((192, 192), 7, np.float32)
    field = replace(cell[0], illumination=None).with_images({"reconstruction": foreign})
    refuse([field], blind=blind)
    (done,) = with_reconstructions([field], DEFAULT)
    assert ("reconstruction" in done.images) is kept
    assert not kept or done.image("reconstruction").std() > 1


def test_fields_too_small_to_see_stripes_in_do_not_stop_the_others(cell: tuple[Field, Field]) -> None:
    def cropped(px: int) -> Field:
        return replace(cell[0], level=f"{px} px").with_images({"raw": cell[0].image("raw")[..., :px, :px]})

    small, tiny = (with_reconstructions([cropped(px)], DEFAULT)[0] for px in (24, 12))
    assert small.image("reconstruction").shape == (48, 48)
    assert small.notes[0].startswith(
        "reconstruction: stripes of the metadata, since: frames of 24 x 24 pixels"
    )
    assert "reconstruction" not in tiny.images
    assert tiny.notes[0].startswith("no reconstruction: frames of 12 x 12 pixels are too small")


@pytest.mark.parametrize(("modulation", "phases", "harmonics"), [(None, 3, 1), (None, 5, 2), ((0.8,), 5, 1)])
def test_harmonics_are_those_of_the_metadata_or_usual_for_the_phases(
    cell: tuple[Field, Field],
    refuse: Callable[..., list[Asked]],
    modulation: tuple[float, ...] | None,
    phases: int,
    harmonics: int,
) -> None:
    raw = np.random.default_rng(0).normal(20, 5, (3, phases, 48, 48)).astype(np.float32)
    known = None
    if modulation:
        evenly = tuple(float(phase) for phase in 2 * np.pi * np.arange(phases) / phases)
        known = replace_stripes(WRONG, phase_rad=(evenly,) * 3, modulation=(modulation,) * 3)
    field = replace(cell[0], illumination=known).with_images({"raw": raw})
    asked = refuse([field], blind=("high",))
    with_reconstructions([field], DEFAULT)
    assert asked == [Asked("high", harmonics, None)]


def replace_stripes(illumination: Illumination, **changed: Any) -> Illumination:
    return Illumination(**{**illumination.model_dump(), **changed})


@pytest.mark.parametrize("truth", ["objective", "haze"])
def test_what_the_frames_tell_of_objective_and_haze_reaches_the_image(
    cell: tuple[Field, Field], monkeypatch: pytest.MonkeyPatch, truth: str
) -> None:
    plain = estimate(torch.as_tensor(cell[0].image("raw")), cell[0].microscope, 1)
    worse = replace(plain, otf=plain.otf.attenuated(0.2))
    if truth == "haze":
        worse = replace(plain, haze=(0.5, 0.3, *plain.haze[2:]))
    monkeypatch.setattr(reconstruction, "estimate", lambda *_, **__: worse)
    (done,) = with_reconstructions(cell[:1], DEFAULT)
    assert np.array_equal(done.image("reconstruction"), image_of(cell[0], worse))
    assert not np.array_equal(done.image("reconstruction"), image_of(cell[0], plain))


def test_settings_reach_the_image(cell: tuple[Field, Field]) -> None:
    smooth = DEFAULT.model_copy(update={"strength": 100.0})
    roughness = [
        np.abs(np.diff(with_reconstructions(cell[1:], settings)[0].image("reconstruction"))).mean()
        for settings in (DEFAULT, smooth)
    ]
    assert roughness[1] < 0.9 * roughness[0]
