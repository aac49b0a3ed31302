"""The benchmark of DVC with many cells: its cells, its patches, a small run of its parts, and its page.

The whole of it with eight cells takes a minute: tests/cluster/test_dvc.py.
"""

import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks" / "data"))  # scripts, no package

from cells_page import STEPS, Found, page
from measuring import ACROSS, FIELDS, STAGE, Way, as_cells, as_patches
from project import Store, Stored, Took
from stacks import EDGE_PX, images, make, name_of, patches

CELLS = 8
NOWHERE = Store({})
"""a remote that nothing is pushed to"""


def test_all_files_differ(tmp_path: Path) -> None:
    make(tmp_path, range(CELLS + 1))
    files = sorted(tmp_path.rglob("*.tif"))
    assert len({file.read_bytes() for file in files}) == len(files) == 2 * (CELLS + 1)
    frames = tifffile.imread(tmp_path / "raw" / f"{name_of(0)}.tif")
    assert (frames.shape, frames.dtype) == ((9, EDGE_PX, EDGE_PX), np.uint16)


def test_patches_hold_the_same_values_and_no_other() -> None:
    raw, reference = images(3)
    cut = list(patches(3, ACROSS))
    assert len(cut) == ACROSS**2
    assert sum(map(len, cut)) == raw.nbytes + reference.nbytes


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    """Cells and patches as DVC takes them; the way of cells is made up."""
    folder = tmp_path_factory.mktemp("benchmark")
    whole, cut = as_cells(folder, NOWHERE, CELLS, push=False), as_patches(folder, NOWHERE, CELLS, push=False)
    way = Way(
        steps=dict.fromkeys(STEPS, Took(2.0, 1.0)),
        sent={sent: Stored(3, 1234) for _, sent in STEPS.values() if sent},
        files={"stacks": 16, "fields": 42},
        bytes={"stacks": 1_000_000, "fields": 2_000_000},
        alike={"pull": 16, "pull one": 18, "pull fields": 47},
        made_anew=["cell_00008"],
        before=[],
        after_adding=[STAGE],
        after_preparing=["transfer@mine_from_microtubules"],
        stages=11,
    )
    return Found(CELLS, way, whole, cut, cut, CELLS, 2, "2026-01-01 00:00 UTC", 1.0, (0.5, 1.5))


def test_dvc_is_given_a_file_for_every_patch(found: Found) -> None:
    assert (found.whole.files, found.cut.files) == (2 * CELLS, ACROSS**2 * CELLS)
    assert found.cut.listing_bytes > found.whole.listing_bytes


def test_the_page_names_what_was_measured(found: Found) -> None:
    text = page(found)
    for told in (*(what for what, _ in STEPS.values()), f"1 of {CELLS + 1}", "cell_00008", "3 objects, 1 kB"):
        assert told in text
    assert f"| after the cell was added | `{STAGE}` |" in text
    assert f"{found.load[0]:.1f} processes" in text
    assert str(FIELDS.name) in text


def test_what_was_not_measured_is_said_to_be_extrapolated(found: Found) -> None:
    pushed = type(found.cut)(**{**vars(found.cut), "push": Took(3.0, 2.0)})
    text = page(type(found)(**{**vars(found), "cells": 80, "few": pushed}))
    assert "*20.0 s (30.0 s), extrapolated*" in text
    assert "was not measured" in text
