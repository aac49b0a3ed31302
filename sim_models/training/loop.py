"""The training loop: plain torch, no Ray, no MLflow, no Optuna. Those listen through `report`."""

import math
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
import torch.distributed as dist
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor, nn

from sim_models.config import Settings
from sim_models.methods import Method
from sim_models.samples import Augment, Sample, Samples, Share
from sim_models.training.feed import feeding


class TrainingSettings(Settings):
    """How long and how fast to learn."""

    steps: PositiveInt
    batch: PositiveInt
    """crops per step, over all workers together"""
    crop_px: PositiveInt
    """edge of a crop in raw pixels"""
    learning_rate: PositiveFloat
    weight_decay: NonNegativeFloat
    schedule: Literal["constant", "cosine", "dlsim_as_run", "inverse_time", "plateau"]
    """of the rate after the warm-up, see `learning_rate`"""
    warmup_steps: NonNegativeInt
    clip_norm: PositiveFloat
    validate_every: PositiveInt
    """steps between two looks at the validation cells"""
    patience: PositiveInt
    """looks without a better score after which training stops"""
    augment: Augment
    """by which symmetries of their task crops are changed, see `Task.symmetries`; `turns` leaves out mirrored ones"""
    precision: Literal["float32", "bfloat16"]
    """of the forward pass on a GPU; a CPU always computes in float32"""
    seed: NonNegativeInt


LOOKS_PER_PLATEAU, LEAST_OF_PLATEAUS = 10, 0.1
"""of the schedule `plateau`, as rDL-SIM's first network was trained"""

DIVERGED_DB = -999.0
"""what a network scores whose output is no longer a number; lower than any image could"""


@dataclass(frozen=True)
class Progress:
    """What is known at one look at the validation cells."""

    step: int
    loss: dict[str, float]
    """each weighted term, mean over the steps since the last look"""
    val_psnr: float
    """dB, mean over whole validation fields; peak = range of the target, no scaling"""
    learning_rate: float
    seconds: float
    """spent in training steps since the start of training"""
    waited: float
    """of these, in which a step waited for its batch"""

    def metrics(self) -> dict[str, float]:
        """Everything but the step, by the names it is logged under."""
        losses = {f"loss_{name}": value for name, value in self.loss.items()}
        return {
            "val_psnr": self.val_psnr,
            **losses,
            "learning_rate": self.learning_rate,
            "seconds": self.seconds,
            "data_wait_seconds": self.waited,
        }


@dataclass
class State:
    """All that changes while training. Saved and given back, training goes on where it stood."""

    weights: dict[str, Tensor]
    optimiser: dict[str, Any] | None = None
    step: int = 0
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    best_step: int = 0
    best_psnr: float = -math.inf
    stale: int = 0
    seconds: float = 0.0
    waited: float = 0.0
    """of these seconds, those in which a step waited for its batch"""
    curve: list[tuple[int, dict[str, float]]] = field(default_factory=list)
    """(step, metrics) of every look"""

    def stopped_early(self, settings: TrainingSettings) -> bool:
        """Whether patience has run out."""
        return self.stale >= settings.patience


Report = Callable[[Progress, State], None]


def nobody(progress: Progress, state: State) -> None:
    """A report that nobody reads."""


def train(
    network: nn.Module,
    method: Method,
    samples: Samples,
    validation: Samples,
    settings: TrainingSettings,
    state: State,
    until: int,
    share: Share = Share(),  # noqa: B008 - frozen
    report: Report = nobody,
) -> State:
    """Train from `state` to step `until`, or to the end of patience, and return the new state.

    `network` may be wrapped for distributed training; `state.weights` are those of the bare one.
    Frozen stages stay frozen: only parameters that require gradients reach the optimiser.
    """
    bare = network.module if isinstance(network, nn.parallel.DistributedDataParallel) else network
    bare.load_state_dict(state.weights)
    device = next(bare.parameters()).device
    optimiser = torch.optim.AdamW(
        [parameter for parameter in bare.parameters() if parameter.requires_grad],
        lr=settings.learning_rate,
        weight_decay=settings.weight_decay,
    )
    if state.optimiser is not None:
        optimiser.load_state_dict(state.optimiser)
    losses: list[dict[str, Tensor]] = []

    def make(step: int) -> Sample:
        size, crop_px, seed = settings.batch, settings.crop_px, settings.seed
        return samples.batch(step, size, crop_px, seed, share, settings.augment, device.type == "cuda")

    with feeding(make, range(state.step, until), device) as feed:
        started, waited = time.perf_counter(), state.waited
        for step in range(state.step, until):
            if state.stopped_early(settings):
                break
            # What layers draw, as those that are left out at random, depends on seed and step alone, as the batch does.
            torch.manual_seed(_seed_of(settings.seed, step, share.rank))
            rate = learning_rate(settings, step, [metrics["val_psnr"] for _, metrics in state.curve])
            for group in optimiser.param_groups:
                group["lr"] = rate
            network.train()
            sample = feed.next()
            with _precision(settings, device):
                terms = method.loss(network, sample)
            optimiser.zero_grad(set_to_none=True)
            # Gradients are averaged over workers, of which some may have a crop less than others.
            total = torch.stack(list(terms.values())).sum() * share.weight(settings.batch)
            total.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(bare.parameters(), settings.clip_norm)
            optimiser.step()
            losses.append({name: term.detach() for name, term in terms.items()})

            if (step + 1) % settings.validate_every == 0 or step + 1 == until:
                _finish_queued(device)
                state.seconds += time.perf_counter() - started
                state.waited = waited + feed.waited
                psnr = mean_psnr(bare, method, validation, share)
                diverged = not math.isfinite(psnr) and psnr != math.inf
                psnr = DIVERGED_DB if diverged else psnr
                _remember(state, bare, optimiser, step + 1, psnr)
                progress = Progress(
                    step + 1, _means(losses, settings.batch, share), psnr, rate, state.seconds, state.waited
                )
                state.curve.append((progress.step, progress.metrics()))
                report(progress, state)
                if diverged:
                    break
                losses.clear()
                started = time.perf_counter()
    return state


def _finish_queued(device: torch.device) -> None:
    """A GPU works off a queue; no clock may be read before it has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def learning_rate(settings: TrainingSettings, step: int, scores: Sequence[float] = ()) -> float:
    """The rate of one step: a linear warm-up, then constant, or a half cosine to zero, or as DL-SIM was trained.

    There a misplaced `return` left the full rate for the first 3 of 2000 epochs and 0.005 of it for all others.
    `inverse_time` is 1 / (1 + 1e-5 step), as TiS- and SiS-rDL were trained. `plateau` halves the rate whenever ten
    looks at the validation cells, whose `scores` are given, brought nothing better, down to a tenth.
    """
    if step < settings.warmup_steps:
        return settings.learning_rate * (step + 1) / settings.warmup_steps
    if settings.schedule == "constant":
        return settings.learning_rate
    if settings.schedule == "inverse_time":
        return settings.learning_rate / (1 + 1e-5 * step)
    if settings.schedule == "plateau":
        return settings.learning_rate * max(0.5 ** _plateaus(scores), LEAST_OF_PLATEAUS)
    done = (step - settings.warmup_steps) / max(1, settings.steps - settings.warmup_steps)
    if settings.schedule == "dlsim_as_run":
        return settings.learning_rate * (1 if done < 3 / 2000 else 0.005)
    return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


def _plateaus(scores: Sequence[float]) -> int:
    """How often ten looks in a row brought nothing better; each time the count begins anew."""
    best, waited, found = -math.inf, 0, 0
    for score in scores:
        waited = 0 if score > best else waited + 1
        best = max(best, score)
        if waited == LOOKS_PER_PLATEAU:
            found, waited = found + 1, 0
    return found


def _seed_of(*numbers: int) -> int:
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


def mean_psnr(network: nn.Module, method: Method, fields: Samples, share: Share) -> float:
    """Mean of `psnrs`, in dB."""
    return float(psnrs(network, method, fields, share).mean())


@torch.no_grad()
def psnrs(network: nn.Module, method: Method, fields: Samples, share: Share) -> Tensor:
    """PSNR (N,) of each whole field, in dB; the peak is the range of its target, nothing is scaled.

    Methods without targets score what they tell of pixels they have not seen: see `Method.score`.
    """
    network.eval()
    device = next(network.parameters()).device
    scores = torch.zeros(len(fields.pairs), dtype=torch.float64, device=device)
    for index, sample in zip(share.of(len(fields.pairs)), fields.whole(share), strict=True):
        scores[index] = method.score(network, sample.to(device))
    if share.workers > 1:
        dist.all_reduce(scores)
    return scores.cpu()


def _remember(
    state: State, network: nn.Module, optimiser: torch.optim.Optimizer, step: int, psnr: float
) -> None:
    state.step = step
    state.weights = _copy(network)
    state.optimiser = _on_cpu(optimiser.state_dict())
    if psnr > max(state.best_psnr, DIVERGED_DB):
        state.best_psnr, state.best_step, state.best_weights, state.stale = psnr, step, state.weights, 0
    else:
        state.stale += 1


def _on_cpu(value: Any) -> Any:
    """Nested state without a device: whoever reads it may have none."""
    if isinstance(value, Tensor):
        return value.detach().cpu()
    if isinstance(value, dict):
        return {key: _on_cpu(each) for key, each in value.items()}
    return [_on_cpu(each) for each in value] if isinstance(value, list) else value


def _copy(network: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().clone() for name, tensor in network.state_dict().items()}


def _means(losses: list[dict[str, Tensor]], batch: int, share: Share) -> dict[str, float]:
    """Of each term, over steps and over all workers."""
    means = torch.stack([torch.stack([terms[name] for terms in losses]).mean() for name in losses[0]])
    if share.workers > 1:
        means *= share.weight(batch)
        dist.all_reduce(means)
        means /= share.workers
    return dict(zip(losses[0], means.tolist(), strict=True))


def _precision(settings: TrainingSettings, device: torch.device) -> AbstractContextManager[object]:
    if device.type == "cpu" or settings.precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)
