"""What raw frames say of an image: nothing against a perfect one, something against what is invented or lost."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from sim_models.evaluation.consistency import CHI2, FLAGGED, consistency, percent, values
from sim_models.evaluation.gate import GateSettings
from sim_models.evaluation.metrics import METRICS
from sim_models.evaluation.report import COLUMNS
from sim_models.field import Camera, Field, Illumination, Microscope
from sim_models.optics.camera import expose
from sim_models.optics.forward import acquire, ideal_reference
from sim_models.optics.illumination import nominal, patterns, pixel_centres_um

MICROSCOPE = Microscope(
    numerical_aperture=1.4,
    refractive_index=1.518,
    emission_um=0.525,
    pixel_um=0.065,
    camera=Camera(gain=2.0, offset=100.0, read_noise=1.5),
)
ILLUMINATION: Illumination = nominal(3, 3, 0.2, (0.8,), 0.2)
EDGE_PX, MARGIN_PX, FINE = 48, 12, 4
FEATURE = (slice(40, 56), slice(40, 56))
"""where the brightest point of the field lies, in its middle"""


@pytest.fixture(scope="module")
def field() -> Field:
    """Points on an even background, in counts, with the image an ideal SIM shows of them."""
    size = (EDGE_PX + 2 * MARGIN_PX) * FINE
    specimen = torch.full((size, size), 0.3)
    rows, columns = np.random.default_rng(0).integers(0, size, (2, 60))
    specimen[rows, columns] = 40.0
    specimen[size // 2, size // 2] = 200.0
    centres_um = pixel_centres_um(size, MICROSCOPE.pixel_um, FINE, -MARGIN_PX)
    frames = 200 * acquire(specimen, patterns(ILLUMINATION, centres_um, centres_um), MICROSCOPE, FINE)
    reference = 200 * ideal_reference(specimen, MICROSCOPE, ILLUMINATION, FINE, 2)
    inside, twice = slice(MARGIN_PX, -MARGIN_PX), slice(2 * MARGIN_PX, -2 * MARGIN_PX)
    assert MICROSCOPE.camera is not None
    counts = expose(frames[..., inside, inside], MICROSCOPE.camera, torch.Generator().manual_seed(0))
    images = {
        "raw": counts.numpy().astype(np.uint16),
        "reference": 2 * reference[twice, twice].numpy() + 100,
    }
    return Field("made", "points", "cell_000", "high", images, MICROSCOPE, ILLUMINATION)  # type: ignore[arg-type]


def judged(image: np.ndarray, field: Field, border_px: int = 0) -> dict[str, float]:
    found = consistency(image, field)
    assert found is not None
    return values(found, border_px)


def test_frames_do_not_contradict_the_image_they_were_taken_of(field: Field) -> None:
    told = judged(field.image("reference"), field)
    assert told[FLAGGED] == 0
    assert told[CHI2] == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("change", ["lost", "invented"])
def test_frames_contradict_what_is_lost_or_invented_where_it_is(field: Field, change: str) -> None:
    image = field.image("reference").copy()
    soft = np.outer(np.hanning(16), np.hanning(16))
    point = soft * (image[FEATURE] - np.median(image))
    place = FEATURE if change == "lost" else (slice(12, 28), slice(60, 76))
    image[place] += -point if change == "lost" else point
    found = consistency(image, field)
    assert found is not None
    most = found.score_map[place].max() if change == "lost" else -found.score_map[place].min()
    assert most > 3 * found.limit
    far = found.flagged.clone()
    far[place] = False
    assert found.flagged[place].float().mean() > 20 * far.float().mean()


def test_a_blurred_image_is_contradicted_and_told_by_both_numbers(field: Field) -> None:
    widefield = field.image("raw").mean(axis=(0, 1)).repeat(2, axis=0).repeat(2, axis=1)
    told, perfect = judged(widefield, field), judged(field.image("reference"), field)
    assert told[FLAGGED] > 5
    assert told[CHI2] > 1.5 * perfect[CHI2]


def test_the_share_is_in_percent_and_leaves_out_the_border(field: Field) -> None:
    image = field.image("reference").copy()
    image[FEATURE] = np.median(image)
    found = consistency(image, field)
    assert found is not None
    assert values(found, 0)[FLAGGED] == pytest.approx(100 * found.flagged.numpy().mean())
    assert values(found, 0)[FLAGGED] > 0
    beyond = 41  # of 96 pixels, so that no more than the middle of the lost point is judged
    inner = found.flagged.numpy()[beyond:-beyond, beyond:-beyond]
    assert values(found, beyond)[FLAGGED] == pytest.approx(100 * inner.mean())
    assert values(found, beyond)[FLAGGED] > values(found, 0)[FLAGGED]
    assert values(found, beyond)[CHI2] == values(found, 0)[CHI2]


def test_counts_and_photons_are_told_alike(field: Field) -> None:
    raw, image = ((field.image(role).astype(np.float32) - 100) / 2 for role in ("raw", "reference"))
    in_photons = replace(field.with_images({"raw": raw}), unit="photons")
    assert judged(image, in_photons) == pytest.approx(judged(field.image("reference"), field), rel=1e-3)


def test_stripes_of_the_metadata_decide(field: Field) -> None:
    """With the wrong ones even the perfect image would have given other frames."""
    wrong = replace(field, illumination=nominal(3, 3, 0.2, (0.8,), 0.5))
    assert judged(field.image("reference"), wrong)[FLAGGED] > 5


SILENT: dict[str, Callable[[Field], Field]] = {
    "no stripes": lambda field: replace(field, illumination=None),
    "no camera": lambda field: replace(field, microscope=MICROSCOPE.model_copy(update={"camera": None})),
    "another size": lambda field: field.with_images({"raw": field.image("raw")[..., :40, :40]}),
}


@pytest.mark.parametrize("lack", SILENT)
def test_where_frames_tell_too_little_nothing_is_reported(field: Field, lack: str) -> None:
    assert consistency(field.image("reference"), SILENT[lack](field)) is None


def test_without_raw_frames_there_is_nothing_to_compare_with(field: Field) -> None:
    bare = replace(field, images={"reference": field.image("reference")})
    assert consistency(field.image("reference"), bare) is None


def test_the_share_stands_in_the_report_where_lower_is_better() -> None:
    (column,) = (column for column in COLUMNS if column.metric == FLAGGED)
    assert (column.unit, column.higher_is_better) == ("%", False)
    assert CHI2 not in [column.metric for column in COLUMNS]


@pytest.mark.parametrize("name", [CHI2, FLAGGED])
def test_what_frames_contradict_is_no_metric_of_the_gate(name: str) -> None:
    """It needs no reference, so that it may not decide over one."""
    assert name not in METRICS
    with pytest.raises(ValidationError, match="must be one of psnr_targetrange_noscale"):
        GateSettings(metric=name, above_baseline={}, below_champion=0.0)


@pytest.mark.parametrize(
    ("share", "said"),
    [
        (0.0, "0"),
        (0.00123, "0.0012"),
        (1.8, "1.8"),
        (42.4, "42"),
        (99.4, "99"),
        (99.6, "100"),
        (100.0, "100"),
    ],
)
def test_shares_are_written_with_two_digits(share: float, said: str) -> None:
    assert percent(share) == said
