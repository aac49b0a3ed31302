"""Every definition that ships, and what a definition may not say."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from sim_models import datasets
from sim_models.config import BadInput, parse
from sim_models.datasets.cells import chosen, in_words, named, number_in
from sim_models.datasets.definition import Definition
from tests.datasets.conftest import file_of, tree_of

BIOSR_BYTES = 12_479_559_462
"""of all files of figshare's record 13264793, version 9"""


@pytest.mark.parametrize("name", datasets.names())
def test_every_definition(name: str) -> None:
    definition = datasets.find(name)
    assert definition.name == name
    assert definition.origin == "public"
    unknown = definition.unknown()
    assert (definition.licence is None) == ("licence" in unknown)
    assert (definition.doi is None) == ("doi" in unknown)
    assert [unknown.count(each) for each in unknown] == [1] * len(unknown)
    for file in definition.files:
        assert all(url.startswith("https://") for url in file.urls)
        if any("figshare" in url for url in file.urls):
            assert file.urls[0].startswith("https://api.figshare.com/v2/file/download/")
            assert file.urls[1].startswith("https://ndownloader.figshare.com/files/")
    for split in definition.splits.values():
        assert split.source


def test_the_files_of_biosr_are_all_there() -> None:
    files = {
        file.name: file.bytes
        for name in datasets.names()
        if name.startswith("biosr")
        for file in datasets.find(name).files
    }
    assert len(files) == 7
    assert sum(size or 0 for size in files.values()) == BIOSR_BYTES


def test_what_is_no_target_is_named() -> None:
    nonlinear = datasets.find("biosr-f-actin-nonlinear")
    assert nonlinear.targets.never == ("SIM_gt_b.mrc",)
    assert nonlinear.optics.pixel_um is None
    assert "optics.pixel_um" in nonlinear.unknown()


HASH = "0" * 32
WRONG = [
    ({"licence": "CC BY 4.0", "licence_from": "x"}, "is no SPDX licence"),
    ({"licence": "cc-by-4.0", "licence_from": "x"}, "is written CC-BY-4.0"),
    ({"licence": "CC-BY-4.0"}, "given together"),
    ({"layout": {"name": "biosrr"}}, "layout.name: 'biosrr' is none of biosr"),
    ({"structures": {}}, "at least 1"),
    ({"name": "../x"}, "name"),
    ({"cells": "Cell_003"}, "one {number}"),
    ({"doi": "https://doi.org/10.1/x"}, "doi"),
    ({"url": "http://example.org"}, "is not https"),
    ({"colour": "red"}, "colour: unknown key"),
    ({"splits": {"x": {"sets": {"train": "1-5", "test": "5"}, "source": "s"}}}, "cell 5 is in 'train' and in"),
    ({"splits": {"x": {"sets": {"train": "5-1"}, "source": "s"}}}, "runs backwards"),
    ({"files": [file_of(b"1", "a/b", "https://example.org")]}, "no plain file name"),
    ({"files": [file_of(b"1", "fetched.json", "https://example.org")]}, "no plain file name"),
    ({"files": [file_of(b"1", "a", "https://u:" + "p@example.org")]}, "neither user nor password"),
    ({"files": [file_of(b"1", "a", "ftp://example.org")]}, "is not https"),
    ({"files": [file_of(b"1", "a", "https://figshare.com/ndownloader/files/1")]}, "empty challenge"),
    ({"files": [file_of(b"1", "a", "https://example.org", md5="xyz")]}, "md5"),
    ({"files": [file_of(b"1", "a", "https://example.org", bytes=0)]}, "bytes"),
    ({"files": [file_of(b"1", "a.rar", "https://example.org", unpack=True)]}, "cannot be unpacked"),
    ({"files": [file_of(b"1", "a", "https://example.org", structure="er")]}, "not in `structures`"),
    ({"files": [file_of(b"1", "a", "https://example.org"), file_of(b"1", "A", "https://e.org")]}, "there twice"),
    ({"files": [file_of(b"1", "a")]}, "at least 1"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "said"), WRONG, ids=[said for _, said in WRONG])
def test_what_a_definition_may_not_say(change: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput, match=r"^toy: ") as refusal:
        parse(Definition, tree_of(**change), "toy")
    assert said in str(refusal.value)


def test_a_set_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "ours.yaml"
    path.write_text(yaml.safe_dump(tree_of(name="ours", origin="own")))
    ours = datasets.read(path)
    assert not {"licence", "doi", "files", "cite"} & set(ours.unknown())
    assert "optics.pixel_um" in ours.unknown()


@pytest.mark.parametrize("text", ["", "a: [", "2026-01-01", "\x00", "- 1", "{name: 2026-01-01}"])
def test_what_is_no_definition(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(BadInput, match=str(path)):
        datasets.read(path)


def test_unknown_names() -> None:
    with pytest.raises(BadInput, match="there is no dataset 'biosr'; there are biosr-ccps"):
        datasets.find("biosr")
    with pytest.raises(BadInput, match="there is no such file"):
        datasets.read(Path("no.yaml"))


PATTERN = "Cell_{number:03d}"


@pytest.mark.parametrize(
    ("text", "cells"), [("1-3,7", (1, 2, 3, 7)), ("Cell_012, 1", (1, 12)), ("3,3,1", (1, 3))]
)
def test_cells_chosen(text: str, cells: tuple[int, ...]) -> None:
    assert chosen(text, PATTERN) == cells


@pytest.mark.parametrize("text", ["", "x", "1-", "3-1", "1-999999999", "-1", "1..3", "Cel_001", "٣"])
def test_no_cells(text: str) -> None:
    with pytest.raises(BadInput, match=r"^--cells .*or a name as Cell_001"):
        chosen(text, PATTERN)


def test_cells_in_paths() -> None:
    assert named(12, PATTERN) == "Cell_012"
    assert number_in("CCPs/Cell_012/SIM_gt.mrc", PATTERN) == 12
    assert number_in("low/Cell_012.ome.tif", PATTERN) == 12
    assert number_in("CCPs/Cell_012b/SIM_gt.mrc", PATTERN) is None
    assert number_in("CCPs/xCell_012/SIM_gt.mrc", PATTERN) is None
    assert in_words((1, 2, 3, 7)) == "1-3, 7"
