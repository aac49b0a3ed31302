"""Do rates that fall from stage to stage, or stages set free one by one, beat one rate with a freeze range?

    python benchmarks/transfer/discriminative.py [--fields DIR] [--models DIR] [--kept FILE.jsonl] [--out OUT.md]
                                                 [--seeds 1 2 3] [--few 1 2] [--long-seeds 1 2 3]

Compared on validation cells, for fine-tunes of the shipped study (`make repro` makes models and fields):

    one rate        every stage learns at the rate of the schedule
    best range      the same with the freeze range that is best of all with the first seed
    decay d         stage k of S learns at rate * d^(S-1-k): below 1 the first stages learn less (Howard & Ruder, ACL
                    2018), above 1 they learn more
    gradual         the head learns alone, then one stage more at a time, all of them from half of the steps on

Every rate is tried with the first seed, past the ends of the grid where the best lies there; the best two go on with
all seeds, and the better mean is taken. Few cells and long fine-tunes take over rate and range. What was trained is
kept, line by line, so a run that was ended goes on where it stood; delete that file when code, models or fields change.
"""

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from statistics import mean, stdev
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

from pipelines.shared.params import read_params
from sim_models.freeze import FreezeRange, freeze
from sim_models.networks import Network
from sim_models.restorer import Restorer
from sim_models.sources.prepared import Prepared
from sim_models.training.job import LaidOut, lay_out
from sim_models.training.loop import TrainingSettings, train
from sim_models.transfer.search import freeze_ranges
from sim_models.transfer.study import StudySettings, jobs_of

TRANSFERS = (("microtubules_nafnet", "ccps"), ("microtubules_nafnet", "er"), ("ccps_nafnet", "microtubules"))
RATES = (0.0005, 0.001, 0.002, 0.004, 0.008)
BEYOND = 2
"""doublings, or halvings, that the grid may grow by where the best rate lies at its end"""
DECAYS = (0.7, 0.4, 1.4)
SHORT, LONG = 60, 600
MARGIN_DB = 0.1


@dataclass(frozen=True)
class Variant:
    """One way to fine-tune."""

    name: str
    decay: float = 1.0
    """of the rate, from each stage to the one before it"""
    gradual: bool = False
    """whether stages are set free one by one"""
    start: int = 0
    end: int = 0
    """stages [start, end) stay frozen"""


ONE_RATE, GRADUAL = Variant("one rate, nothing frozen"), Variant("gradual unfreezing", gradual=True)
DISCRIMINATIVE = tuple(Variant(f"decay {decay:g}", decay) for decay in DECAYS)


@dataclass(frozen=True)
class Run:
    """One fine-tune."""

    source: str
    target: str
    variant: Variant
    rate: float
    seed: int
    steps: int = SHORT
    cells: int | None = None
    """training cells; None for all"""


class Staged(torch.optim.AdamW):
    """AdamW with one group per stage; each step takes the rate it is given times the factor of the stage."""

    def __init__(self, network: Network, variant: Variant, steps: int, **settings: Any) -> None:
        stages = list(network.stages().values())
        groups = [
            {
                "params": [weight for weight in stage.parameters() if weight.requires_grad],
                "factor": variant.decay ** (len(stages) - 1 - place),
            }
            for place, stage in enumerate(stages)
        ]
        super().__init__([group for group in groups if group["params"]], **settings)
        self.network, self.gradual, self.taken = network, variant.gradual, 0
        self.every = steps // 2 // (len(stages) - 1)
        self._release()

    def step(self, closure: Any = None) -> Any:
        """One step; the loop sets the rate of every group anew before each."""
        for group in self.param_groups:
            group["lr"] *= group["factor"]
        loss = super().step(closure)
        self.taken += 1
        self._release()
        return loss

    def _release(self) -> None:
        """Free the last stages, one more every so many steps."""
        if self.gradual:
            held = len(self.network.stages()) - 1 - self.taken // self.every
            freeze(self.network, FreezeRange(start=0, end=max(0, held)))


@contextmanager
def staged(network: Network, variant: Variant, steps: int) -> Iterator[None]:
    """Within the block, the training loop makes its optimiser with one group per stage."""
    with patch("torch.optim.AdamW", lambda _, **settings: Staged(network, variant, steps, **settings)):
        yield


class Bench:
    """Trains runs, and keeps what they came to."""

    def __init__(self, settings: StudySettings, fields: Path, models: Path, kept: Path) -> None:
        self.settings, self.fields, self.models, self.kept = settings, fields, models, kept
        lines = kept.read_text().splitlines() if kept.exists() else []
        self.known: dict[str, float] = {line["run"]: line["psnr"] for line in map(json.loads, lines)}
        self.laid_out, self.source = cache(self._laid_out), cache(lambda name: Restorer.load(models / name))

    def psnr(self, run: Run) -> float:
        """Validation PSNR in dB at the best look, mean over whole fields."""
        key = json.dumps(asdict(run))
        if key not in self.known:
            started = time.perf_counter()
            self.known[key] = self._train(run)
            line = {"run": key, "psnr": self.known[key], "seconds": round(time.perf_counter() - started, 2)}
            with self.kept.open("a") as file:
                file.write(json.dumps(line) + "\n")
        return self.known[key]

    def stages(self, source: str, target: str) -> list[str]:
        """Names of the stages of a source."""
        return list(self.laid_out(source, target, None).network.stages())

    def _train(self, run: Run) -> float:
        bench = self.laid_out(run.source, run.target, self._cells(run))
        settings = self._training(run)
        freeze(bench.network, FreezeRange(start=run.variant.start, end=run.variant.end))
        bench.network.zero_grad()  # else gradients of the run before count in the clipped norm
        bench.network.load_state_dict(self.source(run.source).network.state_dict())
        method = bench.job.recipe.method
        with staged(bench.network, run.variant, run.steps):
            state = train(
                bench.network, method, bench.samples, bench.validation, settings, bench.start(), run.steps
            )
        return state.best_psnr

    def _training(self, run: Run) -> TrainingSettings:
        """Of the study; few looks, for the rate falls to zero and the last is the best, and no end before it."""
        looks = 2 if run.steps == SHORT else 6
        like = self.settings.finetune if run.steps == SHORT else self.settings.scratch
        update = {
            "steps": run.steps,
            "learning_rate": run.rate,
            "seed": run.seed,
            "validate_every": run.steps // looks,
            "patience": looks,
            "warmup_steps": like.warmup_steps,
        }
        return self.settings.finetune.model_copy(update=update)

    def _cells(self, run: Run) -> tuple[str, ...] | None:
        """Drawn by the seed, as in a study; fewer are part of more."""
        if run.cells is None:
            return None
        cells = Prepared.open(self.fields / run.target).split.train
        drawn = np.random.default_rng(run.seed).permutation(len(cells))[: run.cells]
        return tuple(sorted(cells[index] for index in drawn))

    def _laid_out(self, source: str, target: str, cells: tuple[str, ...] | None) -> LaidOut:
        folder = self.models / source
        recipe, dataset = self.source(source).recipe, str((self.fields / target).resolve())
        job = jobs_of(self.settings, recipe, dataset, folder)[1]
        return lay_out(job.model_copy(update={"cells": cells}))


def best_rate(bench: Bench, run: Run, seeds: Sequence[int]) -> Run:
    """The run with the rate whose mean over the seeds is best, of the two best with the first seed."""
    rates = list(RATES)
    for _ in range(2 * BEYOND):
        place = max(
            range(len(rates)), key=lambda each: bench.psnr(replace(run, rate=rates[each], seed=seeds[0]))
        )
        if place == len(rates) - 1 and rates[-1] < RATES[-1] * 2**BEYOND:
            rates.append(rates[-1] * 2)
        elif place == 0 and rates[0] > RATES[0] / 2**BEYOND:
            rates.insert(0, rates[0] / 2)
        else:
            break
    ranked = sorted(rates, key=lambda rate: -bench.psnr(replace(run, rate=rate, seed=seeds[0])))
    return max(
        (replace(run, rate=rate) for rate in ranked[:2]), key=lambda each: mean(scores(bench, each, seeds))
    )


def best_range(bench: Bench, run: Run) -> Variant:
    """One rate with the freeze range, of those that freeze something, that is best with the rate and seed of a run."""
    names = bench.stages(run.source, run.target)
    variants = [
        Variant(
            f"best range: {names[each.start]}-{names[each.end - 1]} frozen", start=each.start, end=each.end
        )
        for each in freeze_ranges(len(names))
        if each.end > each.start
    ]
    return max(variants, key=lambda variant: bench.psnr(replace(run, variant=variant)))


def scores(bench: Bench, run: Run, seeds: Sequence[int]) -> list[float]:
    """PSNR of a run with each seed."""
    return [bench.psnr(replace(run, seed=seed)) for seed in seeds]


def chosen_runs(bench: Bench, source: str, target: str, seeds: Sequence[int]) -> list[Run]:
    """Every variant of a transfer with its rate; one rate first, then the best range."""
    plain = best_rate(bench, Run(source, target, ONE_RATE, RATES[0], seeds[0]), seeds)
    others = [best_range(bench, plain), *DISCRIMINATIVE, GRADUAL]
    return [plain, *(best_rate(bench, replace(plain, variant=each), seeds) for each in others)]


def table(bench: Bench, runs: Sequence[Run], seeds: Sequence[int]) -> list[str]:
    """Rows of one transfer: means, and differences to one rate and to the best range, paired by seed."""
    found = [scores(bench, run, seeds) for run in runs]
    return [
        "| variant | rate of the head | PSNR (dB), mean ± SD over seeds | minus one rate | minus best range |",
        "|---|---|---|---|---|",
        *(
            f"| {run.variant.name} | {run.rate:g} | {mean(each):.3f}{spread(each)} | "
            f"{difference(each, found[0])} | {difference(each, found[1])} |"
            for run, each in zip(runs, found, strict=True)
        ),
        "",
    ]


def difference(one: Sequence[float], other: Sequence[float]) -> str:
    """Paired by seed, mean and standard deviation."""
    differences = [a - b for a, b in zip(one, other, strict=True)]
    return f"{mean(differences):+.3f}{spread(differences)}"


def spread(values: Sequence[float]) -> str:
    """Standard deviation, to follow a mean; nothing of one value."""
    return f" ± {stdev(values):.3f}" if len(values) > 1 else ""


def page(
    bench: Bench,
    chosen: Sequence[Sequence[Run]],
    seeds: Sequence[int],
    few: Sequence[int],
    long_seeds: Sequence[int],
) -> str:
    """The Markdown page."""
    lines = [
        "# Discriminative rates and gradual unfreezing beside one rate and a freeze range",
        "",
        f"PSNR on validation cells at the best look. The rate of every variant was chosen by the same cells: all "
        f"rates with seed {seeds[0]}, the best two with seeds {', '.join(map(str, seeds))}. The range was chosen by "
        f"them as well, of all there are, at the rate of one rate with seed {seeds[0]}. A difference counts from "
        f"{MARGIN_DB:g} dB on.",
        "",
    ]
    setups: list[tuple[int, int | None, Sequence[int]]] = [
        (SHORT, None, seeds),
        *((SHORT, amount, seeds) for amount in few),
        *([(LONG, None, long_seeds)] if long_seeds else []),
    ]
    for steps, cells, repeated in setups:
        amount = "all" if cells is None else str(cells)
        lines += [f"## {steps} steps, {amount} training cell{'' if cells == 1 else 's'}", ""]
        for runs in chosen:
            lines += [
                f"{runs[0].source} → {runs[0].target}, {len(repeated)} seed{'' if len(repeated) == 1 else 's'}:",
                "",
            ]
            lines += table(bench, [replace(run, steps=steps, cells=cells) for run in runs], repeated)
    return "\n".join(lines)


def arguments() -> argparse.Namespace:
    """Of the command line."""
    parser = argparse.ArgumentParser(description="Compare ways to fine-tune on validation cells.")
    parser.add_argument(
        "--fields", type=Path, default=Path("data/fields"), help="prepared fields by structure"
    )
    parser.add_argument("--models", type=Path, default=Path("models"), help="source restorers by name")
    parser.add_argument(
        "--kept", type=Path, default=Path("build/discriminative.jsonl"), help="what was trained"
    )
    parser.add_argument("--out", type=Path, default=Path("docs/benchmark_discriminative.md"), help="the page")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument(
        "--few", type=int, nargs="*", default=[1, 2], help="training cells, besides all there are"
    )
    parser.add_argument("--long-seeds", type=int, nargs="*", default=[1, 2, 3], help=f"of {LONG} steps")
    return parser.parse_args()


def main() -> None:
    """Train what is not known yet, and write."""
    asked = arguments()
    torch.set_num_threads(1)
    asked.kept.parent.mkdir(parents=True, exist_ok=True)
    study = next(iter(read_params().transfers.values())).study
    bench = Bench(study, asked.fields, asked.models, asked.kept)
    chosen = [chosen_runs(bench, source, target, asked.seeds) for source, target in TRANSFERS]
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_text(page(bench, chosen, asked.seeds, asked.few, asked.long_seeds))
    print(asked.out)


if __name__ == "__main__":
    main()
