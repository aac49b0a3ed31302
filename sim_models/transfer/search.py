"""Optuna chooses which stages stay frozen, and the learning rate, on the validation cells.

Trials are asked for, and compared, in batches of a fixed size. So the study comes out the same on
two workers as on twenty, and the same when it was interrupted and taken up again.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, Trial, TrialState
from pydantic import NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from sim_models.config import Settings
from sim_models.freeze import FreezeRange
from sim_models.networks import Network
from sim_models.training.job import Job, lay_out
from sim_models.training.loop import State


class SearchSettings(Settings):
    """How hard to look."""

    trials: PositiveInt
    together: PositiveInt
    """trials of one batch: they run at the same time and do not learn from each other"""
    rungs: tuple[PositiveInt, ...]
    """steps at which the trials are compared and the worse half of what is known is stopped"""
    learning_rate: tuple[PositiveFloat, PositiveFloat]
    """lowest and highest"""
    random_trials: NonNegativeInt
    """trials before the sampler (TPE) starts to learn, the two given ones included"""
    seed: NonNegativeInt

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not self.rungs or list(self.rungs) != sorted(set(self.rungs)):
            raise ValueError("rungs must rise, with at least one")
        if self.learning_rate[0] >= self.learning_rate[1]:
            raise ValueError("learning_rate must be [lowest, highest]")
        return self


class TrialRecord(Settings):
    """One trial, finished or stopped."""

    number: NonNegativeInt
    frozen: FreezeRange
    label: str
    learning_rate: float
    val_psnr: float
    """dB, best look at the validation cells"""
    pruned: bool
    steps: NonNegativeInt
    seconds: float
    trainable: float
    curve: tuple[tuple[int, float], ...]
    """(step, validation PSNR in dB)"""


@dataclass(frozen=True)
class Stretch:
    """What came out of a stretch of training."""

    state: State
    trainable: float
    """share of the parameters that were trained, 0 to 1"""


Told = Callable[[TrialRecord], None]
Advance = Callable[[list[Job], list[State | None], int], list[Stretch]]
"""Trains every job, from its state or from the start, to a step; see `trials.advance`"""


def search(
    job: Job, settings: SearchSettings, journal: Path, advance: Advance, told: Told
) -> list[TrialRecord]:
    """Search freeze range and learning rate for a fine-tuning `job`.

    Args:
        job: the fine-tune; its range and learning rate are replaced.
        settings: how hard to look.
        journal: the file the study lives in. Interrupted and called again, it keeps the trials that
            ended, tells of them once more, and runs those again that did not.
        advance: trains several jobs up to a step.
        told: hears of every trial that ends.
    """
    network = lay_out(job).network
    num_stages = len(network.stages())
    study = _open(journal, settings, num_stages)
    for trial in _ended(study):
        told(_record(trial, network))
    while (num_ended := len(_ended(study))) < settings.trials:
        # Seeded by what is known, not by what this process has drawn: a resumed study stays the same.
        study.sampler = _sampler(settings, num_ended)
        # A batch that was interrupted is filled up, not begun anew.
        size = min(settings.together - num_ended % settings.together, settings.trials - num_ended)
        for number in _run(study, _ask(study, size), job, settings, num_stages, advance):
            told(_record(study.trials[number], network))
    return [_record(trial, network) for trial in _ended(study)]


def best(trials: list[TrialRecord]) -> TrialRecord:
    """The trial that did best on the validation cells among those that ran to the last rung."""
    return max((trial for trial in trials if not trial.pruned), key=lambda trial: trial.val_psnr)


def _open(journal: Path, settings: SearchSettings, num_stages: int) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    journal.parent.mkdir(parents=True, exist_ok=True)
    study = optuna.create_study(
        storage=JournalStorage(JournalFileBackend(str(journal))),
        study_name=journal.stem,
        direction="maximize",
        pruner=optuna.pruners.MedianPruner(n_startup_trials=2, n_warmup_steps=0),
        load_if_exists=True,
    )
    low, high = settings.learning_rate
    for num_frozen in (0, num_stages - 1):  # none, and all but the head: the two ends people argue about
        study.enqueue_trial(
            {"start": 0, "width": num_frozen, "learning_rate": (low * high) ** 0.5}, skip_if_exists=True
        )
    return study


def _sampler(settings: SearchSettings, num_known: int) -> optuna.samplers.BaseSampler:
    return optuna.samplers.TPESampler(
        seed=settings.seed + num_known, n_startup_trials=settings.random_trials, multivariate=False
    )


def _ended(study: optuna.Study) -> list[FrozenTrial]:
    return study.get_trials(states=(TrialState.COMPLETE, TrialState.PRUNED))


def _ask(study: optuna.Study, size: int) -> list[Trial]:
    """The trials of a batch: those that an interruption cut short, as they were, then new ones."""
    cut_short = [Trial(study, trial._trial_id) for trial in study.get_trials(states=(TrialState.RUNNING,))]
    return cut_short + [study.ask() for _ in range(size - len(cut_short))]


def _run(
    study: optuna.Study,
    batch: list[Trial],
    job: Job,
    settings: SearchSettings,
    num_stages: int,
    advance: Advance,
) -> list[int]:
    """Take a batch from rung to rung, stopping trials that fall behind; returns their numbers."""
    alive = {trial.number: (trial, _suggest(trial, job, settings, num_stages)) for trial in batch}
    states: dict[int, State | None] = dict.fromkeys(alive)
    for rung in settings.rungs:
        numbers = list(alive)
        stretches = advance(
            [alive[number][1] for number in numbers], [states[number] for number in numbers], rung
        )
        for number, stretch in zip(numbers, stretches, strict=True):
            trial = alive[number][0]
            states[number] = stretch.state
            _note(trial, stretch)
            if rung not in study.trials[number].intermediate_values:  # a trial cut short repeats itself
                trial.report(stretch.state.best_psnr, rung)
            if rung == settings.rungs[-1]:
                study.tell(trial, stretch.state.best_psnr)
            elif trial.should_prune():
                study.tell(trial, state=TrialState.PRUNED)
                del alive[number]
    return [trial.number for trial in batch]


def _suggest(trial: Trial, job: Job, settings: SearchSettings, num_stages: int) -> Job:
    """The job of a trial. A width of 0 freezes nothing; no range holds every stage."""
    start = trial.suggest_int("start", 0, num_stages - 1)
    width = trial.suggest_int("width", 0, num_stages - 1)
    rate = trial.suggest_float("learning_rate", *settings.learning_rate, log=True)
    # A trial is a short fine-tune of its own: its schedule ends where the last rung does.
    training = job.training.model_copy(
        update={"learning_rate": rate, "steps": settings.rungs[-1], "seed": job.training.seed + 1}
    )
    return job.model_copy(update={"training": training, "frozen": _range(start, width, num_stages)})


def _range(start: int, width: int, num_stages: int) -> FreezeRange:
    return (
        FreezeRange(start=start, end=min(start + width, num_stages)) if width else FreezeRange(start=0, end=0)
    )


def _note(trial: Trial, stretch: Stretch) -> None:
    for key, value in {
        "curve": [[step, metrics["val_psnr"]] for step, metrics in stretch.state.curve],
        "trainable": stretch.trainable,
        "seconds": stretch.state.seconds,
        "steps": stretch.state.step,
    }.items():
        trial.set_user_attr(key, value)


def _record(trial: FrozenTrial, network: Network) -> TrialRecord:
    noted = trial.user_attrs
    frozen = _range(trial.params["start"], trial.params["width"], len(network.stages()))
    return TrialRecord(
        number=trial.number,
        frozen=frozen,
        label=frozen.label(network),
        learning_rate=trial.params["learning_rate"],
        val_psnr=max(psnr for _, psnr in noted["curve"]),
        pruned=trial.state == TrialState.PRUNED,
        steps=noted["steps"],
        seconds=noted["seconds"],
        trainable=noted["trainable"],
        curve=tuple((step, psnr) for step, psnr in noted["curve"]),
    )
