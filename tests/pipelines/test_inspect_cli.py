"""`sim-models inspect` of several stacks, and of what is none."""

import json
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.own_files import examining
from sim_models.images import write_ome
from sim_models.images.dialects import write_imagej, write_tiff
from sim_models.inspection.pattern import Pattern, Stripes
from sim_models.inspection.report import Report
from sim_models.sources import toy

Run = Callable[..., Any]


def frames(cell: int = 1) -> np.ndarray:
    return toy.frames(cell, 3, 3).reshape(9, 64, 64)


@pytest.fixture
def acq(tmp_path: Path, run: Run) -> Path:
    """Two stacks in a folder, a folder of frames in it, and a stack in a hidden folder."""
    for cell in (1, 2):
        write_imagej(tmp_path / "acq" / f"cell_{cell}.tif", frames(cell), "ZYX", 0.065)
    for number, frame in enumerate(frames(3)):
        write_tiff(tmp_path / "acq" / "deep" / "cell_3" / f"{number}.tif", frame)
    write_tiff(tmp_path / "acq" / ".trash" / "cell_4.tif", frames(4))
    return Path("acq")


def test_one_stack_is_told_in_full(run: Run, acq: Path) -> None:
    done = run("inspect", acq / "cell_1.tif")
    assert (done.code, done.err) == (0, "")
    assert "frames      3 angles x 3 phases, angle-major" in done.out.splitlines()


def test_a_folder_is_told_in_a_line_for_each(run: Run, acq: Path) -> None:
    done = run("inspect", acq)
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["acq/cell_1.tif", "acq/cell_2.tif", "acq/deep/cell_3"]
    assert all("3 angles x 3 phases, angle-major" in line for line in lines)


def test_a_stack_that_is_named_twice_is_looked_at_once(run: Run, acq: Path) -> None:
    assert len(run("inspect", acq / "cell_1.tif", acq, acq / "cell_1.tif").out.splitlines()) == 3


def test_json_is_an_object_for_a_stack_and_a_list_for_several(run: Run, acq: Path) -> None:
    assert json.loads(run("inspect", acq / "cell_1.tif", "--json").out)["order"] == "angle-major"
    found = json.loads(run("inspect", acq, "--json").out)
    assert [(each["path"], each["angles"]) for each in found] == [
        ("acq/cell_1.tif", 3), ("acq/cell_2.tif", 3), ("acq/deep/cell_3", 3),
    ]  # fmt: skip
    one = json.loads(run("inspect", acq / "cell_1.tif", "nowhere", "--json").out)
    assert [each["path"] for each in one] == ["acq/cell_1.tif", "nowhere"]


def test_every_key_is_documented() -> None:
    page = (Path(__file__).parents[2] / "docs" / "inspect.md").read_text()
    keys = {field.name for kind in (Report, Pattern, Stripes) for field in fields(kind)}
    assert {key for key in keys if f"`{key}`" not in page} == set()


def test_json_knows_no_nan(run: Run, acq: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Odd:
        def as_dict(self) -> dict[str, Any]:
            return {"a": float("nan"), "b": (float("inf"), 1.0), "c": {"d": float("-inf")}}

        problems = ()

    monkeypatch.setattr(examining, "examine", lambda *_: type("Examined", (), {"report": Odd()}))
    assert json.loads(run("inspect", acq / "cell_1.tif", "--json").out) == {
        "a": None, "b": [None, 1.0], "c": {"d": None},
    }  # fmt: skip


def test_what_cannot_be_read_is_told_at_the_end(run: Run, acq: Path) -> None:
    (acq / "broken.tif").write_bytes(b"II*\0")
    (acq / "empty.tif").write_bytes(b"")
    Path("nothing").mkdir()
    done = run("inspect", acq, "nowhere", "nothing")
    assert done.code == 2
    assert len(done.out.splitlines()) == 3
    said = done.err.splitlines()
    assert all(line.startswith("error: ") for line in said)
    assert sorted(line.split(": ")[1] for line in said) == [
        "acq/broken.tif",
        "acq/empty.tif",
        "nothing",
        "nowhere",
    ]


def test_json_holds_what_cannot_be_read_with_its_sentence(run: Run, acq: Path) -> None:
    (acq / "broken.tif").write_bytes(b"II*\0")
    done = run("inspect", acq, "nowhere", "--json")
    found = {each["path"]: each for each in json.loads(done.out)}
    assert list(found) == [
        "acq/broken.tif", "acq/cell_1.tif", "acq/cell_2.tif", "acq/deep/cell_3", "nowhere",
    ]  # fmt: skip
    wrong = {path: each["error"] for path, each in found.items() if set(each) == {"path", "error"}}
    assert list(wrong) == ["acq/broken.tif", "nowhere"]
    assert (done.code, done.err) == (2, "".join(f"error: {sentence}\n" for sentence in wrong.values()))
    one = run("inspect", "nowhere", "--json")
    assert json.loads(one.out) == {"path": "nowhere", "error": wrong["nowhere"]}
    assert (one.code, one.err) == (2, f"error: {wrong['nowhere']}\n")


# ---- what is wrong, for scripts


@pytest.fixture
def dark(acq: Path) -> Path:
    """A stack with a frame that was not lit."""
    spoilt = frames(5)
    spoilt[4] = 100
    write_imagej(acq / "dark.tif", spoilt, "ZYX", 0.065)
    return acq / "dark.tif"


def test_problems_end_well_unless_asked_to_be_strict(run: Run, acq: Path, dark: Path) -> None:
    for path in (dark, acq):
        assert run("inspect", path).code == 0
    one, several = run("inspect", dark, "--strict"), run("inspect", acq, "--strict", "--json")
    assert (one.code, several.code) == (3, 3)
    assert "PROBLEM     frame 5 of 9 is constant" in one.out
    assert len(json.loads(several.out)) == 4
    assert one.err.startswith("error: stacks with problems: 1 of 1; ")
    assert several.err.startswith("error: stacks with problems: 1 of 4; ")
    assert run("inspect", acq / "cell_1.tif", "--strict").code == 0


def test_what_cannot_be_read_is_worse_than_a_problem(run: Run, dark: Path) -> None:
    done = run("inspect", dark, "nowhere", "--strict")
    assert (done.code, done.err.count("error: ")) == (2, 2)


# ---- folders


def test_a_folder_with_a_single_image_before_its_stacks(run: Run, tmp_path: Path) -> None:
    """As where maps of the camera lie beside the stack: these are no frames of one."""
    write_tiff(tmp_path / "acq" / "a_gain_map.tif", frames()[0])
    write_tiff(tmp_path / "acq" / "raw.tif", frames())
    lines = run("inspect", "acq").out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["acq/a_gain_map.tif", "acq/raw.tif"]
    assert "a single image" in lines[0]


def test_a_damaged_frame_makes_no_folder_of_stacks(run: Run, acq: Path) -> None:
    (acq / "deep" / "cell_3" / "4.tif").write_bytes(b"II*\0")
    done = run("inspect", acq / "deep" / "cell_3")
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert done.err.startswith("error: acq/deep/cell_3/4.tif: ")


def test_what_lies_below_a_folder_of_frames_is_looked_at_too(run: Run, acq: Path) -> None:
    write_imagej(acq / "deep" / "cell_3" / "again" / "cell_6.tif", frames(6), "ZYX", 0.065)
    lines = run("inspect", acq / "deep").out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["acq/deep/cell_3", "acq/deep/cell_3/again/cell_6.tif"]


def test_text_in_a_folder_is_passed_over_and_named_alone_refused(run: Run, acq: Path) -> None:
    (acq / "notes.txt").write_text("of Tuesday")
    assert len(run("inspect", acq).out.splitlines()) == 3
    assert run("inspect", acq / "notes.txt").err.startswith("error: acq/notes.txt: is no TIFF")
    Path("texts").mkdir()
    Path("texts/notes.txt").write_text("of Tuesday")
    assert run("inspect", "texts").err.startswith("error: texts: holds no image; ")


def test_a_folder_that_may_not_be_listed(run: Run, acq: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = examining.image_paths

    def locked(folder: Path) -> list[Path]:
        if folder.name == "deep":
            raise PermissionError(13, "Permission denied", str(folder))
        return listed(folder)

    monkeypatch.setattr(examining, "image_paths", locked)
    done = run("inspect", acq)
    assert (done.code, len(done.out.splitlines())) == (2, 2)
    assert done.err == "error: acq/deep: cannot be listed (Permission denied); check who may read it\n"


# ---- sheets


def test_sheets(run: Run, acq: Path) -> None:
    assert run("inspect", acq / "cell_1.tif", "--sheet", "one.png").code == 0
    assert Path("one.png").read_bytes().startswith(b"\x89PNG")
    assert run("inspect", acq / "cell_1.tif", acq / "deep", "--sheet", "new/sheets").code == 0
    assert sorted(path.name for path in Path("new/sheets").iterdir()) == [
        "acq_cell_1.tif.png", "acq_deep_cell_3.png",
    ]  # fmt: skip


def test_no_sheet_is_that_of_another(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a/b.tif", "a/b.ome.tif", "a_b.tif"):
        write_tiff(tmp_path / name, frames())
    drawn: list[Path] = []
    monkeypatch.setattr(examining, "_draw", lambda _, path: drawn.append(path))
    assert run("inspect", "a", "a_b.tif", "--sheet", "sheets").code == 0
    assert len(set(drawn)) == 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("acq/cell_1.tif", "--sheet", "sheet.jpg"), "--sheet sheet.jpg: give a name that ends in .png"),
        (("acq/cell_1.tif", "--sheet", "acq"), "--sheet acq: give a name that ends in .png"),
        (("frame.png", "--sheet", "frame.png"), "--sheet frame.png: is the stack itself"),
        (("acq", "--sheet", "sheet.png"), "--sheet sheet.png: for 3 stacks give a folder"),
        (("acq", "--sheet", "frame.png"), "--sheet frame.png: for 3 stacks give a folder"),
        (("acq/cell_1.tif", "--sheet", "frame.png/x.png"), "--sheet frame.png/x.png: cannot be written"),
        (("nowhere",), "nowhere: does not exist"),
        (("nothing",), "nothing: holds no image; give a raw stack"),
        (("acq", "--angles", "0"), "angles 0 must be from 1 to 100"),
        (("acq", "--pixel-um", "65"), "pixel_um 65 must be above 0 and below 10"),
        (("acq/cell_1.tif", "--na", "nan"), "numerical_aperture nan must be above 0"),
    ],
)  # fmt: skip
def test_what_makes_no_sense(run: Run, acq: Path, arguments: tuple[str, ...], said: str) -> None:
    Path("nothing").mkdir()
    Path("frame.png").write_bytes(b"theirs")
    done = run("inspect", *arguments)
    assert (done.code, done.err.count("\n"), said in done.err) == (2, 1, True), done.err
    assert (done.out == "") or "x.png" in arguments[-1]
    assert Path("frame.png").read_bytes() == b"theirs"
    assert sorted(path.name for path in Path().iterdir()) == ["acq", "frame.png", "nothing"]


# ---- what a person states, and what several stacks of a file say


def test_angles_alone_that_do_not_fit(run: Run, acq: Path) -> None:
    out = run("inspect", acq / "cell_1.tif", "--angles", 5).out
    assert "PROBLEM     stated are 5 angles, but the frames are 3 x 3; state both" in out
    assert "PROBLEM" not in run("inspect", acq / "cell_1.tif", "--phases", 3).out


def test_an_offset_above_the_light(run: Run, acq: Path) -> None:
    out = run("inspect", acq / "cell_1.tif", "--offset", 60000).out
    assert "no brighter than the offset, 60000; check the offset" in out
    assert "nan" not in out


def test_a_series_of_our_own_stacks(run: Run, tmp_path: Path) -> None:
    series = np.stack([toy.frames(1, 3, 3)[0], toy.frames(2, 3, 3)[0]])
    write_ome(tmp_path / "series.ome.tif", series, "TAPYX", 0.065, {}, "n")
    out = run("inspect", "series.ome.tif").out
    assert "2 stacks of 3 angles x 3 phases, angle-major" in out
    assert "PROBLEM" not in out


@pytest.mark.parametrize("factor", [1e35, 1e-300])
def test_values_of_no_camera(run: Run, tmp_path: Path, factor: float) -> None:
    write_tiff(tmp_path / "odd.tif", frames().astype(np.float64) * factor)
    assert "are those of no camera; scale them" in run("inspect", "odd.tif").out
