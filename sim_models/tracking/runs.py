"""Runs: one for every training, trial, study and evaluation, each written by one process.

The driver makes a run and hands its id on; a worker logs to that id and never picks a run.
"""

import os
import platform
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.metadata import distributions
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

# Read when MLflow is imported: say nothing to its makers, nothing on every file, and never unpickle.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
# Through the server, not from the S3 behind it, whose address may be out of our reach.
os.environ.setdefault("MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD", "false")
os.environ.setdefault("MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD", "false")

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Param, RunTag
from mlflow.exceptions import MlflowException

from sim_models.config import BadInput, without_password
from sim_models.tracking.logger import Logger

KEY = "sim.key"
"""tag by which a run that was cut short is found again"""
WEIGHTS = "sim.weights"
"""tag: SHA-256 of the weights a run came to, or a registered version holds"""
COMMIT = "mlflow.source.git.commit"
"""tag: commit of the code"""
FINISHED, FAILED, KILLED = "FINISHED", "FAILED", "KILLED"
PAGE = 200
"""results that are asked for at once"""


@cache
def client_of(uri: str) -> MlflowClient:
    """The client for a tracking URI; opening a database takes seconds, so it is kept."""
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def every(search: Callable[..., Any], *what: object) -> Iterator[Any]:
    """All that a search of MLflow's client finds, page after page; by itself it gives no more than the first."""
    token = None
    while True:
        page = search(*what, max_results=PAGE, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


@dataclass(frozen=True)
class Run:
    """A run that is being written."""

    id: str
    logger: Logger

    @property
    def _client(self) -> MlflowClient:
        return client_of(self.logger.uri)

    def metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Log metrics that have no history."""
        self.logger(step, metrics)

    def tags(self, tags: Mapping[str, str]) -> None:
        """Set tags."""
        self._client.log_batch(self.id, tags=[RunTag(key, value) for key, value in tags.items()])

    def dataset(self, folder: Path, split_hash: str, purpose: str) -> None:
        """Name the data of the run: shown in MLflow's column of datasets, with DVC's hash as its digest."""
        data = Dataset(folder.name, data_version(folder)[:36], "dvc", str(folder))
        tags = [InputTag("mlflow.data.context", purpose), InputTag("split", split_hash)]
        self._client.log_inputs(self.id, [DatasetInput(data, tags)])

    def folder(self, folder: Path, path: str) -> None:
        """Log the files of a folder under `path`."""
        self._client.log_artifacts(self.id, str(folder), path)

    def text(self, text: str, path: str) -> None:
        """Log a text under `path`."""
        self._client.log_text(self.id, text, path)


@dataclass(frozen=True)
class Tracker:
    """The MLflow server (or SQLite file) and experiment that runs go to."""

    uri: str
    experiment_id: str
    root: Path

    @staticmethod
    def open(experiment: str, root: Path) -> "Tracker":
        """Open `MLFLOW_TRACKING_URI`, or `<root>/mlflow.db` with artifacts in `<root>/mlruns`.

        Raises:
            BadInput: if the server does not answer or refuses.
        """
        uri = tracking_uri(root)
        try:
            client = client_of(uri)
            found = client.get_experiment_by_name(experiment)
            if found is not None:
                return Tracker(uri, found.experiment_id, root)
            # A local database records where artifacts lie; a server decides that itself.
            location = (root / "mlruns").resolve().as_uri() if uri.startswith("sqlite:") else None
            return Tracker(uri, client.create_experiment(experiment, artifact_location=location), root)
        except MlflowException as error:
            reason = str(error).splitlines()[0]
            raise BadInput(
                without_password(f"MLflow at {uri} does not take runs ({reason}); check MLFLOW_TRACKING_URI")
            ) from None

    @contextmanager
    def run(
        self,
        name: str,
        key: str,
        settings: Mapping[str, Any],
        tags: Mapping[str, str],
        parent: Run | None = None,
    ) -> Iterator[Run]:
        """A run for the length of a `with` block; where one with the same key exists, that one goes on.

        Args:
            name: what people see.
            key: names this piece of work, in this execution of its stage.
            settings: nested settings, logged as parameters `a.b.c`.
            tags: further tags.
            parent: the run under which this one is shown.
        """
        client = client_of(self.uri)
        run_id = self.find(KEY, key) or self._create(name, key, tags, parent)
        self._describe(run_id, settings)
        client.update_run(run_id, status="RUNNING")
        try:
            yield Run(run_id, Logger(self.uri, run_id))
        except KeyboardInterrupt:
            client.set_terminated(run_id, KILLED)
            raise
        except BaseException:
            client.set_terminated(run_id, FAILED)
            raise
        client.set_terminated(run_id, FINISHED)

    def _create(self, name: str, key: str, tags: Mapping[str, str], parent: Run | None) -> str:
        lineage = {"mlflow.parentRunId": parent.id} if parent else {}
        lineage |= {
            "mlflow.source.name": os.environ.get("DVC_STAGE", "by hand"),
            "mlflow.source.type": "PROJECT",
        }
        created = client_of(self.uri).create_run(
            self.experiment_id,
            run_name=name,
            tags={KEY: key, **code_version(self.root), **lineage, **tags},
        )
        return str(created.info.run_id)

    def _describe(self, run_id: str, settings: Mapping[str, Any]) -> None:
        """Say of a run with what it is made, unless that is there: whoever made it may have been killed at once."""
        client = client_of(self.uri)
        if client.get_run(run_id).data.params:
            return
        client.log_text(run_id, environment(), "environment.txt")
        # Last and all together: where they are, everything is.
        client.log_batch(run_id, params=[Param(key, str(value)) for key, value in flatten(settings).items()])

    def find(self, tag: str, value: str) -> str | None:
        """The newest run that carries a tag, if any."""
        found = client_of(self.uri).search_runs(
            [self.experiment_id], f"tags.`{tag}` = '{value}'", max_results=1
        )
        return str(found[0].info.run_id) if found else None

    def tags(self, run_id: str) -> dict[str, str]:
        """The tags of a run."""
        return dict(client_of(self.uri).get_run(run_id).data.tags)

    def count(self, tags: Mapping[str, str]) -> int:
        """How many runs carry all of these tags."""
        wanted = " and ".join(f"tags.`{tag}` = '{value}'" for tag, value in tags.items())
        return sum(1 for _ in every(client_of(self.uri).search_runs, [self.experiment_id], wanted))


def tracking_uri(root: Path) -> str:
    """`MLFLOW_TRACKING_URI`, or an SQLite file in `root`; always absolute, since stages change folders.

    Raises:
        BadInput: if it names a server and nobody answers there.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{(root / 'mlflow.db').resolve()}"
    parts = urlsplit(uri)
    if parts.scheme.split("+")[0] not in {"http", "https", "sqlite", "postgresql", "mysql", "mssql"}:
        raise BadInput(
            f"MLFLOW_TRACKING_URI={without_password(uri)} names no server or database; give http://host:port or "
            "unset it to log to a local file"
        )
    if parts.scheme in {"http", "https"}:
        try:
            port = parts.port or {"http": 80, "https": 443}[parts.scheme]
        except ValueError as error:
            raise BadInput(
                f"MLFLOW_TRACKING_URI={without_password(uri)}: {error}; mend the address"
            ) from None
        try:
            # MLflow itself retries for minutes before it gives up.
            socket.create_connection((parts.hostname or "", port), timeout=5).close()
        except OSError as error:
            raise BadInput(
                f"no MLflow server answers at MLFLOW_TRACKING_URI={parts.scheme}://{parts.hostname}:{port} ({error}); "
                "start it, mend the address, or unset the variable to log to a local file"
            ) from None
    return uri


def flatten(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as `a.b.c`."""
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def code_version(root: Path) -> dict[str, str]:
    """Tags that name the commit, with a mark where the working tree differs from it."""
    commit = _git(root, "rev-parse", "HEAD")
    if commit is None:
        # On a cluster the code lies without git; whoever sent it there says what it is.
        sent = {COMMIT: os.environ.get("SIM_MODELS_COMMIT", "unknown")}
        changed = os.environ.get("SIM_MODELS_CODE_CHANGED")
        return {**sent, "sim.code_changed": changed} if changed else sent
    changed = _git(root, "status", "--porcelain", "--untracked-files=no", "--", "sim_models", "pipelines")
    return {COMMIT: commit, "sim.code_changed": str(bool(changed)).lower()}


def _git(root: Path, *arguments: str) -> str | None:
    try:
        return subprocess.run(
            ["git", *arguments], cwd=root, check=True, capture_output=True, text=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def data_version(folder: Path, study: Path = Path()) -> str:
    """The hash DVC recorded for a folder among the outputs of the pipeline in `study`, or `not under DVC`."""
    try:
        lock = yaml.safe_load((study / "dvc.lock").read_text())
    except OSError:
        return "not under DVC"
    outs = (out for stage in lock.get("stages", {}).values() for out in stage.get("outs", []))
    return next((str(out["md5"]) for out in outs if Path(out["path"]) == folder), "not under DVC")


@cache
def environment() -> str:
    """Machine, Python and every installed distribution, one a line; to read what they say of themselves takes long."""
    installed = sorted(f"{each.metadata['Name']}=={each.version}" for each in distributions())
    return "\n".join([f"# {platform.platform()} Python {platform.python_version()}", *installed]) + "\n"
