"""From folders in any layout to prepared fields: what comes through, what is refused, what is done anew."""

import importlib
import json
import os
import pkgutil
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sim_models.sources.layouts as room
from pipelines.onboarding import making
from pipelines.onboarding.cells import survey
from pipelines.onboarding.dataset import OWN, Dataset
from pipelines.shared.brought import what_was_brought
from sim_models import datasets
from sim_models.config import BadInput, parse
from sim_models.datasets.definition import Definition
from sim_models.freeze import FreezeRange
from sim_models.images import read
from sim_models.images.dialects import write_tiff
from sim_models.optics.reconstruct import ReconstructionSettings
from sim_models.recipes import find
from sim_models.sources import toy
from sim_models.sources.prepared import Prepared
from sim_models.sources.split import PARTS, SplitSettings
from sim_models.training.job import Job, lay_out
from sim_models.training.loop import TrainingSettings
from tests.datasets.conftest import toy as definition_of

LAYOUTS = [file.name for file in pkgutil.iter_modules(room.__path__)]
SPLIT = SplitSettings(val=0.2, test=0.2, seed=1)
WIENER = parse(
    ReconstructionSettings,
    {"look": "wiener", "strength": 1.0, "apodisation": "ideal", "positive": False},
    "reconstruction",
)
RAW = {"angles": 3, "phases": 3, "order": "angle-major", "rows": None, "columns": None, "dtype": None,
       "time_points": 1, "sections": 1}  # fmt: skip
OPTICS = {"numerical_aperture": 1.4, "refractive_index": None, "excitation_um": None, "emission_um": 0.525,
          "pixel_um": 0.065, "camera": None}  # fmt: skip
OF_TOY: dict[str, dict[str, Any]] = {
    "biotisr": {"time_points": 3}, "dlsim": {"phases": 5},
}  # fmt: skip
"""what is otherwise of the frames of a layout's toy"""


def _cells(folder: Path) -> None:
    shutil.copytree(folder / "Cell_001", folder / "Cell_003")


def _samples(folder: Path) -> None:
    for home in folder.iterdir():
        one, other = (home / f"Sample_{number}" for number in (1, 3))
        if one.is_dir():
            shutil.copytree(one, other)
        else:
            shutil.copy(f"{one}.tif", f"{other}.tif")


def _files(folder: Path) -> None:
    for home in folder.iterdir():
        shutil.copy(home / "cell_1.tif", home / "cell_3.tif")


def _pairs(folder: Path) -> None:
    # The toy's own 3 x 5 frames have stripes of one harmonic, which is no light of three beams.
    for number, name in enumerate(("train{}/1.tif", "train{}/2.tif", "test{}/1.tif")):
        write_tiff(folder / name.format("x"), toy.frames(number, 3, 3).reshape(9, 64, 64))
        write_tiff(folder / name.format("y"), toy.reference(number, 2))


THIRD: dict[str, Callable[[Path], None]] = {
    **dict.fromkeys(("biosr", "biosr_er", "biosr_plus", "biotisr"), _cells),
    "dlsim": _samples, "level_folders": _files, "train_test_pairs": _pairs,
}  # fmt: skip
"""adds a third cell, since toys have two"""

ALONE = "and no references, so nothing says what a restored image should be"
REFUSED = {
    "dlsim": "HER/Sample_1.tif: is 64 x 64, but the raw frames of Sample_1 are 64 x 64, so a reference has 128 x 128",
    "frame_folders": ALONE,
    "image_stacks": ALONE,
    "ome_zarr": ALONE,
}
"""layouts of which no fields can be made, and why"""


def written(name: str, folder: Path, **more: Any) -> Dataset:
    """The toy of a layout with three cells, and all that has to be known of it."""
    module = importlib.import_module(f"{room.__name__}.{name}")
    module.write_toy(folder)
    THIRD.get(name, lambda _: None)(folder)
    raw = RAW | OF_TOY.get(name, {})
    known = {"layout": {"name": name} | module.TOY, "raw": raw, "optics": OPTICS, "origin": "own"} | more
    return Dataset(definition_of(**known), folder, "microtubules")


def bring(dataset: Dataset, into: Path) -> Prepared:
    dataset.bring_in(WIENER, SPLIT, into, lambda *_: None)
    return Prepared.open(into)


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_comes_through_or_says_why_not(name: str, tmp_path: Path) -> None:
    dataset = written(name, tmp_path / "toy")
    if name in REFUSED:
        with pytest.raises(BadInput, match=r"^\S+: ") as caught:
            bring(dataset, tmp_path / "fields")
        assert REFUSED[name] in str(caught.value)
        assert [path.name for path in tmp_path.iterdir()] == ["toy"]
        return
    prepared = bring(dataset, tmp_path / "fields")
    brought = what_was_brought(tmp_path / "fields")
    assert (brought.left_out, brought.licence) == ({}, OWN)
    assert sorted(cell for part in PARTS for cell in prepared.split.cells(part)) == [
        cell.name for cell in dataset.survey().cells
    ]
    for field in (field for part in PARTS for field in prepared.fields(part)):
        assert field.image("raw").shape == (3, 3, 64, 64)
        assert field.image("reference").shape == field.image("reconstruction").shape == (128, 128)
        assert field.microscope.pixel_um == 0.065
    levels = {"train_test_pairs": {"low"}, "level_folders": {"bright", "dim"}}
    assert set(prepared.levels) == levels.get(name, {"01", "02"})


@pytest.mark.parametrize("name", datasets.names())
def test_the_layout_of_every_public_definition_lists_its_toy(name: str, tmp_path: Path) -> None:
    definition = datasets.find(name)
    if definition.layout is None:
        with pytest.raises(BadInput, match="its definition knows no layout"):
            definition.layout_in(tmp_path)
        return
    module = importlib.import_module(f"{room.__name__}.{definition.layout['name']}")
    module.write_toy(tmp_path)
    for target in tmp_path.glob("*/SIM_gt.mrc"):
        shutil.copy(target, target.with_name("SIM_gt_a.mrc"))
    counts = {key: module.TOY[key] for key in ("levels", "frames") if key in module.TOY}
    listed = list(
        definition.model_copy(update={"layout": definition.layout | counts}).layout_in(tmp_path).images()
    )
    assert len({each.cell for each in listed}) == 2
    assert all(path.exists() for each in listed for path in each.paths)


@pytest.mark.parametrize("name", ["biosr-microtubules", "biosr-er"])
def test_a_public_set_of_which_too_little_is_known_is_refused_by_name(name: str, tmp_path: Path) -> None:
    dataset = Dataset(datasets.find(name), tmp_path, next(iter(datasets.find(name).structures)))
    with pytest.raises(BadInput) as caught:
        dataset.reading(WIENER)
    said = str(caught.value)
    assert f"{name}: its definition does not say optics.numerical_aperture, optics.emission_um; ask" in said
    assert f"sim-models data show {name} --yaml" in said
    optics = dataset.definition.optics.model_copy(update={"numerical_aperture": 1.4, "emission_um": 0.525})
    with pytest.raises(BadInput, match=r"does not say raw.order; ask"):
        replace(dataset, definition=dataset.definition.model_copy(update={"optics": optics})).reading(WIENER)


def test_a_pixel_size_that_nobody_states(tmp_path: Path) -> None:
    dataset = written("level_folders", tmp_path / "toy", optics=OPTICS | {"pixel_um": None})
    with pytest.raises(BadInput, match=r"its definition does not say optics.pixel_um; ask"):
        bring(dataset, tmp_path / "fields")


# ---- which cells are for what


def test_cells_that_were_set_apart_stay_the_test(tmp_path: Path) -> None:
    split = bring(written("train_test_pairs", tmp_path / "toy"), tmp_path / "fields").split
    assert split.test == ("test_1",)
    assert {*split.train, *split.val} == {"train_1", "train_2"}


def test_beside_a_given_test_there_must_be_two_cells(tmp_path: Path) -> None:
    dataset = written("train_test_pairs", tmp_path / "toy")
    for end in "xy":
        (tmp_path / "toy" / f"train{end}" / "2.tif").rename(tmp_path / "toy" / f"test{end}" / "2.tif")
    with pytest.raises(BadInput, match="it has 1 cells, of which 1 are to choose by"):
        bring(dataset, tmp_path / "fields")


def with_parts(**cells: tuple[str, ...]) -> dict[str, Any]:
    return {"parts": {part: list(cells.get(part, ())) for part in PARTS}}


def test_parts_of_a_definition_are_kept(tmp_path: Path) -> None:
    meant = with_parts(train=("cell_3",), val=("cell_1",), test=("cell_2", "cell_of_old"))
    split = bring(written("level_folders", tmp_path / "toy", **meant), tmp_path / "fields").split
    assert (split.train, split.val, split.test) == (("cell_3",), ("cell_1",), ("cell_2",))


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"train": ("cell_3",), "val": ("cell_1",)}, "does not say what cell_2 are for"),
        ({"train": ("cell_1", "cell_2", "cell_3")}, "of its cells for val, test none can be used"),
        (
            {"train": ("cell_1", "cell_2"), "val": ("cell_3",), "test": ("cell_2",)},
            "has cell_2 in two of its `parts`",
        ),
    ],
)
def test_parts_that_cannot_be(tmp_path: Path, parts: dict[str, tuple[str, ...]], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        bring(written("level_folders", tmp_path / "toy", **with_parts(**parts)), tmp_path / "fields")


def test_structures_are_those_of_the_definition(tmp_path: Path) -> None:
    dataset = written("level_folders", tmp_path / "toy")
    with pytest.raises(BadInput, match="knows no structure 'ER'; there are microtubules"):
        replace(dataset, structure="ER").survey()


def test_folders_of_structures_are_found_however_they_are_written(tmp_path: Path) -> None:
    several = {"structures": {"f_actin": None, "er": None}}
    dataset = written("biosr", tmp_path / "toy" / "F-actin", **several)
    shutil.copytree(tmp_path / "toy" / "F-actin", tmp_path / "toy" / "ER")
    at = replace(dataset, folder=tmp_path / "toy", structure="f_actin")
    assert {each.where.parts[-3] for cell in at.survey().cells for each in cell.raw.values()} == {"F-actin"}
    with pytest.raises(BadInput, match="holds ER, F-actin; say which structure is meant"):
        survey(dataset.definition.layout_in(tmp_path / "toy"))
    (tmp_path / "toy" / "ER").rename(tmp_path / "toy" / "Golgi")
    with pytest.raises(BadInput, match="has no structure 'er'; there are F-actin, Golgi"):
        replace(at, structure="er").survey()


# ---- references


def test_every_level_has_the_reference_that_is_its_own(tmp_path: Path) -> None:
    dataset = written("biosr_er", tmp_path / "toy")
    cell = dataset.survey().cells[0]
    assert [cell.reference(level).where.name for level in cell.raw] == [  # type: ignore[union-attr]
        "GTSIM_level_01.mrc", "GTSIM_level_02.mrc",
    ]  # fmt: skip
    listed = dict(cell.references)
    del listed["02"]
    assert replace(cell, references=listed).reference("02") is None


def test_of_a_series_the_first_stack_meets_the_first_image(tmp_path: Path) -> None:
    storage = {"rows": "bottom-up", "transposed": False, "time": "slowest"}
    prepared = bring(written("biotisr", tmp_path / "toy", storage=storage), tmp_path / "fields")
    field = next(field for part in PARTS for field in prepared.fields(part) if field.cell == "Cell_002")
    first, last = (toy.reference(2, 2, time).astype(float).ravel() for time in (0, 2))
    seen = field.image("reference").ravel()
    assert np.corrcoef(seen, first)[0, 1] > 0.9999 > np.corrcoef(seen, last)[0, 1]


def test_a_cell_that_cannot_be_used_is_left_out_and_told(tmp_path: Path) -> None:
    dataset = written("level_folders", tmp_path / "toy")
    for level in ("bright", "dim", "reference"):
        shutil.copy(tmp_path / "toy" / level / "cell_2.tif", tmp_path / "toy" / level / "cell_4.tif")
    (tmp_path / "toy" / "reference" / "cell_4.tif").write_bytes(b"II*\0")
    prepared = bring(dataset, tmp_path / "fields")
    left_out = what_was_brought(tmp_path / "fields").left_out
    assert list(left_out) == ["cell_4"]
    assert "reference/cell_4.tif" in left_out["cell_4"]
    assert "cell_4" not in str(prepared.split)


# ---- clean frames


CLEAN = {
    "biosr": {"01": True, "02": True},
    "biosr_er": {"01": True, "02": True},
    "biosr_plus": {"01": True, "02": True},
    "level_folders": {"dim": True, "bright": False},
    "train_test_pairs": {"low": False},
}
"""layouts whose levels have frames with much light: their own, or those of the brightest level"""


@pytest.mark.parametrize("name", CLEAN)
def test_clean_frames_are_the_same_with_less_noise(name: str, tmp_path: Path) -> None:
    prepared = bring(written(name, tmp_path / "toy"), tmp_path / "fields")
    for field in (field for part in PARTS for field in prepared.fields(part)):
        assert ("raw_clean" in field.images) == CLEAN[name][field.level], field.name
        if "raw_clean" not in field.images:
            continue
        clean, raw = (field.image(role).astype(float) for role in ("raw_clean", "raw"))
        assert clean.mean() == pytest.approx(raw.mean(), rel=0.01), "as bright"
        assert np.corrcoef(clean.ravel(), raw.ravel())[0, 1] > 0.8
        assert any(note.startswith("raw_clean: frames of ") for note in field.notes)
    assert ("raw_clean" in prepared.roles(PARTS)) == any(CLEAN[name].values())


def test_where_clean_frames_are_given_all_levels_are_learned_from(tmp_path: Path) -> None:
    """Their classical SIM is the reference, so not even the brightest shares its noise with what should come out."""
    bring(written("biosr_plus", tmp_path / "toy"), tmp_path / "fields")
    (note,) = what_was_brought(tmp_path / "fields").notes
    assert "has no references, so the classical SIM of its frames with much light takes their place" in note


def _moved(how: Callable[[Any], Any], folder: Path) -> None:
    path = folder / "bright" / "cell_2.tif"
    write_tiff(path, np.ascontiguousarray(how(read(path).data)))


MOVES: dict[str, tuple[Callable[[Any], Any], str]] = {
    "stripes": (
        lambda frames: np.roll(frames.reshape(3, 3, 64, 64), 1, axis=1).reshape(9, 64, 64),
        "cell_2: dim has no clean frames: the stripes of angle 1 lie 120 degrees beside those of the frames",
    ),
    "cell": (
        lambda frames: np.roll(frames, 2, axis=-1),
        "cell_2: dim has no clean frames: the cell lies 1.9 pixels beside where the frames with much light",
    ),
}


@pytest.mark.parametrize("what", MOVES)
def test_frames_that_moved_are_no_clean_ones(what: str, tmp_path: Path) -> None:
    dataset = written("level_folders", tmp_path / "toy")
    how, said = MOVES[what]
    _moved(how, tmp_path / "toy")
    prepared = bring(dataset, tmp_path / "fields")
    assert said in "; ".join(what_was_brought(tmp_path / "fields").notes)
    with_clean = {
        field.cell for part in PARTS for field in prepared.fields(part) if "raw_clean" in field.images
    }
    assert with_clean == {"cell_1", "cell_3"}


def test_a_cell_that_moved_away_from_its_own_reference_is_left_out(tmp_path: Path) -> None:
    dataset = written("level_folders", tmp_path / "toy")
    for level in ("bright", "dim"):
        for copy in ("cell_4", "cell_5"):
            shutil.copy(tmp_path / "toy" / level / "cell_1.tif", tmp_path / "toy" / level / f"{copy}.tif")
    shutil.rmtree(tmp_path / "toy" / "reference")
    _moved(MOVES["cell"][0], tmp_path / "toy")
    bring(dataset, tmp_path / "fields")
    (reason,) = what_was_brought(tmp_path / "fields").left_out.values()
    assert reason.startswith(
        "dim: the cell lies 1.9 pixels beside where the frames with much light have it; what"
    )


def _with_a_fourth(folder: Path) -> None:
    for level in ("bright", "dim", "reference"):
        shutil.copy(folder / level / "cell_1.tif", folder / level / "cell_4.tif")


def test_a_study_draws_only_cells_that_have_what_it_learns_towards(tmp_path: Path) -> None:
    parts = with_parts(train=("cell_1", "cell_2"), val=("cell_3",), test=("cell_4",))
    dataset = written("level_folders", tmp_path / "toy", **parts)
    _with_a_fourth(tmp_path / "toy")
    _moved(MOVES["stripes"][0], tmp_path / "toy")
    prepared = bring(dataset, tmp_path / "fields")
    assert prepared.towards("reference").split.train == ("cell_1", "cell_2")
    assert prepared.towards("raw_clean").split.train == ("cell_1",)
    assert "raw_clean" in prepared.roles(PARTS)


def test_a_stack_of_another_size_leaves_its_cell_out(tmp_path: Path) -> None:
    dataset = written("level_folders", tmp_path / "toy")
    _with_a_fourth(tmp_path / "toy")
    _moved(lambda frames: frames[:, :48, :48], tmp_path / "toy")
    bring(dataset, tmp_path / "fields")
    (reason,) = what_was_brought(tmp_path / "fields").left_out.values()
    assert "of the same cell" in reason
    assert "48 x 48" in reason


def test_what_learns_without_a_target_needs_something_to_be_judged_by() -> None:
    task = find("deconoising").recipe.task
    there: list[Any] = ["raw", "widefield", "reference", "reconstruction"]
    assert task.missing(there) == []
    assert task.missing_to_judge(there) == [task.truth]
    assert task.missing_to_judge([*there, task.truth]) == []


def test_a_reference_that_lies_beside_its_frames_is_told(tmp_path: Path) -> None:
    dataset = written("level_folders", tmp_path / "toy")
    path = tmp_path / "toy" / "reference" / "cell_2.tif"
    write_tiff(path, np.roll(read(path).data, 4, axis=-2))
    bring(dataset, tmp_path / "fields")
    (note,) = what_was_brought(tmp_path / "fields").notes
    assert note == "cell_2: its reference lies 1.8 raw pixels beside its raw frames; register it first"


def test_frames_are_denoised_by_what_was_brought_in(tmp_path: Path, training: TrainingSettings) -> None:
    """The brightest level has no clean frames of its own, and is not learned from, nor judged."""
    bring(written("level_folders", tmp_path / "toy"), tmp_path / "fields")
    task = {
        "input": "raw",
        "frames": "all",
        "light": "all",
        "per": "stack",
        "target": "raw_clean",
        "scale": 1,
    }
    method = {"name": "supervised", "loss_terms": {"terms": {"l1": 1.0}}, "residual": "noisy"}
    small = {"network": {"width": 4, "depth": 2}, "task": task, "method": method}
    recipe = find("unet_residual", change=small).recipe
    bench = lay_out(
        Job(
            recipe=recipe,
            training=training,
            dataset=str(tmp_path / "fields"),
            source=None,
            frozen=FreezeRange(start=0, end=0),
        )
    )
    assert len(bench.samples.pairs) == len(bench.validation.pairs) == 1
    assert list(bench.card.light) == ["dim"]


# ---- what is done anew


@dataclass
class Counted:
    """A dataset that was brought in, and the cells that were computed each time."""

    dataset: Dataset
    into: Path
    computed: list[str]

    def again(self) -> list[str]:
        self.computed.clear()
        bring(self.dataset, self.into)
        return list(self.computed)


@pytest.fixture
def counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Counted:
    computed: list[str] = []
    fields_of = making.fields_of

    def spied(cell: Any, *rest: Any) -> Any:
        computed.append(cell.name)
        return fields_of(cell, *rest)

    monkeypatch.setattr(making, "fields_of", spied)
    found = Counted(written("level_folders", tmp_path / "toy"), tmp_path / "fields", computed)
    assert found.again() == ["cell_1", "cell_2", "cell_3"]
    return found


def contents(folder: Path) -> Mapping[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_only_what_changed_is_computed_again(counted: Counted, tmp_path: Path) -> None:
    before = contents(counted.into)
    assert counted.again() == []
    assert contents(counted.into) == before
    raw = toy.frames(2, 3, 3, light=61.0).reshape(9, 64, 64)
    write_tiff(counted.dataset.folder / "dim" / "cell_2.tif", raw)
    assert counted.again() == ["cell_2"]
    after = contents(counted.into)
    assert {name.split("/")[0] for name in before if before[name] != after[name]} == {"cell_2"}
    write_tiff(counted.dataset.folder / "reference" / "cell_1.tif", toy.reference(1, 2) + 1)
    assert counted.again() == ["cell_1"]
    bring(counted.dataset, tmp_path / "anew")
    assert contents(tmp_path / "anew") == contents(counted.into), "taken over or anew is the same"


def test_what_is_of_no_use_is_looked_at_once(counted: Counted) -> None:
    for level in ("bright", "dim", "reference"):
        home = counted.dataset.folder / level
        shutil.copy(home / "cell_2.tif", home / "cell_4.tif")
    write_tiff(counted.dataset.folder / "dim" / "cell_4.tif", np.full((9, 64, 64), 7, np.uint16))
    assert counted.again() == ["cell_4"]
    before = contents(counted.into)
    assert counted.again() == []
    assert contents(counted.into) == before
    assert list(what_was_brought(counted.into).left_out) == ["cell_4"]
    shutil.copy(counted.dataset.folder / "dim" / "cell_2.tif", counted.dataset.folder / "dim" / "cell_4.tif")
    assert counted.again() == ["cell_4"]
    assert what_was_brought(counted.into).left_out == {}


def test_another_reading_computes_all_again(counted: Counted) -> None:
    optics = counted.dataset.definition.optics.model_copy(update={"emission_um": 0.6})
    definition = counted.dataset.definition.model_copy(update={"optics": optics})
    counted.dataset = replace(counted.dataset, definition=definition)
    assert len(counted.again()) == 3


def test_other_code_computes_all_again(
    counted: Counted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also that of this room itself: how a reference is scaled stands there."""
    rooms = {path.name: path for path in making.CODE}
    assert {"onboarding", "stacks.py", "sources", "optics", "images", "field.py"} <= set(rooms)
    changed = tmp_path / "stacks.py"
    changed.write_text(rooms["stacks.py"].read_text() + "\n# changed\n")
    monkeypatch.setattr(
        making, "CODE", [*(each for each in making.CODE if each.name != "stacks.py"), changed]
    )
    assert len(counted.again()) == 3


def test_a_cell_that_is_gone_vanishes_and_a_new_one_is_alone_computed(counted: Counted) -> None:
    for level in ("bright", "dim", "reference"):
        (counted.dataset.folder / level / "cell_1.tif").rename(counted.dataset.folder / level / "cell_9.tif")
    assert counted.again() == ["cell_9"]
    assert sorted(path.name for path in counted.into.iterdir() if path.is_dir()) == [
        "cell_2",
        "cell_3",
        "cell_9",
    ]


@pytest.mark.parametrize("damage", ["image", "lost", "record", "old record"])
def test_what_was_damaged_is_not_taken_over(counted: Counted, damage: str) -> None:
    before = contents(counted.into)
    home = counted.into / "cell_2"
    image, record = home / "dim" / "reference.ome.tif", home / making.SOURCE
    if damage == "image":
        image.write_bytes(image.read_bytes()[:-1] + b"x")
    elif damage == "lost":
        image.unlink()
    elif damage == "record":
        record.write_bytes(b"{")
    else:
        record.write_text(json.dumps({"key": json.loads(record.read_text())["key"], "doubts": []}))
    assert counted.again() == ["cell_2"]
    assert contents(counted.into) == before


def test_without_hard_links_files_are_copied(counted: Counted, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*_: object) -> None:
        raise OSError(1, "Operation not permitted")

    before = contents(counted.into)
    monkeypatch.setattr(os, "link", no_links)
    assert counted.again() == []
    assert contents(counted.into) == before


def test_a_refusal_or_an_interruption_leaves_what_was_there(
    counted: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(counted.into)
    write_tiff(counted.dataset.folder / "reference" / "cell_2.tif", toy.reference(2, 1))
    with pytest.raises(BadInput, match="a reference has 128 x 128"):
        counted.again()
    write_tiff(counted.dataset.folder / "reference" / "cell_2.tif", toy.reference(2, 2) + 5)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(making, "fields_of", interrupted)
    with pytest.raises(KeyboardInterrupt):
        counted.again()
    assert contents(counted.into) == before
    assert [path.name for path in counted.into.parent.iterdir() if path.name.startswith(".")] == []


def test_licence_is_what_the_definition_says(tmp_path: Path) -> None:
    dataset = written("level_folders", tmp_path / "toy", origin="public")
    bring(dataset, tmp_path / "fields")
    assert what_was_brought(tmp_path / "fields").licence is None
    stated: Definition = dataset.definition.model_copy(
        update={"licence": "CC0-1.0", "licence_from": "a page"}
    )
    bring(replace(dataset, definition=stated), tmp_path / "fields")
    assert what_was_brought(tmp_path / "fields").licence == "CC0-1.0"
