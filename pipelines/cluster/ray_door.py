"""Ray's door of this room: jobs on a cluster from outside, and a function on each of its nodes from inside."""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import aiohttp
import ray
import requests
from ray.exceptions import AuthenticationError, RayError
from ray.job_submission import JobStatus, JobSubmissionClient
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from sim_models.config import BadInput, NotReady

T = TypeVar("T")

LOOK_S = 1.0
"""between two looks at a job"""
PATIENCE_S = 120.0
"""as long as a cluster that does not answer is asked again"""
NO_AGENT = "No available agent"
"""what Ray says where a node does not yet take jobs"""
LOCKED = (401, 403)
"""answers of a door that wants a token, which Ray's own client brings"""
ANSWER_S = 10.0
"""as long as an answer to one question may take"""


@dataclass(frozen=True)
class Ended:
    """How a job ended."""

    succeeded: bool
    stopped: bool
    message: str
    """what Ray says of it"""


class Jobs:
    """The jobs of a cluster."""

    def __init__(self, address: str) -> None:
        """Knock at a cluster, without changing anything.

        Raises:
            BadInput: if this is no address.
            NotReady: if nobody answers there, or lets nobody in.
        """
        self.address = address
        for name in ("ray", "ray.dashboard.modules.dashboard_sdk", "ray.dashboard.modules.job.sdk"):
            logging.getLogger(name).setLevel(logging.ERROR)
        if not address.startswith(("http://", "https://")):
            raise BadInput(f"--address {address}: must be that of Ray's dashboard, as http://head:8265")
        try:
            answer = requests.get(f"{address.rstrip('/')}/api/version", timeout=ANSWER_S)
            if answer.status_code not in LOCKED:
                answer.raise_for_status()
        except requests.RequestException as error:
            raise NotReady(
                f"no Ray cluster answers at {address} ({_short(error)}); start it, or mend --address (Ray's dashboard)"
            ) from None
        self.client()

    def client(self) -> JobSubmissionClient:
        """Ray's own client.

        Raises:
            NotReady: if it is not let in.
        """
        try:
            return JobSubmissionClient(self.address)
        except AuthenticationError:
            raise NotReady(
                f"the Ray cluster at {self.address} asks for its token; set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH"
            ) from None
        except (RuntimeError, ConnectionError) as error:
            raise NotReady(f"the Ray cluster at {self.address} takes no jobs ({_short(error)})") from None

    def submit(
        self, entrypoint: str, folder: Path, runtime_env: Mapping[str, Any], about: Mapping[str, str]
    ) -> str:
        """Upload a folder as it is and start a command in it; the name of the job.

        Raises:
            NotReady: if the cluster does not take it.
        """
        # The folder holds what is to be uploaded and nothing else: Ray is to leave nothing out.
        was = os.environ.get("RAY_RUNTIME_ENV_IGNORE_GITIGNORE")
        os.environ["RAY_RUNTIME_ENV_IGNORE_GITIGNORE"] = "1"
        end = time.monotonic() + PATIENCE_S
        try:
            while True:
                try:
                    return str(
                        self.client().submit_job(
                            entrypoint=entrypoint,
                            runtime_env={**runtime_env, "working_dir": str(folder)},
                            metadata=dict(about),
                        )
                    )
                except RuntimeError as error:
                    # A cluster that has just started answers before it can take jobs.
                    if NO_AGENT not in str(error) or time.monotonic() > end:
                        raise
                    time.sleep(LOOK_S)
        except (RuntimeError, ValueError, requests.RequestException) as error:
            raise NotReady(
                f"the Ray cluster at {self.address} does not take the job ({_short(error)})"
            ) from None
        finally:
            if was is None:
                del os.environ["RAY_RUNTIME_ENV_IGNORE_GITIGNORE"]
            else:
                os.environ["RAY_RUNTIME_ENV_IGNORE_GITIGNORE"] = was

    def follow(self, job: str, tell: Callable[[str], None], wait_s: float | None = None) -> Ended:
        """Tell what a job writes until it has ended, however often the connection is lost.

        Raises:
            BadInput: if there is no such job.
            NotReady: if the cluster is gone for long, or the job takes more than `wait_s`.
        """
        client, told, lost, begun = self.client(), Told(tell), None, time.monotonic()
        while True:
            try:
                asyncio.run(_tail(client, job, told, wait_s))
                info = client.get_job_info(job)
                lost = None
                if info.status.is_terminal():
                    # What came after the last piece.
                    told.more(client.get_job_logs(job), 0)
                    return Ended(
                        info.status == JobStatus.SUCCEEDED,
                        info.status == JobStatus.STOPPED,
                        str(info.message or ""),
                    )
            except (RuntimeError, OSError, aiohttp.ClientError, requests.RequestException) as error:
                if "does not exist" in str(error):
                    raise BadInput(f"the Ray cluster at {self.address} has no job {job}") from None
                lost = lost or time.monotonic()
                if time.monotonic() - lost > PATIENCE_S:
                    raise NotReady(
                        f"the Ray cluster at {self.address} does not answer any more ({_short(error)}); job {job} may "
                        "go on, look for it when it does"
                    ) from None
            if wait_s is not None and time.monotonic() - begun > wait_s:
                with suppress(RuntimeError, OSError, requests.RequestException):
                    client.stop_job(job)
                raise NotReady(
                    f"job {job} has not ended within {wait_s:.0f} s, and was stopped; are the nodes busy?"
                )
            time.sleep(LOOK_S)


class Told:
    """How much of a log was told, which every connection gives from its beginning."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell, self.characters = tell, 0

    def more(self, piece: str, begin: int) -> None:
        """Tell of a piece, which begins at this character of the log, what was not told yet."""
        new = piece[max(0, self.characters - begin) :]
        if new:
            self._tell(new)
            self.characters += len(new)


async def _tail(client: JobSubmissionClient, job: str, told: Told, wait_s: float | None) -> None:
    """Tell what is new in the log of a job, for as long as the connection holds."""
    seen = 0
    with suppress(TimeoutError):
        async with asyncio.timeout(wait_s):
            async for piece in client.tail_job_logs(job):
                told.more(piece, seen)
                seen += len(piece)


@dataclass(frozen=True)
class Machine:
    """A node of the cluster this process is in."""

    id: str
    address: str
    gpus: int
    works: bool
    """whether it has a CPU or GPU for work; a head often has none"""


def machines() -> list[Machine]:
    """The nodes that are alive; Ray must have been joined."""
    found = [
        Machine(
            node["NodeID"],
            node["NodeManagerAddress"],
            int(node["Resources"].get("GPU", 0)),
            any(node["Resources"].get(kind) for kind in ("CPU", "GPU")),
        )
        for node in ray.nodes()  # type: ignore[no-untyped-call]
        if node["Alive"]
    ]
    return sorted(found, key=lambda machine: machine.address)


def join() -> None:
    """Join the cluster whose job this process is."""
    ray.init(address=os.environ.get("RAY_ADDRESS", "auto"), log_to_driver=False, logging_level=logging.ERROR)


def on_every_node(function: Callable[[Machine], T], wait_s: float) -> dict[str, T | str]:
    """Call a function once on every node, by the node's address; a text says why there is no answer.

    It takes no CPU of theirs, so a node that is busy answers as well.
    """
    # Held in a task of no resources, so that it does not wait for what others use.
    task: Any = ray.remote(num_cpus=0, max_retries=0)(lambda machine: function(machine))
    asked = {}
    for machine in machines():
        place = NodeAffinitySchedulingStrategy(machine.id, soft=False)
        asked[task.options(scheduling_strategy=place).remote(machine)] = machine
    ray.wait(list(asked), num_returns=len(asked), timeout=wait_s)
    found: dict[str, T | str] = {}
    for reference, machine in asked.items():
        # Several nodes may share an address where they are processes on one machine.
        name = machine.address if machine.address not in found else f"{machine.address} ({machine.id[:8]})"
        try:
            found[name] = ray.get(reference, timeout=0)
        except RayError as error:
            late = isinstance(error, ray.exceptions.GetTimeoutError)
            found[name] = f"nothing within {wait_s:.0f} s" if late else _short(error)
    return found


def _short(error: Exception) -> str:
    """The last line of what an error says, with no address of an object in it."""
    reason = getattr(error, "cause", None) or error
    while isinstance(reason, requests.RequestException | aiohttp.ClientError) and reason.args:
        inner = reason.args[0]
        inner = getattr(inner, "reason", inner)
        if not isinstance(inner, Exception):
            break
        reason = inner
    lines = [line.strip() for line in str(reason).splitlines() if line.strip()]
    said = lines[-1] if lines else type(reason).__name__
    return said.split("): ", 1)[-1] if "object at 0x" in said else said
