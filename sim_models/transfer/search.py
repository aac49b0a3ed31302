"""Optuna chooses which stages stay frozen, and the learning rate, on the validation cells.

Two things save compute. Freeze ranges form a lattice on which neighbours behave alike, so Optuna's sampler (a Gaussian
process over start, width and rate) learns from a part of it where the good ones lie. And a third of a fine-tune tells
most of how it will end, so every trial is trained to the first rung only, and a share of them goes on from rung to
rung (successive halving: Jamieson & Talwalkar, AISTATS 2016).

Who goes on is a matter of quality and of compute, for what is sought is the cheapest range that is good enough: half of
the places go to the highest PSNR, the others to whatever no other beats in both.

Nothing here is written to disk. Trials are asked for in batches of a fixed size by a seeded sampler, and `Advance`
keeps what was trained; so a search that was interrupted is simply done again, and comes to the same trials without
training any of them twice. For the same reason it comes out the same on two workers as on twenty.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import optuna
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from sim_models.config import Settings
from sim_models.freeze import FreezeRange, freeze
from sim_models.networks import Network
from sim_models.training.job import Job, LaidOut, lay_out
from sim_models.training.loop import DIVERGED_DB, State
from sim_models.transfer.cost import TERA, step_operations


class SearchSettings(Settings):
    """How hard to look."""

    trials: PositiveInt
    """different pairs of range and rate; no more than there are"""
    together: PositiveInt
    """trials of one batch: they run at the same time and do not learn from each other"""
    rungs: tuple[PositiveInt, ...]
    """steps at which trials are compared and only the best go on; the last rung is the whole fine-tune"""
    keep: float = Field(gt=0, lt=1)
    """share of the trials that goes on from each rung: half by quality alone, half by quality and compute"""
    learning_rates: tuple[PositiveFloat, ...]
    """to choose from, rising"""
    random_trials: NonNegativeInt
    """trials before the sampler starts to learn, the given ones included"""
    seed: NonNegativeInt

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        for name, values in (("rungs", self.rungs), ("learning_rates", self.learning_rates)):
            if not values or list(values) != sorted(set(values)):
                raise ValueError(f"{name} must rise, with at least one")
        return self


class TrialRecord(Settings):
    """One trial, gone through to the end or stopped at a rung."""

    number: NonNegativeInt
    frozen: FreezeRange
    label: str
    learning_rate: float
    val_psnr: float
    """dB, best look at the validation cells"""
    pruned: bool
    steps: NonNegativeInt
    seconds: float
    tflop: NonNegativeFloat
    """floating-point operations of the steps it was trained, in 10^12"""
    whole_tflop: NonNegativeFloat
    """of a whole fine-tune like it"""
    trainable: float
    """share of the parameters that were trained, 0 to 1"""
    curve: tuple[tuple[int, float], ...]
    """(step, validation PSNR in dB)"""


@dataclass(frozen=True)
class Stretch:
    """What came out of training a job up to a step."""

    state: State
    """without weights where `Trials` gives it, which keeps them on disk: a study has hundreds of stretches"""
    trainable: float
    """share of the parameters that were trained, 0 to 1"""
    psnrs: tuple[float, ...]
    """of every validation field with the best weights, in dB"""


Told = Callable[[TrialRecord], None]
Advance = Callable[[list[Job], int], list[Stretch]]
"""Trains every job up to a step, or finds that it has been; see `trials.Trials`"""


@dataclass(frozen=True)
class _Point:
    """A place in the space that is searched."""

    frozen: FreezeRange
    rate: float


def search(job: Job, settings: SearchSettings, advance: Advance, told: Told) -> list[TrialRecord]:
    """Search freeze range and learning rate for a fine-tuning `job`; its last rung is `job.training.steps`.

    Args:
        job: the fine-tune; its range and learning rate are replaced.
        settings: how hard to look.
        advance: trains several jobs up to a step.
        told: hears of every trial that ends.
    """
    bench = lay_out(job)
    network = bench.network
    operations = operations_of(bench)
    rungs = [rung for rung in settings.rungs if rung < job.training.steps] + [job.training.steps]
    asked = _ask_all(job, settings, len(network.stages()), advance, rungs[0])
    alive = dict(asked)
    records: dict[int, TrialRecord] = {}
    for following in [*rungs[1:], None]:
        places = math.ceil(settings.keep * len(alive)) if following else 0
        going_on = _going_on(
            {
                number: (stretch.state.best_psnr, operations[point.frozen])
                for number, (point, stretch) in alive.items()
            },
            places,
        )
        for number in sorted(alive):
            if number not in going_on:
                point, stretch = asked[number]
                stopped = following is not None
                records[number] = _record(number, point, stretch, stopped, network, operations, job)
                told(records[number])
        alive = {number: asked[number] for number in sorted(going_on)}
        if following:
            stretches = advance([_job_of(job, point) for point, _ in alive.values()], following)
            for number, stretch in zip(alive, stretches, strict=True):
                asked[number] = asked[number][0], stretch
    return [records[number] for number in sorted(records)]


def freeze_ranges(num_stages: int) -> list[FreezeRange]:
    """Every range that leaves something to train, `none` first: 1 + S (S + 1) / 2 - 1 of them."""
    ranges = [
        FreezeRange(start=start, end=end)
        for start in range(num_stages)
        for end in range(start + 1, num_stages + 1)
        if end - start < num_stages
    ]
    return [FreezeRange(start=0, end=0), *ranges]


def best(trials: list[TrialRecord]) -> TrialRecord:
    """The trial that did best on the validation cells among those that ran to the end."""
    return max((trial for trial in trials if not trial.pruned), key=lambda trial: trial.val_psnr)


def pareto(trials: list[TrialRecord]) -> list[TrialRecord]:
    """Trials that ran to the end and that no other beats in both quality and compute, the best first."""
    ended = {trial.number: (trial.val_psnr, trial.whole_tflop) for trial in trials if not trial.pruned}
    by_number = {trial.number: trial for trial in trials}
    return [by_number[number] for number in _front(ended)]


def _front(values: dict[int, tuple[float, float]]) -> list[int]:
    """What no other beats in both, of (quality, cost) by number; the best first."""
    front: list[int] = []
    for number in sorted(values, key=lambda number: (-values[number][0], values[number][1], number)):
        if not front or values[number][1] < values[front[-1]][1]:
            front.append(number)
    return front


def _going_on(values: dict[int, tuple[float, float]], places: int) -> set[int]:
    """Half of the places (rounded up) by quality alone, the others front by front, of (quality, cost) by number.

    What diverged takes no place.
    """
    left = {number: value for number, value in values.items() if value[0] > DIVERGED_DB}
    by_quality = sorted(left, key=lambda number: (-left[number][0], number))
    chosen = by_quality[: math.ceil(places / 2)]
    while left and len(chosen) < places:
        left = {number: value for number, value in left.items() if number not in chosen}
        chosen += _front(left)[: places - len(chosen)]
    return set(chosen)


def _ask_all(
    job: Job, settings: SearchSettings, num_stages: int, advance: Advance, rung: int
) -> dict[int, tuple[_Point, Stretch]]:
    """All trials, trained to the first rung; Optuna hears of each what it came to there."""
    study = _study(settings, num_stages)
    known: dict[_Point, float] = {}
    asked: dict[int, tuple[_Point, Stretch]] = {}
    wanted = min(settings.trials, len(settings.learning_rates) * len(freeze_ranges(num_stages)))
    while len(asked) < wanted:
        batch = _batch(study, settings, num_stages, known, min(settings.together, wanted - len(asked)))
        stretches = advance([_job_of(job, point) for _, point in batch], rung)
        for (trial, point), stretch in zip(batch, stretches, strict=True):
            known[point] = max(stretch.state.best_psnr, DIVERGED_DB)
            study.tell(trial, known[point])
            asked[len(asked)] = point, stretch
    return asked


def _sampler(settings: SearchSettings) -> optuna.samplers.BaseSampler:
    return optuna.samplers.GPSampler(seed=settings.seed, n_startup_trials=settings.random_trials)


def _study(settings: SearchSettings, num_stages: int) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize", sampler=_sampler(settings))
    middle = len(settings.learning_rates) // 2
    for num_frozen in (0, 1, num_stages - 1):  # nothing, the first stage, all but the head
        study.enqueue_trial({"start": 0, "width": num_frozen, "rate": middle})
    # What all ranges are held against deserves the best of the rates.
    for rate in range(len(settings.learning_rates)):
        if rate != middle:
            study.enqueue_trial({"start": 0, "width": 0, "rate": rate})
    return study


MOST_REPEATS = 200


def _batch(
    study: optuna.Study,
    settings: SearchSettings,
    num_stages: int,
    known: dict[_Point, float],
    size: int,
) -> list[tuple[optuna.trial.Trial, _Point]]:
    """New points. What is suggested again is answered from what is known and costs nothing."""
    batch: list[tuple[optuna.trial.Trial, _Point]] = []
    repeats = 0
    while len(batch) < size:
        taken = {other for _, other in batch}
        if repeats >= MOST_REPEATS:  # the sampler has settled; the rest of the lattice in its order
            study.enqueue_trial(_first_new(settings, num_stages, {*known, *taken}))
        trial = study.ask()
        point = _suggest(trial, settings, num_stages)
        if point in known:
            repeats += 1
            study.tell(trial, known[point])
        elif point in taken:
            repeats += 1
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
        else:
            batch.append((trial, point))
    return batch


def _suggest(trial: optuna.trial.Trial, settings: SearchSettings, num_stages: int) -> _Point:
    """A width of 0 freezes nothing; no range holds every stage."""
    start = trial.suggest_int("start", 0, num_stages - 1)
    width = trial.suggest_int("width", 0, num_stages - 1)
    rate = settings.learning_rates[trial.suggest_int("rate", 0, len(settings.learning_rates) - 1)]
    if not width:
        return _Point(FreezeRange(start=0, end=0), rate)
    return _Point(FreezeRange(start=start, end=min(start + width, num_stages)), rate)


def _first_new(settings: SearchSettings, num_stages: int, old: set[_Point]) -> dict[str, int]:
    """The first point of the lattice that is not old, as Optuna names it."""
    for frozen in freeze_ranges(num_stages):
        for number, rate in enumerate(settings.learning_rates):
            if _Point(frozen, rate) not in old:
                return {"start": frozen.start, "width": frozen.end - frozen.start, "rate": number}
    raise AssertionError("no more points are asked for than there are")


def _job_of(job: Job, point: _Point) -> Job:
    training = job.training.model_copy(update={"learning_rate": point.rate})
    return job.model_copy(update={"training": training, "frozen": point.frozen})


def operations_of(bench: LaidOut) -> dict[FreezeRange, float]:
    """Floating-point operations of a training step by freeze range; leaves the network with nothing frozen."""
    operations = {}
    for each in reversed(freeze_ranges(len(bench.network.stages()))):
        freeze(bench.network, each)
        operations[each] = step_operations(bench)
    return operations


def _record(
    number: int,
    point: _Point,
    stretch: Stretch,
    stopped: bool,
    network: Network,
    operations: dict[FreezeRange, float],
    job: Job,
) -> TrialRecord:
    state = stretch.state
    return TrialRecord(
        number=number,
        frozen=point.frozen,
        label=point.frozen.label(network),
        learning_rate=point.rate,
        val_psnr=max(state.best_psnr, DIVERGED_DB),
        pruned=stopped,
        steps=state.step,
        seconds=state.seconds,
        tflop=state.step * operations[point.frozen] / TERA,
        whole_tflop=job.training.steps * operations[point.frozen] / TERA,
        trainable=stretch.trainable,
        curve=tuple((step, metrics["val_psnr"]) for step, metrics in state.curve),
    )
