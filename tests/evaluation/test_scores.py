"""Every arm and baseline is scored on the same field, in the same way."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from sim_models.evaluation.baselines import BASELINES
from sim_models.evaluation.consistency import CHI2, FLAGGED
from sim_models.evaluation.metrics import METRICS
from sim_models.evaluation.report import COLUMNS as SHOWN
from sim_models.evaluation.resolution import decorrelation_resolution_um
from sim_models.evaluation.scores import (
    COLUMNS,
    DECORRELATION,
    RSE,
    RSP,
    WITHOUT_TARGET,
    Restored,
    higher_is_better,
    restore,
    score,
)
from sim_models.evaluation.squirrel import squirrel
from sim_models.field import Field
from sim_models.restorer import Restorer


@pytest.fixture
def fields(make_field: Callable[..., Field]) -> list[Field]:
    made = [make_field(4, level) for level in ("low", "high")]
    return [field.with_images({"reconstruction": 0.9 * field.image("reference")}) for field in made]


def test_each_field_is_restored_by_every_arm_and_baseline(fields: list[Field], restorer: Restorer) -> None:
    restored = list(restore(fields, {"direct": restorer, "finetune": restorer}))
    assert [each.field.level for each in restored] == ["low", "high"]
    for each in restored:
        assert list(each.images) == ["direct", "finetune", *BASELINES]
        assert all(image.shape == each.target.shape for image in each.images.values())
        assert np.array_equal(each.target, each.field.image("reference"))
        assert np.array_equal(each.images["direct"], restorer(each.field.image("raw")))


def test_a_reconstruction_that_could_not_be_made_is_left_out(
    make_field: Callable[..., Field], restorer: Restorer
) -> None:
    (restored,) = restore([make_field(4)], {"direct": restorer})
    assert list(restored.images) == ["direct", "widefield", "bicubic"]


def test_every_image_is_held_against_the_raw_frames(fields: list[Field], restorer: Restorer) -> None:
    (restored,) = restore(fields[:1], {"direct": restorer})
    assert list(restored.consistency) == list(restored.images)
    shape = restored.target.shape
    assert all(found.score_map.shape == shape for found in restored.consistency.values())


def test_without_stripes_the_raw_frames_tell_nothing(fields: list[Field], restorer: Restorer) -> None:
    (restored,) = restore([replace(fields[0], illumination=None)], {"direct": restorer})
    assert list(restored.images) == ["direct", *BASELINES]
    assert restored.consistency == {}
    assert set(score(restored, border_px=4)["metric"]) == {*METRICS, DECORRELATION, RSP, RSE}


def test_the_table_has_a_row_for_every_arm_and_metric(fields: list[Field]) -> None:
    field = fields[0]
    target = field.image("reference")
    worse = target + np.float32(0.1 * np.ptp(target))
    table = score(Restored(field, target, {"good": target, "worse": worse}, {}), border_px=4)
    assert list(table.columns) == COLUMNS
    assert len(table) == 2 * (len(METRICS) + 3)
    assert set(table["structure"] + table["cell"] + table["level"]) == {"discscell_004low"}
    values = table.set_index(["arm", "metric"])["value"]
    assert values["good", "psnr_targetrange_noscale"] == np.inf
    assert values["worse", "psnr_targetrange_noscale"] < values["good", "psnr_targetrange_noscale"]
    inner = target[4:-4, 4:-4]
    expected = 20 * np.log10(np.ptp(inner) / (0.1 * np.ptp(target)))
    assert values["worse", "psnr_targetrange_noscale"] == pytest.approx(expected, abs=1e-3)
    assert values["worse", "psnr_targetrange_affine"] > 60


def test_the_table_says_what_the_raw_frames_contradict(fields: list[Field], restorer: Restorer) -> None:
    (restored,) = restore(fields[:1], {"direct": restorer})
    told = restored.consistency["widefield"]
    table = score(replace(restored, consistency={"widefield": told}), border_px=4)
    assert (table["metric"].isin(list(METRICS))).sum() == len(restored.images) * len(METRICS)
    assert (table["metric"].isin([CHI2, FLAGGED])).sum() == 2
    values = table[table["arm"] == "widefield"].set_index("metric")["value"]
    assert values[CHI2] == told.chi2_reduced
    assert values[FLAGGED] == pytest.approx(100 * told.flagged[4:-4, 4:-4].float().mean().item())


def told(field: Field, image: np.ndarray, border_px: int = 4) -> dict[str, float]:
    """What the table says of an image in a field, without the metrics that need a target."""
    table = score(Restored(field, field.image("reference"), {"arm": image}, {}), border_px)
    values = table.set_index("metric")["value"]
    return {str(name): float(value) for name, value in values.items() if name not in METRICS}


def test_the_table_says_what_is_told_without_a_target(fields: list[Field]) -> None:
    field = fields[0]
    image, widefield = field.image("reference"), field.image("widefield")
    found = decorrelation_resolution_um(image[4:-4, 4:-4], 0.065 / 2)
    assert found is not None
    against = squirrel(image, widefield, border_px=4)
    expected = {DECORRELATION: found.resolution_um, RSP: against.rsp, RSE: against.rse}
    assert told(field, image) == pytest.approx(expected)


def test_the_scale_is_known_without_raw_frames_too(fields: list[Field]) -> None:
    images = {role: fields[0].image(role) for role in ("widefield", "reference")}
    bare = replace(fields[0], images=images)
    assert told(bare, bare.image("reference")) == told(fields[0], fields[0].image("reference"))


LACKS: dict[str, tuple[Callable[[Field], Field], set[str]]] = {
    "no wide-field": (
        lambda field: replace(
            field, images={role: image for role, image in field.images.items() if role != "widefield"}
        ),
        {DECORRELATION},
    ),
    "constant wide-field": (
        lambda field: field.with_images({"widefield": np.ones_like(field.image("widefield"))}),
        {DECORRELATION},
    ),
    "neither raw nor wide-field": (
        lambda field: replace(field, images={"reference": field.image("reference")}),
        set(),
    ),
    "a scale that is not whole": (
        lambda field: field.with_images(
            {role: field.image(role)[..., :24, :24] for role in ("raw", "widefield")}
        ),
        set(),
    ),
}


@pytest.mark.parametrize("lack", LACKS)
def test_what_a_field_does_not_allow_is_left_out(fields: list[Field], lack: str) -> None:
    change, left = LACKS[lack]
    assert set(told(change(fields[0]), fields[0].image("reference"))) == left


def test_an_image_that_is_constant_does_not_stop_the_evaluation(fields: list[Field]) -> None:
    image = np.full_like(fields[0].image("reference"), 3)
    assert told(fields[0], image)[RSP] == 0
    assert DECORRELATION not in told(fields[0], image)


def test_volumes_are_scored_by_metrics_alone(fields: list[Field]) -> None:
    """(T, Z, Y, X), in a field without raw frames."""
    clean = np.random.default_rng(0).random((2, 3, 24, 24)).astype(np.float32)
    field = replace(fields[0], images={"volume": clean, "volume_clean": clean}, illumination=None)
    table = score(Restored(field, clean, {"direct": 0.9 * clean}, {}), border_px=4)
    assert list(table["metric"]) == list(METRICS)
    assert np.isfinite(table["value"]).all()


def test_every_shown_number_says_which_way_is_up() -> None:
    for column in SHOWN:
        assert column.higher_is_better == higher_is_better(column.metric)
    assert [higher_is_better(name) for name in (DECORRELATION, RSP, RSE, FLAGGED)] == [
        False,
        True,
        False,
        False,
    ]
    assert not set(WITHOUT_TARGET) & set(METRICS)
