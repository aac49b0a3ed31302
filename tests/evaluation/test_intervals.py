import numpy as np
import pandas as pd
import pytest

from sim_models.evaluation.intervals import Bootstrap, Estimate, estimate, means, paired_differences

BOOTSTRAP = Bootstrap(confidence=0.95, resamples=2000, seed=0)
COLUMNS = ["structure", "cell", "level", "arm", "metric", "value"]


def table(cells: int = 6, gain: float = 1.0) -> pd.DataFrame:
    """Arm `b` is better than `a` by `gain` everywhere, while cells differ by far more."""
    random = np.random.default_rng(0)
    rows = []
    for cell in range(cells):
        quality = 30 + 5 * random.standard_normal()
        for level, loss in (("low", 3.0), ("high", 0.0)):
            rows.append(("er", f"cell_{cell}", level, "a", "psnr", quality - loss))
            rows.append(("er", f"cell_{cell}", level, "b", "psnr", quality - loss + gain))
    return pd.DataFrame(rows, columns=COLUMNS)


def test_the_interval_covers_the_true_mean_about_as_often_as_it_says() -> None:
    random = np.random.default_rng(1)
    bootstrap = BOOTSTRAP.model_copy(update={"resamples": 400})
    estimates = [estimate(random.normal(3.0, 1.0, 30), bootstrap) for _ in range(200)]
    covered = [drawn.low <= 3.0 <= drawn.high for drawn in estimates]
    assert 0.88 <= np.mean(covered) <= 0.99


def test_cells_are_counted_not_fields() -> None:
    """More levels of the same cells are no more evidence."""
    rows = table()
    more = pd.concat([rows, rows.assign(level=rows["level"] + "_again")])
    assert means(rows, BOOTSTRAP)["er", "a", "psnr"] == means(more, BOOTSTRAP)["er", "a", "psnr"]
    assert means(rows, BOOTSTRAP)["er", "a", "psnr"].cells == 6


def test_a_cell_with_more_levels_weighs_no_more() -> None:
    rows = pd.DataFrame(
        [
            ("er", "one", "low", "a", "psnr", 0.0),
            ("er", "one", "high", "a", "psnr", 0.0),
            ("er", "two", "low", "a", "psnr", 6.0),
        ],
        columns=COLUMNS,
    )
    assert means(rows, BOOTSTRAP)["er", "a", "psnr"].mean == pytest.approx(3)


def test_pairing_sees_a_difference_that_cells_hide() -> None:
    rows = table(gain=1.0)
    both = means(rows, BOOTSTRAP)
    a, b = both["er", "a", "psnr"], both["er", "b", "psnr"]
    assert a.high is not None
    assert b.low is not None
    assert a.high > b.low
    difference = paired_differences(rows, "b", "a", BOOTSTRAP)["er", "psnr"]
    assert (difference.mean, difference.low, difference.high) == pytest.approx((1, 1, 1))


def test_pairing_leaves_out_fields_that_one_arm_lacks() -> None:
    rows = table()
    gone = (rows["arm"] == "b") & (rows["cell"] == "cell_0")
    assert paired_differences(rows[~gone], "b", "a", BOOTSTRAP)["er", "psnr"].cells == 5


def test_structures_are_kept_apart_even_where_cells_share_names() -> None:
    rows = pd.concat([table(), table(gain=9).assign(structure="ccps")])
    differences = paired_differences(rows, "b", "a", BOOTSTRAP)
    assert differences["er", "psnr"].mean == pytest.approx(1)
    assert differences["ccps", "psnr"].mean == pytest.approx(9)


def test_the_seed_decides_the_interval() -> None:
    values = np.random.default_rng(0).random(8)
    assert estimate(values, BOOTSTRAP) == estimate(values, BOOTSTRAP)
    assert estimate(values, BOOTSTRAP) != estimate(values, BOOTSTRAP.model_copy(update={"seed": 1}))


def test_too_few_cells_have_no_interval_and_say_so() -> None:
    few = estimate(np.array([1.0, 2.0]), BOOTSTRAP)
    assert few == Estimate(mean=1.5, low=None, high=None, cells=2)
    assert str(few) == "1.5 (n = 2, too few for an interval)"
    assert str(Estimate(1.5, 1.0, 2.0, 3)) == "1.5 [1, 2] (n = 3)"
