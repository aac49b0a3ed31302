"""A DVC project to measure in: the code and the study `own_stacks` of this repository, and a remote on S3."""

import hashlib
import json
import os
import resource
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from infra.local import ports, s3
from infra.local.processes import WORLD, sweep

REPOSITORY = Path(__file__).resolve().parents[2]
STUDY = Path("studies/own_stacks")
BUCKET = "dvc"
STATED = ("transfers", "reports/transfers", "reports/carried")
"""folders that `make repro` makes, for stages watch them"""
LIST_OUTPUTS = """
import json
from dvc.repo import Repo
with Repo('.') as repo:
    print(json.dumps([out.fs_path for stage in repo.stage.collect('dvc.yaml') for out in stage.outs]))
"""


@dataclass(frozen=True)
class Took:
    """A command with its start, measured once."""

    seconds: float
    """on the clock"""
    computed: float
    """seconds of processors, of the command and what it started; not of the server"""
    out: str = field(repr=False, default="")


@dataclass(frozen=True)
class Stored:
    """What lies in the bucket."""

    objects: int
    bytes: int

    def since(self, before: "Stored") -> "Stored":
        """What came."""
        return Stored(self.objects - before.objects, self.bytes - before.bytes)


@dataclass(frozen=True)
class Store:
    """A stand-in for S3 that runs on this machine."""

    environment: dict[str, str]

    def stored(self) -> Stored:
        """Everything that lies in its bucket now."""
        import boto3

        client = boto3.client(
            "s3",
            endpoint_url=self.environment["AWS_ENDPOINT_URL"],
            region_name=self.environment["AWS_DEFAULT_REGION"],
            aws_access_key_id=self.environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.environment["AWS_SECRET_ACCESS_KEY"],
        )
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
        sizes = [each["Size"] for page in pages for each in page.get("Contents", [])]
        return Stored(len(sizes), sum(sizes))


@contextmanager
def store(folder: Path) -> Iterator[Store]:
    """Serve S3 for the length of a `with` block."""
    world = f"benchmark-{secrets.token_hex(8)}"
    with ports.block() as free:
        port = next(free)
        served = s3.service(port, {**os.environ, WORLD: world}, folder / "s3.log")
        try:
            served.launch()
            served.wait()
            keys = s3.open_account(port, [BUCKET])
            yield Store(
                {
                    "AWS_ACCESS_KEY_ID": keys.id,
                    "AWS_SECRET_ACCESS_KEY": keys.secret,
                    "AWS_ENDPOINT_URL": s3.endpoint(port),
                    "AWS_DEFAULT_REGION": s3.REGION,
                }
            )
        finally:
            served.stop()
            sweep(world)


@dataclass(frozen=True)
class Project:
    """A project, and who measures what is done in it."""

    root: Path
    home: Path
    """where commands are run: a study, or the root"""
    store: Store

    def dvc(self, *words: str) -> Took:
        """Run a command of DVC."""
        return self.took("dvc", *words)

    def took(self, module: str, *words: str) -> Took:
        """Run a program of Python with the code of the project."""
        environment = {
            **os.environ,
            **self.store.environment,
            "PYTHONPATH": str(self.root),
            "DVC_NO_ANALYTICS": "1",
            "DVC_SITE_CACHE_DIR": str(self.root.parent / "site"),
        }
        clock, computed = time.perf_counter(), _computed()
        command = [sys.executable, "-m", module, *words]
        done = subprocess.run(command, cwd=self.home, env=environment, capture_output=True, text=True)
        took = Took(time.perf_counter() - clock, _computed() - computed, done.stdout)
        print(f"{module} {' '.join(words)[:90]}: {took.computed:.1f} s ({took.seconds:.1f} s)", flush=True)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return took

    def git(self, *words: str) -> None:
        """Run git, as somebody."""
        who = ("-c", "user.name=benchmark", "-c", "user.email=benchmark@localhost")
        subprocess.run(["git", *who, *words], cwd=self.root, check=True, capture_output=True)

    def commit(self, message: str) -> None:
        """All that git is to know."""
        self.git("add", "-A")
        self.git("commit", "-q", "-m", message)

    def to_run(self) -> tuple[list[str], Took]:
        """What `dvc status` says is not as it was, by name."""
        took = self.dvc("status", "--json")
        told: dict[str, Any] = json.loads(took.out)
        return sorted(told), took

    def stand_in(self) -> None:
        """Outputs of all stages that have not run, as if they had: a folder or file with a word in it."""
        paths = json.loads(self._listed().splitlines()[-1])
        for path in (Path(name) for name in paths):
            if path.exists():
                continue
            file = path if path.suffix else path / "stands-in.txt"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"{path.name}\n")
        for path in STATED:
            (self.home / path).mkdir(parents=True, exist_ok=True)
        self.dvc("commit", "-f", "-q")

    def _listed(self) -> str:
        command = [sys.executable, "-W", "ignore", "-c", LIST_OUTPUTS]
        return subprocess.run(command, cwd=self.home, check=True, capture_output=True, text=True).stdout


def study(folder: Path, remote: Store) -> Project:
    """The code of this repository, with the study for one's own stacks as its only one."""
    root = folder / "here"
    for part in ("sim_models", "pipelines"):
        shutil.copytree(REPOSITORY / part, root / part, ignore=shutil.ignore_patterns("__pycache__"))
    (root / STUDY).mkdir(parents=True)
    shutil.copy(REPOSITORY / STUDY / "params.yaml", root / STUDY)
    shutil.copy(REPOSITORY / "dvc.yaml", root / STUDY)
    shutil.copy(REPOSITORY / ".dvcignore", root)
    (root / ".gitignore").write_text("__pycache__/\n")
    return _begun(Project(root, root / STUDY, remote), "study")


def bare(folder: Path, remote: Store, name: str) -> Project:
    """A project with nothing in it."""
    root = folder / name
    root.mkdir()
    return _begun(Project(root, root, remote), name)


def _begun(project: Project, name: str) -> Project:
    project.git("init", "-q")
    dvc = Project(project.root, project.root, project.store).dvc
    dvc("init", "-q")
    # Endpoint and keys are in the environment.
    dvc("remote", "add", "-q", "-d", "store", f"s3://{BUCKET}/{name}")
    project.commit("begin")
    return project


def clone(project: Project, folder: Path) -> Project:
    """What git has of it, elsewhere."""
    root = folder / "there"
    subprocess.run(["git", "clone", "-q", project.root, root], check=True)
    return Project(root, root / project.home.relative_to(project.root), project.store)


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def _computed() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
