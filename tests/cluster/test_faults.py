"""What trains is killed at random moments, and training comes to what it would have come to: bit for bit, and once.

A driver of its own process trains a job on the world's Ray and logs to the world's MLflow. SIGKILL cannot be caught, so
nothing is put in order before the end. The moments are drawn by a seed that is printed; SIM_MODELS_FAULT_SEED=N draws
them again, though no machine is twice at the same line. What each fault cost is printed as a table at the end.
"""

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
import torch
from mlflow import MlflowClient
from mlflow.entities import Run

from infra.local import World
from infra.local.processes import WORLD, members
from infra.local.ray_nodes import address
from sim_models.freeze import FreezeRange
from sim_models.restorer import Restorer
from sim_models.training.job import Job, lay_out
from sim_models.training.loop import State, train

pytestmark = pytest.mark.faults
KILLS = {"worker": 4, "node": 2, "driver": 3, "MLflow": 2}
"""of each kind, all in one training; more workers than Ray by itself replaces"""
LOOK_S = 0.5
"""that every look at the validation cells lasts longer than it would, so that there is something to hit"""
STARTING_S = 12.0
"""that a driver takes at most to its first look, on a machine with nothing else to do"""
ROUNDING = 1e-3
"""relative, of what two workers come to beside one"""
LONGEST_S = 500.0
"""for what takes seconds, on a machine where others work too"""
TRAINS = "ray::RayTrainWorker"
"""what a process that trains calls itself"""

DRIVER = """
import os
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from sim_models.tracking.logger import Logger
from sim_models.tracking.runs import Tracker
from sim_models.training.distributed import cluster, fit
from sim_models.training.job import Job
from sim_models.training.place import Place


@dataclass(frozen=True)
class Diary:
    path: Path
    logger: Logger
    look_s: float

    def __call__(self, step, metrics):
        import ray.train

        while step > int((self.path.parent / "allowed").read_text()):
            time.sleep(0.02)
        here, workers = ray.util.get_node_ip_address(), ray.train.get_context().get_world_size()
        with self.path.open("a") as diary:
            diary.write(f"{time.time()} {step} {os.getpid()} {here} {workers}\\n")
        time.sleep(self.look_s / 2)
        self.logger(step, metrics)
        with (self.path.parent / "logged").open("a") as logged:
            logged.write("x")
        time.sleep(self.look_s / 2)


home, look_s = Path(sys.argv[1]), float(sys.argv[2])
job = Job.model_validate_json((home / "job.json").read_text())
with cluster(), Tracker.open("faults", home).run("train", home.name, job.model_dump(mode="json"), {}) as run:
    diary = Diary(home / "diary", run.logger, look_s)
    state = fit(job, home / "run", Place.from_environment(), diary)
torch.save(asdict(state), home / "end.pt")
"""


@dataclass(frozen=True)
class Look:
    """A line of the diary: somebody began to tell of a look."""

    moment: float
    step: int
    process: int
    node: str
    workers: int


@dataclass
class Training:
    """A job that is trained in a folder of its own, by a driver that may be started again."""

    home: Path
    job: Job
    environment: dict[str, str]
    driver: "subprocess.Popen[bytes]" = field(init=False)

    def start(self) -> None:
        """Start the driver, for the first time or again."""
        if not self.home.exists():
            self.home.mkdir()
            self.allow(0)
        (self.home / "job.json").write_text(self.job.model_dump_json())
        with (self.home / "said").open("ab") as said:
            self.driver = subprocess.Popen(
                [sys.executable, "-c", DRIVER, str(self.home), str(LOOK_S)],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
            )

    @property
    def said(self) -> str:
        """All that drivers said, for who must find out what went wrong."""
        return (self.home / "said").read_text()[-5000:]

    @property
    def diary(self) -> list[Look]:
        """Every look, as often as somebody began to tell of it."""
        path = self.home / "diary"
        lines = path.read_text().splitlines() if path.exists() else []
        return [
            Look(float(moment), int(step), int(process), node, int(workers))
            for moment, step, process, node, workers in map(str.split, lines)
        ]

    @property
    def looks(self) -> int:
        """Different ones that were told of."""
        return max((look.step for look in self.diary), default=0) // self.job.training.validate_every

    @property
    def all_looks(self) -> int:
        """Of a training to its end."""
        return self.job.training.steps // self.job.training.validate_every

    def allow(self, looks: int) -> None:
        """Let training come so far, where it waits: else it might have ended before a busy machine gets to kill it."""
        partial = self.home / "allowed.partial"
        partial.write_text(str(looks * self.job.training.validate_every))
        partial.replace(self.home / "allowed")

    def wait(self, question: Callable[[], bool]) -> None:
        """Return once a question is answered with yes, which it must be while the driver works."""
        deadline = time.monotonic() + LONGEST_S
        while not question():
            assert self.driver.poll() is None, self.said
            assert time.monotonic() < deadline, self.said
            time.sleep(0.02)

    def wait_for_look(self, number: int) -> None:
        """Return once so many different looks were told of; training goes on, but not further than the next."""
        self.allow(number + 1)
        self.wait(lambda: self.looks >= number)

    def wait_for_another(self, by: Callable[[Look], bool] = lambda look: True) -> Look:
        """Return the next look that is told of, be it for the second time."""
        told = len(self.diary)
        self.allow(self.looks + 1)
        self.wait(lambda: any(by(look) for look in self.diary[told:]))
        return next(look for look in self.diary[told:] if by(look))

    def wait_until_somebody_is_not_heard(self) -> None:
        """Return once there is a look that somebody tells of and MLflow does not take."""
        logged = self.home / "logged"
        self.allow(self.looks + 1)
        self.wait(lambda: len(self.diary) > (logged.stat().st_size if logged.exists() else 0))

    def unfinished(self) -> bool:
        """Whether there is something left to disturb."""
        return self.driver.poll() is None and self.looks < self.all_looks

    def finish(self) -> State:
        """Wait for the driver, which must end well."""
        self.allow(self.all_looks)
        assert self.driver.wait(LONGEST_S) == 0, self.said
        return State(**torch.load(self.home / "end.pt", weights_only=True))

    def end(self) -> None:
        """Whatever becomes of a test, nothing that it started goes on."""
        self.driver.kill()
        self.driver.wait()


@dataclass
class Row:
    """What faults of a kind cost."""

    what: str
    resumed_s: list[float] = field(default_factory=list)
    """from each kill to the next look that somebody tells of"""
    again: int = 0
    """looks that were trained twice"""

    def __str__(self) -> str:
        times = " to ".join(
            f"{each:.0f} s" for each in dict.fromkeys([min(self.resumed_s), max(self.resumed_s)])
        )
        return f"| {self.what} | {len(self.resumed_s)} | nothing | {self.again} | {times} |"


HEAD = "| killed | times | lost | looks trained again | resumed after |\n|---|---|---|---|---|"


@pytest.fixture(scope="module")
def table(pytestconfig: pytest.Config) -> Iterator[list[Row]]:
    """Printed at the end, with what the tests of this file put into it."""
    rows: list[Row] = []
    yield rows
    with pytestconfig.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print("\n" + "\n".join([HEAD, *map(str, rows)]), flush=True)


@pytest.fixture
def drawn(capfd: pytest.CaptureFixture[str]) -> random.Random:
    seed = int(os.environ.get("SIM_MODELS_FAULT_SEED", random.randrange(2**32)))
    with capfd.disabled():
        print(f"\nSIM_MODELS_FAULT_SEED={seed}", flush=True)
    return random.Random(seed)


@pytest.fixture
def long_job(job: Job) -> Job:
    """Twelve looks."""
    return job.model_copy(update={"training": job.training.model_copy(update={"steps": 24})})


@pytest.fixture
def trained(long_job: Job, environment: dict[str, str], tmp_path: Path) -> Iterator[Training]:
    training = Training(_home(tmp_path), long_job, environment)
    training.start()
    yield training
    training.end()


def test_a_node_that_is_missing_makes_the_world_smaller(
    world: World,
    job: Job,
    long_job: Job,
    restorer: Restorer,
    environment: dict[str, str],
    client: MlflowClient,
    drawn: random.Random,
    table: list[Row],
    tmp_path: Path,
) -> None:
    """Two workers, then one, with the same global batch: nearly the weights of one, for sums are in another order.

    Batch statistics are frozen, as each worker has its own. This comes first: Ray keeps the room of a driver that was
    killed for three minutes.
    """
    restorer.save(tmp_path / "source")
    job = long_job.model_copy(
        update={"source": str(tmp_path / "source"), "frozen": FreezeRange(start=0, end=5)}
    )
    training = Training(_home(tmp_path), job, environment | {"SIM_MODELS_WORKERS": "1-2"})
    row = Row("one of two nodes that train, which stays away")
    (look,) = _looks(training, drawn, 1, first=1)
    name = drawn.choice(["ray-node-1", "ray-node-2"])
    training.start()
    try:
        training.wait_for_look(look)
        assert len(_trainers(world)) == 2
        _strike(training, row, lambda: world.kill(name))
        state = training.finish()
    finally:
        training.end()
        world.kill(name)  # where the test did not come so far
        world.start(name)
    row.again = len(training.diary) - len({each.step for each in training.diary})
    table.append(row)
    assert [each.workers for each in training.diary[:look]] == [2] * look
    assert training.diary[-1].workers == 1
    alone = _without_ray(job)
    for key, tensor in alone.weights.items():
        torch.testing.assert_close(state.weights[key], tensor, rtol=1e-4, atol=1e-5)
    for (_, seen), (_, expected) in zip(_values(state), _values(alone), strict=True):
        assert seen == pytest.approx(expected, rel=ROUNDING)
    _expect_every_step_once(training, client, state, ROUNDING)


def test_workers_are_killed(
    world: World, trained: Training, client: MlflowClient, drawn: random.Random, table: list[Row]
) -> None:
    row = Row("the process that trains")
    for look in _looks(trained, drawn, KILLS["worker"]):
        trained.wait_for_look(look)
        trained.wait(lambda: bool(_trainers(world)))
        time.sleep(drawn.random() * LOOK_S)
        (process,) = _trainers(world)
        _strike(trained, row, process.kill)
        process.wait(60)
    table.append(row)
    _expect_undisturbed(trained, client, row)


def test_nodes_are_killed(
    world: World, trained: Training, client: MlflowClient, drawn: random.Random, table: list[Row]
) -> None:
    """The other node takes over, and a node that comes back is taken again."""
    row = Row("the node that trains")
    for look in _looks(trained, drawn, KILLS["node"], first=1):
        trained.wait_for_look(look)
        time.sleep(drawn.random() * LOOK_S)
        name = _node(trained.diary[-1].node)
        (process,) = _trainers(world)
        _strike(trained, row, lambda name=name: world.kill(name))
        assert not process.is_running()
        world.start(name)
    table.append(row)
    _expect_undisturbed(trained, client, row)


def test_drivers_are_killed(
    world: World, trained: Training, client: MlflowClient, drawn: random.Random, table: list[Row]
) -> None:
    """Started again at once, it neither waits for what its forerunner left nor is disturbed by it."""
    row = Row("the driver")
    for look in _looks(trained, drawn, KILLS["driver"]):
        trained.wait_for_look(look)
        time.sleep(drawn.random() * (LOOK_S if look else STARTING_S))
        left = _trainers(world)
        _strike(trained, row, trained.end, then=trained.start)
        _, alive = psutil.wait_procs(left, timeout=120)
        assert alive == [], "who trained for a driver that is gone goes as well"
    table.append(row)
    _expect_undisturbed(trained, client, row)


def test_mlflow_is_killed(
    world: World, trained: Training, client: MlflowClient, drawn: random.Random, table: list[Row]
) -> None:
    """Somebody has something to tell while there is nobody to hear it."""
    row = Row("MLflow's server")
    server = world.services["mlflow"]
    for look in _looks(trained, drawn, KILLS["MLflow"], first=1):
        trained.wait_for_look(look)
        time.sleep(drawn.random() * LOOK_S)
        assert server.healthy()
        assert trained.unfinished()
        world.kill("mlflow")
        trained.wait_until_somebody_is_not_heard()
        world.start("mlflow")
        started = time.time()
        row.resumed_s.append(trained.wait_for_another().moment - started)
    table.append(row)
    _expect_undisturbed(trained, client, row)


def _home(folder: Path) -> Path:
    """Whose name is that of no other training, for it is the key of its run."""
    return folder / f"{folder.parent.name}_{folder.name}"


def _looks(training: Training, drawn: random.Random, kills: int, first: int = 0) -> list[int]:
    """After which looks to kill, in order; after none means while all this starts."""
    return sorted(drawn.sample(range(first, training.all_looks - 3), kills))


def _trainers(world: World) -> list[psutil.Process]:
    """The processes that train now."""
    found = []
    for process in members(world.services["s3"].environment[WORLD]):
        with suppress(psutil.NoSuchProcess):
            if (
                process.status() != psutil.STATUS_ZOMBIE
                and process.cmdline()[:1]
                and TRAINS in process.cmdline()[0]
            ):
                found.append(process)
    return found


def _node(place: str) -> str:
    """The service that is the node at an address."""
    return next(f"ray-node-{number}" for number in (1, 2) if address(number) == place)


def _strike(
    training: Training, row: Row, kill: Callable[[], None], then: Callable[[], None] = lambda: None
) -> None:
    """Kill what trains, which must be under way, and return once it is again."""
    assert training.unfinished()
    kill()
    struck, before = time.time(), {look.process for look in training.diary}
    then()
    resumed = training.wait_for_another(by=lambda look: look.process not in before)
    row.resumed_s.append(resumed.moment - struck)


def _expect_undisturbed(training: Training, client: MlflowClient, row: Row) -> None:
    """To the last bit what the plain loop gives in this process, and every look in MLflow once."""
    state = training.finish()
    row.again = len(training.diary) - len({look.step for look in training.diary})
    undisturbed = _without_ray(training.job)
    for name, tensor in undisturbed.weights.items():
        assert torch.equal(state.weights[name], tensor), name
        assert torch.equal(state.best_weights[name], undisturbed.best_weights[name]), name
    assert (state.best_step, state.best_psnr) == (undisturbed.best_step, undisturbed.best_psnr)
    assert _values(state) == _values(undisturbed)
    _expect_every_step_once(training, client, state)


def _expect_every_step_once(
    training: Training, client: MlflowClient, state: State, rounding: float = 0.0
) -> None:
    run = _run(client, training.home.name)
    assert run.info.status == "FINISHED"
    assert run.data.params["training.steps"] == str(training.job.training.steps)
    assert {file.path for file in client.list_artifacts(run.info.run_id)} == {"environment.txt"}
    assert set(run.data.metrics) == set(state.curve[0][1])
    for name in run.data.metrics:
        logged = client.get_metric_history(run.info.run_id, name)
        assert [look.step for look in logged] == [step for step, _ in state.curve], name
        if not name.endswith("seconds"):  # what was trained again took another time
            expected = [metrics[name] for _, metrics in state.curve]
            assert [look.value for look in logged] == pytest.approx(expected, rel=rounding, abs=0), name


def _run(client: MlflowClient, key: str) -> Run:
    """The only one of a training, however often its driver was started."""
    experiment = client.get_experiment_by_name("faults")
    (run,) = client.search_runs([experiment.experiment_id], f"tags.`sim.key` = '{key}'")
    return run


def _values(state: State) -> list[tuple[int, dict[str, float]]]:
    """The curve without seconds, which never repeat."""
    return [
        (step, {name: value for name, value in metrics.items() if not name.endswith("seconds")})
        for step, metrics in state.curve
    ]


def _without_ray(job: Job) -> State:
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
