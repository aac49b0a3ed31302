"""One local cluster for all tests of this folder, which change it only for as long as a test takes."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from infra.local import World, local_cluster
from infra.local.processes import WORLD, members

START_S = 600
"""for the first test of a folder, which waits until everything is up"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(START_S))


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("world")
    with local_cluster(folder) as world:
        name = world.services["s3"].environment[WORLD]
        run = (folder / "run").resolve()
        assert run.is_dir()
        yield world
    assert list(members(name)) == []
    assert not run.exists()


@pytest.fixture
def environment(world: World) -> dict[str, str]:
    """For processes that are clients of the world."""
    return {name: value for name, value in os.environ.items() if not name.startswith("RAY_")} | dict(
        world.env
    )


@pytest.fixture
def client(world: World, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    """Of MLflow, with its account."""
    for name, value in world.env.items():
        if name.startswith("MLFLOW_"):
            monkeypatch.setenv(name, value)
    return MlflowClient(world.tracking_uri, world.tracking_uri)


@pytest.fixture
def store(world: World) -> Any:
    """Of S3, with its keys."""
    import boto3

    return boto3.client(
        "s3",
        endpoint_url=world.s3_endpoint,
        region_name=world.env["AWS_DEFAULT_REGION"],
        aws_access_key_id=world.env["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=world.env["AWS_SECRET_ACCESS_KEY"],
    )


@pytest.fixture(scope="session")
def wait_for() -> Callable[..., None]:
    """Returns when a question is answered with yes."""
    import time

    def wait(question: Callable[[], bool], seconds: float = 120.0) -> None:
        deadline = time.monotonic() + seconds
        while not question():
            assert time.monotonic() < deadline, "waited for too long"
            time.sleep(0.2)

    return wait
