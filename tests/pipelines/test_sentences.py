"""What is said of made-up studies; each verdict has its sentence, and none names a winner by noise."""

from typing import Any

import pandas as pd
import pytest

from pipelines.page import sentences


def test_decided_names_what_to_do_and_why(findings: Any) -> None:
    study = findings().record()
    assert sentences.headline(study) == "Fine-tune"
    said = sentences.decision(study)
    assert said.startswith(
        "Fine-tune, freezing intro-enc1, 60 steps. It is the cheapest that is surely no more than 0.1 dB"
    )
    assert "below any other; to long fine-tuning, which has the best mean, it is −0.02 dB [−0.0" in said
    assert "What is cheaper is surely worse: direct use −2.7" in said


def test_the_best_is_told_with_all_that_is_cheaper(findings: Any) -> None:
    study = findings(scratch=41.0).record()
    assert sentences.headline(study) == "Train from scratch"
    said = sentences.decision(study)
    assert "no more than 0.1 dB below any other. What is cheaper is surely worse: direct use −" in said


def test_no_difference_takes_the_cheapest(findings: Any) -> None:
    study = findings(direct=39.7, scratch=39.7).record()
    assert sentences.headline(study) == "No difference: use it as it is"
    assert (
        sentences.decision(study)
        == "No arm is more than 0.1 dB below another, so the cheapest will do: use the model as it is."
    )


def test_inconclusive_says_how_many_cells_would_settle_it_and_what_to_do_until_then(findings: Any) -> None:
    study = findings(direct=39.5, doubt=0.3).record()
    assert sentences.headline(study).startswith("Inconclusive; until it is settled: fine-tune")
    said = sentences.decision(study)
    assert said.startswith(
        "Inconclusive: whether direct use is within 0.1 dB of long fine-tuning cannot be told from 6 cells"
    )
    assert "validation cells would most likely settle it" in said
    assert "Until then: fine-tune, freezing intro-enc1" in said


@pytest.mark.parametrize(
    ("ranges", "said"),
    [
        ((39.5, 39.72, 39.7), "Freezing intro-enc1. It is the cheapest"),
        (
            (39.7, 39.7, 39.7),
            "No finalist is more than 0.1 dB below another, so the cheapest will do: freezing intro-enc1.",
        ),
        ((39.9, 39.5, 39.4), "Freezing nothing. It is the cheapest"),
    ],
)
def test_ranges_are_told_likewise(findings: Any, ranges: tuple[float, ...], said: str) -> None:
    assert sentences.range_decision(findings(ranges=ranges).record()).startswith(said)


def test_cells_that_are_enough_are_told_and_so_is_that_none_is(findings: Any) -> None:
    study = findings().record()
    update = {"of_itself": 5, "matches_scratch": 1, "scratch_catches_up": 10}
    nothing = {"of_itself": None, "matches_scratch": None, "scratch_catches_up": None}
    few, many = (
        each.model_copy(update=change) for each, change in zip(study.enough, (update, nothing), strict=True)
    )
    first, second = sentences.enough(study.model_copy(update={"enough": (few, many)}))
    assert first.startswith(
        "Fine-tuning with 5 cells is surely no more than 0.1 dB below the same with all 10;"
    )
    assert "with 1 cell it is surely no more than 0.1 dB below training from scratch with all;" in first
    assert first.endswith("training from scratch surely catches up with it at 10 cells each.")
    assert second.startswith(
        "Long fine-tuning with fewer than all 10 cells is not surely as good as with all;"
    )
    assert "with no number of cells that was tried is it surely within 0.1 dB" in second
    assert second.endswith("up to 10, training from scratch does not surely catch up.")


def test_time_to_quality_is_told_in_steps_and_seconds(findings: Any) -> None:
    said = sentences.time_to_quality(findings().record())
    assert "after 20 steps and 2 s (median of 3 seeds, 3 of which got there)" in said
    assert said.endswith("That is 4 % of the steps.")
    never = sentences.time_to_quality(findings(scratch=41.0).record())
    assert never.endswith("within its 60 steps 0 of 3 seeds did.")


def test_costs_tell_the_search_apart(findings: Any) -> None:
    said = sentences.cost(findings().record())
    assert "fine-tuning 0.8 TFLOP, 60 steps, 6 s" in said
    assert (
        "12.5 TFLOP for the search, 7.2 TFLOP for its finalists and 61 TFLOP for arms and learning curves"
        in said
    )


def test_a_rival_that_has_hardly_learned_is_not_counted_as_a_victory(findings: Any) -> None:
    first, *_ = sentences.caveats(findings(scratch=35.0).record())
    assert "below direct use, so it has hardly learned" in first


def test_what_weakens_the_comparison_is_said(findings: Any) -> None:
    told = " ".join(sentences.caveats(findings(scratch_best_at_last=True, seeds=1, cells=2).record()))
    assert "best at its very last step;" in told
    assert "Only 2 cells to choose by" in told
    assert "Each arm was trained once" in told
    assert "very last step" not in " ".join(sentences.caveats(findings().record()))


def test_a_best_trial_among_equals_is_told_as_chance(findings: Any) -> None:
    assert "The best is more than 0.1 dB above" in sentences.trials(findings().record())
    assert "3 of the 4 trials" in sentences.trials(findings(margin_db=0.4).record())
    assert "Only one" in sentences.trials(findings(ended=(0,)).record())


def test_a_source_is_not_its_own_rival() -> None:
    rows = [
        ("a", "a", "all", None, True),
        ("b", "a", "all", 40.0, False),
        ("c", "a", "all", 39.5, False),
        ("c", "a", "high", 60.0, False),
    ]
    table = pd.DataFrame(rows, columns=["source", "target", "level", "finetune", "own"])
    assert sentences.best_sources(table) == ["a: b (40.00 dB, 0.50 dB above c)"]


def test_a_source_that_the_matrix_has_far_ahead_is_named_and_one_within_the_margin_is_not(
    findings: Any,
) -> None:
    study = findings().record()

    def matrix(other: float) -> pd.DataFrame:
        return pd.DataFrame(
            {
                "source": [study.source, "er_nafnet", "er_nafnet", "ccps_nafnet"],
                "target": [study.structure, study.structure, "elsewhere", study.structure],
                "level": "all",
                "finetune": [40.0, other, 50.0, float("nan")],
            }
        )

    assert sentences.better_source(matrix(40.05), study) == ""
    said = sentences.better_source(matrix(40.5), study)
    assert "er_nafnet comes to 40.50 dB on the validation cells, microtubules_nafnet to 40.00 dB" in said
    assert sentences.better_source(matrix(40.5).query("source != @study.source"), study) == ""
