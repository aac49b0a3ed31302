"""What must stand before a stage can run on a cluster, looked at from where it would run. Knows nothing of Ray."""

import importlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pipelines.cluster.upload import code_digest
from pipelines.shared.dvc_command import dvc
from sim_models.config import BadInput, without_password

MARK = "sim_models_preflight "
"""begins the line that tells of all checks"""
STORAGE = "SIM_MODELS_STORAGE"
"""variable that names the folder all nodes see"""
CUDA = """
import torch
if torch.cuda.is_available():
    print(f"CUDA {torch.version.cuda}, {torch.cuda.device_count()} x {torch.cuda.get_device_name(0)}")
"""


@dataclass(frozen=True)
class Check:
    """One thing that was looked at, for people."""

    name: str
    ok: bool
    sentence: str

    @property
    def line(self) -> str:
        """How it stands."""
        return f"[{'ok' if self.ok else 'failed'}] {self.name}: {self.sentence}"


@dataclass(frozen=True)
class Expected:
    """What every node must have."""

    code: str
    """hash of the uploaded code"""
    torch: str
    """version without its build"""
    storage: str | None
    token: str
    """what the head has written there"""


@dataclass(frozen=True)
class Node:
    """What a node has found out about itself; None: all is well."""

    host: str
    code: str | None
    torch: str | None
    build: str
    tracking: str | None
    storage: str | None


def look(expected: Expected, gpus: int, ask_tracking: Callable[[], None] | None = None) -> Node:
    """Look at the machine this runs on.

    Args:
        expected: what it must have.
        gpus: how many GPUs Ray says that it has.
        ask_tracking: raises BadInput where the tracking server cannot be reached.
    """
    wrong, build = _torch(expected.torch, gpus)
    return Node(
        host=socket.gethostname(),
        code=_code(expected.code),
        torch=wrong,
        build=build,
        tracking=_reason(ask_tracking or _ask_tracking),
        storage=_storage(expected) if expected.storage else None,
    )


def _ask_tracking() -> None:
    # Takes a second; where it fails, that is what is to be told.
    importlib.import_module("sim_models.tracking.reach").reach()


def _reason(work: Callable[[], None]) -> str | None:
    try:
        work()
    except BadInput as error:
        return str(error)
    except Exception as error:
        said = str(error).splitlines()[0] if str(error) else "no reason given"
        return without_password(f"{type(error).__name__}: {said}")
    return None


def _code(expected: str) -> str | None:
    import sim_models

    folder = Path(sim_models.__file__ or "").resolve().parents[1]
    if code_digest(folder) == expected:
        return None
    return (
        f"imports sim_models from {folder}, which is not what was uploaded; take PYTHONPATH out of the image"
    )


def _torch(expected: str, gpus: int) -> tuple[str | None, str]:
    try:
        found = version("torch")
    except PackageNotFoundError:
        return f"has no torch; install {expected}", "none"
    if found.split("+")[0] != expected:
        return f"has torch {found}, and requirements.lock asks for {expected}; build the image anew", found
    if not gpus:
        return None, f"{found}, CPU"
    seen = _cuda()
    if seen is None:
        return (
            f"has {gpus} GPUs and torch {found}, which sees none; install a build for CUDA, or the driver",
            found,
        )
    return None, f"{found}, {seen}"


def _cuda() -> str | None:
    """CUDA and the first GPU as torch sees them, in a process from which Ray hides none."""
    environment = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
    asked = subprocess.run(
        [sys.executable, "-c", CUDA],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return asked.stdout.strip() or None


def _storage(expected: Expected) -> str | None:
    folder = Path(str(expected.storage))
    host = socket.gethostname()
    try:
        read = token_path(folder, expected.token).read_text()
    except OSError as error:
        return f"does not see what the head wrote in {folder} ({error.strerror})"
    if read != expected.token:
        return f"sees another file than the head wrote in {folder}"
    try:
        answer_path(folder, expected.token, f"{host}.{os.getpid()}").write_text(expected.token)
    except OSError as error:
        return f"cannot write in {folder} ({error.strerror})"
    return None


def token_path(folder: Path, token: str) -> Path:
    """What the head writes."""
    return folder / f".preflight.{token}"


def answer_path(folder: Path, token: str, node: str) -> Path:
    """What a node writes back."""
    return folder / f".preflight.{token}.{node}"


def write_token(folder: Path, token: str) -> str | None:
    """Write a token for all nodes to read; why that is not possible, if it is not."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        token_path(folder, token).write_text(token)
    except OSError as error:
        return f"the head cannot write in {folder} ({error.strerror}); give another --storage, or its rights"
    return None


def answers(folder: Path, token: str) -> int:
    """How many nodes have written back."""
    return len(list(folder.glob(f".preflight.{token}.*")))


def clear_token(folder: Path, token: str) -> None:
    """Take away all that `write_token` and the nodes have written."""
    for path in folder.glob(f".preflight.{token}*"):
        path.unlink(missing_ok=True)


def judge(
    nodes: Mapping[str, Node | str],
    expected: Expected,
    head: str | None,
    answered: int,
    works: bool = True,
) -> list[Check]:
    """What was found on all nodes, as lines for people.

    Args:
        nodes: what each has found, by its address; a text where it could not even look.
        expected: what each must have.
        head: why the head could not write its token, if it could not.
        answered: nodes whose own token the head has seen.
        works: whether any of them has a CPU or GPU for work; else those that work come when they are asked for.
    """
    silent = [
        f"{address} does not answer ({reason})"
        for address, reason in nodes.items()
        if isinstance(reason, str)
    ]
    found = {address: node for address, node in nodes.items() if isinstance(node, Node)}
    of = f"{len(found)} of {len(nodes)} nodes"
    builds = sorted({node.build for node in found.values()})
    checks = [
        Check("nodes", not silent, "; ".join(silent) or f"{len(nodes)} run what was uploaded"),
        _about("code", "the uploaded code is used", {a: n.code for a, n in found.items()}, of),
        _about("torch", " and ".join(builds), {a: n.torch for a, n in found.items()}, of),
        _about("tracking", "the server answers", {a: n.tracking for a, n in found.items()}, of),
        _shared(found, len(nodes), expected, head, answered, works),
    ]
    return [check for check in checks if found or check.name == "nodes"]


def _about(name: str, well: str, wrong: Mapping[str, str | None], of: str) -> Check:
    reasons: dict[str, list[str]] = {}
    for address, reason in wrong.items():
        if reason is not None:
            reasons.setdefault(reason, []).append(address)
    said = "; ".join(f"{', '.join(addresses)}: {reason}" for reason, addresses in reasons.items())
    return Check(name, not reasons, said or f"{well} on {of}")


def _shared(
    found: Mapping[str, Node], nodes: int, expected: Expected, head: str | None, answered: int, works: bool
) -> Check:
    if expected.storage is None:
        return _without_storage(nodes, works)
    if head is not None:
        return Check("storage", False, head)
    wrong = {address: node.storage for address, node in found.items()}
    if any(wrong.values()):
        told = _about("storage", "", wrong, "")
        return Check(
            "storage", False, f"{told.sentence}; mount one folder on all nodes, and name it by --storage"
        )
    if answered < len(found):
        return Check(
            "storage",
            False,
            f"{expected.storage} is not shared: the head sees {answered} of {nodes} answers",
        )
    return Check("storage", True, f"{expected.storage} is shared by {len(found)} of {nodes} nodes")


def _without_storage(nodes: int, works: bool) -> Check:
    if nodes == 1 and works:
        return Check("storage", True, "one node, so a folder of its own will do")
    there = f"the cluster has {nodes} nodes" if nodes > 1 else "nodes that work come when they are asked for"
    return Check("storage", False, f"{there}; name a folder that all of them see: --storage, or {STORAGE}")


def pullable(folder: Path, stages: Sequence[str]) -> Check:
    """Whether the data that stages need can be had from DVC's remote.

    Args:
        folder: a DVC project, or a study in one, with no data in it.
        stages: what is to be reproduced.
    """
    ended = dvc(["status", "--cloud", "--with-deps", "--json", *stages], folder, show=False, wait_s=30)
    if ended.code:
        return Check(
            "data",
            False,
            f"DVC's remote does not answer: {ended.reason}; see .dvc/config and AWS_*",
        )
    states: dict[str, str] = json.loads(ended.out or "{}")
    missing = sorted(name for name, state in states.items() if state == "missing")
    made = made_by_stages(folder)
    lost = [name for name in missing if name not in made]
    if lost:
        return Check(
            "data", False, f"the remote lacks {', '.join(lost)}, and no stage makes it; run dvc push first"
        )
    here = sum(state == "deleted" for state in states.values())
    rest = f", and {len(missing)} will be computed ({', '.join(missing[:3])})" if missing else ""
    return Check("data", True, f"{here} of what the stage and those before it make can be pulled{rest}")


def made_by_stages(folder: Path) -> set[str]:
    """Outputs of stages with a command, as `dvc status` names them."""
    from dvc.repo import Repo

    with Repo(str(folder)) as repo:
        return {str(out) for stage in repo.index.stages if stage.cmd for out in stage.outs}


def to_json(checks: Sequence[Check]) -> str:
    """Checks as one line."""
    return json.dumps([asdict(check) for check in checks])


def from_json(text: str) -> list[Check]:
    """Checks of such a line."""
    read: list[dict[str, Any]] = json.loads(text)
    return [Check(**each) for each in read]
