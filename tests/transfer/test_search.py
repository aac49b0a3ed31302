"""The search over trials whose outcome is known: both ends tried, the worse stopped, no interruption seen."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from sim_models.freeze import FreezeRange
from sim_models.training.job import Job
from sim_models.training.loop import State
from sim_models.transfer.search import SearchSettings, Stretch, TrialRecord, best, search

Score = Callable[[Job, int], float]
SETTINGS = SearchSettings(
    trials=8, together=2, rungs=(2, 4, 8), learning_rate=(1e-4, 1e-2), random_trials=4, seed=5
)
STAGES = 6
"""of the tiny U-Net: enc1 enc2 bottleneck dec2 dec1 head"""


class Killed(BaseException):
    """What stops a process at no place of its own choosing."""


class Trainings:
    """Stands in for training: a trial's score is a formula of its job, so nothing has to be trained."""

    def __init__(self, score: Score, kill_after: int | None = None) -> None:
        self.score = score
        self.kill_after = kill_after
        self.calls = 0
        self.stretches: list[tuple[float, int, int]] = []
        """(learning rate, first step, last step) of every stretch, in order"""

    def __call__(self, jobs: list[Job], states: list[State | None], until: int) -> list[Stretch]:
        if self.calls == self.kill_after:
            raise Killed
        self.calls += 1
        return [self._train(job, state, until) for job, state in zip(jobs, states, strict=True)]

    def _train(self, job: Job, state: State | None, until: int) -> Stretch:
        done = state.step if state else 0
        self.stretches.append((job.training.learning_rate, done, until))
        psnr = self.score(job, until)
        curve = [*(state.curve if state else []), (until, {"val_psnr": psnr})]
        after = State(weights={}, step=until, best_psnr=psnr, seconds=until / 10, curve=curve)
        return Stretch(after, trainable=0.5)


def middling(job: Job, step: int) -> float:
    """Best near two frozen stages and a rate of 1e-3."""
    width = job.frozen.end - job.frozen.start
    return 30 - abs(math.log10(job.training.learning_rate) + 3) - 0.2 * abs(width - 2) + 0.1 * step


def given_first(job: Job, step: int) -> float:
    """The two given trials, which have the mean rate, are better than any other."""
    return 30 - 100 * abs(math.log10(job.training.learning_rate) + 3) + 0.1 * step


def run(
    job: Job, journal: Path, trainings: Trainings, settings: SearchSettings = SETTINGS
) -> tuple[list[TrialRecord], list[TrialRecord]]:
    """The trials, and what was told of them."""
    told: list[TrialRecord] = []
    return search(job, settings, journal, trainings, told.append), told


def test_both_ends_are_tried_whatever_the_sampler_thinks(job: Job, tmp_path: Path) -> None:
    trials, _ = run(job, tmp_path / "journal", Trainings(middling))
    assert [trial.label for trial in trials[:2]] == ["none", "enc1-dec1"]
    assert trials[1].frozen == FreezeRange(start=0, end=STAGES - 1)
    assert [trial.learning_rate for trial in trials[:2]] == pytest.approx([1e-3, 1e-3])


def test_all_trials_are_within_bounds_and_told_of_once(job: Job, tmp_path: Path) -> None:
    trials, told = run(job, tmp_path / "journal", Trainings(middling))
    assert told == trials
    assert [trial.number for trial in trials] == list(range(8))
    for trial in trials:
        assert 1e-4 <= trial.learning_rate <= 1e-2
        assert trial.frozen.end <= STAGES
        assert trial.frozen.end - trial.frozen.start < STAGES
    assert len({(trial.frozen.start, trial.frozen.end) for trial in trials}) > 3


def test_trials_that_fall_behind_are_stopped_at_the_first_rung(job: Job, tmp_path: Path) -> None:
    trainings = Trainings(given_first)
    trials, _ = run(job, tmp_path / "journal", trainings)
    assert [trial.pruned for trial in trials] == [False] * 2 + [True] * 6
    assert [trial.steps for trial in trials] == [8] * 2 + [2] * 6
    assert [trial.curve for trial in trials[:1]] == [((2, 30.2), (4, 30.4), (8, 30.8))]
    assert sum(until - done for _, done, until in trainings.stretches) == 2 * 8 + 6 * 2
    assert best(trials) in trials[:2]


def test_trials_that_keep_up_are_not_stopped(job: Job, tmp_path: Path) -> None:
    trials, _ = run(job, tmp_path / "journal", Trainings(lambda job, step: 30.0 + step))
    assert not any(trial.pruned for trial in trials)


def test_a_trial_that_was_stopped_early_is_never_the_best(job: Job, tmp_path: Path) -> None:
    trials, _ = run(job, tmp_path / "journal", Trainings(middling))
    lucky = trials[0].model_copy(update={"pruned": True, "val_psnr": 99.0})
    assert best([lucky, *trials[1:]]) == max(
        (trial for trial in trials[1:] if not trial.pruned), key=lambda trial: trial.val_psnr
    )


def test_each_trial_is_a_short_fine_tune_of_its_own(job: Job, tmp_path: Path) -> None:
    """Its schedule ends with the last rung, and it goes on from rung to rung."""
    seen: list[Job] = []
    trainings = Trainings(lambda each, step: seen.append(each) or 30.0)  # type: ignore[func-returns-value]
    run(job, tmp_path / "journal", trainings, SETTINGS.model_copy(update={"trials": 2}))
    assert {each.training.steps for each in seen} == {8}
    assert {each.training.seed for each in seen} != {job.training.seed}
    assert [(done, until) for _, done, until in trainings.stretches] == [(0, 2)] * 2 + [(2, 4)] * 2 + [
        (4, 8)
    ] * 2


def test_the_seed_decides_the_trials(job: Job, tmp_path: Path) -> None:
    first, again, other = (
        run(job, tmp_path / name, Trainings(middling), SETTINGS.model_copy(update={"seed": seed}))[0]
        for name, seed in (("first", 5), ("again", 5), ("other", 6))
    )
    assert first == again
    assert first != other


def test_the_sampler_learns(job: Job, tmp_path: Path) -> None:
    """Its later trials lie nearer to the best rate than its random ones."""

    def rate_only(each: Job, step: int) -> float:
        return 30 - abs(math.log10(each.training.learning_rate) + 2.2)

    settings = SETTINGS.model_copy(update={"trials": 24, "random_trials": 8})
    trials, _ = run(job, tmp_path / "journal", Trainings(rate_only), settings)
    scores = [trial.val_psnr for trial in trials]
    assert sum(scores[-8:]) / 8 > sum(scores[:8]) / 8


@pytest.mark.parametrize("together", [1, 2, 3])
@pytest.mark.parametrize("score", [middling, given_first])
def test_an_interruption_loses_nothing_and_repeats_nothing(
    job: Job, tmp_path: Path, score: Score, together: int
) -> None:
    """Killed at any moment between two stretches, the search ends with the trials it would have had."""
    settings = SETTINGS.model_copy(update={"together": together})
    whole = Trainings(score)
    undisturbed, _ = run(job, tmp_path / "undisturbed", whole, settings)
    for kill_after in range(0, whole.calls, 3):
        told: list[TrialRecord] = []
        journal, after = tmp_path / f"{kill_after}", Trainings(score)
        with pytest.raises(Killed):
            search(job, settings, journal, Trainings(score, kill_after), told.append)
        ended = len(told)
        resumed, told_again = run(job, journal, after, settings)
        assert resumed == undisturbed
        assert {trial.number: trial for trial in told} | {trial.number: trial for trial in told_again} == {
            trial.number: trial for trial in undisturbed
        }
        trained_anew = {rate for rate, _, _ in after.stretches}
        assert not trained_anew & {trial.learning_rate for trial in undisturbed[2:ended]}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"rungs": ()}, "rungs must rise"),
        ({"rungs": (4, 2)}, "rungs must rise"),
        ({"rungs": (2, 2)}, "rungs must rise"),
        ({"learning_rate": (0.1, 0.01)}, "must be .lowest, highest."),
    ],
)
def test_settings_that_make_no_search_are_refused(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        SearchSettings(**(SETTINGS.model_dump() | changes))
