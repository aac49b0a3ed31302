"""A submission from beginning to end: real Ray nodes with their job server, a real MLflow server, a real DVC remote.

Not among `make test`: two Ray nodes and a server take a gigabyte and a minute. `pytest tests/cluster/test_submit.py`.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml

from pipelines.shared.stage import NOT_READY, WORK_FAILED

_OWN = f"127.{1 + os.getpid() % 250}.{1 + os.getpid() // 250 % 250}"
HEAD, OTHER = f"{_OWN}.2", f"{_OWN}.3"
"""addresses of this machine that no other cluster on it uses: Ray has ports that are the same on every node"""
START_S = 400.0
"""as long as services may take to start, on a machine that others use as well"""
SCRIPT = """
import os, socket, sys
from pathlib import Path
import ray
from sim_models.tracking.runs import Tracker
from sim_models.training.distributed import cluster

@ray.remote(num_cpus=0)
def double(text):
    return text.upper()

if __name__ == "__main__":
    if Path("broken").exists():
        sys.exit("broken on purpose")
    with cluster():
        text = ray.get(double.remote(Path("raw.txt").read_text()))
    with Tracker.open("tiny", Path()).run("tiny", "tiny", {}, {}) as run:
        run.metrics({"letters": len(text)})
    Path("loud.txt").write_text(text)
    Path("metrics.json").write_text('{"letters": %d}' % len(text))
"""
PIPELINE = """
stages:
  loud:
    cmd: python tiny.py
    deps: [tiny.py, raw.txt]
    outs: [loud.txt]
    metrics:
      - metrics.json:
          cache: false
  count:
    cmd: wc -c < loud.txt > count.txt
    deps: [loud.txt]
    outs: [count.txt]
"""


def _free_port() -> int:
    """A port outside of those Ray gives to its workers."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if not 10002 <= port <= 19999:
            return port


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A short path, since those of sockets must be."""
    with tempfile.TemporaryDirectory(prefix="sub", dir="/tmp") as made:
        yield Path(made)


@pytest.fixture(scope="module")
def environment(folder: Path) -> dict[str, str]:
    """Of the nodes: no code of ours is on their path but what is uploaded."""
    own = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return own | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "RAY_TMPDIR": str(folder / "r"),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AUTH_MODE": "disabled",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "1",
        # Nothing here is about how soon a node must answer, and the machine may be busy.
        "RAY_raylet_start_wait_time_s": "300",
        "RAY_agent_register_timeout_ms": "300000",
        "RAY_health_check_timeout_ms": "60000",
        "RAY_health_check_failure_threshold": "20",
        "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "DVC_SITE_CACHE_DIR": str(folder / "site"),
    }


@pytest.fixture(scope="module")
def services(folder: Path, environment: dict[str, str]) -> Iterator[dict[str, str]]:
    """Addresses of a Ray cluster of two nodes, and of an MLflow server."""
    port, dashboard, server = _free_port(), _free_port(), _free_port()
    bin_folder = Path(sys.executable).parent
    (folder / "r").mkdir()
    ray = [str(bin_folder / "ray"), "start", "--block", "--num-cpus=1", "--object-store-memory=100000000"]
    commands = {
        "mlflow": [str(bin_folder / "mlflow"), "server", "--host=127.0.0.1", f"--port={server}", "--workers=1",
                   f"--backend-store-uri=sqlite:///{folder}/mlflow.db", f"--artifacts-destination={folder}/mlruns"],
        "head": [*ray, "--head", f"--node-ip-address={HEAD}", f"--port={port}", "--dashboard-host=127.0.0.1",
                 f"--dashboard-port={dashboard}", "--disable-usage-stats"],
        "other": [*ray, f"--address={HEAD}:{port}", f"--node-ip-address={OTHER}",
                  f"--temp-dir={folder}/o"],
    }  # fmt: skip
    found = {"ray": f"http://127.0.0.1:{dashboard}", "mlflow": f"http://127.0.0.1:{server}"}
    with ExitStack() as stack:
        for name, command in commands.items():
            log = stack.enter_context((folder / f"{name}.log").open("w"))
            process = subprocess.Popen(
                command, env=environment, stdout=log, stderr=log, cwd=folder, start_new_session=True
            )
            stack.callback(_stop, process)
            if name == "head":
                _wait(f"{found['ray']}/api/version", folder / "head.log")
        _wait(f"{found['mlflow']}/health", folder / "mlflow.log")
        _wait_for_nodes(found["ray"], 2, folder)
        yield found


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=30)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wait(address: str, log: Path) -> None:
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    pytest.fail(f"nothing at {address}: {log.read_text()[-2000:]}")


def _wait_for_nodes(address: str, wanted: int, folder: Path) -> None:
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        try:
            with urllib.request.urlopen(f"{address}/nodes?view=summary", timeout=30) as answer:
                read = json.load(answer)
            alive = [each for each in read["data"]["summary"] if each["raylet"].get("state") == "ALIVE"]
            if len(alive) >= wanted:
                return
        except (urllib.error.URLError, OSError, ValueError):
            pass  # not yet
        time.sleep(0.5)
    logs = [(folder / f"{name}.log").read_text()[-2000:] for name in ("head", "other")]
    pytest.fail("no second node:\n" + "\n".join(logs))


@pytest.fixture
def project(repository: Path, tmp_path: Path) -> Path:
    """A git repository with our code and a tiny pipeline; its data lie in the remote and here."""
    root = tmp_path / "project"
    root.mkdir()
    for room in ("sim_models", "pipelines"):
        shutil.copytree(repository / room, root / room, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(repository / "requirements.lock", root)
    (root / "tiny.py").write_text(SCRIPT)
    (root / "dvc.yaml").write_text(PIPELINE)
    (root / "raw.txt").write_text("stripes")
    (root / ".gitignore").write_text("__pycache__/\n")
    (root / ".dvc").mkdir()
    remote = tmp_path / "remote"
    (root / ".dvc" / "config").write_text(
        f"[core]\n    analytics = false\n    remote = shared\n['remote \"shared\"']\n    url = {remote}\n"
    )
    (root / ".dvc" / ".gitignore").write_text("/config.local\n/tmp\n/cache\n")
    for command in (
        "git init -q -b main",
        f"{sys.executable} -m dvc add -q raw.txt",
        f"{sys.executable} -m dvc push -q",
        "git add -A",
        "git -c user.name=A -c user.email=a@b.c commit -q -m first",
    ):
        subprocess.run(command.split(), cwd=root, check=True)
    return root


@pytest.fixture
def submit(
    project: Path, services: dict[str, str], environment: dict[str, str], tmp_path: Path
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Calls `sim-models submit` in the project."""

    def call(*words: str, **changes: str) -> subprocess.CompletedProcess[str]:
        own = {"MLFLOW_TRACKING_URI": services["mlflow"], "MLFLOW_TRACKING_PASSWORD": "open-sesame-77"}
        own |= {"SIM_MODELS_STORAGE": str(tmp_path / "storage"), "PYTHONPATH": str(project)}
        return subprocess.run(
            [sys.executable, "-m", "pipelines.cli", "submit", *words, "--address", services["ray"]],
            cwd=project,
            env=environment | own | changes,
            capture_output=True,
            text=True,
            check=False,
        )

    return call


@pytest.mark.timeout(1500)
def test_results_of_a_job_come_home(
    project: Path,
    submit: Callable[..., subprocess.CompletedProcess[str]],
    services: dict[str, str],
    tmp_path: Path,
) -> None:
    done = submit("count")
    said = done.stdout + done.stderr
    print(said)
    assert done.returncode == 0, said
    assert "open-sesame-77" not in said
    for name in ("nodes", "code", "torch", "tracking", "storage", "data"):
        assert f"[ok] {name}: " in done.stdout
    assert "on 2 of 2 nodes" in done.stdout
    assert (project / "count.txt").read_text().strip() == "7"
    assert (project / "loud.txt").read_text() == "STRIPES"
    assert (project / "metrics.json").read_text() == '{"letters": 7}'
    again = subprocess.run(
        [sys.executable, "-m", "dvc", "repro"], cwd=project, capture_output=True, text=True, check=True
    )
    assert "Running stage" not in again.stdout
    assert "Data and pipelines are up to date." in again.stdout
    assert set(yaml.safe_load((project / "dvc.lock").read_text())["stages"]) == {"loud", "count"}
    # Nothing is left at the storage but DVC's cache and room for unfinished work.
    assert list((tmp_path / "storage" / "jobs").iterdir()) == []
    assert list((tmp_path / "storage").glob(".preflight*")) == []
    with urllib.request.urlopen(_found_runs(services["mlflow"]), timeout=30) as answer:
        runs = yaml.safe_load(answer.read())["runs"]
    assert [run["info"]["status"] for run in runs] == ["FINISHED"]
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=project, capture_output=True, text=True, check=True
    )
    tags = {tag["key"]: tag["value"] for tag in runs[0]["data"]["tags"]}
    assert tags["mlflow.source.git.commit"] == commit.stdout.strip()


def _found_runs(address: str) -> urllib.request.Request:
    return urllib.request.Request(
        f"{address}/api/2.0/mlflow/runs/search",
        data=b'{"experiment_ids": ["1"]}',
        headers={"Content-Type": "application/json"},
    )


@pytest.mark.timeout(1500)
def test_a_job_that_fails_is_told(
    project: Path, submit: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    (project / "broken").write_text("yes")
    subprocess.run(["git", "add", "broken"], cwd=project, check=True)
    done = submit("loud")
    assert done.returncode == WORK_FAILED, done.stdout + done.stderr
    assert "broken on purpose" in done.stdout
    assert done.stderr.splitlines()[-1].startswith("error: job raysubmit_")
    assert "Traceback" not in done.stdout + done.stderr
    assert not (project / "dvc.lock").exists()


@pytest.mark.timeout(1500)
def test_a_wrong_server_is_found_before_anything_is_submitted(
    project: Path, submit: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    begun = time.monotonic()
    done = submit("loud", MLFLOW_TRACKING_URI=f"http://127.0.0.1:{_free_port()}")
    print(done.stdout, done.stderr, time.monotonic() - begun)
    assert done.returncode == NOT_READY
    assert "[failed] tracking: " in done.stdout
    assert "[ok] storage: " in done.stdout
    assert "\njob " not in done.stdout
    assert "nothing was submitted" in done.stderr.splitlines()[-1]
