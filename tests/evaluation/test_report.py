import numpy as np
import pandas as pd
import pytest

from sim_models.evaluation.consistency import FLAGGED
from sim_models.evaluation.intervals import Bootstrap, Estimate
from sim_models.evaluation.metrics import METRICS
from sim_models.evaluation.report import COLUMNS, blocks, difference, in_words, number, worse

BOOTSTRAP = Bootstrap(confidence=0.95, resamples=500, seed=0)


def scores(cells: int = 5, **quality: dict[str, float]) -> pd.DataFrame:
    """Scores by arm and light level; cells differ far more than arms do."""
    random = np.random.default_rng(0)
    rows = []
    for cell in range(cells):
        hardness = 3 * random.standard_normal()
        for arm, levels in quality.items():
            for level, psnr in levels.items():
                noisy = psnr + hardness + 0.05 * random.standard_normal()
                for name, metric in METRICS.items():
                    value = noisy if metric.higher_is_better else 100 - noisy
                    rows.append(("er", f"cell_{cell}", level, arm, name, value))
                rows.append(("er", f"cell_{cell}", level, arm, FLAGGED, 100 - noisy))
    return pd.DataFrame(rows, columns=["structure", "cell", "level", "arm", "metric", "value"])


TABLE = scores(
    reconstruction={"low": 30.0, "high": 42.5},
    scratch={"low": 36.0, "high": 39.0},
    finetune={"low": 36.5, "high": 39.0},
)


def test_every_light_level_has_a_block_after_all_together() -> None:
    found = blocks(TABLE, ["low", "high"], BOOTSTRAP)
    assert [block.title for block in found] == ["all light levels", "low light", "high light"]
    assert [row.arm for row in found[0].rows] == ["finetune", "scratch", "reconstruction"]
    assert [row.trained for row in found[0].rows] == [True, True, False]


def test_one_light_level_is_not_shown_twice() -> None:
    (only,) = blocks(TABLE[TABLE["level"] == "low"], ["low"], BOOTSTRAP)
    assert only.title == "low light"


@pytest.mark.parametrize(("block", "winner"), [(0, "finetune"), (1, "finetune"), (2, "reconstruction")])
def test_the_best_of_each_column_is_marked_whichever_way_is_up(block: int, winner: str) -> None:
    rows = blocks(TABLE, ["low", "high"], BOOTSTRAP)[block].rows
    for column in range(len(COLUMNS)):
        assert [row.arm for row in rows if row.entries[column].best] == [winner]


def test_where_the_frames_tell_nothing_of_an_arm_its_place_is_empty() -> None:
    silent = (TABLE["arm"] == "reconstruction") & (TABLE["metric"] == FLAGGED)
    column = [each.metric for each in COLUMNS].index(FLAGGED)
    for block in blocks(TABLE[~silent], ["low", "high"], BOOTSTRAP):
        entries = {row.arm: row.entries[column] for row in block.rows}
        assert entries["reconstruction"] is None
        assert entries["finetune"] is not None
    (sentence,) = worse(TABLE[~silent], "finetune", ["high"], BOOTSTRAP)
    assert "NRMSE" in sentence
    assert "contradicted" not in sentence


def test_with_too_few_cells_there_is_no_interval() -> None:
    few = blocks(TABLE[TABLE["cell"].isin(["cell_0", "cell_1"])], ["low", "high"], BOOTSTRAP)
    assert few[0].rows[0].entries[0].interval == ""


@pytest.mark.parametrize(
    ("estimate", "said"),
    [
        (Estimate(0.47, 0.39, 0.55, 5), "0.47 dB [0.39, 0.55] better than that"),
        (Estimate(-0.47, -0.55, -0.39, 5), "0.47 dB [0.39, 0.55] worse than that"),
        (Estimate(0.1, -0.02, 0.2, 5), "no detectable difference from that (+0.10 dB [−0.02, 0.20])"),
        (Estimate(-0.1, None, None, 2), "−0.10 dB from that (test cells: 2, too few to say how sure)"),
    ],
)
def test_a_difference_is_told_no_surer_than_it_is(estimate: Estimate, said: str) -> None:
    assert in_words(estimate, "that") == said


def test_differences_are_paired_by_cell() -> None:
    found = difference(TABLE, "finetune", "scratch", "psnr_targetrange_noscale", BOOTSTRAP)
    assert found.low is not None
    assert found.mean == pytest.approx(0.25, abs=0.1)
    assert found.low > 0


def test_only_what_is_surely_worse_is_told_and_where() -> None:
    (sentence,) = worse(TABLE, "finetune", ["low", "high"], BOOTSTRAP)
    assert sentence.startswith("At high light classical SIM is better than fine-tuning: PSNR +3.")
    assert "NRMSE −3." in sentence
    assert "contradicted −3." in sentence


def test_a_worse_mean_is_told_even_with_too_few_cells() -> None:
    one = TABLE[TABLE["cell"] == "cell_0"]
    assert any("classical SIM" in sentence for sentence in worse(one, "finetune", ["high"], BOOTSTRAP))


def test_an_arm_that_is_best_everywhere_has_nothing_to_confess() -> None:
    assert worse(TABLE, "finetune", ["low"], BOOTSTRAP) == []


def test_numbers_carry_a_true_minus_sign() -> None:
    assert number(-1.005, 1) == "−1.0"
    assert number(2, 2, signed=True) == "+2.00"
