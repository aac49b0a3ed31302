"""What a study of `sim-models transfer` writes to MLflow while it runs, each thing once."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pipelines.own_study.screen import Meter
from pipelines.shared.params import Evaluation
from pipelines.shared.stage import digest
from sim_models.sources.prepared import Prepared
from sim_models.tracking.runs import Run, Tracker
from sim_models.training.job import Job
from sim_models.transfer.search import Stretch, TrialRecord


@dataclass
class Logbook:
    """Listens to a study."""

    tracker: Tracker
    study: Run
    execution: str
    """part of every run's key"""
    logged: Path
    """folder with an empty file for each run that was written to its end"""
    meter: Meter
    _ended: set[str] = field(default_factory=set)

    def steps(self, _job: Job, steps: int) -> None:
        """So many steps of a job were trained."""
        self.meter.add(steps)

    def trial(self, trial: TrialRecord) -> None:
        """A trial of the search ended: a run below that of the study."""
        settings = {"freeze": trial.label, "learning_rate": trial.learning_rate, "pruned": trial.pruned}

        def write(run: Run) -> None:
            for step, psnr in trial.curve:
                run.logger(step, {"val_psnr": psnr})
            run.metrics(
                {"best_val_psnr": trial.val_psnr, "trainable": trial.trainable, "seconds": trial.seconds}
            )

        name = f"trial {trial.number} freeze {trial.label}"
        self._once(name, settings, {"sim.kind": "trial"}, write)

    def fit(self, name: str, job: Job, stretch: Stretch) -> None:
        """A training that is compared has ended: a run below that of the study."""
        self._end(job, stretch)
        state = stretch.state

        def write(run: Run) -> None:
            for step, metrics in state.curve:
                run.logger(step, metrics)
            run.metrics({"best_val_psnr": state.best_psnr, "best_step": state.best_step})

        settings = job.model_dump(mode="json", exclude={"dataset", "source"})
        self._once(name, settings, {"sim.kind": "training"}, write)

    def evaluation(
        self,
        prepared: Prepared,
        settings: Evaluation,
        means: Mapping[str, float],
        details: Path,
        data: str,
    ) -> None:
        """The test cells were opened: whoever does it often has chosen on them, so it is counted."""
        opened = {
            "sim.kind": "evaluation",
            "sim.structure": prepared.structure,
            "sim.split": prepared.split.hash,
        }
        name = f"evaluate {prepared.structure}"
        key = digest(self.execution, name)
        values = settings.model_dump(mode="json")
        with self.tracker.run(name, key, values, {**opened, "sim.data": data}, self.study) as run:
            run.tags({"sim.test_cells_opened": str(self.tracker.count(opened))})
            run.metrics(means)
            run.folder(details, "test")

    def _end(self, job: Job, stretch: Stretch) -> None:
        """Steps that patience has spared count as done."""
        key = job.model_dump_json()
        if key not in self._ended:
            self._ended.add(key)
            self.meter.add(max(0, job.training.steps - stretch.state.step))

    def _once(
        self,
        name: str,
        settings: Mapping[str, object],
        tags: Mapping[str, str],
        write: Callable[[Run], None],
    ) -> None:
        key = digest(self.execution, name)
        mark = self.logged / key
        if mark.exists():
            return
        with self.tracker.run(name, key, settings, tags, self.study) as run:
            write(run)
        mark.parent.mkdir(exist_ok=True)
        mark.touch()


def kept_steps(trials: Path) -> int:
    """Steps whose states lie in a folder of trials."""
    furthest: dict[Path, int] = {}
    for state in trials.glob("*/*.pt"):
        furthest[state.parent] = max(furthest.get(state.parent, 0), int(state.stem))
    return sum(furthest.values())
