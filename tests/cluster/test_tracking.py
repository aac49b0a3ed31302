"""MLflow on PostgreSQL: nothing is lost to a restart, nor where many write at once."""

import subprocess
import sys
import threading
import time
from pathlib import Path

from mlflow import MlflowClient

from infra.local import World
from sim_models.tracking.lock import claim

REGISTERS = """
import sys
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
me, run = sys.argv[1:]
client = MlflowClient()
try:
    client.create_registered_model("sim-shared")
except MlflowException as error:
    assert error.error_code == "RESOURCE_ALREADY_EXISTS", error
for number in range(8):
    client.create_model_version("sim-shared", f"runs:/{run}/model", run, tags={"sim.by": f"{me} {number}"})
    client.log_metric(run, f"by_{me}", number, step=number)
"""


def test_a_server_that_was_killed_and_started_again_has_lost_nothing(
    world: World, client: MlflowClient
) -> None:
    """A client that logs meanwhile waits, and every step is there once."""
    run = client.create_run(client.create_experiment("restart")).info.run_id
    client.log_text(run, "kept", "note.txt")
    logged: list[int] = []

    def log() -> None:
        for step in range(30):
            client.log_metric(run, "loss", 1 / (step + 1), step=step, timestamp=step, synchronous=True)
            logged.append(step)

    writer = threading.Thread(target=log)
    writer.start()
    while len(logged) < 10:
        time.sleep(0.01)
    world.kill("mlflow")
    world.start("mlflow")
    writer.join(timeout=300)
    assert logged == list(range(30))
    assert [point.step for point in client.get_metric_history(run, "loss")] == logged
    file = Path(client.download_artifacts(run, "note.txt", str(world.folder)))
    assert file.read_text() == "kept"


def test_two_who_register_at_once_lose_nothing(
    world: World, client: MlflowClient, environment: dict[str, str]
) -> None:
    run = client.create_run(client.create_experiment("registering")).info.run_id
    both = [
        subprocess.Popen([sys.executable, "-c", REGISTERS, me, run], env=environment, stderr=subprocess.PIPE)
        for me in "ab"
    ]
    for each in both:
        _, told = each.communicate(timeout=240)
        assert each.returncode == 0, told.decode()
    versions = client.search_model_versions("name = 'sim-shared'")
    assert sorted(int(version.version) for version in versions) == list(range(1, 17))
    assert {version.tags["sim.by"] for version in versions} == {f"{me} {n}" for me in "ab" for n in range(8)}
    for me in "ab":
        assert [point.step for point in client.get_metric_history(run, f"by_{me}")] == list(range(8))


def test_the_champion_s_lock_holds_at_a_real_server(world: World, client: MlflowClient) -> None:
    client.create_registered_model("sim-locked")
    inside: list[int] = []
    most: list[int] = []

    def change() -> None:
        for _ in range(2):
            with claim(world.tracking_uri, "sim-locked") as still_mine:
                inside.append(1)
                most.append(len(inside))
                time.sleep(0.05)
                still_mine()
                inside.pop()

    threads = [threading.Thread(target=change) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=240)
    assert most == [1] * 4
