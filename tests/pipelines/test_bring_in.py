"""The stage `bring_in` in a study with DVC itself: what runs again; and no model without a licence."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from pipelines import bring_in
from pipelines.registry.registering import Candidate
from pipelines.shared.brought import what_was_brought
from pipelines.shared.params import read_params
from pipelines.shared.stage import REFUSED, exit_code
from sim_models.images.dialects import write_imagej, write_tiff
from sim_models.recipe import Recipe
from sim_models.sources import toy
from sim_models.sources.prepared import Prepared
from sim_models.training.loop import TrainingSettings
from tests.pipelines.test_pipeline import study_params

Dvc = Callable[..., subprocess.CompletedProcess[str]]


def acquire(folder: Path, cells: range) -> Path:
    for cell in cells:
        stack = toy.frames(cell, 3, 3).reshape(9, 64, 64)
        write_imagej(folder / "raw" / f"cell_{cell}.tif", stack, "ZYX", 0.065)
        write_tiff(folder / "reference" / f"cell_{cell}.tif", toy.reference(cell, 2))
    return folder


@pytest.fixture(scope="module")
def study(
    tmp_path_factory: pytest.TempPathFactory, repository: Path, recipe: Recipe, training: TrainingSettings
) -> Iterator[Path]:
    """Simulated structures and one dataset of three cells, added as a person adds it; no stage has run."""
    folder = tmp_path_factory.mktemp("study")
    for code in ("pipelines", "sim_models"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(repository / code, folder / code, ignore=ignored)
    shutil.copy(repository / "dvc.yaml", folder)
    params = study_params(recipe, training)
    params["datasets"] = {
        "mine": {"definition": "datasets/mine.yaml", "folder": "datasets/mine", "structure": "lysosomes"}
    }
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("PYTHONPATH", str(folder))
        run("dvc", "init", "-q", "--no-scm")
        added = run("pipelines.cli", "data", "add", "mine", acquire(folder / "acq", range(3)), *STATED)
        assert added.returncode == 0, added.stderr
        yield folder


STATED = ("--structure", "lysosomes", "--na", "1.4", "--emission-um", "0.525")


def run(*words: object) -> subprocess.CompletedProcess[str]:
    """A module, here."""
    return subprocess.run(
        [sys.executable, "-m", *map(str, words)], capture_output=True, text=True, check=False, env=os.environ
    )


def stale() -> set[str]:
    """The stages that would run again."""
    done = run("dvc", "status", "--json", "bring_in@mine", "simulate@ccps", "prepare@ccps")
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout))


def test_from_stacks_to_fields_and_with_one_more_cell(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(study)
    monkeypatch.setenv("PYTHONPATH", str(study))
    done = run("dvc", "repro", "-q", "bring_in@mine", "prepare@ccps")
    assert done.returncode == 0, done.stderr
    fields, simulated = Path("data/fields/mine"), Path("data/fields/ccps/split.json")
    before = Prepared.open(fields).split
    assert before.train == tuple(yaml.safe_load(Path("datasets/mine.yaml").read_text())["parts"]["train"])
    assert what_was_brought(fields).licence is None
    kept = {path: path.stat().st_mtime_ns for path in fields.glob("cell_*/raw/*.tif")}
    written, key = simulated.stat().st_mtime_ns, (fields / "cell_1" / "source.json").read_bytes()

    added = run("pipelines.cli", "data", "add", "mine", acquire(study / "acq", range(4)), "--licence", "own")
    assert added.returncode == 0, added.stderr
    assert stale() == {"bring_in@mine"}
    done = run("dvc", "repro", "-q", "bring_in@mine")
    assert done.returncode == 0, done.stderr
    after = Prepared.open(fields).split
    for part in ("train", "val", "test"):
        assert set(before.cells(part)) <= set(after.cells(part))
    assert sum(len(after.cells(part)) for part in ("train", "val", "test")) == 4
    assert what_was_brought(fields).licence == "one's own data"
    assert {path: path.stat().st_mtime_ns for path in kept} == kept, "cells that were there were taken over"
    assert (fields / "cell_1" / "source.json").read_bytes() == key
    assert simulated.stat().st_mtime_ns == written


def test_what_a_person_gets_wrong_is_one_sentence(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(study / "datasets", tmp_path / "datasets")
    shutil.copy(study / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    definition = Path("datasets/mine.yaml")
    good = yaml.safe_load(definition.read_text())

    def said(**changes: object) -> str:
        definition.write_text(yaml.safe_dump(good | changes))
        assert exit_code(lambda: bring_in.main("mine")) == 2
        captured = capsys.readouterr()
        assert (captured.out, captured.err.count("\n")) == ("", 1)
        assert not Path("data/fields/mine").exists()
        return captured.err

    assert "knows no structure 'lysosomes'; there are er" in said(structures={"er": 3})
    assert "does not say optics.numerical_aperture" in said(
        optics=good["optics"] | {"numerical_aperture": None}
    )
    assert "mine.yaml: nonsense: unknown key" in said(nonsense=1)
    assert "knows no layout" in said(layout=None)
    assert "datasets has no 'yours'; there are mine" in _refusal(capsys, "yours")
    definition.unlink()
    assert "datasets/mine.yaml: there is no such file" in _refusal(capsys, "mine")


def _refusal(capsys: pytest.CaptureFixture[str], key: str) -> str:
    assert exit_code(lambda: bring_in.main(key)) == 2
    return capsys.readouterr().err


def test_cells_that_are_left_out_are_told(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(study / "datasets", tmp_path / "datasets")
    shutil.copy(study / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    definition = yaml.safe_load(Path("datasets/mine.yaml").read_text())
    Path("datasets/mine.yaml").write_text(yaml.safe_dump(definition | {"parts": None}))
    acquire(Path("datasets/mine"), range(5))
    Path("datasets/mine/raw/cell_4.tif").write_bytes(b"")
    bring_in.main("mine")
    assert capsys.readouterr().err.startswith(
        "warning: cell_4 is left out: datasets/mine/raw/cell_4.tif: is empty"
    )
    assert list(what_was_brought(Path("data/fields/mine")).left_out) == ["cell_4"]


def test_without_a_licence_nothing_is_registered(capsys: pytest.CaptureFixture[str]) -> None:
    """Before the registry is asked for anything."""
    nothing = SimpleNamespace()
    candidate = Candidate("own-lysosomes", Path(), nothing, nothing, Path(), nothing, (), None, "")  # type: ignore[arg-type]
    assert exit_code(lambda: candidate.enter(nothing) and None) == REFUSED == 3  # type: ignore[arg-type]
    said = capsys.readouterr().err
    assert said.startswith("error: own-lysosomes: nobody has said under which licence its data are")
    assert said.count("\n") == 1


def test_params_name_datasets_beside_structures(study: Path) -> None:
    params = read_params(study / "params.yaml")
    assert params.dataset("mine").structure == "lysosomes"
