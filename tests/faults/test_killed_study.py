"""A study is killed ten times without warning, started again each time, and comes to what it would have come to.

Not part of `make test`, for it takes minutes: `make test-faults`. SIGKILL cannot be caught, so nothing is put in order
before the end, whichever line it meets. The moments are drawn by a seed that is printed; SIM_MODELS_FAULT_SEED=N draws
them again, though no machine is twice at the same line.
"""

import ctypes
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from sim_models.restorer import Restorer
from sim_models.samples import Share
from sim_models.tracking.runs import client_of
from sim_models.training.job import Job, lay_out
from sim_models.transfer.study import ARMS

pytestmark = pytest.mark.faults
KILLS = 10
LONGEST_SECONDS = 600.0
"""that a study of this size takes, on a machine where others work too"""
TINY = ("--steps", "20", "--finetune-steps", "10", "--trials", "4", "--seeds", "2", "--cells", "1")
OWN_WORDS = ("sim.key", "mlflow.parentRunId", "mlflow.source.name")
"""tags of a run that differ from one study to the next"""

PR_SET_CHILD_SUBREAPER = 36
"""`prctl(2)`: orphans below this process become its children, so that none is lost sight of"""

COMMAND = """
import sys
import time

from pipelines.cli import main
from sim_models.transfer.trials import Trials

log, save = sys.argv.pop(1), Trials._save


def saved(trials, job, stretch):
    save(trials, job, stretch)
    with open(log, "a") as file:
        file.write(f"{time.time()} {trials._path(job, stretch.state.step).relative_to(trials.folder)}\\n")


Trials._save = saved
main()
"""
"""`sim-models`, writing down every stretch of training whose state was kept: when, its job, and the step it came to"""


@dataclass(frozen=True)
class Home:
    """A folder in which a person works: with a model, an empty database of runs, and stacks of another structure."""

    folder: Path
    target: Path

    @property
    def out(self) -> Path:
        return self.folder / "out"

    @property
    def log(self) -> list[tuple[float, str]]:
        """When each state was kept, and of which stretch, by any run of the command."""
        log = self.folder / "trained"
        lines = log.read_text().splitlines() if log.exists() else []
        return [(float(when), stretch) for when, stretch in map(str.split, lines)]

    @property
    def trained(self) -> list[str]:
        """Every stretch whose state was kept, in alphabetical order."""
        return sorted(stretch for _, stretch in self.log)

    def start(self) -> "Running":
        """The command, in a process group of its own."""
        words = ["transfer", "--source", "model", "--target", str(self.target), "--out", "out", *TINY]
        with (self.folder / "said").open("a") as said:
            process = subprocess.Popen(
                [sys.executable, "-c", COMMAND, "trained", *words],
                cwd=self.folder,
                stdout=said,
                stderr=said,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        return Running(process)

    def finish(self, running: "Running") -> None:
        """Wait for the command, which must end well."""
        if running.wait(LONGEST_SECONDS) is None:
            running.kill()
        assert running.process.returncode == 0, (self.folder / "said").read_text()


@dataclass(frozen=True)
class Running:
    """The command under way."""

    process: "subprocess.Popen[bytes]"

    def wait(self, seconds: float) -> int | None:
        """Its exit code, or None if it still runs after so long."""
        try:
            return self.process.wait(max(0.0, seconds))
        except subprocess.TimeoutExpired:
            return None

    def kill(self) -> None:
        """Kill it, and all that it started, as a machine does that loses its power."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        _end_orphans()


@dataclass(frozen=True)
class Pace:
    """What a study takes that nobody disturbs, in seconds."""

    start: float
    """until the first state is kept"""
    training: float
    end: float
    """from the last state to the last file"""
    stretches: int

    @staticmethod
    def of(home: Home) -> "Pace":
        began = time.time()
        home.finish(home.start())
        ended, kept = time.time(), [when for when, _ in home.log]
        return Pace(kept[0] - began, kept[-1] - kept[0], ended - kept[-1], len(kept))

    def left(self, home: Home) -> float:
        """What a study will take that has come so far: starting is done every time anew."""
        to_train = 1 - len(home.trained) / self.stretches
        return self.start + self.training * to_train + self.end

    def times(self, factor: float) -> "Pace":
        """That of a machine that has less to do, or more."""
        return replace(
            self, start=self.start * factor, training=self.training * factor, end=self.end * factor
        )


def _end_orphans() -> None:
    """Ray's processes have groups of their own, and outlive their driver by moments."""
    while orphans := _below(os.getpid()):
        for pid in orphans:
            os.kill(pid, signal.SIGKILL)
        for pid in orphans:
            os.waitpid(pid, 0)


def _below(parent: int) -> list[int]:
    """The children of a process."""
    tasks = Path(f"/proc/{parent}/task").glob("*/children")
    return [int(pid) for task in tasks for pid in task.read_text().split()]


@pytest.fixture(autouse=True)
def _no_process_is_left() -> Any:
    """Whatever becomes of a test, nothing that it started goes on."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    yield
    _end_orphans()
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 0)


@pytest.fixture
def make_home(
    job: Job, prepared_folder: Path, tmp_path: Path, _empty_database: Path
) -> Callable[[str], Home]:
    def make(name: str) -> Home:
        folder = tmp_path / name
        folder.mkdir()
        shutil.copy(_empty_database, folder / "mlflow.db")
        bench = lay_out(job)
        for sample in bench.samples.whole(Share()):
            bench.network.train()(sample.input)
        bench.network.eval()
        Restorer(job.recipe, bench.network, bench.normaliser, bench.card, bench.channels).save(
            folder / "model"
        )
        return Home(folder, prepared_folder)

    return make


@pytest.fixture
def seed() -> int:
    return int(os.environ.get("SIM_MODELS_FAULT_SEED", random.randrange(2**32)))


@pytest.mark.timeout(1200)
def test_a_study_that_is_killed_ten_times_comes_to_the_same(
    make_home: Callable[[str], Home], seed: int, capfd: pytest.CaptureFixture[str]
) -> None:
    undisturbed = make_home("undisturbed")
    pace = Pace.of(undisturbed)
    moments = _moments(random.Random(seed))
    with capfd.disabled():
        print(f"\nSIM_MODELS_FAULT_SEED={seed}, undisturbed: {pace}", flush=True)
    killed: list[Home] = []
    while moments:
        killed.append(make_home(f"killed_{len(killed)}"))
        pace = _kill_and_restart(killed[-1], moments, pace)
        with capfd.disabled():
            print(f"{KILLS - len(moments)} kills of {len(killed)} studies", flush=True)
    for home in killed:
        _expect_the_same(home, undisturbed)


def _moments(drawn: random.Random) -> list[float]:
    """When to kill, as shares of the time that is left: one in every tenth of it, in any order."""
    moments = [(part + drawn.random()) / KILLS for part in range(KILLS)]
    drawn.shuffle(moments)
    return moments


def _kill_and_restart(home: Home, moments: list[float], pace: Pace) -> Pace:
    """Take moments from the list until all are used or the study has ended, and then let it end.

    One that was faster than expected ends before its moment, which is left for another study, at the pace of this one.
    """
    while moments:
        expected, began = pace.left(home), time.monotonic()
        running = home.start()
        if running.wait(moments[0] * expected) is not None:
            home.finish(running)
            return pace.times((time.monotonic() - began) / expected)
        running.kill()
        moments.pop(0)
        _expect_no_result_in_part(home)
    home.finish(home.start())
    return pace


def _expect_no_result_in_part(home: Home) -> None:
    """What is there after a kill can be read: a state, a record, the model of an arm."""
    for record in home.out.glob("*.json"):
        json.loads(record.read_text())
    for arm in home.out.glob("arms/*"):
        Restorer.load(arm)


def _expect_the_same(home: Home, undisturbed: Home) -> None:
    assert home.trained == undisturbed.trained, "every stretch once, and none twice"
    assert _without_seconds(_study(home)) == _without_seconds(_study(undisturbed))
    assert _files(home.out) == _files(undisturbed.out), "nothing is missing, nothing half-written is left"
    for arm in ARMS:
        one_sha, other_sha = (
            Restorer.load(each.out / "arms" / arm).weights_sha256 for each in (home, undisturbed)
        )
        assert one_sha == other_sha
    scores = Path("details/scores.csv")
    assert (home.out / scores).read_text() == (undisturbed.out / scores).read_text()
    found, expected = _runs(home), _runs(undisturbed)
    assert [run["name"] for run in found] == [run["name"] for run in expected], "every run once"
    for one, other in zip(found, expected, strict=True):
        different = {key: (one[key], other[key]) for key in other if one[key] != other[key]}
        assert different == {}, f"run {other['name']} is as in the undisturbed study"


def _study(home: Home) -> Any:
    return json.loads((home.out / "study.json").read_text())


def _without_seconds(value: Any) -> Any:
    """A record without times, which are the third entry of every point of a curve as well."""
    if isinstance(value, dict):
        kept = {key: each for key, each in value.items() if not key.endswith("seconds")}
        return {
            key: [point[:2] for point in each] if key == "curve" else _without_seconds(each)
            for key, each in kept.items()
        }
    return [_without_seconds(each) for each in value] if isinstance(value, list) else value


def _files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def _runs(home: Home) -> list[dict[str, Any]]:
    """What MLflow holds, by name; of metrics the steps alone, for some are seconds."""
    client = client_of(f"sqlite:///{home.folder / 'mlflow.db'}")
    (experiment,) = (each for each in client.search_experiments() if each.name == "transfer")
    runs = client.search_runs([experiment.experiment_id], max_results=1000)
    found = [
        {
            "name": run.info.run_name,
            "status": run.info.status,
            "params": run.data.params,
            "tags": {key: value for key, value in run.data.tags.items() if key not in OWN_WORDS},
            "steps": {
                metric: [look.step for look in client.get_metric_history(run.info.run_id, metric)]
                for metric in run.data.metrics
            },
        }
        for run in runs
    ]
    return sorted(found, key=lambda run: str(run["name"]))
