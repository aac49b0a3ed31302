"""`sim-models submit` as far as it goes without a cluster: what it tells, what it refuses, and with which exit code."""

import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.cluster import submitting
from pipelines.cluster.ray_door import Ended
from pipelines.shared.dvc_command import dvc
from pipelines.shared.stage import BAD_INPUT, INTERRUPTED, NOT_READY, REFUSED, WORK_FAILED
from tests.pipelines.conftest import Outcome

SERVER = "http://somebody:open-sesame@mlflow.lab:5000"  # pragma: allowlist secret


@pytest.fixture(scope="module")
def committed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with a pipeline and a remote."""
    root = tmp_path_factory.mktemp("committed")
    for name, text in {
        ".gitignore": "/remote/\n/one.txt\n/raw.txt\n",
        ".dvc/config": "[core]\n    remote = lab\n['remote \"lab\"']\n    url = ../remote\n",
        ".dvc/.gitignore": "/config.local\n/tmp\n/cache\n",
        "requirements.lock": "torch==2.13.0\n",
        "sim_models/__init__.py": "",
        "raw.txt": "raw",
        "dvc.yaml": "stages:\n  one:\n    cmd: cp raw.txt one.txt\n    deps: [raw.txt]\n    outs: [one.txt]\n",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    subprocess.run(["git", "init", "-q", "-b", "main", str(root)], check=True)
    assert dvc(["add", "-q", "raw.txt"], root, show=False).code == 0
    subprocess.run(["git", "add", "-A"], cwd=root, check=True)
    commit = ["git", "-c", "user.name=A", "-c", "user.email=a@b.c", "commit", "-qm", "first"]
    subprocess.run(commit, cwd=root, check=True)
    return root


@pytest.fixture
def project(committed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it where `run` goes, and a server to log to."""
    shutil.copytree(committed, tmp_path, dirs_exist_ok=True)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", SERVER)
    monkeypatch.delenv("RAY_API_SERVER_ADDRESS", raising=False)
    return tmp_path


def test_a_dry_run_tells_and_does_nothing(run: Callable[..., Outcome], project: Path) -> None:
    before = sorted(path for path in project.rglob("*") if ".git/" not in str(path))
    done = run("submit", "one", "--workers", 8, "--storage", "/shared", "--dry-run")
    assert done.code == 0, done.err
    assert "MB of at most 100 MB; working tree: clean at" in done.out
    assert "to workers (names only): MLFLOW_TRACKING_URI, " in done.out
    assert "SIM_MODELS_STORAGE" in done.out
    assert "would submit: python -m pipelines.cluster.job --study . one" in done.out
    assert "nothing was uploaded or submitted" in done.out
    assert "open-sesame" not in done.out + done.err
    assert sorted(path for path in project.rglob("*") if ".git/" not in str(path)) == before


@pytest.mark.parametrize("workers", ["0", "many", "2-", "-1", "1.5"])
@pytest.mark.usefixtures("project")
def test_a_number_of_workers_that_is_none_is_refused(run: Callable[..., Outcome], workers: str) -> None:
    done = run("submit", "one", f"--workers={workers}", "--storage", "/shared", "--dry-run")
    assert done.code == BAD_INPUT
    assert f"--workers {workers}: give a whole number of at least 1, or a range as 2-8" in done.err


@pytest.mark.parametrize("uri", ["", "sqlite:///mlflow.db", "mlruns"])
def test_runs_that_would_go_to_files_are_refused(
    run: Callable[..., Outcome], project: Path, monkeypatch: pytest.MonkeyPatch, uri: str
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    done = run("submit", "one", "--dry-run")
    assert done.code == REFUSED
    assert done.err.startswith("error: MLFLOW_TRACKING_URI ")
    assert len(done.err.splitlines()) == 1


def test_secrets_and_large_files_are_refused(run: Callable[..., Outcome], project: Path) -> None:
    (project / "notes.md").write_text("log in with open-sesame\n")
    subprocess.run(["git", "add", "notes.md"], cwd=project, check=True)
    done = run("submit", "one", "--dry-run")
    assert done.code == REFUSED
    assert "notes.md, line 1: looks like the value of the password in MLFLOW_TRACKING_URI" in done.err
    assert "open-sesame" not in done.out + done.err
    (project / "notes.md").write_text("x" * 2_000_000)
    done = run("submit", "one", "--dry-run", "--limit-mb", 1)
    assert done.code == REFUSED
    assert "more than the limit of 1 MB" in done.err


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("two", "--dry-run"), "`dvc stage list` tells"),
        (("one; rm -rf /",), "is no name of a stage"),
        (("one", "--storage", "shared"), "from the root"),
        (("one", "--study", "studies/none"), "has no dvc.yaml"),
        (("one",), "give the cluster's address"),
        (("one", "--address", "head:8265"), "must be that of Ray's dashboard"),
        (("one", "--extra", ".dvc/config.local"), "--extra .dvc/config.local"),
    ],
)
def test_what_cannot_be_used_is_told(
    run: Callable[..., Outcome], project: Path, words: tuple[str, ...], reason: str
) -> None:
    done = run("submit", *words)
    assert done.code == BAD_INPUT
    assert reason in done.err
    assert len(done.err.splitlines()) == 1


def test_a_cluster_that_does_not_answer_is_not_ready(run: Callable[..., Outcome], project: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        done = run("submit", "one", "--address", f"http://127.0.0.1:{unused.getsockname()[1]}")
    assert done.code == NOT_READY
    assert done.err.startswith("error: no Ray cluster answers at http://127.0.0.1:")
    assert len(done.err.splitlines()) == 1


class Cluster:
    """A cluster that takes everything, and whose jobs end as they are told to."""

    submitted: tuple[str, ...] = ()
    ends: Ended | type[BaseException] = Ended(True, False, "")
    log = ""

    def __init__(self, address: str) -> None:
        self.address = address

    def submit(self, entrypoint: str, folder: Path, env: object, about: object) -> str:
        Cluster.submitted += (entrypoint,)
        return "raysubmit_1"

    def follow(self, job: str, tell: Callable[[str], None], wait_s: float | None = None) -> Ended:
        if wait_s is not None:
            tell(Cluster.log)
            return Ended(True, False, "")
        if isinstance(Cluster.ends, Ended):
            return Cluster.ends
        raise Cluster.ends


@pytest.fixture
def cluster(project: Path, monkeypatch: pytest.MonkeyPatch) -> type[Cluster]:
    """A cluster on which all is well, with the data in the remote."""
    assert dvc(["push", "-q"], project, show=False).code == 0
    monkeypatch.setattr(submitting, "_jobs", lambda options: Cluster(str(options.address)))
    Cluster.submitted, Cluster.ends = (), Ended(True, False, "")
    Cluster.log = 'sim_models_preflight [{"name": "torch", "ok": true, "sentence": "fine"}]\n'
    return Cluster


def test_a_failed_check_submits_nothing(run: Callable[..., Outcome], cluster: type[Cluster]) -> None:
    cluster.log = 'sim_models_preflight [{"name": "storage", "ok": false, "sentence": "two: sees nothing"}]\n'
    done = run("submit", "one", "--address", "http://head:8265")
    assert done.code == NOT_READY
    assert "[failed] storage: two: sees nothing" in done.out
    assert done.err == (
        "error: storage: two: sees nothing; mend this, then submit again; nothing was submitted\n"
    )
    assert len(cluster.submitted) == 1
    assert "preflight" in cluster.submitted[0]


def test_without_waiting_it_says_how_to_go_on(run: Callable[..., Outcome], cluster: type[Cluster]) -> None:
    done = run("submit", "one", "--address", "http://head:8265", "--no-wait")
    assert done.code == 0, done.err
    assert "sim-models submit one --address http://head:8265 --attach raysubmit_1" in done.out
    assert cluster.submitted[1] == "python -m pipelines.cluster.job --study . one"


def test_stopping_to_follow_stops_no_job(project: Path, cluster: type[Cluster]) -> None:
    """In a process of its own, as a person would: Ctrl-C ends it with the code for that."""
    script = (
        "import sys\nfrom pipelines.cluster import submitting\n"
        "class Jobs:\n"
        "    address = 'http://head:8265'\n"
        "    def follow(self, *_):\n        raise KeyboardInterrupt\n"
        "submitting._jobs = lambda options: Jobs()\n"
        "from pipelines.cli import main\n"
        "sys.argv = 'sim-models submit one --address http://head:8265 --attach raysubmit_1'.split()\nmain()\n"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-W", "ignore", "-c", script],
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == INTERRUPTED, done.stderr
    assert "job raysubmit_1 goes on" in done.stderr
    assert "ray job stop raysubmit_1 --address http://head:8265" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("stopped", "how"), [(False, "failed"), (True, "was stopped")])
def test_a_job_that_ends_badly_is_told(
    run: Callable[..., Outcome], cluster: type[Cluster], stopped: bool, how: str
) -> None:
    cluster.ends = Ended(False, stopped, "")
    done = run("submit", "one", "--address", "http://head:8265")
    assert done.code == WORK_FAILED
    assert f"error: job raysubmit_1 {how}; its log: ray job logs raysubmit_1" in done.err


def test_data_that_lie_only_here_are_found_or_pushed(
    run: Callable[..., Outcome], project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submitting, "_jobs", lambda options: Cluster(str(options.address)))
    Cluster.submitted = ()
    done = run("submit", "one", "--address", "http://head:8265")
    assert done.code == NOT_READY
    assert "DVC's remote lacks raw.txt, though it is here; run dvc push, or submit with --push" in done.err
    assert Cluster.submitted == ()
    Cluster.log = 'sim_models_preflight [{"name": "torch", "ok": true, "sentence": "fine"}]\n'
    done = run("submit", "one", "--address", "http://head:8265", "--push", "--no-wait")
    assert done.code == 0, done.err
    assert list((project / "remote").rglob("*"))
