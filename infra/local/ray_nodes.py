"""A Ray head without CPUs and worker nodes, each on a loopback address of its own, behind a token."""

import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import requests

from infra.local.processes import Service

OBJECT_STORE_BYTES = 100 * 2**20
"""of each node; fields travel by file"""
WORKER_PORTS = 20
"""of each node: every process that runs tasks or actors takes one"""
SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    "RAY_worker_niceness": "0",
    # A node that was killed is known to be dead after about 4 s, not 14.
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "30000",  # for a busy machine to answer; one that is gone refuses at once
    "RAY_health_check_failure_threshold": "3",
    "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "1",
    # A busy machine takes its time.
    "RAY_DASHBOARD_STARTUP_TIMEOUT_S": "180",
    "RAY_worker_register_timeout_seconds": "180",
    "RAY_raylet_start_wait_time_s": "90",
    "RAY_agent_register_timeout_ms": "180000",
}


def address(number: int) -> str:
    """Of the head (0) and the worker nodes (1, 2, ...); 127.0.0.1 Ray replaces by the machine's outward address."""
    return f"127.0.0.{number + 2}"


def head(
    folder: Path,
    ports: Iterator[int],
    gcs: int,
    dashboard: int,
    environment: Mapping[str, str],
    log: Path,
    token: str,
) -> Service:
    """Say how to serve the head, whose dashboard takes jobs; sockets lie in `folder`, so its path must be short."""
    options = [
        "--head",
        f"--port={gcs}",
        f"--temp-dir={folder}",
        "--num-cpus=0",  # it hands out work and does none
        "--dashboard-host=127.0.0.1",
        f"--dashboard-port={dashboard}",
        f"--ray-client-server-port={next(ports)}",
    ]
    return _node(0, options, ports, environment, log, lambda: bool(alive(dashboard, token)))


def worker(
    folder: Path,
    number: int,
    cpus: int,
    ports: Iterator[int],
    gcs: int,
    dashboard: int,
    environment: Mapping[str, str],
    log: Path,
    token: str,
) -> Service:
    """Say how to serve a worker node, numbered from 1, with a folder of its own, as on a machine of its own.

    In a common one nodes that start at once take each other's sockets, and one takes away what another has unpacked.
    """
    options = [f"--address={address(0)}:{gcs}", f"--temp-dir={folder}", f"--num-cpus={cpus}"]
    return _node(number, options, ports, environment, log, lambda: address(number) in alive(dashboard, token))


def alive(dashboard: int, token: str) -> set[str]:
    """Addresses of the nodes that Ray counts as alive."""
    answer = requests.get(
        f"http://127.0.0.1:{dashboard}/api/v0/nodes",
        headers={"Authorization": f"Bearer {token}"},
        timeout=5,
    )
    if not answer.ok:
        return set()
    nodes = answer.json()["data"]["result"]["result"]
    return {node["node_ip"] for node in nodes if node["state"] == "ALIVE"}


def _node(
    number: int,
    options: Sequence[str],
    ports: Iterator[int],
    environment: Mapping[str, str],
    log: Path,
    healthy: Callable[[], bool],
) -> Service:
    first, *_ = (next(ports) for _ in range(WORKER_PORTS))
    named = {
        name: next(ports)
        for name in (
            "node-manager-port",
            "object-manager-port",
            "dashboard-agent-listen-port",
            "dashboard-agent-grpc-port",
            "runtime-env-agent-port",
            "metrics-export-port",
        )
    }
    return Service(
        name="ray-head" if number == 0 else f"ray-node-{number}",
        command=[
            _ray(),
            "start",
            "--block",  # stays, and takes its node with it when asked to end; `ray stop` would end every Ray here
            f"--node-ip-address={address(number)}",
            f"--object-store-memory={OBJECT_STORE_BYTES}",
            f"--min-worker-port={first}",
            f"--max-worker-port={first + WORKER_PORTS - 1}",
            "--disable-usage-stats",
            *(f"--{name}={port}" for name, port in named.items()),
            *options,
        ],
        environment=environment,
        log=log,
        healthy=healthy,
        tries=3,  # Ray itself gives a node 30 s to come up, which a busy machine may not keep
    )


def _ray() -> str:
    beside = Path(sys.executable).parent / "ray"
    return str(beside) if beside.exists() else shutil.which("ray") or "ray"
