"""The search over trials whose outcome is known: what is tried, what goes on, and that no interruption is seen."""

import math
from collections.abc import Callable
from typing import Any

import optuna
import pytest
from pydantic import ValidationError

from sim_models.freeze import FreezeRange
from sim_models.training.job import Job, lay_out
from sim_models.training.loop import DIVERGED_DB, State
from sim_models.transfer import search as searching
from sim_models.transfer.search import (
    SearchSettings,
    Stretch,
    TrialRecord,
    best,
    freeze_ranges,
    pareto,
    search,
)

Score = Callable[[Job, int], float]
SETTINGS = SearchSettings(
    trials=10,
    together=2,
    rungs=(2, 4),
    keep=0.4,
    learning_rates=(1e-4, 1e-3, 1e-2),
    random_trials=4,
    seed=5,
)
STAGES = 6
"""of the tiny U-Net: enc1 enc2 bottleneck dec2 dec1 head"""
NOTHING = FreezeRange(start=0, end=0)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """A sampler that thinks for no second a trial, but where the sampler itself is tested."""
    if "sampler" not in request.node.name:
        monkeypatch.setattr(
            searching, "_sampler", lambda settings: optuna.samplers.RandomSampler(seed=settings.seed)
        )


class Killed(BaseException):
    """What stops a process at no place of its own choosing."""


class Trainings:
    """Stands in for training: a trial's score is a formula of its job, and what was trained is kept."""

    def __init__(self, score: Score) -> None:
        self.score = score
        self.kill_after: int | None = None
        self.trained: list[tuple[str, int, int]] = []
        """(job, first step, last step) of every stretch, in order"""
        self._kept: dict[tuple[str, int], Stretch] = {}

    def __call__(self, jobs: list[Job], until: int) -> list[Stretch]:
        return [self._advance(job, until) for job in jobs]

    def _advance(self, job: Job, until: int) -> Stretch:
        name = job.model_dump_json()
        if (name, until) not in self._kept:
            if len(self.trained) == self.kill_after:
                raise Killed
            earlier = [step for known, step in self._kept if known == name]
            before = self._kept[name, max(earlier)].state if earlier else State(weights={})
            self.trained.append((name, before.step, until))
            self._kept[name, until] = self._train(job, before, until)
        return self._kept[name, until]

    def _train(self, job: Job, before: State, until: int) -> Stretch:
        psnr = self.score(job, until)
        curve = [*before.curve, (until, {"val_psnr": psnr})]
        state = State(weights={}, step=until, best_psnr=psnr, seconds=until / 10, curve=curve)
        return Stretch(state, trainable=0.5, psnrs=())

    @property
    def steps(self) -> int:
        return sum(until - done for _, done, until in self.trained)


def middling(job: Job, step: int) -> float:
    """Best near two frozen stages and a rate of 1e-3."""
    width = job.frozen.end - job.frozen.start
    return 30 - abs(math.log10(job.training.learning_rate) + 3) - 0.2 * abs(width - 2) + 0.1 * step


def run(job: Job, trainings: Trainings, **changes: Any) -> tuple[list[TrialRecord], list[TrialRecord]]:
    """The trials, and what was told of them."""
    told: list[TrialRecord] = []
    settings = SearchSettings(**(SETTINGS.model_dump() | changes))
    return search(job, settings, trainings, told.append), told


def points(trials: list[TrialRecord]) -> list[tuple[FreezeRange, float]]:
    return [(trial.frozen, trial.learning_rate) for trial in trials]


def test_freezing_nothing_the_first_and_all_but_the_head_are_tried_whatever_else(
    job: Job,
) -> None:
    trials, _ = run(job, Trainings(middling))
    assert [trial.label for trial in trials[:3]] == ["none", "enc1", "enc1-dec1"]
    assert {trial.learning_rate for trial in trials[:3]} == {1e-3}


def test_every_trial_is_another_one_within_bounds_and_told_of_once(job: Job) -> None:
    trials, told = run(job, Trainings(middling))
    assert sorted(told, key=lambda trial: trial.number) == trials
    assert [trial.number for trial in trials] == list(range(10))
    assert len(set(points(trials))) == 10
    for frozen, rate in points(trials):
        assert rate in SETTINGS.learning_rates
        assert frozen in freeze_ranges(STAGES)


@pytest.mark.parametrize("num_stages", [1, 2, 3, 6, 9])
def test_there_are_as_many_ranges_as_pairs_of_ends_that_leave_something_to_train(num_stages: int) -> None:
    ranges = freeze_ranges(num_stages)
    assert len(ranges) == len(set(ranges)) == num_stages * (num_stages + 1) // 2
    assert ranges[0] == NOTHING
    assert all(each.end - each.start < num_stages and each.end <= num_stages for each in ranges)


def test_of_a_small_lattice_every_point_is_tried_and_no_more(job: Job) -> None:
    trials, _ = run(job, Trainings(middling), trials=1000, together=7, learning_rates=(1e-3,))
    assert {trial.frozen for trial in trials} == set(freeze_ranges(STAGES))
    assert len(trials) == len(freeze_ranges(STAGES))


def test_a_share_goes_on_from_each_rung_and_the_best_is_always_among_it(job: Job) -> None:
    trainings = Trainings(middling)
    trials, _ = run(job, trainings)
    ended = sorted((trial.steps for trial in trials), reverse=True)
    assert ended == [8] * 2 + [4] * 2 + [2] * 6  # ceil(0.4 * 10), ceil(0.4 * 4)
    assert [trial.pruned for trial in trials] == [trial.steps < 8 for trial in trials]
    assert trainings.steps == 2 * 8 + 2 * 4 + 6 * 2
    for stopped, going_on in ((2, 4), (4, 8)):
        gone_on = [_at(trial, stopped) for trial in trials if trial.steps >= going_on]
        assert max(gone_on) == max(_at(trial, stopped) for trial in trials if trial.steps >= stopped)


def test_half_of_the_places_go_to_what_no_other_beats_in_quality_and_cost() -> None:
    """Else nothing cheap is left to choose from, where quality differs by hundredths of a decibel."""
    values = {0: (31.0, 9.0), 1: (30.9, 9.0), 2: (30.8, 8.0), 3: (30.7, 2.0), 4: (29.0, 1.0), 5: (28.0, 3.0)}
    assert searching._going_on(values, 1) == {0}
    assert searching._going_on(values, 2) == {0, 1}
    assert searching._going_on(values, 4) == {0, 1, 2, 3}
    assert searching._going_on(values, 5) == {0, 1, 2, 3, 4}
    assert searching._going_on(values, 6) == set(values)
    assert searching._going_on({**values, 4: (DIVERGED_DB, 1.0)}, 6) == {0, 1, 2, 3, 5}
    assert searching._going_on({4: (-math.inf, 1.0)}, 2) == set()
    assert searching._going_on(values, 0) == set()


def _at(trial: TrialRecord, rung: int) -> float:
    """Score at a rung."""
    return dict(trial.curve)[rung]


def test_each_trial_is_the_fine_tune_itself_but_for_range_and_rate(job: Job) -> None:
    """So what the search has trained needs no second training when it becomes a finalist."""
    seen: list[Job] = []
    run(job, Trainings(lambda each, step: seen.append(each) or 30.0))  # type: ignore[func-returns-value]
    for each in seen:
        training = job.training.model_copy(update={"learning_rate": each.training.learning_rate})
        assert each == job.model_copy(update={"training": training, "frozen": each.frozen})


def test_rungs_past_the_end_of_the_fine_tune_do_not_count(job: Job) -> None:
    trainings = Trainings(middling)
    trials, _ = run(job, trainings, rungs=(4, 8, 20))
    assert sorted({trial.steps for trial in trials}) == [4, 8]
    assert max(until for _, _, until in trainings.trained) == job.training.steps


def test_records_tell_what_was_spent_and_what_a_whole_fine_tune_costs(job: Job) -> None:
    trials, _ = run(job, Trainings(middling), trials=30)
    for trial in trials:
        assert trial.tflop == pytest.approx(trial.whole_tflop * trial.steps / 8)
        assert trial.seconds == trial.steps / 10
    cost = {trial.frozen: trial.whole_tflop for trial in trials}
    prefix = FreezeRange(start=0, end=STAGES - 1)
    assert cost[NOTHING] > cost[FreezeRange(start=0, end=1)] > cost[prefix] > 0


def test_every_point_is_told_back_with_its_score(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of those too that are tried because it has none left to suggest."""
    monkeypatch.setattr(searching, "MOST_REPEATS", 1)
    studies: list[optuna.Study] = []
    make = searching._study
    monkeypatch.setattr(searching, "_study", lambda *args: studies.append(make(*args)) or studies[0])
    trials, _ = run(job, Trainings(middling), trials=1000, together=5, learning_rates=(1e-3,), rungs=(2,))
    scores = {trial.frozen: _at(trial, 2) for trial in trials}
    completed = [each for each in studies[0].trials if each.state == optuna.trial.TrialState.COMPLETE]
    assert len(completed) >= len(trials)
    for each in completed:
        start, width = each.params["start"], each.params["width"]
        frozen = FreezeRange(start=start, end=min(start + width, STAGES)) if width else NOTHING
        assert each.value == scores[frozen]


def test_the_seed_of_the_sampler_decides_the_trials(job: Job) -> None:
    first, again, other = (run(job, Trainings(middling), seed=seed, random_trials=8)[0] for seed in (5, 5, 6))
    assert first == again
    assert points(first) != points(other)


def test_the_sampler_learns(job: Job) -> None:
    """Its later trials lie nearer to the best widths than its random ones."""

    def width_only(each: Job, step: int) -> float:
        return 30.0 - abs(each.frozen.end - each.frozen.start - 3)

    changes = {"trials": 24, "random_trials": 12, "together": 4}
    trials = [run(job, Trainings(width_only), seed=seed, **changes)[0] for seed in range(2)]
    scores = [[trial.val_psnr for trial in each] for each in trials]
    early, late = ([sum(each[part]) for each in scores] for part in (slice(3, 12), slice(12, 21)))
    assert sum(late) > sum(early)


def test_a_search_that_is_done_again_trains_nothing(job: Job) -> None:
    trainings = Trainings(middling)
    first, _ = run(job, trainings)
    trained = list(trainings.trained)
    again, told = run(job, trainings)
    assert again == first
    assert trainings.trained == trained
    assert len(told) == 10, "whoever listens must not miss what ended before an interruption"


@pytest.mark.parametrize("together", [1, 3])
def test_killed_after_any_stretch_it_ends_with_the_trials_it_would_have_had(
    job: Job, together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(searching, "operations_of", lambda _: dict.fromkeys(freeze_ranges(STAGES), 1.0))
    bench = lay_out(job)
    monkeypatch.setattr(searching, "lay_out", lambda _: bench)
    whole = Trainings(middling)
    undisturbed, _ = run(job, whole, together=together)
    for kill_after in range(len(whole.trained)):
        trainings = Trainings(middling)
        trainings.kill_after = kill_after
        with pytest.raises(Killed):
            run(job, trainings, together=together)
        trainings.kill_after = None
        resumed, _ = run(job, trainings, together=together)
        assert resumed == undisturbed
        assert trainings.trained == whole.trained, "none twice, and in the same order"


@pytest.mark.parametrize("diverged", [-math.inf, DIVERGED_DB])
def test_trials_that_diverge_are_the_first_to_stop(job: Job, diverged: float) -> None:
    def half(each: Job, step: int) -> float:
        return diverged if each.training.learning_rate > 5e-3 else middling(each, step)

    trials, _ = run(job, Trainings(half), trials=20)
    lost = [trial for trial in trials if trial.learning_rate > 5e-3]
    assert lost
    assert all(trial.pruned and trial.val_psnr == DIVERGED_DB for trial in lost)
    assert best(trials).learning_rate < 5e-3


def test_where_every_trial_diverges_the_search_still_ends(job: Job) -> None:
    trials, _ = run(job, Trainings(lambda each, step: -math.inf))
    assert len(trials) == 10
    assert all(each.pruned and each.steps == SETTINGS.rungs[0] for each in trials)


def trial(number: int, val_psnr: float, whole_tflop: float, pruned: bool = False) -> TrialRecord:
    return TrialRecord(
        number=number,
        frozen=NOTHING,
        label="none",
        learning_rate=1e-3,
        val_psnr=val_psnr,
        pruned=pruned,
        steps=8,
        seconds=1.0,
        tflop=whole_tflop,
        whole_tflop=whole_tflop,
        trainable=1.0,
        curve=(),
    )


def test_the_best_is_among_those_that_ran_to_the_end() -> None:
    trials = [trial(0, 30, 1), trial(1, 31, 9), trial(2, 99, 1, pruned=True)]
    assert best(trials).number == 1


def test_the_front_holds_what_no_other_beats_in_quality_and_compute() -> None:
    trials = [
        trial(0, 30, 5),
        trial(1, 29, 5),  # as dear and worse
        trial(2, 30, 6),  # as good and dearer
        trial(3, 28, 1),
        trial(4, 31, 8),
        trial(5, 27, 2),  # worse and dearer
        trial(6, 40, 0.1, pruned=True),  # nobody knows what it would have come to
    ]
    assert [each.number for each in pareto(trials)] == [4, 0, 3]
    assert pareto([]) == []


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"rungs": ()}, "rungs must rise"),
        ({"rungs": (4, 2)}, "rungs must rise"),
        ({"rungs": (2, 2)}, "rungs must rise"),
        ({"learning_rates": (0.1, 0.01)}, "learning_rates must rise"),
        ({"learning_rates": ()}, "learning_rates must rise"),
        ({"keep": 0.0}, "keep"),
        ({"keep": 1.0}, "keep"),
        ({"trials": 0}, "trials"),
        ({"together": 0}, "together"),
    ],
)
def test_settings_that_make_no_search_are_refused(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        SearchSettings(**(SETTINGS.model_dump() | changes))
