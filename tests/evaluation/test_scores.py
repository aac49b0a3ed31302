"""Every arm and baseline is scored on the same field, in the same way."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from sim_models.evaluation.baselines import BASELINES
from sim_models.evaluation.consistency import CHI2, FLAGGED
from sim_models.evaluation.metrics import METRICS
from sim_models.evaluation.scores import COLUMNS, Restored, restore, score
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
    assert set(score(restored, border_px=4)["metric"]) == set(METRICS)


def test_the_table_has_a_row_for_every_arm_and_metric(fields: list[Field]) -> None:
    field = fields[0]
    target = field.image("reference")
    worse = target + np.float32(0.1 * np.ptp(target))
    table = score(Restored(field, target, {"good": target, "worse": worse}, {}), border_px=4)
    assert list(table.columns) == COLUMNS
    assert len(table) == 2 * len(METRICS)
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
    assert len(table) == len(restored.images) * len(METRICS) + 2
    values = table[table["arm"] == "widefield"].set_index("metric")["value"]
    assert values[CHI2] == told.chi2_reduced
    assert values[FLAGGED] == pytest.approx(100 * told.flagged[4:-4, 4:-4].float().mean().item())
