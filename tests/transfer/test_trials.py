"""Jobs trained as Ray tasks: a stretch at a time is the same as in one go, and a kill repeats nothing that ended."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import ray
import torch

from sim_models.config import BadInput
from sim_models.freeze import FreezeRange
from sim_models.restorer import Restorer
from sim_models.training.job import Job, lay_out
from sim_models.training.loop import DIVERGED_DB, State, train
from sim_models.transfer.search import Stretch
from sim_models.transfer.trials import Trials

pytestmark = [pytest.mark.timeout(600), pytest.mark.usefixtures("ray_cluster")]

KILLS = int(os.environ.get("SIM_MODELS_TEST_KILLS", "2"))
"""each starts a driver anew, which takes seconds; ask for ten before a release"""
STEPS = 40 + 20 * KILLS
DRIVER = """
import sys
import ray
from pathlib import Path
from sim_models.training.job import Job
from sim_models.transfer.trials import Trials

address, folder, jobs, log = sys.argv[1:]
ray.init(address=address, log_to_driver=False, logging_level="ERROR")

def note(job, steps):
    with open(log, "a") as file:
        file.write(f"{job.training.seed} {steps}\\n")

print("ready", flush=True)
Trials(Path(folder), note).finish(list(map(Job.model_validate_json, Path(jobs).read_text().splitlines())))
"""


def with_training(job: Job, **changes: Any) -> Job:
    return job.model_copy(update={"training": job.training.model_copy(update=changes)})


@pytest.fixture
def fine_tune(job: Job, restorer: Restorer, tmp_path: Path) -> Job:
    """Of twelve steps with a look at each, so of three stretches, with the first stages frozen."""
    restorer.save(tmp_path / "source")
    frozen = FreezeRange(start=0, end=3)
    job = job.model_copy(update={"source": str(tmp_path / "source"), "frozen": frozen})
    return with_training(job, steps=12, validate_every=1)


class Noted:
    """Progress that is kept."""

    def __init__(self) -> None:
        self.stretches: list[tuple[int, int]] = []
        """(seed, steps)"""

    def __call__(self, job: Job, steps: int) -> None:
        self.stretches.append((job.training.seed, steps))


def in_one_go(job: Job) -> State:
    bench = lay_out(job)
    return train(
        bench.network,
        job.recipe.method,
        bench.samples,
        bench.validation,
        job.training,
        bench.start(),
        job.training.steps,
    )


def assert_same(one: State, other: State) -> None:
    assert (one.step, one.best_step, one.best_psnr) == (other.step, other.best_step, other.best_psnr)
    for name, tensor in one.weights.items():
        assert torch.equal(other.weights[name], tensor), name
        assert torch.equal(other.best_weights[name], one.best_weights[name]), name
    assert [(step, look["val_psnr"]) for step, look in one.curve] == [
        (step, look["val_psnr"]) for step, look in other.curve
    ]


def kept(folder: Path) -> dict[str, list[int]]:
    """Steps of the states of every job."""
    return {job.name: sorted(int(file.stem) for file in job.glob("*.pt")) for job in folder.iterdir()}


def test_in_stretches_it_is_the_same_to_the_bit_as_in_one_go(fine_tune: Job, tmp_path: Path) -> None:
    jobs = [with_training(fine_tune, seed=seed) for seed in (3, 4)]
    noted = Noted()
    trials = Trials(tmp_path / "kept", noted)
    assert [stretch.state.step for stretch in trials.advance(jobs, 3)] == [3, 3]
    assert [stretch.state.step for stretch in trials.advance(jobs[:1], 7)] == [7]
    finished = trials.finish(jobs)
    for job, stretch in zip(jobs, finished, strict=True):
        assert_same(stretch.state, in_one_go(job))
        assert sum(stretch.psnrs) / len(stretch.psnrs) == pytest.approx(stretch.state.best_psnr)
        assert 0 < stretch.trainable < 1
    assert [steps for seed, steps in noted.stretches if seed == 3] == [3, 2, 2, 3, 2]
    assert [steps for seed, steps in noted.stretches if seed == 4] == [3, 2, 5, 2]
    assert sorted(kept(tmp_path / "kept").values()) == [[3, 7, 12], [3, 12]], (
        "only what will be asked for again"
    )


def test_what_is_kept_is_found_again_at_its_rung(fine_tune: Job, tmp_path: Path) -> None:
    first = Trials(tmp_path / "kept")
    rung, end = first.advance([fine_tune], 5)[0], first.finish([fine_tune])[0]
    noted = Noted()
    again = Trials(tmp_path / "kept", noted)
    assert_same(again.advance([fine_tune], 5)[0].state, rung.state)
    found = again.finish([fine_tune])[0]
    assert_same(found.state, end.state)
    assert (found.psnrs, found.trainable) == (end.psnrs, end.trainable)
    assert noted.stretches == []
    again.advance([with_training(fine_tune, seed=9)], 5)
    assert noted.stretches == [(9, 5)], "another job is not taken for it"


def test_a_study_that_lies_elsewhere_now_finds_what_it_has(fine_tune: Job, tmp_path: Path) -> None:
    """As one that was submitted to a cluster again, where every job has a folder of its own."""
    assert fine_tune.source is not None
    end = Trials(tmp_path / "kept").finish([fine_tune])[0]
    moved = {name: tmp_path / "moved" / Path(getattr(fine_tune, name)).name for name in ("dataset", "source")}
    for name, folder in moved.items():
        shutil.copytree(getattr(fine_tune, name), folder)
    noted = Noted()
    found = Trials(tmp_path / "kept", noted).finish(
        [fine_tune.model_copy(update={name: str(folder) for name, folder in moved.items()})]
    )[0]
    assert noted.stretches == []
    assert_same(found.state, end.state)


def test_patience_ends_a_job_for_good(fine_tune: Job, tmp_path: Path) -> None:
    impatient = with_training(fine_tune, learning_rate=1e-12, warmup_steps=0, patience=2, steps=30)
    noted = Noted()
    trials = Trials(tmp_path / "kept", noted)
    state = trials.finish([impatient])[0].state
    assert state.step < 30
    assert state.stopped_early(impatient.training)
    assert_same(state, in_one_go(impatient))
    told = list(noted.stretches)
    assert_same(trials.finish([impatient])[0].state, state)
    assert noted.stretches == told


def test_what_diverged_is_not_sent_out_again(fine_tune: Job, tmp_path: Path) -> None:
    wild = with_training(fine_tune, learning_rate=1e30, warmup_steps=0, clip_norm=1e30)
    noted = Noted()
    stretch = Trials(tmp_path / "kept", noted).finish([wild])[0]
    assert stretch.state.curve[-1][1]["val_psnr"] == DIVERGED_DB
    assert len(noted.stretches) == 1
    assert stretch.state.step < wild.training.steps


def test_the_restorer_has_the_best_weights_and_its_parent(fine_tune: Job, tmp_path: Path) -> None:
    trials = Trials(tmp_path / "kept")
    stretch = trials.finish([fine_tune])[0]
    restorer = trials.restorer(fine_tune, stretch)
    assert restorer.card.steps == stretch.state.best_step
    assert restorer.card.frozen_stages == ("enc1", "enc2", "bottleneck")
    assert restorer.card.parent == Restorer.load(Path(str(fine_tune.source))).weights_sha256


def test_what_comes_back_holds_no_weights_but_they_are_kept(fine_tune: Job, tmp_path: Path) -> None:
    """A study has hundreds of them, of networks that may be large."""
    trials = Trials(tmp_path / "kept")
    for done in (trials.finish([fine_tune]), trials.finish([fine_tune])):
        (stretch,) = done
        assert (stretch.state.weights, stretch.state.best_weights, stretch.state.optimiser) == ({}, {}, None)
        assert trials.restorer(fine_tune, stretch).network.num_parameters > 0


def test_random_weights_of_two_seeds_do_not_share_what_their_frozen_stages_make(
    job: Job, tmp_path: Path
) -> None:
    frozen = job.model_copy(update={"frozen": FreezeRange(start=0, end=3)})
    for seed in (3, 4, 5):  # more than there are workers, so that some worker meets two
        one = with_training(frozen, seed=seed)
        assert_same(Trials(tmp_path / "kept").finish([one])[0].state, in_one_go(one))


def test_a_mistake_in_a_job_is_told_as_such(fine_tune: Job, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"crop_px is 18 .* choose 16"):
        Trials(tmp_path / "kept").finish([with_training(fine_tune, crop_px=18)])


@pytest.mark.faults
def test_a_killed_driver_repeats_nothing_that_ended_and_leaves_no_trace(
    fine_tune: Job, tmp_path: Path
) -> None:
    jobs = [with_training(fine_tune, seed=seed, steps=STEPS) for seed in (1, 2, 3)]
    (tmp_path / "jobs").write_text("".join(job.model_dump_json() + "\n" for job in jobs))
    folder = tmp_path / "kept"
    folder.mkdir()
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed of the kills: {seed}")
    delays = random.Random(seed)
    before: dict[int, int] = {}
    for kill in range(KILLS):
        noted = _killed_after(delays.uniform(0, 0.4), folder, tmp_path, tmp_path / f"log_{kill}")
        after = {job.training.seed: _reached(folder, job) for job in jobs}
        for each, steps in noted.items():
            assert steps <= after[each] - before.get(each, 0), "a stretch that had ended was trained again"
        print(f"after kill {kill}: {after}")
        assert sum(after.values()) > sum(before.values())
        before = after
    assert min(before.values()) < STEPS, "all was trained before the last kill"
    rest = Noted()
    finished = Trials(folder, rest).finish(jobs)
    for job, stretch in zip(jobs, finished, strict=True):
        steps = sum(count for each, count in rest.stretches if each == job.training.seed)
        assert steps == STEPS - before[job.training.seed]
        assert_same(stretch.state, in_one_go(job))


def _killed_after(seconds: float, folder: Path, root: Path, log: Path) -> dict[int, int]:
    """Steps that a driver noted by seed, until it was killed so long after its first stretch."""
    address = ray.get_runtime_context().gcs_address
    command = [sys.executable, "-c", DRIVER, address, str(folder), str(root / "jobs"), str(log)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as driver:
        assert driver.stdout is not None
        assert driver.stdout.readline() == b"ready\n"
        while not log.exists() and driver.poll() is None:  # workers of a new driver take seconds to start
            time.sleep(0.01)
        time.sleep(seconds)
        driver.send_signal(signal.SIGKILL)
    noted: dict[int, int] = {}
    for line in log.read_text().splitlines() if log.exists() else []:
        seed, steps = map(int, line.split())
        noted[seed] = noted.get(seed, 0) + steps
    return noted


def _reached(folder: Path, job: Job) -> int:
    found: Stretch | None = Trials(folder)._load(job, job.training.steps)
    return found.state.step if found else 0
