import json
from typing import Any

from pipelines.shared.numbers import only_numbers, study_metrics


def test_the_numbers_of_a_study_can_be_written_and_compared(findings: Any) -> None:
    numbers = json.loads(json.dumps(study_metrics(findings().record())))
    assert numbers["decision"]["chosen"] == "finetune"
    assert numbers["decision"]["verdict"] == "decided"
    assert numbers["decision"]["cells_needed"] is None
    assert numbers["frozen"]["chosen"] == "intro-enc1"
    assert set(numbers["val_psnr"]) == {"direct", "finetune", "finetune_equal", "scratch"}
    assert numbers["time_to_quality"]["share"] == 0.04
    assert "seconds" not in json.dumps(numbers)


def test_what_would_settle_an_open_question_is_a_number(findings: Any) -> None:
    numbers: Any = study_metrics(findings(direct=39.5, doubt=0.3).record())
    assert numbers["decision"]["verdict"] == "inconclusive"
    assert numbers["decision"]["cells_needed"] > 6


def test_only_what_is_a_number_is_drawn_as_a_line(findings: Any) -> None:
    flat = only_numbers(study_metrics(findings(scratch=41.0).record()))
    assert flat["val_psnr.scratch"] > 40
    assert "time_to_quality.share" not in flat
    assert "decision.chosen" not in flat
