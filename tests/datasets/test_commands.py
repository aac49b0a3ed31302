"""`sim-models data`, called as its console script calls it, and the pages that ship."""

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from pipelines.datasets.licences import may_feed
from pipelines.datasets.pages import pages
from sim_models import datasets
from sim_models.datasets import web
from tests.datasets.conftest import BODY, QUICK, Server, cells_zip, file_of, toy, tree_of

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def ours(server: Server, tmp_path: Path) -> Path:
    """A definition file of six cells and a stack on the server."""
    server.files |= {"MTs.zip": cells_zip(), "stack.tif": BODY}
    archive = file_of(
        cells_zip(), "MTs.zip", server.url("good", "MTs.zip"),
        unpack=True, cells="Cell_{number:03d}", structure="microtubules",
    )  # fmt: skip
    path = tmp_path / "toy.yaml"
    path.write_text(
        yaml.safe_dump(tree_of(archive, file_of(BODY, "stack.tif", server.url("good", "stack.tif"))))
    )
    return path


def test_the_pages_are_those_of_the_definitions(repository: Path) -> None:
    folder = repository / "docs" / "datasets"
    shipped = {path.name: path.read_text() for path in folder.glob("*.md")}
    assert shipped == pages(), "run python -m pipelines.datasets.pages docs/datasets"


def test_list(run: Run) -> None:
    code, out, err = run("list")
    assert (code, err, len(out.splitlines())) == (0, "", 1 + len(datasets.names()))
    named = run("list", "--unknown")[1]
    assert "not known: structures.ccps, raw.order, storage, optics.numerical_aperture" in named
    rows = json.loads(run("list", "--json")[1])
    assert [row["name"] for row in rows] == datasets.names()
    assert rows[0]["bytes"] == 1_176_589_094


@pytest.mark.parametrize("name", datasets.names())
def test_show(run: Run, name: str) -> None:
    code, out, err = run("show", name)
    assert (code, err) == (0, "")
    assert "## Not known" in out
    assert json.loads(run("show", name, "--json")[1])["name"] == name


def test_fetch_check_and_licences(run: Run, ours: Path, server: Server, tmp_path: Path) -> None:
    code, out, _ = run("fetch", ours, "--cells", "1-2", "--dry-run")
    assert (code, server.asked) == (0, [])
    assert "200 kB (200,000 bytes), md5 and sha256, from 127.0.0.1" in out
    assert not (tmp_path / "data").exists()

    code, out, err = run("fetch", ours, "--cells", "1-2", "--into", "here")
    assert (code, err) == (0, "")
    assert "stack.tif: 200,000 bytes; bytes and sha256 and md5 verified" in out
    assert "cells 1-2; its size and the CRC-32 of every part verified" in out
    assert out.splitlines()[-1] == "here/toy: A toy; licence not known"
    code, out, err = run("check", "here/toy")
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == "here/toy: 6 files of toy are as they were fetched"
    assert run("check", "toy", "--into", "here")[0] == 0

    code, out, err = run("licences", ours, "--into", "here", "--out", "LICENCES.md")
    assert (code, out) == (0, "LICENCES.md: 1 datasets\n")
    assert "warning: toy: no licence is known" in err
    assert "| toy | not known | - | not known | not known | yes |" in (tmp_path / "LICENCES.md").read_text()

    (tmp_path / "here" / "toy" / "stack.tif").write_bytes(b"")
    (tmp_path / "here" / "toy" / "notes.txt").write_text("mine")
    code, out, err = run("check", "here/toy")
    assert code == 2
    assert "changed: stack.tif" in out
    assert "not fetched: notes.txt" in out
    assert err.startswith("error: here/toy: 0 files are missing and 1 are not as they were fetched")
    assert json.loads(run("check", "here/toy", "--json")[1])["changed"] == ["stack.tif"]
    assert run("fetch", ours, "--into", "here")[0] == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("show", "nope"), "there is no dataset 'nope'; there are biosr-ccps"),
        (("fetch", "w2s"), "no file of it is known by its URL"),
        (("fetch", "flywing", "--cells", "1"), "fetch it without --cells"),
        (("fetch", "biosr-microtubules", "--cells", "50-60"), "has cells 1-55, and no 60"),
        (("fetch", "biosr-microtubules", "w2s"), "no file of it is known by its URL"),
        (("fetch", "biosr-er", "--cells", "x"), "--cells x: 'x' is no number of a cell"),
        (("fetch", "flywing", "--jobs", "0"), "--jobs 0: is no number from 1 to 16"),
        (("fetch", "flywing", "--into", "toy.yaml/x"), "toy.yaml: is a file; --into takes a folder"),
        (("check", "biosr-er"), "data/public/biosr-er: holds no fetched.json"),
        (("check", "nowhere"), "nowhere: holds no fetched.json"),
        (("licences", "nope"), "there is no dataset 'nope'"),
        (("licences", "--out", "."), ".: is a folder; --out takes a file"),
    ],
)
def test_what_makes_no_sense(
    run: Run, ours: Path, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert (said in err, err.count("\n")) == (True, 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["toy.yaml"]


def test_another_dataset_lies_there(run: Run, ours: Path, server: Server) -> None:
    run("fetch", ours)
    tree = yaml.safe_load(ours.read_text()) | {"name": "other"}
    Path("other.yaml").write_text(yaml.safe_dump(tree))
    Path("data/public/toy").rename("data/public/other")
    code, _, err = run("fetch", "other.yaml")
    assert (code, "holds 'toy'; fetch 'other' into a folder of its own" in err) == (2, True)
    Path("data/public/other/fetched.json").write_text("[]")
    code, _, err = run("fetch", "other.yaml")
    assert (code, err.startswith("error: data/public/other/fetched.json: ")) == (2, True)


def test_no_network(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.datasets.fetching.Limits", lambda: QUICK)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    dead = file_of(BODY, "stack.tif", "http://127.0.0.1:9/nothing")
    Path("toy.yaml").write_text(yaml.safe_dump(tree_of(dead)))
    code, _, err = run("fetch", "toy.yaml")
    assert (code, err.count("\n")) == (4, 1)
    assert list((tmp_path / "data" / "public" / "toy").iterdir()) == []


def test_a_full_disk_is_no_broken_line(server: Server) -> None:
    server.files["stack.tif"] = BODY
    with (
        pytest.raises(OSError, match=os.strerror(errno.ENOSPC)),
        web.ask(server.url("good", "stack.tif"), QUICK),
    ):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_which_data_may_feed_a_registered_model() -> None:
    assert may_feed(datasets.find("biosr-er"))[0]
    assert may_feed(toy(origin="own")) == (
        True,
        "toy: declared as one's own, so nobody else's licence is needed",
    )
    allowed, sentence = may_feed(datasets.find("gigadb-102461"))
    assert not allowed
    assert "look at https://doi.org/10.5524/102461" in sentence
