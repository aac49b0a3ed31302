"""Every layout lists its own toy, which is read as it was declared, and says in a sentence what is not of it."""

import importlib
import pkgutil
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sim_models.sources.layouts as room
from sim_models.config import BadInput, Settings, choice_of, parse
from sim_models.images.dialects import write_mrc, write_tiff
from sim_models.sources import toy
from sim_models.sources.layouts import LayoutSettings, Listed
from sim_models.sources.raw import Declared, read_image, read_raw

NAMES = [file.name for file in pkgutil.iter_modules(room.__path__)]

DECLARED: dict[str, dict[str, Any]] = {
    **{name: {"rows": "bottom-up"} for name in ("biosr", "biosr_er", "biosr_plus")},
    "biotisr": {"rows": "bottom-up", "time": "slowest"},
    "train_test_pairs": {"phases": 5},
    "dlsim": {"phases": 5},
    "ome_zarr": {"time": "T"},
}
"""how the frames of each toy lie, where it is not as usual"""

ROLES = {
    "biosr": {"raw", "raw_clean", "reference"},
    "biosr_er": {"raw", "raw_clean", "reference"},
    "biosr_plus": {"raw", "raw_clean"},
    "biotisr": {"raw", "reference"},
    "dlsim": {"raw", "widefield", "reference", "reconstruction"},
    "level_folders": {"raw", "reference"},
    "train_test_pairs": {"raw", "reference"},
}


class Definition(Settings):
    """What names a layout."""

    layout: choice_of(room)  # type: ignore[valid-type]


def declared(**changes: Any) -> Declared:
    usual = {
        "angles": 3,
        "phases": 3,
        "order": "angle-major",
        "rows": "top-down",
        "transposed": False,
        "time": "one",
    }
    return parse(Declared, usual | changes, "definition")


def layout(name: str, folder: Path, **changes: Any) -> LayoutSettings:
    options = importlib.import_module(f"{room.__name__}.{name}").TOY | changes
    chosen = {"name": name, "folder": str(folder)} | options
    found: LayoutSettings = parse(Definition, {"layout": chosen}, "definition").layout  # type: ignore[assignment]
    return found


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., LayoutSettings]:
    """A toy, and the settings that list it."""

    def write(name: str, **changes: Any) -> LayoutSettings:
        importlib.import_module(f"{room.__name__}.{name}").write_toy(tmp_path / name)
        return layout(name, tmp_path / name, **changes)

    return write


@pytest.mark.parametrize("name", NAMES)
def test_contract(name: str, written: Callable[..., LayoutSettings]) -> None:
    settings = written(name)
    found = list(settings.images())
    assert found == list(settings.images())
    assert len({each.cell for each in found}) == 2
    assert {each.role for each in found} == ROLES.get(name, {"raw"})
    said = declared(**DECLARED.get(name, {}))
    for each in found:
        if each.role in ("raw", "raw_clean"):
            raw = read_raw(each, said)
            assert raw.stacks.shape[1:] == (3, said.phases, toy.EDGE_PX, toy.EDGE_PX)
            assert any("stripes say the same order" in note for note in raw.notes)
        else:
            image, _ = read_image(each, said)
            assert image.shape[-1] in (toy.EDGE_PX, 2 * toy.EDGE_PX)


@pytest.mark.parametrize("name", NAMES)
def test_no_image_is_opened_for_a_list(name: str, written: Callable[..., LayoutSettings]) -> None:
    settings = written(name)
    found = list(settings.images())
    for path in settings.folder.rglob("*"):
        if path.is_file():
            path.write_bytes(b"damaged")
    assert list(settings.images()) == found


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("other", ["nothing", "a text", "missing", "a file"])
def test_a_folder_of_another_kind_is_refused(name: str, other: str, tmp_path: Path) -> None:
    folder = tmp_path / "given"
    if other == "a file":
        folder.write_text("text")
    elif other != "missing":
        folder.mkdir()
    if other == "a text":
        (folder / "LICENSE.txt").write_text("text")
    with pytest.raises(BadInput) as refusal:
        list(layout(name, folder).images())
    assert str(folder) in str(refusal.value)
    assert len(str(refusal.value)) < 400


def test_values_come_back(written: Callable[..., LayoutSettings]) -> None:
    """Turned, ordered and picked as declared: what the toys drew."""
    raw = next(each for each in written("biosr").images() if (each.level, each.role) == ("02", "raw"))
    stack = read_raw(raw, declared(rows="bottom-up"))
    np.testing.assert_array_equal(stack.stacks, toy.frames(1, 3, 3, light=300.0))
    assert stack.pixel_um == 0.0626
    lapse = next(each for each in written("biotisr").images() if each.role == "raw")
    np.testing.assert_array_equal(
        read_raw(lapse, declared(rows="bottom-up", time="slowest")).stacks, toy.frames(1, 3, 3, 3, 60.0)
    )
    frames = next(written("frame_folders").images())
    np.testing.assert_array_equal(read_raw(frames, declared()).stacks, toy.frames(1, 3, 3))


def test_only_one_plane_of_a_target_is_taken(written: Callable[..., LayoutSettings]) -> None:
    target = next(each for each in written("biosr").images() if each.role == "reference")
    image, notes = read_image(target, declared(rows="bottom-up"))
    np.testing.assert_array_equal(image, toy.reference(1, 2))
    assert "plane 0 of 3" in notes


def test_gamma_corrected_targets_are_never_read(written: Callable[..., LayoutSettings]) -> None:
    settings = written("biosr")
    for home in settings.folder.iterdir():
        (home / "SIM_gt.mrc").rename(home / "SIM_gt_a.mrc")
        shutil.copy(home / "SIM_gt_a.mrc", home / "SIM_gt_b.mrc")
    found = layout("biosr", settings.folder, target="SIM_gt_a").images()
    assert not any("SIM_gt_b" in path.name for each in found for path in each.paths)
    with pytest.raises(BadInput, match="target: Input should be 'SIM_gt' or 'SIM_gt_a'"):
        layout("biosr", settings.folder, target="SIM_gt_b")


def test_structures_are_told_by_their_folders(written: Callable[..., LayoutSettings], tmp_path: Path) -> None:
    (tmp_path / "all").mkdir()
    written("biosr").folder.rename(tmp_path / "all" / "CCPs")
    assert {each.structure for each in layout("biosr", tmp_path / "all").images()} == {"CCPs"}


@pytest.mark.parametrize(
    ("name", "lost", "said"),
    [
        ("biosr", "Cell_002/RawSIMData_level_02.mrc", "is missing, level 02 of 2"),
        ("biosr", "Cell_001/SIM_gt.mrc", "is missing, the target"),
        ("biosr_er", "Cell_001/GTSIM/GTSIM_level_01.mrc", "is missing, level 01 of 2"),
        ("biosr_plus", "Cell_001/Level_01/RawSIMData_gt.mrc", "is missing, the raw stack with much light"),
        ("biotisr", "Cell_001/SIM_gt.mrc", "is missing, the SIM image of every time"),
        (
            "train_test_pairs",
            "trainy/1.tif",
            r"trainx: '1' has no partner of that name in trainy \(1 such files\)",
        ),
        ("dlsim", "LE_X2/Sample_2/LE_03.tif", "is missing, frame 3 of 15"),
        ("dlsim", "LE_X2/Sample_2/LE_15.tif", "is missing, the mean of the frames"),
        ("frame_folders", "cell_1/1_X5.tif", "cell_1: holds 8 images .* but expected 9 frames"),
        ("level_folders", "reference/cell_1.tif", "reference: has no file of cell_1"),
    ],
)
def test_what_is_missing_is_named(
    name: str, lost: str, said: str, written: Callable[..., LayoutSettings]
) -> None:
    settings = written(name)
    (settings.folder / lost).unlink()
    with pytest.raises(BadInput, match=said):
        list(settings.images())


@pytest.mark.parametrize(
    ("name", "changes", "said"),
    [
        ("biosr", {"levels": 1}, "level beyond the 1 that are stated"),
        ("biosr_plus", {"levels": 3}, r"has 2 levels .* but 3 are stated"),
        ("dlsim", {"frames": 9}, "also holds .* but stated are 9 frames and their mean"),
        ("frame_folders", {"mean_at_end": True}, "expected 9 frames and their mean"),
    ],
)
def test_options_are_held_against_the_folder(
    name: str, changes: dict[str, Any], said: str, written: Callable[..., LayoutSettings]
) -> None:
    with pytest.raises(BadInput, match=said):
        list(written(name, **changes).images())


def test_what_was_set_apart_stays_apart(written: Callable[..., LayoutSettings]) -> None:
    """By name and not by place in a list: one more file in `trainx` must not shift every pair."""
    settings = written("train_test_pairs")
    assert {(each.cell, each.part) for each in settings.images()} == {
        ("train_1", "train"),
        ("test_1", "test"),
    }
    for end in "xy":
        shutil.copy(settings.folder / f"train{end}" / "1.tif", settings.folder / f"train{end}" / "10.tif")
        shutil.copy(settings.folder / f"train{end}" / "1.tif", settings.folder / f"train{end}" / "2.tif")
    pairs = [each.paths[0].name for each in settings.images()]
    assert pairs == ["1.tif", "1.tif", "2.tif", "2.tif", "10.tif", "10.tif", "1.tif", "1.tif"]


def test_a_last_file_that_is_no_mean_is_refused(written: Callable[..., LayoutSettings]) -> None:
    settings = written("dlsim")
    write_tiff(settings.folder / "HE_X2" / "Sample_1" / "HE_15.tif", toy.frames(1, 1, 1)[0, 0, 0])
    raw = next(each for each in settings.images() if each.role == "raw")
    with pytest.raises(
        BadInput, match=r"HE_15\.tif: should be the mean of the 15 frames beside it and is not"
    ):
        read_raw(raw, declared(phases=5))


# ---- what is declared and contradicted


@pytest.fixture
def stack(tmp_path: Path) -> Listed:
    path = tmp_path / "stack.tif"
    write_tiff(path, toy.frames(1, 3, 5).reshape(15, toy.EDGE_PX, toy.EDGE_PX))
    return Listed("cell", "raw", "high", (path,))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"phases": 3}, r"holds 15 x 64 x 64 .* declared are 3 angles x 3 phases, 9 frames, for one time"),
        (
            {"order": "phase-major"},
            "declared are 3 angles x 5 phases, phase-major, but its stripes say 3 x 5 angle-major",
        ),
        ({"angles": 5, "phases": 3}, "its stripes say 3 x 5 angle-major"),
        ({"time": "T"}, "so time cannot be its axis T"),
        ({"phases": 4, "time": "slowest"}, "12 frames, for times one after the other"),
    ],
)
def test_what_the_frames_contradict_is_refused(stack: Listed, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput, match=said) as refusal:
        read_raw(stack, declared(**{"phases": 5} | changes))
    assert str(stack.paths[0]) in str(refusal.value)


def test_phase_major_and_transposed(tmp_path: Path) -> None:
    frames = toy.frames(1, 3, 3)
    stored = frames[0].swapaxes(0, 1).reshape(9, toy.EDGE_PX, toy.EDGE_PX)[:, ::-1].swapaxes(1, 2)
    write_tiff(tmp_path / "a.tif", np.ascontiguousarray(stored))
    said = declared(order="phase-major", rows="bottom-up", transposed=True)
    raw = read_raw(Listed("a", "raw", None, (tmp_path / "a.tif",)), said)
    np.testing.assert_array_equal(raw.stacks, frames)
    assert "rows and columns swapped, as declared" in raw.notes
    assert "rows turned from bottom-up, as declared" in raw.notes


def test_no_stripes_no_verdict(tmp_path: Path) -> None:
    write_tiff(tmp_path / "a.tif", np.random.default_rng(0).poisson(100, (9, 64, 64)).astype(np.uint16))
    raw = read_raw(Listed("a", "raw", None, (tmp_path / "a.tif",)), declared())
    assert "stripes too weak to tell the order" in raw.notes[-1]


def test_copies_of_one_image_are_refused(tmp_path: Path) -> None:
    write_tiff(tmp_path / "a.tif", np.repeat(toy.frames(1, 1, 1)[0, 0], 9, axis=0))
    with pytest.raises(BadInput, match="frames 1 and 2 are identical"):
        read_raw(Listed("a", "raw", None, (tmp_path / "a.tif",)), declared())


def test_complex_values_are_no_frames(tmp_path: Path) -> None:
    write_mrc(tmp_path / "otf.mrc", np.ones((1, 8, 9), np.complex64), 0.03)
    with pytest.raises(BadInput, match="holds complex numbers, as an optical transfer function"):
        read_raw(Listed("a", "raw", None, (tmp_path / "otf.mrc",)), declared())
