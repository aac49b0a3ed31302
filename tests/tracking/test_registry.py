"""The registry: what comes out is what went in, and taking it out runs none of its code."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import numpy as np
import pytest

from sim_models.config import BadInput
from sim_models.evaluation.gate import Check, Verdict
from sim_models.field import Field, Image
from sim_models.restorer import Restorer
from sim_models.tracking import runs
from sim_models.tracking.champions import Champions
from sim_models.tracking.registry import CANDIDATE, CHAMPION, Registry
from sim_models.tracking.runs import WEIGHTS, Tracker, client_of
from sim_models.training.job import Job, lay_out

NAME = "sim-discs"
GOOD = Verdict(checks=(Check(rule="good", found="good", passed=True),))


@dataclass(frozen=True)
class Registered:
    registry: Registry
    restorer: Restorer
    version: int
    stack: Image
    home: Path
    """folder of what was logged for the version"""


@pytest.fixture(scope="module")
def registered(
    _empty_database: Path,
    tmp_path_factory: pytest.TempPathFactory,
    job: Job,
    make_field: Callable[..., Field],
) -> Registered:
    """One version, champion; made once, since it takes seconds."""
    root = tmp_path_factory.mktemp("registry")
    shutil.copy(_empty_database, root / "mlflow.db")
    bench = lay_out(job)
    restorer = Restorer(job.recipe, bench.network, bench.normaliser, bench.card, bench.samples.channels)
    restorer.save(root / "restorer")
    stack = make_field(3).image("raw")
    tracker = Tracker.open("test", root)
    with tracker.run("train", "key", {}, {WEIGHTS: restorer.weights_sha256}) as run:
        pass
    registry = Registry.open(root)
    tags = {WEIGHTS: restorer.weights_sha256, "sim.parent": "none"}
    version = registry.register(root / "restorer", NAME, run.id, tags, "Restores discs.", {"raw": stack})
    Champions(registry, NAME).promote(version, lambda _: GOOD, "tester", "first")
    (home,) = (file.parent for file in root.rglob("MLmodel"))
    return Registered(registry, restorer, version, stack, home)


@pytest.fixture
def poisoned(registered: Registered, tmp_path: Path) -> Iterator[Path]:
    """Every script of the version leaves a mark when it is run, as a stranger's might do worse."""
    mark, kept = tmp_path / "mark", tmp_path / "kept"
    shutil.copytree(registered.home, kept)
    for script in registered.home.rglob("*.py"):
        script.write_text(f"open({str(mark)!r}, 'w').close()\nraise SystemExit('poison')\n")
    yield mark
    shutil.rmtree(registered.home)
    shutil.copytree(kept, registered.home)


def test_a_version_says_what_it_is(registered: Registered) -> None:
    version = client_of(registered.registry.uri).get_model_version(NAME, str(registered.version))
    assert version.tags == {WEIGHTS: registered.restorer.weights_sha256, "sim.parent": "none"}
    assert version.description == "Restores discs."
    assert version.run_id


def test_fetched_it_restores_the_same_bits(registered: Registered, tmp_path: Path) -> None:
    for number, model in enumerate((f"models:/{NAME}@champion", f"models:/{NAME}/{registered.version}")):
        fetched = Restorer.load(registered.registry.fetch(model, tmp_path / str(number)))
        assert np.array_equal(fetched(registered.stack), registered.restorer(registered.stack))


def test_served_by_mlflow_from_its_own_code_it_restores_the_same_bits(
    registered: Registered, tmp_path: Path
) -> None:
    """In a process that knows nothing but MLflow, the weights and the code that was registered with them."""
    batch = np.stack([registered.stack, registered.stack[..., ::-1, :]])
    np.save(tmp_path / "batch.npy", batch)
    script = (
        "import json, sys, numpy, mlflow\n"
        "mlflow.set_tracking_uri(sys.argv[1])\n"
        f"model = mlflow.pyfunc.load_model('models:/{NAME}@champion')\n"
        "numpy.save('restored.npy', model.predict(numpy.load('batch.npy')))\n"
        "import sim_models\n"
        "print(json.dumps(sim_models.__file__))\n"
    )
    command = [sys.executable, "-W", "ignore", "-c", script, registered.registry.uri]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert registered.home in Path(json.loads(done.stdout.splitlines()[-1])).parents
    expected = np.stack([registered.restorer(stack) for stack in batch])
    assert np.array_equal(np.load(tmp_path / "restored.npy"), expected)


def test_fetching_runs_no_code(registered: Registered, tmp_path: Path, poisoned: Path) -> None:
    fetched = registered.registry.fetch(f"models:/{NAME}@champion", tmp_path / "fetched")
    assert np.array_equal(Restorer.load(fetched)(registered.stack), registered.restorer(registered.stack))
    assert not poisoned.exists()


def test_mlflow_itself_would_run_it(registered: Registered, poisoned: Path) -> None:
    """The negative control: the poison works."""
    mlflow.set_tracking_uri(registered.registry.uri)
    before = list(sys.path)
    with pytest.raises(SystemExit, match="poison"):
        mlflow.pyfunc.load_model(f"models:/{NAME}@champion")
    sys.path[:] = before
    assert poisoned.exists()


def test_nothing_is_pickled(registered: Registered) -> None:
    names = [file.name for file in registered.home.rglob("*") if file.is_file()]
    assert "weights.safetensors" in names
    assert not [name for name in names if name.endswith((".pkl", ".pickle", ".pt", ".pth", ".bin"))]


def test_found_by_its_weights(registered: Registered) -> None:
    registry = registered.registry
    assert registry.find(NAME, WEIGHTS, registered.restorer.weights_sha256) == registered.version
    assert registry.find(NAME, WEIGHTS, "other") is None
    assert registry.find("sim-nothing", WEIGHTS, registered.restorer.weights_sha256) is None


def test_listings_are_read_to_their_last_page(mlflow_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "PAGE", 1)
    registry = Registry.open(mlflow_root)
    client = client_of(registry.uri)
    for name in ("sim-a", "sim-b", "sim-c"):
        client.create_registered_model(name)
        for number in (1, 2, 3):
            client.create_model_version(name, (mlflow_root / "nothing").as_uri(), tags={WEIGHTS: str(number)})
        client.set_registered_model_alias(name, CHAMPION, "1")
    assert registry.names() == ["sim-a", "sim-b", "sim-c"]
    assert registry.champions() == {"sim-a": 1, "sim-b": 1, "sim-c": 1}
    assert [version.number for version in registry.versions("sim-c")] == [1, 2, 3]
    assert [registry.find("sim-b", WEIGHTS, str(number)) for number in (1, 2, 3)] == [1, 2, 3]
    assert [(each.name, each.number, each.aliases) for each in registry.all_versions()] == [
        (name, number, (CHAMPION,) if number == 1 else ())
        for name in ("sim-a", "sim-b", "sim-c")
        for number in (1, 2, 3)
    ]


def test_all_versions_are_asked_for_by_the_page_and_not_model_by_model(
    mlflow_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = Registry.open(mlflow_root)
    client = client_of(registry.uri)
    for name in ("sim-a", "sim-b", "sim-c"):
        client.create_registered_model(name)
        client.create_model_version(name, (mlflow_root / "nothing").as_uri())
    asked = []
    for search in ("search_registered_models", "search_model_versions"):
        original = getattr(client, search)

        def counting(*what: Any, original: Callable[..., Any] = original, **how: Any) -> Any:
            asked.append(what)
            return original(*what, **how)

        monkeypatch.setattr(client, search, counting)
    assert len(registry.all_versions()) == 3
    assert len(asked) == 2


def test_aliases_and_tags(registered: Registered) -> None:
    registry = registered.registry
    assert registry.holder(NAME, CHAMPION) == registered.version
    assert registry.holder(NAME, CANDIDATE) is None
    assert registry.holder("sim-nothing", CHAMPION) is None
    registry.give(NAME, CANDIDATE, registered.version)
    assert registry.holder(NAME, CANDIDATE) == registered.version
    registry.tag(NAME, registered.version, {"sim.gate": "passed"})
    assert registry.find(NAME, "sim.gate", "passed") == registered.version
    client = client_of(registry.uri)
    client.delete_registered_model_alias(NAME, CANDIDATE)
    client.delete_model_version_tag(NAME, str(registered.version), "sim.gate")


@pytest.mark.parametrize("model", ["models:/nobody@champion", f"models:/{NAME}@nobody", f"models:/{NAME}/99"])
def test_an_unknown_model_is_told_what_there_is(registered: Registered, tmp_path: Path, model: str) -> None:
    with pytest.raises(
        BadInput, match=rf"{model}: not found .*registered are: models:/{NAME}@champion"
    ) as told:
        registered.registry.fetch(model, tmp_path)
    assert "\n" not in str(told.value)


def test_an_empty_registry_says_so(mlflow_root: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="registered are: none yet"):
        Registry.open(mlflow_root).fetch("models:/sim-er@champion", tmp_path)


def test_a_server_where_nobody_answers_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(BadInput, match="no MLflow server answers"):
        Registry.open(tmp_path)
