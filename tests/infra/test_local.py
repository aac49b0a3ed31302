"""What the local cluster's processes stand on; the whole of it is started in tests/cluster."""

import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from infra.local import ServiceFailed, ports
from infra.local.processes import WORLD, Service, members, sweep
from infra.local.world import _kept, keeper

SLEEPS = """
import os, signal, subprocess, sys
from pathlib import Path
from infra.local.world import _swept
with _swept(sys.argv[1], Path(sys.argv[2])):
    subprocess.Popen(["sleep", "100"], env={"SIM_MODELS_LOCAL_WORLD": sys.argv[1]}, start_new_session=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_nothing_outlives_a_keeper_that_was_killed(repository: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    subprocess.run([sys.executable, "-c", SLEEPS, tmp_path.name, run], cwd=repository, timeout=60)
    deadline = time.monotonic() + 60
    while run.exists() or list(members(tmp_path.name)):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_service_is_found_with_all_that_it_started(tmp_path: Path) -> None:
    script = "setsid sleep 100 & setsid sleep 100"
    service = Service("s", ["sh", "-c", script], {WORLD: tmp_path.name}, tmp_path / "s.log", lambda: True)
    service.launch()
    other = subprocess.Popen(["sleep", "100"], env={WORLD: "another"})
    deadline = time.monotonic() + 30
    while len(list(members(tmp_path.name))) < 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(list(members(tmp_path.name))) == 3
    service.kill()
    assert list(members(tmp_path.name)) == []
    assert other.poll() is None
    sweep("another")
    other.wait()


def test_a_service_that_ends_tells_the_end_of_its_log(tmp_path: Path) -> None:
    service = Service(
        "s", ["sh", "-c", "echo no disk; exit 3"], {WORLD: "w"}, tmp_path / "s.log", lambda: False
    )
    service.launch()
    with pytest.raises(ServiceFailed, match=r"s ended with 3; the end of .*s.log:\nno disk"):
        service.wait()


def test_two_worlds_take_different_ports() -> None:
    with ports.block() as one, ports.block() as other:
        first, second = set(one), set(other)
    assert len(first) == len(second) == ports.BLOCK - 1
    assert not first & second


def test_a_block_with_a_taken_port_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "LAST", ports.FIRST + 2 * ports.BLOCK + 1)
    with socket.socket() as taken:
        try:
            taken.bind(("127.0.0.1", ports.FIRST + 50))
        except OSError:
            pytest.skip("somebody else is there already")
        with ports.block() as free:
            assert next(free) > ports.FIRST + ports.BLOCK


def test_a_folder_holds_one_world(tmp_path: Path) -> None:
    assert keeper(tmp_path) is None
    with _kept(tmp_path):
        found = keeper(tmp_path)
        assert found is not None
        assert found.pid == psutil.Process().pid
        with pytest.raises(ServiceFailed, match="a world runs in"), _kept(tmp_path):
            pass
    assert keeper(tmp_path) is None
