"""compose.yaml, as Docker Compose itself reads it."""

import re
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
import yaml

Judge = Callable[..., CompletedProcess[str]]
EMPTY = re.compile(r"^([A-Z0-9_]+)=$", re.MULTILINE)
"""a secret in example.env, to be filled in"""


@pytest.fixture
def example(infra: Path) -> str:
    return (infra / "example.env").read_text()


@pytest.fixture
def read(infra: Path, judge: Judge, tmp_path: Path) -> Callable[..., CompletedProcess[str]]:
    """Reads compose.yaml with the settings of a text."""

    def run(settings: str, *more: str) -> CompletedProcess[str]:
        file = tmp_path / "settings.env"
        file.write_text(settings)
        files = [word for name in ("compose.yaml", *more) for word in ("-f", infra / name)]
        return judge("docker-compose", *files, "--env-file", file, "config", env={"PATH": ""})

    return run


@pytest.fixture
def services(read: Callable[..., CompletedProcess[str]], example: str) -> dict[str, Any]:
    done = read(EMPTY.sub(r"\1=a-long-secret-of-\1", example))
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = yaml.safe_load(done.stdout)["services"]
    return found


def test_it_does_not_start_while_a_secret_is_empty(
    read: Callable[..., CompletedProcess[str]], example: str
) -> None:
    secrets = EMPTY.findall(example)
    assert len(secrets) == 7
    for secret in secrets:
        others = EMPTY.sub(lambda found, one=secret: found[0] if found[1] == one else f"{found[0]}x", example)
        done = read(others)
        assert done.returncode != 0, secret
        assert f"{secret} is missing a value: is empty; see infra/example.env" in done.stderr


def test_no_secret_stands_on_a_command_line(services: dict[str, Any]) -> None:
    for name, service in services.items():
        words = str([service.get("command"), service.get("entrypoint"), service.get("healthcheck")])
        assert "a-long-secret" not in words, name


def test_ports_open_on_this_machine_only(services: dict[str, Any]) -> None:
    ports = {
        name: [port["host_ip"] for port in service.get("ports", [])] for name, service in services.items()
    }
    assert {name for name, hosts in ports.items() if hosts} == {"s3", "mlflow", "ray-head"}
    assert {host for hosts in ports.values() for host in hosts} == {"127.0.0.1"}


def test_every_service_has_limits_a_pinned_image_and_gains_no_privileges(services: dict[str, Any]) -> None:
    for name, service in services.items():
        assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory"}, name
        assert service["image"].partition(":")[2] not in ("", "latest"), name
        assert service["security_opt"] == ["no-new-privileges:true"], name


def test_what_serves_is_asked_whether_it_is_well(services: dict[str, Any]) -> None:
    # A worker is asked by the image's own check, and `buckets` ends.
    asked = {name for name, service in services.items() if "test" in service.get("healthcheck", {})}
    assert asked == set(services) - {"ray-worker", "buckets"}


def test_gpus_are_laid_over_it(read: Callable[..., CompletedProcess[str]], example: str) -> None:
    done = read(EMPTY.sub(r"\1=x", example), "compose.gpu.yaml")
    assert done.returncode == 0, done.stderr
    worker = yaml.safe_load(done.stdout)["services"]["ray-worker"]
    assert worker["deploy"]["resources"]["reservations"]["devices"][0]["driver"] == "nvidia"
    assert worker["deploy"]["resources"]["limits"]
