"""A person's own datasets, found by name by every command of `sim-models data` as public ones are."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.datasets.finding import find, own_in
from pipelines.datasets.writing import as_yaml
from sim_models import datasets
from sim_models.config import BadInput
from tests.datasets.conftest import BODY, Server, file_of, toy

Run = Callable[..., tuple[int, str, str]]
OWN = Path("datasets")


def own(stem: str, *files: dict[str, Any], **more: Any) -> Path:
    """A definition in the folder of one's own."""
    about = {"origin": "own", "structures": {"lysosomes": 5}, "cells": None} | more
    file = OWN / f"{stem}.yaml"
    file.parent.mkdir(exist_ok=True)
    file.write_text(as_yaml(toy(*files, **({"name": stem} | about))))
    return file


@pytest.fixture
def mixed(run: Run) -> None:
    """Good ones in every state, broken ones, and what has nothing to do with datasets."""
    own("zebra", origin="unstated")
    own("mine")
    (OWN / "mine").mkdir()
    own("cloned", origin="public", licence="CC0-1.0", licence_from="stated")
    (OWN / "cloned.dvc").write_text("outs: []\n")
    own("biosr-er")
    own("renamed", name="other")
    text = own("torn").read_text()
    (OWN / "torn.yaml").write_text(text[: 2 * len(text) // 3])
    (OWN / "empty.yaml").write_text("")
    (OWN / "empty.dvc").write_text("outs: []\n")
    (OWN / "no_yaml.yaml").write_bytes(b"a: [\xff")
    (OWN / "dvc.yaml").write_text("stages: {}\n")
    (OWN / "params.yaml").write_text("structures: {}\nmodels: {}\n")
    (OWN / "citation.yaml").write_text("title: x\ndoi: y\nlicence: z\nurl: w\n")
    (OWN / "list.yaml").write_text("- 1\n")
    (OWN / "folder.yaml").mkdir()
    (OWN / ".mine.yaml.partial").write_text("name")
    (OWN / "lost.yaml").symlink_to("nowhere")


BROKEN = ("empty", "no_yaml", "renamed", "torn")
MINE = ("datasets/biosr-er.yaml", "cloned", "mine", "zebra")


def test_list_shows_ones_own_below_and_tells_what_is_broken(run: Run, mixed: None) -> None:
    code, out, err = run("list")
    assert code == 0
    public, mine = out.split("\n\nyour own:\n")
    assert len(public.splitlines()) == 1 + len(datasets.names())
    cells = [line.split() for line in mine.splitlines()]
    assert [line[0] for line in cells] == list(MINE)
    assert cells[2] == ["mine", "lysosomes", "5", "-", "one's", "own", *cells[2][6:8], "datasets/mine"]
    assert mine.splitlines()[1].endswith("  - (dvc pull datasets/cloned.dvc)")
    assert " CC0-1.0 " in mine.splitlines()[1]
    assert " ? " in mine.splitlines()[3]
    told = err.splitlines()
    assert [line.split(":")[1].strip() for line in told] == [f"datasets/{name}.yaml" for name in BROKEN]
    assert all(line.startswith("warning: ") for line in told)
    assert (
        "is called 'other', but a dataset of your own has the name of its file; write name: renamed"
        in told[2]
    )
    assert run("list") == (code, out, err)
    assert run("list", "--unknown")[1].split("your own:")[1].count("    not known: ") == len(MINE)


def test_list_for_machines(run: Run, mixed: None) -> None:
    code, out, err = run("list", "--json")
    rows = json.loads(out)
    assert (code, len(err.splitlines())) == (0, len(BROKEN))
    assert [row["name"] for row in rows] == [*datasets.names(), *MINE]
    assert {row["own"] for row in rows[: len(datasets.names())]} == {None}
    mine = next(row for row in rows if row["name"] == "mine")
    assert (mine["own"], mine["folder"], mine["fetched"]) == ("datasets/mine.yaml", "datasets/mine", None)
    assert (mine["structures"], mine["licence"]) == ({"lysosomes": 5}, None)
    cloned = next(row for row in rows if row["name"] == "cloned")
    assert (cloned["folder"], cloned["licence"]) == (None, "CC0-1.0")


def test_where_there_is_no_folder_of_ones_own_only_public_ones_are_listed(run: Run) -> None:
    code, out, err = run("list")
    assert (code, err, "your own" in out) == (0, "", False)
    own("mine")
    OWN.rename("elsewhere")
    assert "your own" not in run("list")[1]
    assert run("list", "--own", "elsewhere")[1].splitlines()[-1].startswith("mine  ")
    assert run("show", "mine", "--own", "elsewhere")[0] == 0


def test_show(run: Run, mixed: None) -> None:
    code, out, err = run("show", "mine")
    assert (code, err, "Described in `datasets/mine.yaml`." in out) == (0, "", True)
    assert run("show", "datasets/mine.yaml") == (code, out, err)
    assert json.loads(run("show", "mine", "--json")[1])["own"] == "datasets/mine.yaml"
    assert json.loads(run("show", "biosr-er", "--json")[1])["own"] is None
    assert json.loads(run("show", "datasets/biosr-er.yaml", "--json")[1])["own"] == "datasets/biosr-er.yaml"
    assert "# Written by `sim-models data show mine --yaml`" in run("show", "mine", "--yaml")[1]


def test_licences(run: Run, mixed: None) -> None:
    code, out, err = run("licences")
    assert (code, len(err.splitlines())) == (0, len(BROKEN))
    rows = [line for line in out.splitlines() if line.startswith("| ")][2:]
    assert [row.split()[1] for row in rows] == [*datasets.names(), *MINE]
    assert "| mine | one's own | - | not known | not known | yes |" in rows
    assert "| cloned | CC0-1.0 | stated | not known | not known | no |" in rows
    out = run("licences", "--fetched")[1]
    assert [line.split()[1] for line in out.splitlines()[7:]] == ["mine"]
    code, out, err = run("licences", "mine", "zebra")
    assert (code, len(out.splitlines())) == (0, 9)
    assert err.startswith("warning: zebra: no licence is known")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("fetch", "mine"), "(datasets/mine.yaml), with nothing to fetch; its images are in datasets/mine"),
        (("fetch", "datasets/mine.yaml", "--dry-run"), "with nothing to fetch"),
        (("fetch", "flywing", "mine"), "with nothing to fetch"),
        (("fetch", "cloned"), "with nothing to fetch; get it by: dvc pull datasets/cloned.dvc"),
        (("fetch", "zebra"), "with nothing to fetch; its images belong into datasets/zebra"),
        (("check", "cloned"), "datasets/cloned: is not there; get it by: dvc pull datasets/cloned.dvc"),
        (("check", "zebra"), "datasets/zebra: is not there; its images belong into datasets/zebra"),
        (("show", "torn"), "datasets/torn.yaml: "),
        (("check", "torn"), "datasets/torn.yaml: "),
        (("show", "renamed"), "datasets/renamed.yaml: is called 'other'"),
        (("licences", "nope"), ", and of your own in datasets: datasets/biosr-er.yaml, cloned, mine, zebra"),
        (("show", "../mine"), "there is no dataset '../mine'"),
        (("show", "nope", "--own", "x"), "--own x: does not exist"),
    ],
)  # fmt: skip
def test_one_sentence(run: Run, mixed: None, arguments: tuple[str, ...], said: str) -> None:
    code, out, err = run(*arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert said in err


def test_one_that_can_be_fetched_is_by_its_name(run: Run, server: Server) -> None:
    server.files["stack.tif"] = BODY
    own("lab", file_of(BODY, "stack.tif", server.url("good", "stack.tif")))
    assert run("fetch", "lab")[0] == 0
    code, out, _ = run("check", "lab")
    assert (code, out.splitlines()[-1]) == (0, "data/public/lab: 1 files of lab are as they were fetched")
    assert run("list")[1].splitlines()[-1].endswith("data/public/lab")
    assert run("licences", "lab", "--fetched")[1].endswith(" yes |\n")


def test_a_file_that_may_not_be_read_is_told(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    own("mine")
    own("private")
    real = Path.read_bytes

    def refuses(path: Path) -> bytes:
        if path.name == "private.yaml":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(Path, "read_bytes", refuses)
    found = own_in(OWN)
    assert [each.called for each in found.found] == ["mine"]
    assert "datasets/private.yaml: cannot be read (Permission denied)" in found.problems[0]
    with pytest.raises(BadInput, match="private"):
        find("private", OWN)


@pytest.mark.parametrize(("own", "what"), [("nowhere", "does not exist"), ("toy.yaml", "is no folder")])
def test_a_folder_that_is_named_has_to_be_there(run: Run, own: str, what: str) -> None:
    Path("toy.yaml").touch()
    assert run("list", "--own", own) == (
        2,
        "",
        f"error: --own {own}: {what}; name the folder that `sim-models data add` has written\n",
    )
