import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from sim_models.evaluation.intervals import (
    Bootstrap,
    Estimate,
    crossed_difference,
    estimate,
    means,
    paired_differences,
)

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


def crossed(
    random: np.random.Generator, over_cells: float, over_seeds: float, cells: int = 8, seeds: int = 3
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scores (seeds, cells) of two ways, the first better by 1, as cells and seeds are drawn of many."""
    quality = 30 + 5 * random.standard_normal(cells)
    first, second = (
        quality
        + over_cells * random.standard_normal(cells) / np.sqrt(2)
        + over_seeds * random.standard_normal((seeds, 1))
        + 0.2 * random.standard_normal((seeds, cells))
        for _ in range(2)
    )
    return first + 1, second


@pytest.mark.parametrize(("over_cells", "over_seeds"), [(0.6, 0.0), (0.6, 0.4), (0.1, 0.8)])
def test_cells_and_seeds_drawn_anew_cover_the_true_difference_about_as_often_as_they_say(
    over_cells: float, over_seeds: float
) -> None:
    random = np.random.default_rng(3)
    bootstrap = BOOTSTRAP.model_copy(update={"resamples": 500})
    estimates = [crossed_difference(*crossed(random, over_cells, over_seeds), bootstrap) for _ in range(200)]
    covered = [found.low <= 1 <= found.high for found in estimates]
    assert 0.85 <= np.mean(covered) <= 0.99


def test_seeds_that_differ_are_no_less_a_chance_than_cells() -> None:
    """Cells alone drawn anew would be sure of a difference that the next seed turns round."""
    random = np.random.default_rng(4)
    own, other = crossed(random, 0.1, 1.0)
    both = crossed_difference(own, other, BOOTSTRAP)
    cells_alone = estimate(own.mean(0) - other.mean(0), BOOTSTRAP)
    assert both.high - both.low > 3 * (cells_alone.high - cells_alone.low)
    assert both.mean == pytest.approx(cells_alone.mean)


def test_with_one_seed_it_is_the_usual_bootstrap_over_cells() -> None:
    own, other = crossed(np.random.default_rng(5), 0.6, 0.3, cells=20, seeds=1)
    bootstrap = BOOTSTRAP.model_copy(update={"resamples": 20000})
    found, usual = crossed_difference(own, other, bootstrap), estimate((own - other)[0], bootstrap)
    assert (found.mean, found.cells) == (pytest.approx(usual.mean), usual.cells)
    assert found.low == pytest.approx(usual.low, abs=0.02)
    assert found.high == pytest.approx(usual.high, abs=0.02)


def test_how_much_cells_differ_whoever_restores_them_does_not_matter() -> None:
    quality = np.array([10.0, 40.0, 20.0, 90.0])
    found = crossed_difference(np.tile(quality + 1, (3, 1)), np.tile(quality, (2, 1)), BOOTSTRAP)
    assert (found.mean, found.low, found.high) == (1, 1, 1)


def test_the_seed_decides_the_crossed_interval_and_too_few_cells_have_none() -> None:
    own, other = crossed(np.random.default_rng(6), 0.6, 0.3)
    assert crossed_difference(own, other, BOOTSTRAP) == crossed_difference(own, other, BOOTSTRAP)
    assert crossed_difference(own, other, BOOTSTRAP.model_copy(update={"seed": 1})) != crossed_difference(
        own, other, BOOTSTRAP
    )
    few = crossed_difference(own[:, :2], other[:, :2], BOOTSTRAP)
    assert (few.low, few.high, few.cells) == (None, None, 2)
