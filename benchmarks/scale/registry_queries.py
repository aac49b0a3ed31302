"""What is asked of the registry, with a hundred versions and with ten thousand."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from filling import add_models, database, model_name
from timing import Timed, Watch

from infra.local import World
from pipelines.registry.promoting import family
from sim_models.tracking.champions import Champions
from sim_models.tracking.registry import CHAMPION, Registry
from sim_models.tracking.runs import client_of

SIZES = (100, 1_000, 10_000)
"""versions"""
VERSIONS = 10
"""of each registered model"""
CROWDED = 1_000
"""versions of one model that is trained anew every night for years"""


def measure(world: World, watch: Watch) -> dict[str, dict[int, Timed]]:
    """Question -> number of versions -> time."""
    found: dict[str, dict[int, Timed]] = {}
    for before, size in zip((0, *SIZES), SIZES, strict=False):
        add_models(world, before // VERSIONS, size // VERSIONS - 1, VERSIONS)
        for question, work in _questions(Registry(world.tracking_uri), model_name(size // VERSIONS // 2)):
            found.setdefault(question, {})[size] = watch.timed(work)
            print(f"registry, {size} versions: {question}: {found[question][size].cell}", flush=True)
    check(world)
    return found


def measure_crowded(world: World, watch: Watch) -> dict[str, Timed]:
    """The same of one model with very many versions, each of which has been champion."""
    number = SIZES[-1] // VERSIONS
    add_models(world, number, number, CROWDED)
    registry, name = Registry(world.tracking_uri), model_name(number)
    champions = Champions(registry, name)
    return {
        "who is champion": watch.timed(lambda: registry.holder(name, CHAMPION)),
        "history of the champion": watch.timed(champions.history),
        "all versions": watch.timed(lambda: registry.versions(name)),
    }


def command_line(watch: Watch) -> Timed:
    """`sim-models registry tree`, with the start of the program."""
    command = [sys.executable, "-m", "pipelines.cli", "registry", "tree"]

    def work() -> None:
        told = subprocess.run(command, check=True, capture_output=True, text=True)
        lines = told.stdout.splitlines()
        assert len(lines) >= SIZES[-1]
        assert sum(f"@{CHAMPION}" in line for line in lines) == SIZES[-1] // VERSIONS

    return watch.timed(work, times=2)


def as_administrator(world: World, watch: Watch) -> dict[str, Timed]:
    """The long listings again, for one whom MLflow lets see everything without looking up what he may see."""
    registry = Registry(world.tracking_uri)
    return {
        "champions of all models": watch.timed(registry.champions),
        "the family": watch.timed(lambda: family(registry)),
    }


def bytes_of_a_version(world: World) -> float:
    """In the database, with its tags, and indexes."""
    tables = ("registered_models", "registered_model_tags", "registered_model_aliases", "model_versions",
              "model_version_tags")  # fmt: skip
    with database(world) as cursor:
        cursor.execute("SELECT sum(pg_total_relation_size(each)) FROM unnest(%s) AS each", (list(tables),))
        return float(cursor.fetchone()[0]) / SIZES[-1]


def check(world: World) -> None:
    """MLflow goes on from what was written past it: versions are counted on, parents and aliases are found."""
    registry, name = Registry(world.tracking_uri), model_name(0)
    client = client_of(world.tracking_uri)
    run = client.create_run(client.create_experiment("check")).info.run_id
    added = client.create_model_version(name, f"runs:/{run}/model", run)
    assert int(added.version) == VERSIONS + 1
    first, last = family(registry, name)  # the one from which all others come, and the one that was added
    assert (len(first.children), last.version) == (VERSIONS - 1, VERSIONS + 1)
    assert len(Champions(registry, name).history()) == VERSIONS


@contextmanager
def account(world: World, name: str, password: str) -> Iterator[None]:
    """Ask with another account than that of the administrator, whom no rule is looked up for."""
    from mlflow.server import get_app_client

    get_app_client("basic-auth", world.tracking_uri).create_user(name, password)
    os.environ |= {"MLFLOW_TRACKING_USERNAME": name, "MLFLOW_TRACKING_PASSWORD": password}
    try:
        yield
    finally:
        os.environ.update(world.env)


def _questions(registry: Registry, name: str) -> Iterator[tuple[str, Callable[[], object]]]:
    champions = Champions(registry, name)
    yield "who is champion (`holder`)", lambda: registry.holder(name, CHAMPION)
    yield "champions of all models (`champions`)", registry.champions
    yield "history of a model (`registry history`)", champions.history
    yield "all versions of a model (`versions`)", lambda: registry.versions(name)
    yield "a version by its weights (`find`)", lambda: registry.find(name, "sim.weights", "none")
    yield "all models (`names`)", registry.names
    yield "the family of one model (`registry tree NAME`)", lambda: family(registry, name)
    yield "the family of all (`registry tree`)", lambda: family(registry)
