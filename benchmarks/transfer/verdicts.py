"""Whether the studies of `studies/verdicts` came to the answers that are known beforehand; exit code 1 if not.

python benchmarks/transfer/verdicts.py studies/verdicts
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipelines.page.sentences import decision
from sim_models.transfer.study import StudyRecord


@dataclass(frozen=True)
class Known:
    """What must come out."""

    said: str
    holds: Callable[[StudyRecord], bool]


def direct_fails(study: StudyRecord) -> bool:
    """Direct use is surely worse, and something that was trained is taken."""
    return study.decision.of("direct").standing == "worse" and study.chosen != "direct"


def nothing_differs(study: StudyRecord) -> bool:
    """No arm is surely better than another, so the one that costs nothing will do."""
    return study.decision.verdict == "no difference" and study.chosen == "direct"


def scratch_wins(study: StudyRecord) -> bool:
    """Everything that comes from the source is surely worse."""
    return study.decision.verdict == "decided" and study.chosen == "scratch"


KNOWN = {
    "ccps_from_microtubules": Known("direct use fails", direct_fails),
    "microtubules_from_themselves": Known("no arm differs", nothing_differs),
    "ccps_from_spoiled": Known("training from scratch wins", scratch_wins),
}


def main() -> None:
    """Print a line for each study."""
    folder, wrong = Path(sys.argv[1]), 0
    for key, known in KNOWN.items():
        study = StudyRecord.model_validate_json((folder / "transfers" / key / "study.json").read_text())
        holds = known.holds(study)
        wrong += not holds
        print(f"{'as known' if holds else 'NOT AS KNOWN'}: {key}: {known.said}. {decision(study)}")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
