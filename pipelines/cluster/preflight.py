"""Entry point on the cluster: look at every node before the real job, and tell it in one line that a program reads."""

import sys
import tempfile
import uuid
from functools import partial
from pathlib import Path

from pipelines.cluster.checks import (
    MARK,
    Check,
    Expected,
    Node,
    answers,
    clear_token,
    judge,
    look,
    pullable,
    to_json,
    write_token,
)
from pipelines.cluster.job import storage, working_copy
from pipelines.cluster.ray_door import Machine, join, machines, on_every_node
from pipelines.cluster.upload import code_digest
from pipelines.shared.stage import exit_code

NODE_S = 90.0
"""as long as a node may take to look at itself"""


def main() -> None:
    """`python -m pipelines.cluster.preflight TORCH STUDY STAGE...`."""
    torch, study, *stages = sys.argv[1:]
    sys.exit(exit_code(lambda: print(MARK + to_json(preflight(torch, study, stages)), flush=True)))


def preflight(torch: str, study: str, stages: list[str]) -> list[Check]:
    """Everything that is looked at, in this order: nodes, code, torch, tracking, storage, data."""
    place, uploaded = storage(), Path.cwd()
    expected = Expected(code_digest(uploaded), torch, str(place) if place else None, uuid.uuid4().hex)
    join()
    try:
        head = write_token(place, expected.token) if place else None
        found = on_every_node(partial(_look, expected), NODE_S)
        seen = answers(place, expected.token) if place else 0
        works = any(machine.works for machine in machines())
    finally:
        if place:
            clear_token(place, expected.token)
    checks = judge(found, expected, head, seen, works)
    with tempfile.TemporaryDirectory(prefix="sim_models_") as folder:
        copy = working_copy(uploaded, Path(folder) / "copy", None)
        return [*checks, pullable(copy / study, stages)]


def _look(expected: Expected, machine: Machine) -> Node:
    return look(expected, machine.gpus)


if __name__ == "__main__":
    main()
