"""A job through the dashboard reaches every node, and from every node MLflow and S3; nodes come and go."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mlflow import MlflowClient

from infra.local import World

JOB = """
import json, os, socket, sys
import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

@ray.remote(num_cpus=1)
def work(run_id):
    from mlflow import MlflowClient
    import boto3
    here = ray.util.get_node_ip_address()
    client = MlflowClient()
    client.log_metric(run_id, "node_" + here.replace(".", "_"), 1.0)
    client.log_text(run_id, here, here + ".txt")
    boto3.client("s3").put_object(Bucket="sim-models", Key=run_id + "/" + here, Body=here.encode())
    return here

ray.init()
nodes = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
strategies = [NodeAffinitySchedulingStrategy(node["NodeID"], soft=False) for node in nodes]
tasks = [work.options(scheduling_strategy=each).remote(sys.argv[1]) for each in strategies]
print("worked on", json.dumps(sorted(ray.get(tasks))))
"""


def test_a_job_logs_and_stores_from_every_node(
    world: World, environment: dict[str, str], client: MlflowClient, store: Any, tmp_path: Path
) -> None:
    (tmp_path / "job.py").write_text(JOB)
    run = client.create_run(client.create_experiment("jobs")).info.run_id
    words = ["job", "submit", "--working-dir", ".", "--", "python", "job.py", run]
    done = subprocess.run(
        [Path(sys.executable).parent / "ray", *words],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    nodes = ["127.0.0.3", "127.0.0.4"]
    assert f"worked on {json.dumps(nodes)}" in done.stdout
    data = client.get_run(run).data
    assert data.metrics == {f"node_{node.replace('.', '_')}": 1.0 for node in nodes}
    assert {file.path for file in client.list_artifacts(run)} == {f"{node}.txt" for node in nodes}
    found = store.list_objects_v2(Bucket="sim-models", Prefix=run)["Contents"]
    assert [each["Key"] for each in found] == [f"{run}/{node}" for node in nodes]
    # The artifacts went through MLflow into the bucket behind it.
    behind = store.list_objects_v2(Bucket="mlflow")["Contents"]
    assert len([each for each in behind if run in each["Key"]]) == 2


def test_a_node_that_was_killed_is_missed_and_comes_back(world: World, wait_for: Callable[..., None]) -> None:
    node = world.services["ray-node-2"]
    world.kill("ray-node-2")
    wait_for(lambda: not node.healthy(), 60)
    assert world.services["ray-node-1"].healthy()
    world.start("ray-node-2")
    assert node.healthy()
