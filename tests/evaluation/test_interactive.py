import json
import re
from typing import Any

import pandas as pd

from sim_models.evaluation import interactive
from sim_models.evaluation.interactive import Trial

STAGES = ("intro", "middle", "head")
TRIALS = [
    Trial(0, 0, 0, "none", 0.001, 39.0, 38.0, 60, 1.0, 1.0, False, True, ((20, 38.0), (60, 39.0))),
    Trial(1, 0, 2, "intro-middle", 0.001, 37.0, 37.0, 20, 0.4, 0.2, True, False, ((20, 37.0),)),
    Trial(2, 0, 2, "intro-middle", 0.004, 38.5, 37.6, 60, 0.4, 0.2, False, True, ((20, 37.6), (60, 38.5))),
]
PAIRS = pd.DataFrame(
    [
        ("er", "ccps", "low", 36.0, 38.0, 2.0, 1.8, 2.2, 6, False),
        ("ccps", "ccps", "low", 37.0, None, None, None, None, 2, True),
        ("er", "ccps", "high", 39.0, 41.0, 2.0, 1.9, 2.1, 6, False),
    ],
    columns=[
        "source",
        "target",
        "level",
        "direct",
        "finetune",
        "gain_mean",
        "gain_low",
        "gain_high",
        "cells",
        "own",
    ],
)


def drawn(box: str) -> dict[str, Any]:
    """What plotly is told to draw."""
    (numbers,) = re.findall(r'<script type="application/json">(.*?)</script>', box)
    found: dict[str, Any] = json.loads(numbers)
    return found


def test_a_figure_is_told_alike_every_time_and_its_text_cannot_end_the_script() -> None:
    for draw in (interactive.quality_and_compute, interactive.curves):
        assert draw(TRIALS) == draw(TRIALS)
    box = interactive.lattice(("</script>", *STAGES[1:]), TRIALS)
    assert box.count("</script>") == 1


def test_the_front_goes_from_cheap_to_dear_through_trials_that_no_other_beats() -> None:
    front = drawn(interactive.quality_and_compute(TRIALS))["data"][0]
    assert (front["x"], front["y"]) == ([0.4, 1.0], [38.5, 39.0])


def test_a_range_has_the_best_of_its_rates_and_tells_all_of_them() -> None:
    (heat,) = drawn(interactive.lattice(STAGES, TRIALS))["data"]
    assert heat["z"][0][0] == 38.0
    assert heat["z"][2][1] == 37.6  # frozen from the first to the second stage
    assert sum(value is not None for row in heat["z"] for value in row) == 2
    told = heat["text"][2][1]
    assert told.startswith("frozen: intro to middle")
    assert "rate 0.004 (trial 2, ran to step 60)" in told
    assert "rate 0.001 (trial 1, stopped at step 20)" in told


def test_one_failure_does_not_take_the_whole_scale() -> None:
    lost = TRIALS[0]._replace(number=3, start=1, end=2, first_psnr=5.0)
    usual = [TRIALS[0]._replace(number=number) for number in range(20)]
    (heat,) = drawn(interactive.lattice(STAGES, [*usual, lost]))["data"]
    assert heat["zmin"] > 37


def test_a_matrix_shows_one_light_level_at_a_time() -> None:
    found = drawn(interactive.transfer_matrix(PAIRS, "after 60 steps"))
    assert [trace["visible"] for trace in found["data"]] == [True, True, False, False]
    assert found["data"][1]["z"] == [[38.0], [None]]
    assert found["data"][3]["z"] == [[41.0], [None]]
    assert "gain +2.00 dB [+1.80, +2.20] on 6 validation cells" in found["data"][0]["text"][0][0]
    assert "trained on it" in found["data"][0]["text"][1][0]
    assert "gain" not in found["data"][0]["text"][1][0]
    buttons = found["layout"]["updatemenus"][0]["buttons"]
    assert [button["label"] for button in buttons] == ["low light", "high light"]
    assert buttons[1]["args"] == [{"visible": [False, False, True, True]}]


def test_a_matrix_of_one_level_needs_no_choice() -> None:
    assert "updatemenus" not in drawn(interactive.transfer_matrix(PAIRS[:2], "fine-tuned"))["layout"]


def test_the_library_asks_for_nothing_from_outside() -> None:
    assert "src=" not in re.sub(r"<script>.*?</script>", "", interactive.library(), flags=re.DOTALL)
    assert interactive.library().count("<script>") == 2
