"""The world is up, on this machine only, and lets nobody in who shows nothing."""

import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import requests
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from infra.local import ServiceFailed, World, local_cluster
from infra.local.processes import SERVICE, WORLD, members

ASKS = """
import sys
from ray._raylet import GcsClient
print("nodes", GcsClient(address=sys.argv[1]).get_all_node_info(timeout=10))
"""


def test_everything_is_up(world: World) -> None:
    assert set(world.services) == {"postgresql", "s3", "mlflow", "ray-head", "ray-node-1", "ray-node-2"}
    assert all(service.healthy() for service in world.services.values())


def test_only_ray_listens_beyond_this_machine(world: World) -> None:
    """Ray does so as soon as nodes have addresses of their own; it takes the token there as well (below)."""
    mark = world.services["s3"].environment[WORLD]
    listening = {
        (process.environ()[SERVICE], connection.laddr.ip)
        for process in members(mark)
        for connection in process.net_connections("inet")
        if connection.status == "LISTEN"
    }
    assert {service for service, _ in listening} == set(world.services)
    assert {ip for service, ip in listening if not service.startswith("ray-")} == {"127.0.0.1"}


def test_secrets_are_in_files_of_their_owner_and_nowhere_else(world: World) -> None:
    secrets = [world.env[name] for name in ("MLFLOW_TRACKING_PASSWORD", "AWS_SECRET_ACCESS_KEY")]
    secrets.append(Path(world.env["RAY_AUTH_TOKEN_PATH"]).read_text())
    for name in ("cluster.env", "ray-token"):
        assert stat.S_IMODE((world.folder / name).stat().st_mode) == 0o600
    commands = [word for each in members(world.services["s3"].environment[WORLD]) for word in each.cmdline()]
    logs = [log.read_text(errors="replace") for log in (world.folder / "logs").glob("*.log")]
    assert commands
    assert logs
    for secret in secrets:
        assert not [text for text in (*commands, *logs, repr(world)) if secret in text]


def test_mlflow_refuses_who_has_no_account(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    assert requests.get(f"{world.tracking_uri}/health", timeout=10).ok
    for path in ("/", "/api/2.0/mlflow/experiments/search?max_results=1", "/graphql"):
        assert requests.get(world.tracking_uri + path, timeout=10).status_code == 401, path
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "admin")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "wrong")
    with pytest.raises(MlflowException, match=r"401|not authenticated"):
        MlflowClient(world.tracking_uri).create_experiment("refused")


def test_s3_refuses_who_has_no_keys(world: World, store: Any) -> None:
    import boto3
    from botocore.exceptions import ClientError

    store.put_object(Bucket="dvc", Key="secret", Body=b"1")
    assert not requests.get(f"{world.s3_endpoint}/dvc/secret", timeout=10).ok
    stranger = boto3.client(
        "s3",
        endpoint_url=world.s3_endpoint,
        region_name="us-east-1",
        aws_access_key_id=world.env["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key="wrong",
    )
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        stranger.get_object(Bucket="dvc", Key="secret")


def test_ray_refuses_who_has_no_token(world: World, tmp_path: Path) -> None:
    for path in ("/api/jobs/", "/api/v0/nodes"):
        assert requests.get(world.dashboard + path, timeout=10).status_code == 401
        wrong = {"Authorization": "Bearer wrong"}
        assert requests.get(world.dashboard + path, headers=wrong, timeout=10).status_code in (401, 403)
    # Nor does what holds the cluster together, which the nodes themselves ask.
    for token in ({"RAY_AUTH_TOKEN": "wrong" * 8}, {"RAY_AUTH_MODE": "disabled"}):
        done = subprocess.run(
            [sys.executable, "-c", ASKS, world.ray_address],
            env={"PATH": os.defpath, "RAY_AUTH_MODE": "token", "HOME": str(tmp_path)} | token,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode != 0, done.stdout
        assert "nodes" not in done.stdout
        assert "auth" in done.stderr.lower(), done.stderr


def test_its_folder_takes_no_second_world(world: World) -> None:
    with pytest.raises(ServiceFailed, match=r"a world runs in .* already"), local_cluster(world.folder):
        pass
