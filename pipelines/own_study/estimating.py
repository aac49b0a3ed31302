"""What a study will take, from a short probe of its two jobs, before it starts."""

import math
import tempfile
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from pydantic import PositiveFloat, PositiveInt

from sim_models.config import Settings
from sim_models.training.distributed import resources
from sim_models.training.job import Job
from sim_models.training.loop import TrainingSettings
from sim_models.transfer.search import SearchSettings, freeze_ranges
from sim_models.transfer.study import ARMS, StudySettings
from sim_models.transfer.trials import LOOKS_PER_STRETCH, Trials

PROBE_STEPS = 10


@dataclass(frozen=True)
class Work:
    """Steps, looks at the validation cells, and stretches: how often a job is taken up by a worker."""

    steps: int
    looks: int
    stretches: int

    def __add__(self, other: "Work") -> "Work":
        return Work(self.steps + other.steps, self.looks + other.looks, self.stretches + other.stretches)

    def times(self, number: int) -> "Work":
        """So many of it."""
        return Work(number * self.steps, number * self.looks, number * self.stretches)


@dataclass(frozen=True)
class Plan:
    """What a study does at most; patience may end a training sooner."""

    settings: StudySettings
    sizes: tuple[int, ...]
    """training cells of the learning curves"""
    trials: int
    search: Work
    fits: Work

    @property
    def steps(self) -> int:
        """All of them."""
        return self.search.steps + self.fits.steps


def plan(settings: StudySettings, sizes: list[int], stages: int) -> Plan:
    """Count the steps of a study.

    Args:
        settings: of the study.
        sizes: numbers of training cells.
        stages: of the network of its source.
    """
    search = settings.search
    trials = min(search.trials, len(search.learning_rates) * len(freeze_ranges(stages)))
    finetune, scratch = _whole(settings.finetune), _whole(settings.scratch)
    # The chosen finalist is the arm `finetune` with all cells: it is trained once.
    finetunes = 1 + max(1, settings.finalists - 1) + len(sizes) - 1
    seeds = len(settings.seeds)
    # `finetune_equal` has the schedule of `scratch`.
    fits = finetune.times(finetunes * seeds) + scratch.times(2 * len(sizes) * seeds)
    return Plan(settings, tuple(sizes), trials, _search(search, settings.finetune, trials), fits)


def _whole(training: TrainingSettings) -> Work:
    return _piece(training, 0, training.steps)


def _piece(training: TrainingSettings, start: int, end: int) -> Work:
    every = training.validate_every
    looks = math.ceil(end / every) - start // every
    length = LOOKS_PER_STRETCH * every
    return Work(end - start, looks, math.ceil(end / length) - start // length)


def _search(search: SearchSettings, finetune: TrainingSettings, trials: int) -> Work:
    """From rung to rung with ever fewer trials."""
    rungs = [0, *(rung for rung in search.rungs if rung < finetune.steps), finetune.steps]
    work, alive = Work(0, 0, 0), trials
    for start, end in pairwise(rungs):
        work += _piece(finetune, start, end).times(alive)
        alive = math.ceil(search.keep * alive)
    return work


class Pace(Settings):
    """How fast this machine is."""

    step_seconds: PositiveFloat
    look_seconds: PositiveFloat
    workers: PositiveInt


def probe(scratch: Job, finetune: Job, folder: Path) -> Pace:
    """Train both jobs for a few steps as the study will, at the same time and as tasks on the running Ray.

    The first half warms up: workers start, files are read. The second half is measured.

    Args:
        scratch: the job from random weights.
        finetune: the job from a source, nothing frozen, as costs most.
        folder: where states may lie meanwhile.
    """
    half = PROBE_STEPS // 2
    jobs = [_short(job, half) for job in (scratch, finetune)]
    with tempfile.TemporaryDirectory(dir=folder) as states:
        ended: list[float] = []
        trials = Trials(Path(states), lambda _job, _steps: ended.append(time.monotonic()))
        before = trials.advance(jobs, half)
        ended.clear()
        started = time.monotonic()
        after = trials.advance(jobs, 2 * half)
    trained = [new.state.seconds - old.state.seconds for new, old in zip(after, before, strict=True)]
    # A diverged probe trains no further; the other one, or its first half, still tells.
    steps = [seconds for seconds in trained if seconds > 0] or [old.state.seconds for old in before]
    taken = [end - started for end in ended] or [0.0]
    step = max(sum(steps) / len(steps) / half, 1e-4)
    # A look at the end, another one for the scores, and what it costs to take a job up.
    look = max((sum(taken) / len(taken) - half * step) / 2, 1e-4)
    return Pace(step_seconds=step, look_seconds=look, workers=_workers())


def _short(job: Job, half: int) -> Job:
    update = {"steps": 2 * half, "validate_every": half, "warmup_steps": 0}
    return job.model_copy(update={"training": job.training.model_copy(update=update)})


def _workers() -> int:
    there_are = resources()
    return max(1, int(there_are.get("GPU", 0) or there_are.get("CPU", 1)))


def seconds(planned: Plan, pace: Pace, steps_done: int = 0) -> float:
    """How long what is left of a plan takes; trials of a search run no more than `together` at once."""

    def taken(work: Work, workers: int) -> float:
        return (work.steps * pace.step_seconds + (work.looks + work.stretches) * pace.look_seconds) / workers

    search = taken(planned.search, min(pace.workers, planned.settings.search.together))
    whole = search + taken(planned.fits, pace.workers)
    return whole * max(0, planned.steps - steps_done) / planned.steps


def sentence(planned: Plan, pace: Pace, steps_done: int) -> str:
    """The plan and what it takes, in one line."""
    sizes = ", ".join(map(str, planned.sizes))
    workers = f"{pace.workers} worker{'s' if pace.workers > 1 else ''}"
    done = f", {spaced(steps_done)} of them done already" if steps_done else ""
    return (
        f"arms: {' | '.join(ARMS)}; n = {sizes} cells; {_counted(len(planned.settings.seeds), 'seed')}; "
        f"{_counted(planned.trials, 'trial')}; about {spaced(planned.steps)} steps{done}, "
        f"{duration(seconds(planned, pace, steps_done))} on {workers} (from a probe of {PROBE_STEPS} steps)"
    )


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'s' if number != 1 else ''}"


def spaced(number: int) -> str:
    """With thin gaps between thousands, to two figures less than it has beyond three: nobody reads more."""
    rounded = round(number, -2) if number >= 2000 else number
    return f"{rounded:,}".replace(",", " ")


def duration(taken: float) -> str:
    """Seconds, minutes or hours, as exact as an estimate deserves."""
    if taken < 90:
        return f"{max(1, round(taken))} s"
    if taken < 5400:
        return f"{round(taken / 60)} min"
    return f"{taken / 3600:.1f} h"
