"""`sim-models data check` of images, and `sim-models data show --yaml`."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from pipelines.datasets import imaging
from pipelines.datasets.writing import as_yaml
from sim_models import datasets
from sim_models.field import FrameOrder
from sim_models.images.dialects import write_imagej, write_mrc, write_tiff
from sim_models.sources import toy
from sim_models.sources.layouts import biosr, level_folders
from sim_models.sources.listing import Listed
from sim_models.sources.raw import Declared, read_raw
from tests.datasets.conftest import toy as definition_of

Run = Callable[..., tuple[int, str, str]]
RAW = {"angles": 3, "phases": 3, "order": "angle-major", "rows": 64, "columns": 64, "dtype": "uint16",
       "time_points": 1, "sections": 1}  # fmt: skip
OPTICS = {"numerical_aperture": 1.4, "refractive_index": None, "excitation_um": None, "emission_um": 0.525,
          "pixel_um": 0.065, "camera": None}  # fmt: skip


def mine(raw: dict[str, Any] | None = None, optics: dict[str, Any] | None = None, **more: Any) -> Path:
    """Two cells at two levels with references, and the definition beside them."""
    level_folders.write_toy(Path("datasets/mine"))
    changed = {
        "raw": RAW | (raw or {}),
        "optics": OPTICS | (optics or {}),
        "layout": {"name": "level_folders"},
    }
    Path("datasets/mine.yaml").write_text(
        as_yaml(definition_of(**{"name": "mine", "origin": "own"} | changed | more))
    )
    return Path("datasets/mine")


def stack(cell: int, *shape: int) -> np.ndarray:
    return toy.frames(cell, 3, 3).reshape(shape or (9, 64, 64))


def phase_major(cell: int) -> np.ndarray:
    return toy.frames(cell, 3, 3)[0].swapaxes(0, 1).reshape(9, 64, 64)


def flat(cell: int) -> np.ndarray:
    seen = 100 + 300 * toy.blobs(cell, 1)
    return np.random.default_rng(cell).poisson(np.stack([seen] * 9)).astype(np.uint16)


GOOD = "datasets/mine: 2 cells x 2 levels, 9 x 64 x 64 uint16, order angle-major: stripes agree in 2\n"


@pytest.mark.parametrize("name", ["mine", "datasets/mine", "datasets/mine.yaml", "datasets/mine/"])
def test_a_sound_dataset_of_ones_own(run: Run, name: str) -> None:
    mine()
    assert run("check", name) == (0, GOOD, "")


def test_for_machines(run: Run) -> None:
    mine()
    found = json.loads(run("check", "mine", "--json")[1])
    assert (found["good"], found["folder"]) == (True, "datasets/mine")
    assert found["images"] == {
        "cells": 2, "levels": ["bright", "dim"], "kinds": {"9 x 64 x 64 uint16": 4}, "order": "angle-major",
        "stripes_say": {"angle-major": 2}, "too_weak": 0, "problems": [],
    }  # fmt: skip


def test_stripes_that_are_too_weak_are_counted(run: Run) -> None:
    home = mine()
    for level in ("bright", "dim"):
        write_tiff(home / level / "cell_2.tif", flat(2))
    assert run("check", "mine")[1].endswith("order angle-major: stripes agree in 1, too weak to tell in 1\n")


@pytest.mark.parametrize(
    ("frames", "said"),
    [
        (stack, "stripes say angle-major in 2"),
        (phase_major, "stripes say phase-major in 2"),
        (flat, "stripes do not tell it, too weak to tell in 2"),
    ],
)
@pytest.mark.parametrize("angles", [3, None])
def test_where_no_order_is_stated_the_stripes_are_asked(
    run: Run, frames: Callable[[int], np.ndarray], said: str, angles: int | None
) -> None:
    home = mine({"order": None, "angles": angles})
    for cell in (1, 2):
        for level in ("bright", "dim"):
            write_tiff(home / level / f"cell_{cell}.tif", frames(cell))
    code, out, err = run("check", "mine")
    assert (code, err) == (0, "")
    assert out == f"datasets/mine: 2 cells x 2 levels, 9 x 64 x 64 uint16, order not stated: {said}\n"


def test_the_notes_that_are_counted_are_those_of_the_reader(tmp_path: Path) -> None:
    """`imaging` knows by how a note begins whether stripes have told anything."""
    declared = Declared(
        angles=3, phases=3, order=FrameOrder.ANGLE_MAJOR, rows="top-down", transposed=False, time="one"
    )
    for name, frames, told in (("a", stack(1), True), ("b", flat(1), False)):
        write_tiff(tmp_path / f"{name}.tif", frames)
        raw = read_raw(Listed("1", "raw", "1", (tmp_path / f"{name}.tif",)), declared)
        assert raw.notes[-1].startswith(imaging.SAME) == told


def _spoil(home: Path, how: str) -> None:
    path, good = home / "dim" / "cell_1.tif", home / "reference" / "cell_1.tif"
    spoilt: dict[str, Callable[[], object]] = {
        "empty": lambda: path.write_bytes(b""),
        "order": lambda: write_tiff(path, phase_major(1)),
        "frames": lambda: write_tiff(path, stack(1)[:8]),
        "copies": lambda: write_tiff(path, np.stack([stack(1)[0]] * 9)),
        "constant": lambda: write_tiff(path, np.full((9, 64, 64), 7, np.uint16)),
        "nan": lambda: write_tiff(path, np.where(stack(1) > 900, np.nan, stack(1)).astype(np.float32)),
        "saturated": lambda: write_tiff(path, np.where(stack(1) > 200, 65535, stack(1)).astype(np.uint16)),
        "size": lambda: write_tiff(path, stack(1)[:, :48]),
        "type": lambda: write_tiff(path, stack(1).astype(np.float32)),
        "pixel": lambda: write_imagej(path, stack(1), "ZYX", 0.13),
        "reference": lambda: write_tiff(good, toy.reference(1, 1)),
        "reference lost": lambda: good.write_bytes(b"II*\0"),
        "cell": lambda: good.unlink(),
        "dark": lambda: write_tiff(good, np.zeros((128, 128), np.uint16)),
    }
    spoilt[how]()


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("empty", "dim/cell_1.tif: is empty"),
        ("order", "dim/cell_1.tif: declared are 3 angles x 3 phases, angle-major, but its stripes say 3 x 3 phase"),
        ("frames", "dim/cell_1.tif: holds 8 x 64 x 64"),
        ("copies", "dim/cell_1.tif: frames 1 and 2 are identical"),
        ("constant", "dim/cell_1.tif: frames 1 and 2 are identical"),
        ("nan", "dim/cell_1.tif: "),
        ("saturated", "dim/cell_1.tif: is saturated"),
        ("size", "dim/cell_1.tif: has 48 rows, but its definition says 64"),
        ("type", "dim/cell_1.tif: has float32 values of type, but its definition says uint16"),
        ("pixel", "dim/cell_1.tif: says that its pixels are of 0.13 um, but its definition 0.065 um"),
        ("reference", "reference/cell_1.tif: is 64 x 64, but the raw frames of cell_1 are 64 x 64"),
        ("reference lost", "reference/cell_1.tif"),
        ("cell", "reference: has no file of cell_1"),
        ("dark", "reference/cell_1.tif: is no image"),
    ],
)  # fmt: skip
def test_one_line_for_every_problem(run: Run, how: str, said: str) -> None:
    _spoil(mine(), how)
    code, out, err = run("check", "mine")
    lines = out.splitlines()
    assert (code, len(lines), err.count("\n")) == (2, 2, 1)
    assert lines[0].startswith("problem: ")
    assert said in lines[0]
    assert lines[1].startswith("datasets/mine: ")
    assert err.startswith("error: datasets/mine: 1 problem with its images, listed above")


def test_optics_that_cannot_be(run: Run) -> None:
    mine(optics={"pixel_um": 65.0})
    code, out, _ = run("check", "mine")
    assert code == 2
    assert out.count("problem: ") == 4
    assert "pixels of 65 um do not go with an objective" in out


def test_cells_and_parts(run: Run) -> None:
    mine(parts={"train": ["cell_1", "cell_8"], "val": [], "test": []})
    out = run("check", "mine")[1]
    assert "problem: cell_2: in the folder, but `parts` of the definition do not say what for" in out
    assert "problem: cell_8: in `parts` of the definition, but not in the folder" in out


@pytest.fixture
def public(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The toy of BioSR as if it were what a public definition is about."""
    found = datasets.find("biosr-microtubules")
    raw = found.raw.model_copy(update={"rows": 64, "columns": 64})
    small = found.model_copy(update={"layout": found.layout and found.layout | biosr.TOY, "raw": raw})
    monkeypatch.setattr(datasets, "find", lambda _: small)
    return Path("data/public/biosr-microtubules")


def test_a_public_set_without_a_known_order(run: Run, public: Path) -> None:
    biosr.write_toy(public)
    code, out, err = run("check", "biosr-microtubules")
    assert (code, err) == (0, "")
    assert (
        out
        == f"{public}: 2 cells x 2 levels, 9 x 64 x 64 uint16, order not stated: stripes say angle-major in 2\n"
    )
    write_mrc(public / "Cell_002" / "RawSIMData_gt.mrc", stack(2)[:8, ::-1], 0.0626)
    code, out, _ = run("check", "biosr-microtubules")
    assert (code, out.count("problem: ")) == (2, 1)
    assert "Cell_002/RawSIMData_gt.mrc: holds 8 x 64 x 64" in out


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nowhere", "nowhere: holds no fetched.json"),
        ("datasets/mine/dim", "dim: holds no fetched.json"),
        ("mine.yaml", "mine.yaml: there is no such file"),
        ("biosr-er", "data/public/biosr-er: holds no fetched.json"),
        ("unlaid.yaml", "unlaid: holds no fetched.json, and no layout of it is known"),
        ("", "holds no fetched.json"),
    ],
)
def test_nothing_to_check(run: Run, name: str, said: str) -> None:
    mine()
    Path("unlaid").mkdir()
    Path("unlaid.yaml").write_text(as_yaml(definition_of(name="unlaid")))
    code, out, err = run("check", name)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert said in err


# ---- definitions to fill in


@pytest.mark.parametrize("name", datasets.names())
def test_a_definition_can_be_saved_and_read_again(run: Run, name: str) -> None:
    code, out, err = run("show", name, "--yaml")
    assert (code, err) == (0, "")
    Path("own.yaml").write_text(out)
    assert datasets.read(Path("own.yaml")) == datasets.find(name)
    head = " ".join(line.removeprefix("# ") for line in out.splitlines() if line.startswith("#"))
    assert all(unknown in head for unknown in datasets.find(name).unknown())


def test_filled_in_it_is_what_a_stage_takes(run: Run) -> None:
    values = yaml.safe_load(run("show", "biosr-er", "--yaml")[1])
    values["raw"]["order"] = "angle-major"
    Path("own.yaml").write_text(yaml.safe_dump(values))
    assert run("show", "own.yaml")[0] == 0
    assert "raw.order" not in datasets.read(Path("own.yaml")).unknown()


def test_two_ways_to_print_are_one_too_many(run: Run) -> None:
    code, out, err = run("show", "biosr-er", "--yaml", "--json")
    assert (code, out, err) == (2, "", "error: --json and --yaml: are two ways to print the same; give one\n")


def test_a_fetched_folder_with_images(run: Run, monkeypatch: pytest.MonkeyPatch, public: Path) -> None:
    """Its files are held against the record, and its images against what is known of them."""
    from sim_models.datasets.receipt import Entry, Kept, Receipt

    biosr.write_toy(public)
    shutil.rmtree(public / "Cell_002")
    (public / "Cell_001" / "SIM_gt.mrc").write_bytes(b"")
    entry = Entry(name="x.zip", how="whole", verified=(), bytes=1, sha256="0" * 64, cells=None,
                  files=(Kept(path="Cell_002/SIM_gt.mrc", bytes=1, sha256="0" * 64),))  # fmt: skip
    Receipt(dataset="biosr-microtubules", entries=(entry,)).write(public)
    code, out, err = run("check", "biosr-microtubules")
    assert code == 2
    assert "missing: Cell_002/SIM_gt.mrc" in out
    assert "problem: " in out
    assert "1 files are missing" in err
    assert "1 problem with its images" in err
    assert err.count("\n") == 1
