"""The loop: it learns, and an interruption leaves no trace in what it comes to."""

import io
import math
from dataclasses import asdict
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sim_models.methods import Method
from sim_models.samples import Sample, Samples, Share
from sim_models.training import loop
from sim_models.training.job import Job, LaidOut, lay_out
from sim_models.training.loop import Progress, State, TrainingSettings, learning_rate, mean_psnr, train

Weights = dict[str, Tensor]


def with_training(job: Job, **changes: Any) -> Job:
    return job.model_copy(update={"training": job.training.model_copy(update=changes)})


def run(
    job: Job, until: int | None = None, state: State | None = None, report: loop.Report = loop.nobody
) -> State:
    bench = lay_out(job)
    return go(bench, until or job.training.steps, state or bench.start(), report)


def go(bench: LaidOut, until: int, state: State, report: loop.Report = loop.nobody) -> State:
    job = bench.job
    return train(
        bench.network,
        job.recipe.method,
        bench.samples,
        bench.validation,
        job.training,
        state,
        until,
        report=report,
    )


def stored(state: State) -> State:
    """The state through a file, as it travels over an interruption."""
    file = io.BytesIO()
    torch.save(asdict(state), file)
    file.seek(0)
    return State(**torch.load(file, weights_only=True))


def equal(first: Weights, second: Weights) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def without_times(state: State) -> list[tuple[int, dict[str, float]]]:
    return [(step, {**metrics, "seconds": 0.0, "data_wait_seconds": 0.0}) for step, metrics in state.curve]


@pytest.fixture(scope="module")
def undisturbed(job: Job) -> State:
    return run(job)


def test_it_learns(job: Job) -> None:
    """From nothing: what starts from the wide-field has little left to learn of discs."""
    method = job.recipe.method.model_copy(update={"residual": "none"})
    from_nothing = job.model_copy(update={"recipe": job.recipe.model_copy(update={"method": method})})
    state = run(with_training(from_nothing, steps=60, validate_every=20))
    losses = [metrics["loss_l1"] for _, metrics in state.curve]
    scores = [metrics["val_psnr"] for _, metrics in state.curve]
    assert losses[-1] < 0.75 * losses[0]
    assert scores[-1] > scores[0] + 0.5


@pytest.mark.parametrize("step", [2, 4, 6])
def test_resumed_from_a_look_everything_is_bit_equal(job: Job, undisturbed: State, step: int) -> None:
    resumed = run(job, state=stored(run(job, until=step)))
    assert equal(resumed.weights, undisturbed.weights)
    assert equal(resumed.best_weights, undisturbed.best_weights)
    assert without_times(resumed) == without_times(undisturbed)
    assert (resumed.best_step, resumed.best_psnr, resumed.stale) == (
        undisturbed.best_step,
        undisturbed.best_psnr,
        undisturbed.stale,
    )


@pytest.mark.parametrize("step", [1, 3, 5, 7])
def test_set_down_at_any_step_the_weights_are_bit_equal(job: Job, undisturbed: State, step: int) -> None:
    """As a trial is between two rungs; there it is looked at once more."""
    assert equal(run(job, state=stored(run(job, until=step))).weights, undisturbed.weights)


def test_without_the_optimiser_it_would_not_be(job: Job, undisturbed: State) -> None:
    """The negative control: weights alone are not all that changes while training."""
    state = stored(run(job, until=4))
    state.optimiser = None
    assert not equal(run(job, state=state).weights, undisturbed.weights)


def test_what_was_reported_is_the_state_to_resume_from(job: Job, undisturbed: State) -> None:
    """Checkpoints are taken while training goes on, so the state must not change under the hand that saves it."""
    reported: list[State] = []
    run(job, report=lambda _, state: reported.append(stored(state)))
    assert [state.step for state in reported] == [2, 4, 6, 8]
    assert equal(run(job, state=reported[1]).weights, undisturbed.weights)


def test_a_finished_training_stays_as_it_is(job: Job, undisturbed: State) -> None:
    again = run(job, state=stored(undisturbed))
    assert equal(again.weights, undisturbed.weights)
    assert len(again.curve) == len(undisturbed.curve)


def test_the_seed_decides_the_weights(job: Job, undisturbed: State) -> None:
    assert equal(run(job).weights, undisturbed.weights)
    assert not equal(run(with_training(job, seed=4)).weights, undisturbed.weights)


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Scores of the coming looks at the validation cells."""
    scores: list[float] = []
    monkeypatch.setattr(loop, "mean_psnr", lambda *_: scores.pop(0))
    return scores


def test_it_stops_when_patience_runs_out_and_keeps_the_best(job: Job, scripted: list[float]) -> None:
    scripted.extend([10.0, 12.0, 11.0, 12.0, 30.0])
    seen: list[tuple[int, Weights]] = []

    state = run(
        with_training(job, steps=20, patience=2),
        report=lambda progress, now: seen.append((progress.step, now.weights)),
    )

    assert (state.step, state.best_step, state.best_psnr) == (8, 4, 12.0)
    weights = dict(seen)
    assert equal(state.best_weights, weights[4])
    assert equal(state.weights, weights[8])
    assert not equal(weights[4], weights[8])
    assert scripted == [30.0]


def test_patience_runs_out_over_an_interruption_too(job: Job, scripted: list[float]) -> None:
    scripted.extend([12.0, 11.0, 10.0, 30.0])
    patient = with_training(job, steps=20, patience=2)
    state = run(patient, state=stored(run(patient, until=4)))
    assert (state.step, state.best_step) == (6, 2)


def test_a_better_look_renews_patience(job: Job, scripted: list[float]) -> None:
    scripted.extend([10.0, 9.0, 11.0, 9.0, 12.0])
    state = run(with_training(job, steps=10, patience=2))
    assert (state.step, state.best_step, state.stale) == (10, 10, 0)


class Loud(nn.Module):
    """One weight; the loss is a million times it."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(1.0))


class LoudMethod(Method):
    def loss(self, network: nn.Module, sample: Sample) -> dict[str, Tensor]:
        return {"loud": 1e6 * network.weight}  # type: ignore[dict-item, operator]

    def restore(self, network: nn.Module, stack: Tensor) -> Tensor:
        return stack[:, :1].repeat_interleave(2, -1).repeat_interleave(2, -2)


@pytest.mark.parametrize(("clip_norm", "expected"), [(0.5, 0.5), (1e9, 1e6)])
def test_gradients_are_clipped(job: Job, clip_norm: float, expected: float) -> None:
    bench, network = lay_out(job), Loud()
    settings = job.training.model_copy(update={"clip_norm": clip_norm})
    state = State(weights={"weight": torch.tensor(1.0)})
    train(network, LoudMethod(name="loud"), bench.samples, bench.validation, settings, state, 1)
    assert network.weight.grad is not None
    assert float(network.weight.grad) == pytest.approx(expected, rel=1e-4)


def test_the_reported_loss_is_the_mean_since_the_last_look(job: Job) -> None:
    every_step, every_other = (
        [metrics["loss_l1"] for _, metrics in run(with_training(job, validate_every=every)).curve]
        for every in (1, 2)
    )
    means = [(first + second) / 2 for first, second in zip(every_step[::2], every_step[1::2], strict=True)]
    assert every_other == pytest.approx(means)


def test_the_learning_rate_warms_up_and_falls_in_a_half_cosine(training: TrainingSettings) -> None:
    settings = training.model_copy(update={"steps": 104, "warmup_steps": 4, "learning_rate": 1.0})
    rates = [learning_rate(settings, step) for step in range(104)]
    assert rates[:5] == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0])
    assert rates[4 + 50] == pytest.approx(0.5)
    assert rates[4 + 25] == pytest.approx(0.5 * (1 + math.sqrt(0.5)))
    assert rates[4:] == sorted(rates[4:], reverse=True)
    assert 0 < rates[-1] < 0.001


def test_a_constant_learning_rate_warms_up_and_stays(training: TrainingSettings) -> None:
    settings = training.model_copy(update={"schedule": "constant", "warmup_steps": 2, "learning_rate": 1.0})
    assert [learning_rate(settings, step) for step in range(5)] == [0.5, 1.0, 1.0, 1.0, 1.0]


def test_without_warm_up_it_starts_at_full_rate(training: TrainingSettings) -> None:
    settings = training.model_copy(update={"warmup_steps": 0, "learning_rate": 1.0})
    assert learning_rate(settings, 0) == 1.0


def test_the_learning_rate_of_dlsim_as_run_falls_once_and_for_all(training: TrainingSettings) -> None:
    changes = {"schedule": "dlsim_as_run", "warmup_steps": 0, "steps": 2000, "learning_rate": 1e-3}
    settings = training.model_copy(update=changes)
    rates = [learning_rate(settings, step) for step in range(2000)]
    assert rates == pytest.approx([1e-3] * 3 + [5e-6] * 1997)


def test_the_learning_rate_of_the_settings_reaches_the_optimiser(job: Job) -> None:
    """Adam's first step is as long as the rate, whatever the gradient (Kingma & Ba 2015, section 2.1)."""
    bench, network = lay_out(job), Loud()
    settings = job.training.model_copy(update={"warmup_steps": 4, "learning_rate": 0.4, "weight_decay": 0.0})
    state = State(weights={"weight": torch.tensor(1.0)})
    told: list[Progress] = []
    state = train(
        network,
        LoudMethod(name="loud"),
        bench.samples,
        bench.validation,
        settings,
        state,
        1,
        report=lambda progress, _: told.append(progress),
    )
    assert float(state.weights["weight"]) == pytest.approx(1.0 - 0.1)
    assert told[0].learning_rate == pytest.approx(0.1)


class Shifted(LoudMethod):
    """Restores the target of the one field there is, wrong by 0.1 everywhere."""

    target: Any

    def restore(self, network: nn.Module, stack: Tensor) -> Tensor:
        shifted: Tensor = self.target[None] + 0.1
        return shifted


def test_psnr_by_its_formula(job: Job) -> None:
    validation = lay_out(job).validation
    one = object.__new__(Samples)
    one.task, one.pairs = validation.task, validation.pairs[:1]
    target = one.pairs[0].target
    reach = float(target.max() - target.min())
    measured = mean_psnr(Loud(), Shifted(name="shifted", target=target), one, Share())
    assert measured == pytest.approx(20 * math.log10(reach / 0.1), abs=1e-4)


def test_psnr_is_measured_with_the_statistics_of_training(job: Job) -> None:
    """In training mode one field would be normalised by its own statistics, and those would move."""
    bench = lay_out(job)
    bench.network.train()
    before = bench.start().weights
    first = mean_psnr(bench.network, job.recipe.method, bench.validation, Share())
    assert mean_psnr(bench.network, job.recipe.method, bench.validation, Share()) == first
    assert equal(bench.start().weights, before)


@pytest.mark.parametrize("workers", [2, 3, 4])
def test_shares_average_to_the_gradient_of_the_whole_batch(job: Job, workers: int) -> None:
    """What makes the number of workers a matter of place: DDP averages the gradients of the shares."""
    bench = lay_out(job)
    bench.network.eval()  # each worker has batch statistics of its own
    method, settings = job.recipe.method, job.training

    def gradient(share: Share) -> Tensor:
        sample = bench.samples.batch(3, settings.batch, settings.crop_px, settings.seed, share)
        loss = torch.stack(list(method.loss(bench.network, sample).values())).sum()
        loss = loss * share.weight(settings.batch)
        return torch.cat(
            [part.flatten() for part in torch.autograd.grad(loss, list(bench.network.parameters()))]
        )

    mean = torch.stack([gradient(Share(rank, workers)) for rank in range(workers)]).mean(0)
    torch.testing.assert_close(mean, gradient(Share()), rtol=1e-4, atol=1e-6)
