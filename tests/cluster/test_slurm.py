"""infra/slurm/launch.sh with two hosts that are both this machine; `srun` and `scontrol` are stand-ins."""

import os
import random
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

SRUN = """#!/bin/bash
# Takes srun's options and runs the command; a host is its number.
for word in "$@"; do
  case $word in
    --nodelist=*) host=${word#*=}; shift ;;
    --*) shift ;;
    *) break ;;
  esac
done
[ "$1" != hostname ] || { echo "127.0.0.$host"; exit; }
exec "$@"
"""
SCONTROL = """#!/bin/bash
printf '%s\\n' $3
"""
ASTRAY = ("RAY_ADDRESS", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER")
COMMAND = """
import ray
ray.init()
nodes = sorted(node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"])
print("nodes", *nodes, "CPUs", ray.cluster_resources()["CPU"])
"""


@pytest.mark.parametrize(
    ("hosts", "addresses"), [("7", "127.0.0.1"), ("7 8", "127.0.0.7 127.0.0.8")], ids=["one", "two"]
)
def test_a_job_has_a_node_on_every_host_and_leaves_nothing(
    repository: Path, tmp_path: Path, hosts: str, addresses: str
) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in {"srun": SRUN, "scontrol": SCONTROL}.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    mark = tmp_path.name + str(random.random())
    environment = {name: value for name, value in os.environ.items() if name not in ASTRAY} | {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "VENV": str(Path(sys.executable).parents[1]),
        "SLURM_JOB_ID": str(random.randrange(1000)),
        "SLURM_JOB_NODELIST": hosts,
        "SLURM_CPUS_PER_TASK": "1",
        "SIM_MODELS_MARK": mark,
    }
    job = subprocess.Popen(
        [repository / "infra" / "slurm" / "launch.sh", "python", "-c", COMMAND],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        out, err = job.communicate(timeout=300)
        logs = "".join(log.read_text() for log in tmp_path.glob("ray-*.log"))
        assert job.returncode == 0, out + err + logs
        assert f"nodes {addresses} CPUs {len(hosts.split())}.0" in out
        assert not list(tmp_path.glob(".ray-*")), "the token is still there"
        _, left = psutil.wait_procs(_marked(mark), timeout=30)
        assert left == []
    finally:
        for process in _marked(mark):
            process.kill()
        job.wait()


def _marked(mark: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.environ().get("SIM_MODELS_MARK") == mark:
                found.append(process)
    return found
