"""`sim-models data add`, called as its console script calls it: what is written, and that nothing else is touched."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import yaml

from sim_models import datasets
from sim_models.images.dialects import write_imagej, write_tiff
from sim_models.sources import toy
from tests.datasets.acquisitions import PIXEL_UM, STATED, Add, frames, parts, some, tree, write


def test_a_folder(add: Add, many: Path, asked: list[tuple[str, ...]]) -> None:
    done = add("mine", many, *STATED)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(
        "5 cells, light levels: raw; 9 x 64 x 64 uint16, 0.065 um; references; photons"
    )
    assert "order of the frames: 5 of 5 stacks say angle-major" in done.out
    assert "split by cell: 3 train / 1 val / 1 test" in done.out
    assert "git add datasets/mine.yaml datasets/mine.dvc && git commit" in done.out
    assert tree(Path("datasets/mine")) == tree(many)
    assert asked == [("add", "-q", "mine")]
    found = datasets.read(Path("datasets/mine.yaml"))
    assert (found.origin, found.licence, dict(found.structures)) == ("own", None, {"lysosomes": 5})
    assert (found.raw.order, found.optics.pixel_um) == ("angle-major", PIXEL_UM)
    assert sorted(cell for cells in parts().values() for cell in cells) == [
        f"cell_{cell}" for cell in range(5)
    ]
    assert {path.name for path in Path("datasets").iterdir()} == {"mine", "mine.yaml", "mine.dvc"}


def test_the_line_for_params_is_yaml_that_they_take(add: Add, many: Path) -> None:
    from pipelines.shared.params import Dataset

    said = add("mine", many, *STATED).out.splitlines()
    entry = yaml.safe_load("\n".join(said[said.index("  datasets:") :]))["datasets"]["mine"]
    assert Dataset.model_validate(entry, strict=False).structure == "lysosomes"


def test_patterns(add: Add, many: Path) -> None:
    done = add("mine", "--raw", f"{many}/raw/*.tif", "--reference", f"{many}/reference/*.tif", *STATED)
    assert done.code == 0
    assert tree(Path("datasets/mine")) == tree(many)


def test_several_levels_without_references(add: Add, tmp_path: Path) -> None:
    levels = {"dim": 60.0, "bright": 1000.0}
    done = add("mine", write(tmp_path / "acq", range(3), levels, references=False), *STATED)
    assert (done.code, "light levels: bright, dim" in done.out, "no references" in done.out) == (
        0,
        True,
        True,
    )
    assert datasets.read(Path("datasets/mine.yaml")).targets.files == {}


def test_nothing_is_written_by_a_dry_run(add: Add, many: Path, asked: list[object]) -> None:
    done = add("mine", many, *STATED, "--dry-run")
    assert (done.code, done.out.splitlines()[-1]) == (0, "nothing was written (--dry-run)")
    assert (Path("datasets").exists(), asked) == (False, [])


# ---- order of frames


def test_the_order_is_what_the_stripes_say(add: Add, tmp_path: Path) -> None:
    acq = write(tmp_path / "acq", range(3), phase_major=True)
    assert "3 of 3 stacks say phase-major" in add("mine", acq, *STATED, "--dry-run").out
    told = add("mine", acq, *STATED, "--order", "angle-major").refused
    assert "3 of 3 stacks say phase-major, but angle-major is stated" in told


def test_contradictory_orders_are_refused_by_name(add: Add, tmp_path: Path) -> None:
    acq = write(write(tmp_path / "acq", range(3)), [3], phase_major=True)
    told = add("mine", acq, *STATED).refused
    assert "raw/cell_3.tif: the stacks differ in the order of their frames" in told
    assert not Path("datasets").exists()


def without_stripes(folder: Path, cells: Iterable[int]) -> Path:
    for cell in cells:
        seen = 100 + 300 * toy.blobs(cell, 1)
        stack = np.random.default_rng(cell).poisson(np.stack([seen] * 9)).astype(np.uint16)
        write_imagej(folder / "raw" / f"cell_{cell}.tif", stack, "ZYX", PIXEL_UM)
        write_tiff(folder / "reference" / f"cell_{cell}.tif", toy.reference(cell, 2))
    return folder


def test_an_order_that_nothing_tells_has_to_be_stated(add: Add, tmp_path: Path) -> None:
    acq = without_stripes(tmp_path / "acq", range(3))
    assert "none of 3 cells can be used: cell_0: " in add("mine", acq, *STATED).refused
    assert "state --order" in add("mine", acq, *STATED, "--keep").refused
    done = add("mine", acq, *STATED, "--keep", "--order", "phase-major")
    assert "order of the frames: phase-major as stated (the stripes do not tell)" in done.out


# ---- cells that cannot be used


def test_what_cannot_be_used_is_left_out_and_told(add: Add, many: Path, tmp_path: Path) -> None:
    acq = without_stripes(some(many, tmp_path / "acq", [0, 1, 2]), [7])
    write(acq, [3, 4, 5])
    (acq / "raw" / "cell_3.tif").write_bytes(b"II*\0 and no more")
    write_tiff(acq / "reference" / "cell_4.tif", toy.reference(4, 1))
    (acq / "reference" / "cell_5.tif").write_bytes(b"")
    done = add("mine", acq, *STATED)
    said = [line for line in done.out.splitlines() if line.startswith("left out")]
    assert [line.split(": ")[1] for line in said] == ["cell_3", "cell_7", "cell_4", "cell_5"]
    assert "no stripes are found" in said[1]
    assert "a reference has 128 x 128 pixels" in said[2]
    assert sorted(path.name for path in Path("datasets/mine/raw").iterdir()) == [
        "cell_0.tif", "cell_1.tif", "cell_2.tif",
    ]  # fmt: skip
    done = add("kept", acq, *STATED, "--keep")
    assert sorted(path.stem for path in Path("datasets/kept/raw").iterdir()) == [
        "cell_0", "cell_1", "cell_2", "cell_4", "cell_7",
    ]  # fmt: skip


def test_a_mean_behind_the_frames_is_no_stack_of_nine(add: Add, many: Path, tmp_path: Path) -> None:
    """The doctor looks past it, but the stage would refuse the whole folder for it."""
    acq = some(many, tmp_path / "acq", range(4))
    stack = frames(3)
    mean = np.round(stack.mean(axis=0, keepdims=True)).astype(np.uint16)
    write_imagej(acq / "raw" / "cell_3.tif", np.concatenate([stack, mean]), "ZYX", PIXEL_UM)
    said = add("mine", acq, *STATED).out
    assert "cell_3: " in said
    assert "3 angles x 3 phases, 9 frames" in said


def test_too_few_cells(add: Add, many: Path, tmp_path: Path) -> None:
    acq = some(many, tmp_path / "acq", range(3))
    (acq / "raw" / "cell_1.tif").write_bytes(b"")
    told = add("mine", acq, *STATED).refused
    assert "mine: has 2 cells" in told
    assert "left out: cell_1: " in told
    assert not Path("datasets").exists()


# ---- what a person says


def test_the_name_of_a_public_dataset_is_refused(add: Add, many: Path) -> None:
    assert "is that of a public dataset" in add("biosr-er", many, *STATED).refused


@pytest.mark.parametrize(
    ("licence", "said"),
    [
        ("CC-BY-4.0", None),
        ("own", None),
        ("CC BY 4.0", "is no SPDX licence; give one as CC-BY-4.0 or CC0-1.0, or 'own'"),
        ("cc-by-4.0", "write CC-BY-4.0, or 'own'"),
        ("", "is no SPDX licence"),
        ("Own", "is no SPDX licence"),
    ],
)
def test_licences(add: Add, many: Path, licence: str, said: str | None) -> None:
    done = add("mine", many, "--emission-um", 0.525, "--licence", licence)
    if said is not None:
        assert said in done.refused
        assert not Path("datasets").exists()
        return
    found = datasets.read(Path("datasets/mine.yaml"))
    assert (found.origin, found.licence) == (("own", None) if licence == "own" else ("public", licence))
    assert "not stated: optics.numerical_aperture (--na)" in done.out


def test_a_licence_can_be_said_later(add: Add, many: Path) -> None:
    assert "no licence is stated" in add("mine", many).out
    add("mine", many, "--licence", "CC0-1.0", "--dry-run")
    assert datasets.read(Path("datasets/mine.yaml")).licence is None
    assert (
        "their licence, CC0-1.0, is in datasets/mine.yaml now"
        in add("mine", many, "--licence", "CC0-1.0").out
    )
    assert datasets.read(Path("datasets/mine.yaml")).licence == "CC0-1.0"
    assert "is under the licence CC0-1.0" in add("mine", many, "--licence", "own").refused


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("My Cells",), "name 'My Cells': takes lower-case letters"),
        (("../mine",), "name '../mine': takes"),
        (("/etc/mine",), "name '/etc/mine': takes"),
        ((".mine",), "name '.mine': takes"),
        (("",), "name '': takes"),
        (("mine\n",), "takes lower-case letters"),
        (("mine", "{many}", "--structure", "F-actin"), "--structure 'F-actin': takes"),
        (("mine",), "give either a folder"),
        (("mine", "{many}", "--raw", "x"), "give either a folder"),
        (("mine", "{many}", "--reference", "x"), "--reference goes with --raw"),
        (("mine", "--raw", "{many}/raw/*"), "need good images"),
        (("mine", "--raw", "nothing/*", "--reference", "x"), "--raw nothing/*: nothing is there"),
        (("mine", "--raw", "{many}/raw/*", "--reference", "{many}/raw/cell_1*"), "has no reference of the same name"),
        (("mine", "nowhere"), "nowhere: is no folder"),
        (("mine", "{many}/raw/cell_1.tif"), "is no folder"),
        (("mine", "empty"), "empty: holds no raw stacks"),
        (("mine", "{many}/raw"), "holds no raw stacks"),
        (("mine", "{many}", "--into", "{many}/raw/cell_1.tif"), "cell_1.tif: is a file; --into takes a folder"),
        (("mine", "{many}", "--into", "{many}/raw/cell_1.tif/x"), "cell_1.tif: is a file; --into takes a folder"),
        (("mine", "{many}", "--gain", "2"), "--gain (counts per photo-electron) needs --offset"),
        (("mine", "{many}", "--read-noise", "2"), "--read-noise (photo-electrons) says something only"),
        (("mine", "{many}", "--offset", "60000"), "no brighter than the offset, 60000"),
        (("mine", "{many}", "--pixel-um", "65"), "--pixel-um 65: must be above 0 and below 10"),
        (("mine", "{many}", "--na", "nan"), "--na nan: must be above 0"),
        (("mine", "{many}", "--val", "0.6", "--test", "0.6"), "--val and --test are shares, together below 1"),
        (("mine", "{many}", "--val", "0"), "--val"),
        (("mine", "{many}", "--seed", "-1"), "--val, --test and --seed: seed"),
        (("mine", "{many}", "--angles", "5"), "none of 5 cells can be used"),
        (("mine", "--raw", "{many}/reference/*", "--reference", "{many}/raw/*"), "holds a single image"),
    ],
)  # fmt: skip
def test_what_makes_no_sense(add: Add, many: Path, arguments: tuple[str, ...], said: str) -> None:
    Path("empty").mkdir()
    assert said in add(*(word.format(many=many) for word in arguments)).refused
    assert sorted(path.name for path in Path().iterdir()) == [".dvc", "empty"]


def test_not_in_a_project(add: Add, many: Path) -> None:
    Path(".dvc").rmdir()
    assert "is in no DVC project" in add("mine", many, *STATED).refused
    assert list(Path().iterdir()) == []


def test_a_file_that_states_no_pixel_size(add: Add, tmp_path: Path) -> None:
    acq = write(tmp_path / "acq", range(3))
    for cell in range(3):
        write_tiff(acq / "raw" / f"cell_{cell}.tif", frames(cell))
    assert "does not state its pixel size; give --pixel-um" in add("mine", acq, *STATED).refused
    assert add("mine", acq, *STATED, "--pixel-um", 0.065).code == 0
    write_tiff(acq / "raw" / "cell_3.tif", frames(3))
    write_tiff(acq / "reference" / "cell_3.tif", toy.reference(3, 2))
    assert add("mine", acq).out.startswith("1 more cells"), (
        "more cells have the pixels of those that are there"
    )
