"""The gate looks at whole intervals over cells: luck does not pass, and neither does too little evidence."""

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from sim_models.evaluation.consistency import FLAGGED
from sim_models.evaluation.gate import CHAMPION, MODEL, GateSettings, Verdict, as_gate_table, judge
from sim_models.evaluation.intervals import Bootstrap
from sim_models.evaluation.scores import COLUMNS

METRIC = "psnr_targetrange_noscale"
BOOTSTRAP = Bootstrap(confidence=0.95, resamples=1000, seed=0)
SSIM = "ssim_targetrange_noscale"
SETTINGS = GateSettings(
    metric=METRIC, above_baseline={"bicubic": 1.0}, below_champion=0.1, absolute={}, contradicted_percent=None
)


def scores(cells: int = 8, spread: float = 0.3, **gains: float) -> pd.DataFrame:
    """Arms above `bicubic` by their gains, which differ from cell to cell by `spread`; the cells by far more."""
    random = np.random.default_rng(0)
    deviations = random.standard_normal(cells)
    deviations -= deviations.mean()
    rows = []
    for cell, deviation in enumerate(deviations):
        quality = 30 + 5 * random.standard_normal()
        for arm, gain in {"bicubic": 0.0, **gains}.items():
            value = quality + gain + (spread * deviation if arm == MODEL else 0)
            rows.append(("er", f"cell_{cell}", "low", arm, METRIC, value))
            rows.append(("er", f"cell_{cell}", "low", arm, "nrmse_std_noscale", -value))
    return pd.DataFrame(rows, columns=COLUMNS)


def verdict(**arguments: float) -> Verdict:
    return judge(scores(**arguments), SETTINGS, BOOTSTRAP)


def test_a_model_that_is_surely_better_passes() -> None:
    found = verdict(model=2.0)
    assert found.passed
    assert found.sentence.startswith(f"passed: {METRIC} surely more than +1 from bicubic, found 2 [")
    assert found.sentence.endswith("(n = 8) over cells")


def test_a_model_that_is_better_only_on_average_is_refused() -> None:
    """Mean 1.2, so above the limit of 1; but the interval reaches below it."""
    found = verdict(model=1.2, spread=1.0)
    assert not found.passed
    assert found.sentence.startswith(
        f"refused: must be {METRIC} surely more than +1 from bicubic, found 1.2 [0."
    )
    assert verdict(model=1.2, spread=0.1).passed


def test_a_worse_model_is_refused() -> None:
    assert not verdict(model=-2.0).passed


def test_too_few_cells_prove_nothing() -> None:
    found = verdict(model=20.0, cells=2, spread=0.0)
    assert not found.passed
    assert "too few for an interval" in found.sentence
    assert verdict(model=20.0, cells=3, spread=0.0).passed


@pytest.mark.parametrize(
    ("behind", "passed"), [(-0.05, True), (0.0, True), (0.05, True), (0.15, False), (3.0, False)]
)
def test_a_champion_gives_way_to_what_is_not_surely_as_good_only_within_the_margin(
    behind: float, passed: bool
) -> None:
    found = verdict(model=2.0, champion=2.0 + behind, spread=0.01)
    assert found.passed is passed
    assert len(found.checks) == 2
    assert (f"{METRIC} surely more than -0.1 from champion" in found.sentence) is True


def test_an_uncertain_comparison_with_the_champion_is_a_refusal() -> None:
    assert not verdict(model=3.0, champion=3.0, spread=1.0).passed


def test_every_check_must_pass() -> None:
    better_than_champion_but_no_better_than_bicubic = verdict(model=0.5, champion=-3.0)
    assert [check.passed for check in better_than_champion_but_no_better_than_bicubic.checks] == [False, True]
    assert not better_than_champion_but_no_better_than_bicubic.passed


def test_a_baseline_that_could_not_be_made_is_not_compared_with() -> None:
    settings = SETTINGS.model_copy(update={"above_baseline": {"bicubic": 1.0, "reconstruction": 0.0}})
    assert [check.rule for check in judge(scores(model=2.0), settings, BOOTSTRAP).checks] == [
        f"{METRIC} surely more than +1 from bicubic"
    ]


def test_without_anything_to_compare_with_no_model_passes() -> None:
    """All rules of an empty list hold; that must not make a champion."""
    settings = SETTINGS.model_copy(update={"above_baseline": {"reconstruction": 0.0}})
    found = judge(scores(model=2.0), settings, BOOTSTRAP)
    assert not found.passed
    assert found.sentence.startswith("refused: none of the baselines")


def test_the_gate_table_has_model_baselines_and_champion() -> None:
    table = scores(direct=0.5, finetune=2.0, scratch=1.0)
    champion = scores(champion=1.5)
    both = as_gate_table(table, "finetune", [champion[champion["arm"] == CHAMPION]])
    assert set(both["arm"]) == {MODEL, "bicubic", CHAMPION}
    finetune = table[table["arm"] == "finetune"]["value"].to_numpy()
    assert np.array_equal(both[both["arm"] == MODEL]["value"], finetune)
    assert set(as_gate_table(table, "scratch")["arm"]) == {MODEL, "bicubic"}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"metric": "nrmse_std_noscale"}, "must be one of psnr_targetrange_noscale"),
        (
            {"above_baseline": {"bilinear": 1.0}},
            "no baseline 'bilinear'; choose from widefield, bicubic, reconstruction",
        ),
        ({"below_champion": -0.1}, "greater than or equal to 0"),
        ({"absolute": {"sharpness": 1.0}}, "no metric 'sharpness'; choose from psnr_targetrange_noscale"),
        ({"contradicted_percent": -1.0}, "greater than or equal to 0"),
    ],
)
def test_settings_that_make_no_gate_are_refused(changes: dict[str, object], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        GateSettings(**(SETTINGS.model_dump() | changes))


def at_levels(values: dict[str, dict[str, float]], metric: str = METRIC) -> pd.DataFrame:
    """Six cells alike but for a little noise; `values` by level and arm."""
    random = np.random.default_rng(1)
    rows = [
        ("er", f"cell_{cell}", level, arm, metric, value * (1 + 1e-4 * random.standard_normal()))
        for cell in range(6)
        for level, arms in values.items()
        for arm, value in arms.items()
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def failed(found: Verdict) -> list[str]:
    return [check.rule for check in found.checks if not check.passed]


def test_what_is_better_over_all_but_worse_at_one_light_level_does_not_replace_the_champion() -> None:
    table = at_levels(
        {
            "low": {"bicubic": 20.0, MODEL: 27.0, CHAMPION: 28.0},
            "high": {"bicubic": 20.0, MODEL: 35.0, CHAMPION: 30.0},
        }
    )
    found = judge(table, SETTINGS, BOOTSTRAP)
    assert failed(found) == [f"{METRIC} surely more than -0.1 from champion at low light"]
    assert len(found.checks) == 4


@pytest.mark.parametrize(
    ("metric", "low", "high", "fails"),
    [
        (SSIM, 0.9, 0.95, []),
        (SSIM, 0.6, 0.95, [f"{SSIM} surely at least 0.7 at low light"]),
        ("nrmse_std_noscale", 0.2, 0.6, []),
        ("nrmse_std_noscale", 0.9, 0.6, ["nrmse_std_noscale surely at most 0.7 at low light"]),
    ],
)
def test_absolute_limits_hold_at_every_light_level_in_the_direction_of_the_metric(
    metric: str, low: float, high: float, fails: list[str]
) -> None:
    settings = SETTINGS.model_copy(update={"absolute": {metric: 0.7}})
    table = at_levels({"low": {MODEL: low}, "high": {MODEL: high}}, metric)
    found = judge(table, settings, BOOTSTRAP)
    assert failed(found) == fails
    assert len(found.checks) == 2


def test_an_absolute_limit_is_on_the_whole_interval() -> None:
    settings = SETTINGS.model_copy(update={"absolute": {METRIC: 25.0}})
    (limit,) = (
        check for check in judge(scores(model=0.0), settings, BOOTSTRAP).checks if "least" in check.rule
    )
    assert not limit.passed
    assert float(limit.found.split()[0]) > 25.0


def test_what_the_raw_frames_contradict_has_a_limit() -> None:
    settings = SETTINGS.model_copy(update={"contradicted_percent": 5.0})
    good = at_levels(
        {"low": {"bicubic": 20.0, MODEL: 30.0}, "high": {"bicubic": 20.0, MODEL: 30.0}},
    )
    bent = at_levels({"low": {MODEL: 0.0}, "high": {MODEL: 12.0}}, FLAGGED)
    found = judge(pd.concat([good, bent]), settings, BOOTSTRAP)
    assert failed(found) == [f"{FLAGGED} surely at most 5 at high light"]
    assert judge(pd.concat([good, bent]), SETTINGS, BOOTSTRAP).passed


def test_where_the_frames_cannot_be_asked_the_check_is_left_out_and_that_is_said() -> None:
    settings = SETTINGS.model_copy(update={"contradicted_percent": 5.0})
    found = judge(scores(model=2.0), settings, BOOTSTRAP)
    assert found.passed
    assert len(found.checks) == 1
    assert found.sentence.endswith(f"note: {FLAGGED} was not judged, for these fields do not allow it")


def test_to_contradict_nothing_is_no_evidence_of_quality() -> None:
    settings = SETTINGS.model_copy(update={"above_baseline": {}, "contradicted_percent": 5.0})
    assert not judge(at_levels({"high": {MODEL: 0.0}}, FLAGGED), settings, BOOTSTRAP).passed
