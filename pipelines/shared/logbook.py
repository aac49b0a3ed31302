"""What a transfer study writes to MLflow while it runs, each thing once."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pipelines.shared.numbers import only_numbers, study_metrics
from pipelines.shared.stage import digest
from sim_models.tracking.runs import WEIGHTS, Run, Tracker
from sim_models.training.job import Job
from sim_models.transfer.search import Stretch, TrialRecord
from sim_models.transfer.study import Listener, StudyRecord
from sim_models.transfer.trials import Trials


@dataclass(frozen=True)
class Logbook:
    """Makes every trial and every training of a study a run of its own, a child of the study's."""

    tracker: Tracker
    study: Run
    execution: str
    """part of every run's key"""
    logged: Path
    """folder with an empty file for each run that was written to its end"""
    trials: Trials
    """where states of trainings lie"""
    data: Mapping[str, str]
    """tags that name the fields"""

    @property
    def listener(self) -> Listener:
        """What a study tells."""
        return Listener(self.trial, self.fit)

    def trial(self, trial: TrialRecord) -> None:
        """A trial of the search has ended."""
        settings = {"freeze": trial.label, "learning_rate": trial.learning_rate, "pruned": trial.pruned}

        def write(run: Run) -> None:
            for step, psnr in trial.curve:
                run.logger(step, {"val_psnr": psnr})
            run.metrics(
                {
                    "best_val_psnr": trial.val_psnr,
                    "tflop": trial.tflop,
                    "trainable": trial.trainable,
                    "seconds": trial.seconds,
                }
            )

        self._once(f"trial {trial.number} freeze {trial.label}", settings, {"sim.kind": "trial"}, write)

    def fit(self, name: str, job: Job, stretch: Stretch) -> None:
        """A training that is compared has come to its end."""
        state = stretch.state

        def write(run: Run) -> None:
            for step, metrics in state.curve:
                run.logger(step, metrics)
            if not stretch.psnrs:
                run.tags({"sim.diverged": "true"})
                return
            run.metrics({"best_val_psnr": state.best_psnr, "best_step": state.best_step})
            run.tags({WEIGHTS: self.trials.restorer(job, stretch).weights_sha256})

        # Where fields and source lie is no setting; tags say what they are.
        settings = job.model_dump(mode="json", exclude={"dataset", "source"})
        self._once(name, settings, {"sim.kind": "training", **self.data}, write)

    def concluded(self, record: StudyRecord) -> None:
        """What the study came to, at its own run: the numbers that DVC is told as well."""
        decision = record.decision
        self.study.tags(
            {
                "sim.chosen": decision.chosen,
                "sim.verdict": decision.verdict,
                "sim.frozen": record.arm("finetune").frozen,
            }
        )
        self.study.metrics(only_numbers({"study": study_metrics(record)}))
        self.study.text(record.model_dump_json(indent=2), "study.json")

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
