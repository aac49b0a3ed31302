"""Ray Train around the loop: the same weights on one worker, on two, and after one was killed."""

import os
import signal
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import ray
import torch
from ray import cloudpickle

from sim_models.config import BadInput
from sim_models.freeze import FreezeRange
from sim_models.restorer import Restorer
from sim_models.tracking.logger import Logger
from sim_models.tracking.runs import Tracker, client_of
from sim_models.training import distributed
from sim_models.training.distributed import TRIES, _cpus, _last_checkpoint, cluster, fit
from sim_models.training.job import Job, lay_out
from sim_models.training.loop import State, train
from sim_models.training.place import Place

pytestmark = pytest.mark.timeout(600)  # starting processes takes minutes on a machine that is busy otherwise
cloudpickle.register_pickle_by_value(sys.modules[__name__])
"""workers cannot import a module of tests"""


@dataclass(frozen=True)
class Diary:
    """Notes every look, and dies with its worker at one of them, the first time it gets there."""

    path: Path
    logger: Logger
    deadly_step: int | None = None
    failing_step: int | None = None

    def __call__(self, step: int, metrics: dict[str, float]) -> None:
        first_time = step not in self.steps()
        with self.path.open("a") as diary:
            diary.write(f"{step}\n")
        if step == self.failing_step:
            raise RuntimeError(f"not at step {step}")
        self.logger(step, metrics)
        if step == self.deadly_step and first_time:
            time.sleep(1)  # checkpoints count once the controller has seen them
            os.kill(os.getpid(), signal.SIGKILL)

    def steps(self) -> list[int]:
        """Every look, as often as it was told of."""
        return [int(line) for line in self.path.read_text().splitlines()] if self.path.exists() else []

    def logged(self) -> list[int]:
        """Every look that MLflow knows of."""
        return [
            look.step
            for look in client_of(self.logger.uri).get_metric_history(self.logger.run_id, "val_psnr")
        ]


@pytest.fixture
def diary(mlflow_root: Path) -> Diary:
    tracker = Tracker.open("test", mlflow_root)
    with tracker.run("train", "key", {}, {}) as run:
        return Diary(mlflow_root / "diary", run.logger)


def without_ray(job: Job) -> State:
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


@pytest.mark.usefixtures("ray_cluster")
def test_a_killed_worker_is_replaced_and_leaves_no_trace_in_the_weights(
    job: Job, diary: Diary, tmp_path: Path
) -> None:
    """Bit for bit what the plain loop gives, batch statistics and optimiser included."""
    state = fit(job, tmp_path / "runs" / "job", Place(workers=1, threads=1), replace(diary, deadly_step=6))

    assert diary.steps() == [2, 4, 6, 6, 8]
    assert diary.logged() == [2, 4, 6, 8]
    undisturbed = without_ray(job)
    for name, tensor in undisturbed.weights.items():
        assert torch.equal(state.weights[name], tensor), name
        assert torch.equal(state.best_weights[name], undisturbed.best_weights[name]), name
    assert [step for step, _ in state.curve] == [2, 4, 6, 8]


@pytest.mark.usefixtures("ray_cluster")
def test_two_workers_come_to_the_weights_of_one(
    job: Job, restorer: Restorer, diary: Diary, tmp_path: Path
) -> None:
    """They sum the same numbers in another order, so nearly: batch statistics are frozen, as each has its own."""
    restorer.save(tmp_path / "source")
    but_the_head = FreezeRange(start=0, end=5)
    job = job.model_copy(update={"source": str(tmp_path / "source"), "frozen": but_the_head})
    state = fit(job, tmp_path / "runs" / "job", Place(workers=2, threads=1), diary)

    alone = without_ray(job)
    start = lay_out(job).start().weights
    for name, tensor in alone.weights.items():
        torch.testing.assert_close(state.weights[name], tensor, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(state.weights["head.0.weight"], start["head.0.weight"], atol=1e-3)
    assert diary.steps() == [2, 4, 6, 8]
    for (_, scores), (_, expected) in zip(state.curve, alone.curve, strict=True):
        assert scores["val_psnr"] == pytest.approx(expected["val_psnr"], abs=1e-3)


@pytest.mark.faults
@pytest.mark.usefixtures("ray_cluster")
def test_three_workers_share_four_crops_and_come_to_the_weights_of_one(
    job: Job, restorer: Restorer, diary: Diary, tmp_path: Path
) -> None:
    restorer.save(tmp_path / "source")
    but_the_head = FreezeRange(start=0, end=5)
    training = job.training.model_copy(update={"steps": 4})
    job = job.model_copy(
        update={"source": str(tmp_path / "source"), "frozen": but_the_head, "training": training}
    )
    state = fit(job, tmp_path / "runs" / "job", Place(workers=3, threads=1), diary)
    for name, tensor in without_ray(job).weights.items():
        torch.testing.assert_close(state.weights[name], tensor, rtol=1e-4, atol=1e-5)


@pytest.mark.faults
@pytest.mark.usefixtures("ray_cluster")
def test_a_fault_that_comes_every_time_ends_training_and_keeps_what_there_is(
    job: Job, diary: Diary, tmp_path: Path
) -> None:
    with pytest.raises(ray.train.TrainingFailedError, match="not at step 4"):
        fit(job, tmp_path / "runs" / "job", Place(workers=1, threads=1), replace(diary, failing_step=4))
    # The first of its rounds of tries had got on to step 2; the next has not got on at all.
    assert diary.steps() == [2, *[4] * TRIES, *[4] * TRIES]
    fit(job, tmp_path / "runs" / "job", Place(workers=1, threads=1), diary)
    assert diary.steps()[-3:] == [4, 6, 8], "it goes on from the last checkpoint"


@pytest.mark.faults
@pytest.mark.usefixtures("ray_cluster")
def test_a_relative_folder_behind_a_link_keeps_what_it_has(
    job: Job, diary: Diary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the stages give it: `runs/...`, where `runs` may lead to a storage that all nodes see."""
    (tmp_path / "storage").mkdir()
    (tmp_path / "runs").symlink_to(tmp_path / "storage")
    monkeypatch.chdir(tmp_path)
    half = job.model_copy(update={"training": job.training.model_copy(update={"steps": 4})})
    fit(half, Path("runs") / "job", Place(1, 1), diary)
    _tear(tmp_path / "storage" / "job")
    state = fit(job, Path("runs") / "job", Place(1, 1), diary)
    assert diary.steps() == [step for step, _ in state.curve] == [2, 4, 6, 8]


def _tear(run_folder: Path) -> None:
    """As a kill may leave it: a later checkpoint in part, and so what Ray wrote down of them."""
    (whole,) = run_folder.glob("*/*/state.pt")
    torn = run_folder / "torn" / "000000006" / "state.partial"
    torn.parent.mkdir(parents=True)
    torn.write_bytes(whole.read_bytes()[:1000])
    (whole.parents[1] / "checkpoint_manager_snapshot.json").write_text('{"ray_ver')


@pytest.mark.parametrize(
    ("gpus", "place", "expected"),
    [
        (0, Place(2, 1), False),
        (2, Place(2, 1), True),
        (4, Place(8, 1, fewest=2), True),
        (0, Place(2, 1, device="gpu"), True),
        (2, Place(2, 1, device="cpu"), False),
    ],
)
def test_gpus_are_used_where_there_are_enough(
    monkeypatch: pytest.MonkeyPatch, gpus: int, place: Place, expected: bool
) -> None:
    monkeypatch.setattr(distributed, "resources", lambda: {"CPU": 2.0, "GPU": gpus} if gpus else {"CPU": 2.0})
    assert distributed._on_gpu(place) is expected


def test_fewer_gpus_than_workers_are_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed, "resources", lambda: {"CPU": 2.0, "GPU": 4.0})
    with pytest.raises(
        BadInput, match=r"there are 4 GPUs for 8 workers; choose at most 4 SIM_MODELS_WORKERS"
    ):
        distributed._on_gpu(Place(8, 1))


def test_a_checkpoint_that_was_written_in_part_is_none(tmp_path: Path) -> None:
    for step, name in ((2, "state.pt"), (4, "state.pt"), (6, "state.partial")):
        file = tmp_path / "try" / f"{step:09d}" / name
        file.parent.mkdir(parents=True)
        file.touch()
    assert _last_checkpoint(tmp_path) == tmp_path / "try" / "000000004" / "state.pt"
    assert _last_checkpoint(tmp_path / "none") is None


def test_a_batch_with_fewer_crops_than_workers_is_refused(job: Job, diary: Diary, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"training.batch is 4, of which 5 workers would not all get a crop"):
        fit(job, tmp_path / "job", Place(workers=5, threads=1), diary)


@pytest.mark.parametrize(
    ("nodes", "place", "cpus"),
    [
        ([2], Place(1, 1), 1.0),
        ([2], Place(1, 8), 2.0),
        ([2], Place(4, 1), 0.5),
        ([1, 1], Place(2, 2), 1.0),
        ([16, 16, 16], Place(1, 4), 4.0),
        ([16, 4], Place(3, 4), 2.0),
        ([], Place(2, 3), 3.0),
    ],
)
def test_workers_ask_for_no_more_cpus_than_let_all_of_them_fit(
    monkeypatch: pytest.MonkeyPatch, nodes: list[int], place: Place, cpus: float
) -> None:
    """On each node, not on all together; a head has none."""
    head = {"Alive": True, "Resources": {"memory": 1.0}}
    gone = {"Alive": False, "Resources": {"CPU": 0.1}}
    alive = [{"Alive": True, "Resources": {"CPU": float(each)}} for each in nodes]
    monkeypatch.setattr(ray, "nodes", lambda: [head, gone, *alive])
    assert _cpus(place) == cpus


def test_ray_client_is_refused_with_a_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "ray://127.0.0.1:10001")
    with pytest.raises(BadInput, match="submit it as a job"), cluster():
        pass


@pytest.mark.parametrize("address", ["127.0.0.1:9", "nonsense", "127.0.0.1:port"])
def test_a_cluster_where_nobody_answers_is_refused_at_once(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)
    started = time.monotonic()
    with pytest.raises(BadInput, match=rf"no Ray cluster answers at RAY_ADDRESS={address} "), cluster():
        pass
    assert time.monotonic() - started < 6
