"""Prepared fields: only with their whole split, and the test cells stay closed."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sim_models.config import BadInput
from sim_models.field import Field
from sim_models.sources.prepared import SPLIT, Prepared


@pytest.fixture
def folder(prepared_folder: Path, tmp_path: Path) -> Path:
    return shutil.copytree(prepared_folder, tmp_path / "discs")


def test_fields_of_a_part_in_order(folder: Path) -> None:
    prepared = Prepared.open(folder)
    assert prepared.structure == "discs"
    found = [(field.cell, field.level) for field in prepared.fields("train")]
    cells = ("cell_000", "cell_001", "cell_003")
    assert found == [(cell, level) for cell in cells for level in ("high", "low")]
    assert {field.cell for field in prepared.fields("val")} == {"cell_002"}
    assert {field.cell for field in prepared.fields("test")} == {"cell_004"}


def test_fields_that_do_not_fit_into_memory_are_the_same_read_anew(folder: Path) -> None:
    prepared = Prepared.open(folder)
    held = prepared.fields("train")
    one = sum(image.nbytes for image in held[0].images.values())
    few = prepared.fields("train", limit_bytes=2 * one)
    for field, other in zip(held, few, strict=True):
        assert (other.name, list(other.images), len(other.images)) == (
            field.name,
            list(field.images),
            len(field.images),
        )
        for role, image in field.images.items():
            np.testing.assert_array_equal(other.image(role), image)
    assert few[1].image("raw") is few[1].image("raw")
    assert few[2].image("raw") is not few[2].image("raw")
    with pytest.raises(BadInput, match=r"has no image of role 'srrf' \(it has raw, reference, widefield\)"):
        few[-1].image("srrf")


def test_test_cells_are_not_opened_by_the_other_parts(folder: Path) -> None:
    for file in (folder / "cell_004").rglob("*.tif"):
        file.write_bytes(b"nobody may look at this")
    prepared = Prepared.open(folder)
    assert len(prepared.fields("train")) == 6
    assert len(prepared.fields("val")) == 2
    with pytest.raises(BadInput, match="cell_004"):
        prepared.fields("test")


def test_a_folder_that_was_written_in_part_is_refused(folder: Path) -> None:
    split = folder / SPLIT
    split.write_text(split.read_text()[:40])
    with pytest.raises(BadInput, match=r"split.json: not found or damaged; run the stage `prepare` again"):
        Prepared.open(folder)
    split.unlink()
    with pytest.raises(BadInput, match=r"split.json: not found or damaged"):
        Prepared.open(folder)


def test_a_split_that_was_edited_is_refused(folder: Path) -> None:
    record = json.loads((folder / SPLIT).read_text())
    record["cells"]["train"] += record["cells"].pop("test")
    record["cells"]["test"] = ["cell_002"]
    (folder / SPLIT).write_text(json.dumps(record))
    with pytest.raises(BadInput, match="its hash does not fit its cells; it was edited by hand"):
        Prepared.open(folder)


@pytest.mark.parametrize("record", [[], {}, {"cells": {"train": []}, "sha256": "0"}, "text"])
def test_a_split_of_another_shape_is_refused(folder: Path, record: object) -> None:
    (folder / SPLIT).write_text(json.dumps(record))
    with pytest.raises(BadInput, match=r"split.json"):
        Prepared.open(folder)


def test_light_is_the_mean_over_fields_of_the_bright_end(
    folder: Path, make_field: Callable[..., Field]
) -> None:
    flat = np.zeros((20, 100), np.float32)
    fields = []
    for level, brightness in (("low", 10.0), ("low", 30.0), ("high", 100.0)):
        bright = flat.copy()
        bright[0] = brightness  # 5 % of the pixels, so the 99.9 percentile is this
        fields.append(make_field(0, level).with_images({"widefield": bright}))
    assert Prepared.open(folder).light(fields) == {"high": 100.0, "low": 20.0}
