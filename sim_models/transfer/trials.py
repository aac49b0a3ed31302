"""Train jobs as Ray tasks, one accelerator each, a stretch at a time; whatever was trained is kept.

A batch of crops depends on seed and step alone, so a job may be set down after any stretch and taken up again by
another worker. Its state is written down after each; a kill costs the stretches under way, never one that ended.
"""

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import overload

import ray
import torch

from sim_models.freeze import trainable_share
from sim_models.restorer import Restorer
from sim_models.samples import Share
from sim_models.training.distributed import resources
from sim_models.training.job import Job, LaidOut, lay_out
from sim_models.training.loop import DIVERGED_DB, State, TrainingSettings, psnrs, train
from sim_models.transfer.prefix import Store, remembered
from sim_models.transfer.search import Stretch

LOOKS_PER_STRETCH = 5
"""looks at the validation cells after which a job is set down"""

Progress = Callable[[Job, int], None]
"""Hears how many steps of a job were trained just now"""


def nobody(job: Job, steps: int) -> None:
    """Progress that nobody follows."""


@dataclass(frozen=True)
class Trials:
    """Trains jobs on the running Ray and keeps their states in a folder.

    The folder must belong to this code and these data alone, for a job is known by its settings.
    """

    folder: Path
    progress: Progress = nobody

    def advance(self, jobs: list[Job], until: int) -> list[Stretch]:
        """Train every job up to step `until`, or to the end of its patience, as many at once as the cluster holds."""
        return self.advance_each([(job, until) for job in jobs])

    def finish(self, jobs: list[Job]) -> list[Stretch]:
        """Train every job to its end."""
        return self.advance_each([(job, job.training.steps) for job in jobs])

    def advance_each(self, wanted: list[tuple[Job, int]]) -> list[Stretch]:
        """Train each job up to a step of its own; what comes back holds no weights, which are on disk."""
        self.folder.mkdir(parents=True, exist_ok=True)
        on_gpu = resources().get("GPU", 0) >= 1
        task = _advance.options(num_cpus=1, num_gpus=1 if on_gpu else 0)
        found = [_without_weights(self._load(job, until)) for job, until in wanted]
        under_way: dict[ray.ObjectRef[Stretch], int] = {}
        passed: dict[int, int] = {}
        """last step of each job that this call has reached; nobody will ask for it once there is a later one"""

        def send(index: int) -> None:
            job, until = wanted[index]
            before = self._load(job, until) if found[index] else None
            state = before.state if before else None
            stop = _next_stop(job.training, state.step if state else 0, until)
            under_way[task.remote(job.model_dump_json(), state, stop)] = index

        for index, (job, until) in enumerate(wanted):
            if not _is_done(job, found[index], until):
                send(index)
        while under_way:
            (ready,), _ = ray.wait(list(under_way), num_returns=1)
            index = under_way.pop(ready)
            job, until = wanted[index]
            before = found[index]
            stretch: Stretch = ray.get(ready)
            self._save(job, stretch)
            found[index] = _without_weights(stretch)
            if index in passed:
                self._path(job, passed[index]).unlink(missing_ok=True)
            passed[index] = stretch.state.step
            self.progress(job, stretch.state.step - (before.state.step if before else 0))
            if not _is_done(job, stretch, until):
                send(index)
        return [stretch for stretch in found if stretch is not None]

    def restorer(self, job: Job, stretch: Stretch) -> Restorer:
        """What a job that was finished has made.

        Raises:
            BadInput: if it diverged.
        """
        kept = self._load(job, stretch.state.step)
        assert kept is not None, "a stretch is on disk before anyone hears of it"
        return lay_out(job).restorer(kept.state)

    def _path(self, job: Job, step: int) -> Path:
        """Of a state. Folders count by their names, so that a study goes on elsewhere, as in a copy."""
        names = {"dataset": Path(job.dataset).name, "source": job.source and Path(job.source).name}
        key = hashlib.sha256(job.model_copy(update=names).model_dump_json().encode()).hexdigest()[:24]
        return self.folder / key / f"{step:09d}.pt"

    def _save(self, job: Job, stretch: Stretch) -> None:
        path = self._path(job, stretch.state.step)
        path.parent.mkdir(exist_ok=True)
        partial = path.with_suffix(".partial")
        torch.save(
            {
                "state": asdict(stretch.state),
                "trainable": stretch.trainable,
                "psnrs": list(stretch.psnrs),
            },
            partial,
        )
        partial.replace(path)

    def _load(self, job: Job, until: int) -> Stretch | None:
        """The furthest state that is not past `until`: of a search that is done again, that of the same rung."""
        folder = self._path(job, 0).parent
        kept = sorted(path for path in folder.glob("*.pt") if int(path.stem) <= until)
        if not kept:
            return None
        values = torch.load(kept[-1], map_location="cpu", weights_only=True)
        return Stretch(State(**values["state"]), values["trainable"], tuple(values["psnrs"]))


@overload
def _without_weights(stretch: Stretch) -> Stretch: ...
@overload
def _without_weights(stretch: None) -> None: ...
def _without_weights(stretch: Stretch | None) -> Stretch | None:
    if stretch is None:
        return None
    return replace(stretch, state=replace(stretch.state, weights={}, best_weights={}, optimiser=None))


def _is_done(job: Job, stretch: Stretch | None, until: int) -> bool:
    if stretch is None:
        return False
    state = stretch.state
    return state.step >= until or state.stopped_early(job.training) or _diverged(state)


def _diverged(state: State) -> bool:
    """Whether the last look met what is no number; the loop stops there, and more steps would not mend it."""
    return state.curve[-1][1]["val_psnr"] == DIVERGED_DB


def _next_stop(training: TrainingSettings, step: int, until: int) -> int:
    """Looks come at the same steps wherever a job is set down."""
    length = LOOKS_PER_STRETCH * training.validate_every
    return min(until, (step // length + 1) * length)


_STORE = Store()
"""of this worker; the next trials of the same source find it filled"""


@ray.remote(max_retries=3)
def _advance(job_json: str, state: State | None, until: int) -> Stretch:
    torch.set_num_threads(1)
    job = Job.model_validate_json(job_json)
    bench = lay_out(job)
    if torch.cuda.is_available():
        bench.network.to("cuda")
    # Random weights have no name, and are those of this seed and recipe alone.
    weights = bench.card.parent or hashlib.sha256(job_json.encode()).hexdigest()
    with remembered(bench.network, job.frozen, weights, _STORE):
        state = train(
            bench.network,
            job.recipe.method,
            bench.samples,
            bench.validation,
            job.training,
            state or bench.start(),
            until,
        )
        scores = _scores(bench, state)
    bench.verify_frozen(state.weights)
    return Stretch(state, trainable_share(bench.network), scores)


def _scores(bench: LaidOut, state: State) -> tuple[float, ...]:
    """PSNR of every validation field with the best weights; none where training diverged from the start."""
    if not state.best_weights:
        return ()
    bench.network.load_state_dict(state.best_weights)
    found = psnrs(bench.network, bench.job.recipe.method, bench.validation, Share())
    return tuple(found.tolist())
