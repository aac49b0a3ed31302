"""A transfer study: use a model as it is, fine-tune it, or train from scratch? And with how many stacks?

    direct            the source as it is
    finetune          the source, with the freeze range the search found, trained for a fraction of the steps
    finetune_equal    the same with as many steps as from scratch
    scratch           random weights

Everything is chosen on the validation cells. The order: direct use; the search; its finalists with every seed, of which
one is chosen; that one, for few steps and for many, and training from scratch with few cells, more and all.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import numpy as np
import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt, model_validator

from sim_models.config import BadInput, Settings
from sim_models.evaluation.intervals import Bootstrap
from sim_models.freeze import FreezeRange
from sim_models.recipe import Recipe
from sim_models.restorer import Restorer
from sim_models.samples import Samples, Share
from sim_models.sources.prepared import Prepared
from sim_models.training.job import Job, fields_of, lay_out
from sim_models.training.loop import DIVERGED_DB, TrainingSettings, psnrs
from sim_models.transfer.cost import TERA, step_operations
from sim_models.transfer.curves import Enough, TimeToQuality, enough, time_to_quality
from sim_models.transfer.decision import Contender, Decision, Repeat, decide
from sim_models.transfer.search import SearchSettings, Stretch, TrialRecord, pareto, search
from sim_models.transfer.trials import Trials

ArmName = Literal["direct", "finetune", "finetune_equal", "scratch"]
ARMS: tuple[ArmName, ...] = ("direct", "finetune", "finetune_equal", "scratch")
NOTHING = FreezeRange(start=0, end=0)


class StudySettings(Settings):
    """How the arms of a study are trained and compared."""

    scratch: TrainingSettings
    finetune: TrainingSettings
    """its learning rate is replaced by the one the search finds"""
    search: SearchSettings
    finalists: PositiveInt
    """freeze ranges that are trained with every seed, before one is chosen; freezing nothing is always among them, then
    the best other, then the cheapest that may be as good"""
    seeds: tuple[NonNegativeInt, ...] = Field(min_length=1)
    """of every training that is compared"""
    cells: tuple[PositiveInt, ...]
    """training cells of the learning curves, rising; all there are comes after them"""
    margin_db: NonNegativeFloat
    """what a saving of compute may cost"""

    @model_validator(mode="after")
    def _seeds_differ(self) -> Self:
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError("seeds must differ: a seed that is repeated is no more evidence")
        return self

    @model_validator(mode="after")
    def _rungs_are_looks(self) -> Self:
        if odd := [rung for rung in self.search.rungs if rung % self.finetune.validate_every]:
            raise ValueError(
                f"search.rungs has {odd[0]}, which is no multiple of finetune.validate_every "
                f"({self.finetune.validate_every}); trials are compared by their looks"
            )
        return self


class SourceScore(Settings):
    """A source model, used as it is on the validation cells."""

    name: str
    val_psnr: float


class StudyRecord(Settings):
    """What a study found. The test cells have had no part in it."""

    source: str
    """the model that was fine-tuned"""
    structure: str
    sources: tuple[SourceScore, ...]
    """all that were tried as they are, the best first"""
    stages: tuple[str, ...]
    validation_cells: tuple[str, ...]
    """the cell of every validation field"""
    trials: tuple[TrialRecord, ...]
    finalists: tuple[Contender, ...]
    """freeze ranges, by their label"""
    range_decision: Decision
    frozen: FreezeRange
    learning_rate: float
    arms: tuple[Contender, ...]
    """with all training cells"""
    decision: Decision
    kept_seed: dict[str, int]
    """arm -> seed of the model that is kept: the best on the validation cells"""
    learning: tuple[Contender, ...]
    """`finetune`, `finetune_equal` and `scratch` with ever more training cells, all of them last"""
    enough: tuple[Enough, ...]
    """of `finetune` and of `finetune_equal`"""
    time_to_quality: TimeToQuality
    spent_tflop: dict[str, float]
    """floating-point operations, in 10^12: `search`, `finalists`, `learning` (arms included); what one has trained for
    another is counted once"""

    @property
    def chosen(self) -> ArmName:
        """The arm to use."""
        return next(arm for arm in ARMS if arm == self.decision.chosen)

    def arm(self, name: str) -> Contender:
        """An arm by its name."""
        return next(arm for arm in self.arms if arm.name == name)


@dataclass(frozen=True)
class Sources:
    """Models that might be carried to the target, by name."""

    folders: dict[str, Path]

    def load(self) -> dict[str, Restorer]:
        """All of them."""
        return {name: Restorer.load(folder) for name, folder in self.folders.items()}


@dataclass
class Listener:
    """Who is told what, while a study runs; all may be told twice after an interruption."""

    trial: Callable[[TrialRecord], None]
    fit: Callable[[str, Job, Stretch], None]
    """name of an arm or finalist, its job, what came out"""


@dataclass(frozen=True)
class Study:
    """A study that is under way."""

    settings: StudySettings
    prepared: Prepared
    """whose training cells all have what is learned towards"""
    folder: str
    """of the prepared fields, as the workers see it"""
    trials: Trials
    bootstrap: Bootstrap
    listener: Listener

    def run(self, sources: Sources, out: Path) -> StudyRecord:
        """Run it, and write the restorer of every arm to `out/<arm>`.

        Raises:
            BadInput: if no source fits the target, or there are fewer training cells than a learning curve asks for.
        """
        self.sizes()  # refuses what cannot be before anything is trained
        models = sources.load()
        directs = {name: self._direct(model) for name, model in models.items()}
        ranked = sorted(directs, key=lambda name: -directs[name].val_psnr)
        source = models[ranked[0]]
        cells = self._cells(source.recipe)
        scratch, finetune = jobs_of(self.settings, source.recipe, self.folder, sources.folders[ranked[0]])
        costs = Costs()

        found = search(finetune, self.settings.search, self.trials.advance, self.listener.trial)
        finalists, range_decision = self.choose_range(finetune, found, costs)
        winner = next(job for job, each in finalists if each.name == range_decision.chosen)

        learning, arms, kept = self._arms(scratch, winner, costs)
        direct = directs[ranked[0]]
        every = [direct, *arms.values()]
        decision = decide(every, cells, self.settings.margin_db, self.bootstrap)
        for name, (job, stretch) in kept.items():
            self.trials.restorer(job, stretch).save(out / name)
        source.save(out / "direct")
        curves = [[each for each in learning if each.name == arm] for arm in ("finetune", "finetune_equal")]
        anew = [each for each in learning if each.name == "scratch"]
        return StudyRecord(
            source=ranked[0],
            structure=self.prepared.structure,
            sources=tuple(SourceScore(name=name, val_psnr=directs[name].val_psnr) for name in ranked),
            stages=tuple(source.network.stages()),
            validation_cells=cells,
            trials=tuple(found),
            finalists=tuple(each for _, each in finalists),
            range_decision=range_decision,
            frozen=winner.frozen,
            learning_rate=winner.training.learning_rate,
            arms=tuple(every),
            decision=decision,
            kept_seed={name: job.training.seed for name, (job, _) in kept.items()},
            learning=tuple(learning),
            enough=tuple(
                enough(fine, anew, cells, self.settings.margin_db, self.bootstrap) for fine in curves
            ),
            time_to_quality=time_to_quality([arms["finetune"], arms["finetune_equal"]], arms["scratch"]),
            spent_tflop=self._spent(found, [each for _, each in finalists], learning),
        )

    def sizes(self) -> list[int]:
        """Numbers of training cells of the learning curves, all of them last.

        Raises:
            BadInput: if one is more than there are.
        """
        there_are = len(self.prepared.split.train)
        wanted = sorted(set(self.settings.cells))
        if wanted and wanted[-1] > there_are:
            raise BadInput(
                f"study.cells asks for {wanted[-1]} training cells, but {self.prepared.structure} has {there_are} to "
                "learn from; take fewer, or image more cells"
            )
        return [*(size for size in wanted if size < there_are), there_are]

    def _cells(self, recipe: Recipe) -> tuple[str, ...]:
        """The cell of every validation field at the light levels of a recipe."""
        return tuple(field.cell for field in fields_of(self.prepared, "val", recipe.task))

    def _direct(self, source: Restorer) -> Contender:
        task = source.recipe.task
        validation = Samples(fields_of(self.prepared, "val", task), task, source.normaliser)
        torch.manual_seed(0)  # some published networks draw in use as well
        found = psnrs(source.network, source.recipe.method, validation, Share()).tolist()
        scores = _per_field(found, self._cells(source.recipe))
        repeat = Repeat(seed=0, steps=0, best_step=0, seconds=0.0, psnrs=scores, curve=())
        return Contender(
            name="direct", cells=0, frozen="all", learning_rate=None, budget=0, tflop=0.0, repeats=(repeat,)
        )

    def choose_range(
        self, finetune: Job, found: list[TrialRecord], costs: "Costs"
    ) -> tuple[list[tuple[Job, Contender]], Decision]:
        """Train freezing nothing and ranges from both ends of the Pareto set with every seed, and decide between them.

        Args:
            finetune: the job that was searched for.
            found: the trials of its search.
            costs: what steps cost.

        Raises:
            BadInput: if every trial diverged, or one finalist did with every seed.
        """
        sound = [trial for trial in found if trial.val_psnr > DIVERGED_DB]
        if not sound:
            raise BadInput("every trial of the search diverged; lower search.learning_rates")
        ended = sorted((trial for trial in sound if not trial.pruned), key=lambda trial: -trial.val_psnr)
        chosen = _ranges(ended, self.settings.margin_db)[: max(1, self.settings.finalists - 1)]
        jobs = []
        for frozen in [NOTHING, *chosen]:
            tried = [trial for trial in sound if trial.frozen == frozen]
            # The one that went furthest tells most; where freezing nothing only diverged, the rate of the best.
            top = max(tried or ended[:1], key=lambda trial: (trial.steps, trial.val_psnr))
            training = finetune.training.model_copy(update={"learning_rate": top.learning_rate})
            jobs.append(finetune.model_copy(update={"training": training, "frozen": frozen}))
        label = {job.frozen: job.frozen.label(lay_out(job).network) for job in jobs}
        contenders = self._contenders([(label[job.frozen], job) for job in jobs], costs)
        return list(zip(jobs, contenders, strict=True)), decide(
            contenders, self._cells(finetune.recipe), self.settings.margin_db, self.bootstrap
        )

    def _arms(
        self, scratch: Job, finetune: Job, costs: "Costs"
    ) -> tuple[list[Contender], dict[str, Contender], dict[str, tuple[Job, Stretch]]]:
        """The learning curves, the arms with all cells, and of each arm the model that is kept."""
        rate = {"learning_rate": finetune.training.learning_rate}
        equal = finetune.model_copy(update={"training": scratch.training.model_copy(update=rate)})
        wanted = [
            (name, job, size)
            for size in self.sizes()
            for name, job in (("finetune", finetune), ("finetune_equal", equal), ("scratch", scratch))
        ]
        repeated = [
            [self._with_seed(job, seed, size) for seed in self.settings.seeds] for _, job, size in wanted
        ]
        stretches = iter(self.trials.finish([job for jobs in repeated for job in jobs]))
        contenders: list[Contender] = []
        kept: dict[str, tuple[Job, Stretch]] = {}
        for (name, _, size), jobs in zip(wanted, repeated, strict=True):
            done = [next(stretches) for _ in jobs]
            contenders.append(self._contender(name, jobs, done, size, costs))
            if size == self.sizes()[-1]:
                kept[name] = max(zip(jobs, done, strict=True), key=lambda each: each[1].state.best_psnr)
        arms = {each.name: each for each in contenders if each.cells == self.sizes()[-1]}
        return contenders, arms, kept

    def _spent(
        self, found: Sequence[TrialRecord], finalists: Sequence[Contender], learning: Sequence[Contender]
    ) -> dict[str, float]:
        """A trial of the search, a finalist and an arm may be the same job, which was trained once."""
        whole, training = self.sizes()[-1], self.settings.finetune
        trained: dict[tuple[object, ...], int] = {
            (False, trial.label, trial.learning_rate, training.steps, whole, training.seed): trial.steps
            for trial in found
        }

        def anew(each: Contender) -> float:
            steps = 0
            for repeat in each.repeats:
                scratch = each.name == "scratch"
                key = scratch, each.frozen, each.learning_rate, each.budget, each.cells, repeat.seed
                steps += max(0, repeat.steps - trained.get(key, 0))
                trained[key] = repeat.steps
            return steps * each.tflop / each.steps

        return {
            "search": sum(trial.tflop for trial in found),
            "finalists": sum(anew(each) for each in finalists),
            "learning": sum(anew(each) for each in learning),
        }

    def _contenders(self, named: Sequence[tuple[str, Job]], costs: "Costs") -> list[Contender]:
        """Every job with every seed and all cells."""
        size = self.sizes()[-1]
        repeated = [[self._with_seed(job, seed, size) for seed in self.settings.seeds] for _, job in named]
        stretches = iter(self.trials.finish([job for jobs in repeated for job in jobs]))
        return [
            self._contender(name, jobs, [next(stretches) for _ in jobs], size, costs)
            for (name, _), jobs in zip(named, repeated, strict=True)
        ]

    def _with_seed(self, job: Job, seed: int, size: int) -> Job:
        """The job with another seed, which also draws the cells it may learn from; fewer are part of more."""
        training = job.training.model_copy(update={"seed": seed})
        cells = self.prepared.split.train
        drawn = np.random.default_rng(seed).permutation(len(cells))[:size]
        few = tuple(sorted(cells[index] for index in drawn)) if size < len(cells) else None
        return job.model_copy(update={"training": training, "cells": few})

    def _contender(
        self, name: str, jobs: Sequence[Job], done: Sequence[Stretch], size: int, costs: "Costs"
    ) -> Contender:
        for job, stretch in zip(jobs, done, strict=True):
            self.listener.fit(f"{name} n={size} seed {job.training.seed}", job, stretch)
        if size == self.sizes()[-1] and not any(stretch.psnrs for stretch in done):
            raise BadInput(
                f"{name} with all {size} cells diverged with every seed: no look at the validation cells gave a finite "
                "score; lower learning_rate or clip_norm"
            )
        steps = float(np.mean([stretch.state.step for stretch in done]))
        first = jobs[0]
        return Contender(
            name=name,
            cells=size,
            frozen=first.frozen.label(lay_out(first).network),
            learning_rate=first.training.learning_rate,
            budget=first.training.steps,
            tflop=costs.of(first, steps),
            repeats=tuple(
                _repeat(job, stretch, self._cells(job.recipe))
                for job, stretch in zip(jobs, done, strict=True)
            ),
        )


def _ranges(ended: Sequence[TrialRecord], margin_db: float) -> list[FreezeRange]:
    """What deserves every seed, of trials that ran to their end, the best first; freezing nothing does anyway.

    The best, then those of the Pareto set within the margin of it from the cheapest up, then the others by quality.
    """
    others = [trial for trial in ended if trial.frozen != NOTHING]
    near = [trial for trial in pareto(others) if trial.val_psnr >= others[0].val_psnr - margin_db]
    return list(dict.fromkeys(trial.frozen for trial in [*others[:1], *reversed(near), *others]))


def jobs_of(settings: StudySettings, recipe: Recipe, dataset: str, source: Path) -> tuple[Job, Job]:
    """The job from scratch and the fine-tuning job, both with all cells and nothing frozen.

    Args:
        settings: of the study.
        recipe: that of the source, which scratch has as well.
        dataset: folder of prepared fields, as the workers see it.
        source: folder of the restorer to start from.
    """
    scratch = Job(recipe=recipe, training=settings.scratch, dataset=dataset, source=None, frozen=NOTHING)
    update = {"training": settings.finetune, "source": str(source.resolve())}
    return scratch, scratch.model_copy(update=update)


class Costs:
    """What steps cost, counted once for every freeze range, batch and crop."""

    def __init__(self) -> None:
        self._known: dict[tuple[FreezeRange, int, int], float] = {}

    def of(self, job: Job, steps: float) -> float:
        """Floating-point operations of so many steps, in 10^12."""
        key = job.frozen, job.training.batch, job.training.crop_px
        if key not in self._known:
            self._known[key] = step_operations(lay_out(job))
        return steps * self._known[key] / TERA


def _repeat(job: Job, stretch: Stretch, cells: Sequence[str]) -> Repeat:
    state = stretch.state
    return Repeat(
        seed=job.training.seed,
        steps=state.step,
        best_step=state.best_step,
        seconds=state.seconds,
        psnrs=_per_field(stretch.psnrs, cells) if stretch.psnrs else (DIVERGED_DB,) * len(cells),
        curve=tuple((step, metrics["val_psnr"], metrics["seconds"]) for step, metrics in state.curve),
    )


def _per_field(found: Sequence[float], cells: Sequence[str]) -> tuple[float, ...]:
    """Scores by field, where a field gives several samples (one for each angle)."""
    return tuple(np.reshape(found, (len(cells), -1)).mean(axis=1).tolist())
