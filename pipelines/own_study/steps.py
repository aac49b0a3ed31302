"""Steps of a study, counted while it runs, so that a person sees how far it is."""

from dataclasses import dataclass, field
from pathlib import Path

from pipelines.own_study.screen import Meter
from sim_models.training.job import Job
from sim_models.transfer.search import Stretch


@dataclass
class Steps:
    """Tells a meter of every step once."""

    meter: Meter
    _ended: set[str] = field(default_factory=set)

    def trained(self, _job: Job, steps: int) -> None:
        """So many steps of a job were trained."""
        self.meter.add(steps)

    def ended(self, job: Job, stretch: Stretch) -> None:
        """A job has come to its end: steps that patience has spared count as done."""
        key = job.model_dump_json()
        if key not in self._ended:
            self._ended.add(key)
            self.meter.add(max(0, job.training.steps - stretch.state.step))


def kept_steps(trials: Path) -> int:
    """Steps whose states lie in a folder of trials."""
    furthest: dict[Path, int] = {}
    for state in trials.glob("*/*.pt"):
        furthest[state.parent] = max(furthest.get(state.parent, 0), int(state.stem))
    return sum(furthest.values())
