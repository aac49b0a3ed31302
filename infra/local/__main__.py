"""`python -m infra.local start` keeps a world until Ctrl-C; `python -m infra.local stop` ends it from elsewhere."""

import argparse
import signal
import sys
import time
from pathlib import Path

from infra.local.processes import ServiceFailed
from infra.local.world import BUCKETS, ENVIRONMENT, World, keeper, local_cluster, local_world_ends

FOLDER = Path("build/cluster")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m infra.local", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, says in (("start", "start a world and keep it"), ("stop", "end the world of a folder")):
        command = commands.add_parser(name, help=says)
        command.add_argument("--folder", type=Path, default=FOLDER, help=f"logs and secrets ({FOLDER})")
        if name == "start":
            command.add_argument("--nodes", type=int, default=2, help="Ray worker nodes (2)")
            command.add_argument("--cpus", type=int, default=1, help="CPUs of each, as Ray counts them (1)")
    chosen = parser.parse_args()
    try:
        if chosen.command == "stop":
            _stop(chosen.folder)
        else:
            _keep(chosen.folder, chosen.nodes, chosen.cpus)
    except ServiceFailed as error:
        sys.exit(f"error: {error}")


def _keep(folder: Path, nodes: int, cpus: int) -> None:
    for end in (signal.SIGINT, signal.SIGTERM):  # the first may be ignored, as in the background of a script
        signal.signal(end, signal.default_int_handler)
    started = time.monotonic()
    print(f"starting PostgreSQL, S3, MLflow and Ray; logs in {folder / 'logs'}", flush=True)
    try:
        with local_cluster(folder, nodes, cpus) as world:
            print(_summary(world, time.monotonic() - started), flush=True)
            _watch(world)
    except KeyboardInterrupt:
        print("stopped", flush=True)


def _summary(world: World, took_s: float) -> str:
    secrets = world.folder / ENVIRONMENT
    return f"""up after {took_s:.0f} s
  MLflow  {world.tracking_uri}   account admin, its password is in {secrets}
  Ray     {world.dashboard}   takes jobs and shows them; asks for the token in {world.folder / "ray-token"}
  S3      {world.s3_endpoint}   buckets {", ".join(BUCKETS)}; all in memory, gone when this stops
In another shell:  source {secrets}
Ends with Ctrl-C, or with: make cluster-stop"""


def _watch(world: World) -> None:
    """Tell once of every service that ended by itself."""
    told: set[str] = set()
    while True:
        for name, service in world.services.items():
            if name not in told and service.process is not None and service.process.poll() is not None:
                told.add(name)
                print(f"{name} ended with {service.process.returncode}; see {service.log}", flush=True)
        time.sleep(1)


def _stop(folder: Path) -> None:
    if (found := keeper(folder)) is None:
        print(f"nothing runs in {folder}")
        return
    found.send_signal(signal.SIGTERM)
    local_world_ends(folder)
    print("stopped")


if __name__ == "__main__":
    main()
