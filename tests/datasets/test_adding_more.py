"""`sim-models data add` to a dataset that is there: what stays, what is refused."""

import shutil
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.datasets.describing import _dealt
from sim_models import datasets
from sim_models.images.dialects import write_imagej
from sim_models.sources.split import PARTS, SplitSettings, split_by_cell
from tests.datasets.acquisitions import PIXEL_UM, STATED, Add, frames, parts, some, tree, write


def test_more_cells_leave_the_others_where_they_were(
    add: Add, many: Path, mine: Path, tmp_path: Path
) -> None:
    before, old = parts(), tree(Path("datasets/mine"))
    done = add("mine", many)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("2 more cells")
    assert "cells that were there stay where they were" in done.out
    assert all(set(before[part]) <= set(parts()[part]) for part in PARTS)
    assert tree(Path("datasets/mine")) == tree(many)
    assert old.items() <= tree(Path("datasets/mine")).items()
    assert dict(datasets.read(Path("datasets/mine.yaml")).structures) == {"lysosomes": 5}


def test_the_same_again_does_nothing(add: Add, many: Path, mine: Path, tmp_path: Path) -> None:
    before = tree(Path("datasets"))
    done = add("mine", mine, *STATED)
    assert (done.code, done.out) == (0, "mine: all 3 cells are there already; nothing to do\n")
    assert add("mine", "datasets/mine").code == 0
    assert tree(Path("datasets")) == before


def test_what_a_person_wrote_into_a_definition_stays(
    add: Add, many: Path, mine: Path, tmp_path: Path
) -> None:
    file = Path("datasets/mine.yaml")
    own = file.read_text().replace("notes: []", "# from the notebook\nnotes:\n- fixed cells").replace(
        "title: 'lysosomes: stacks added by sim-models data add'", "title: HeLa   # of Tuesday"
    )  # fmt: skip
    file.write_text(own)
    assert add("mine", many).code == 0
    text, found = file.read_text(), datasets.read(file)
    assert (found.origin, found.notes, found.title) == ("own", ("fixed cells",), "HeLa")
    assert "# from the notebook" in text
    assert "# of Tuesday" in text
    assert sum(len(cells) for cells in parts().values()) == 5


def test_without_parts_every_study_deals_anew(add: Add, many: Path, mine: Path, tmp_path: Path) -> None:
    file = Path("datasets/mine.yaml")
    file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | {"parts": None}))
    assert add("mine", many).out.startswith("2 more cells")
    assert datasets.read(file).parts is None


def test_other_content_under_the_same_name_is_refused(
    add: Add, many: Path, mine: Path, tmp_path: Path
) -> None:
    before = tree(Path("datasets"))
    write_imagej(mine / "raw" / "cell_1.tif", frames(9), "ZYX", PIXEL_UM)
    some(many, mine, [4])
    told = add("mine", mine, *STATED).refused
    assert "raw/cell_1.tif: datasets/mine has another cell_1; a cell is never replaced" in told
    assert tree(Path("datasets")) == before


@pytest.mark.parametrize(
    ("levels", "how", "more", "said"),
    [
        ({"raw": 400.0}, {"pixel_um": 0.08}, (), "optics.pixel_um is 0.065, but that of the new stacks 0.08"),
        (
            {"raw": 400.0},
            {},
            ("--na", 1.2),
            "optics.numerical_aperture is 1.4, but that of the new stacks 1.2",
        ),
        ({"raw": 400.0}, {}, ("--structure", "er"), "is of lysosomes, but the new stacks of er"),
        ({"raw": 400.0}, {}, ("--licence", "CC0-1.0"), "is under the licence own, but --licence is CC0-1.0"),
        (
            {"raw": 400.0},
            {"phase_major": True},
            (),
            "2 of 2 stacks say phase-major, but angle-major is stated, or was",
        ),
        ({"dim": 400.0}, {}, (), "has the folders raw, reference, but new are dim, reference"),
        (
            {"raw": 400.0, "dim": 60.0},
            {},
            (),
            "has the folders raw, reference, but new are dim, raw, reference",
        ),
        ({"raw": 400.0, "dim": 60.0}, {"references": False}, (), "but new are dim, raw;"),
    ],
)
def test_stacks_of_another_kind_are_refused(
    add: Add, many: Path, mine: Path, tmp_path: Path, levels: dict[str, float], how: dict[str, object],
    more: tuple[object, ...], said: str,
) -> None:  # fmt: skip
    before = tree(Path("datasets"))
    other = write(tmp_path / "other", [10, 11], levels, **how)
    assert said in add("mine", other, *more).refused
    assert tree(Path("datasets")) == before


def test_more_cells_none_of_which_can_be_used(add: Add, mine: Path, tmp_path: Path) -> None:
    before = tree(Path("datasets"))
    other = write(tmp_path / "other", [10, 11])
    for path in (other / "reference").iterdir():
        path.write_bytes(b"")
    assert "none of 2 cells can be used: cell_10: " in add("mine", other).refused
    assert tree(Path("datasets")) == before


def test_pixels_that_programs_round_are_the_same(add: Add, many: Path, mine: Path, tmp_path: Path) -> None:
    assert add("mine", write(tmp_path / "other", [10], pixel_um=0.065001)).code == 0
    assert datasets.read(Path("datasets/mine.yaml")).optics.pixel_um == PIXEL_UM


def test_a_clone_without_its_data_is_not_taken_for_an_empty_dataset(
    add: Add, many: Path, mine: Path, tmp_path: Path
) -> None:
    """Else its sealed cells would be dealt anew, and DVC would forget all that is not there."""
    before = Path("datasets/mine.yaml").read_text()
    shutil.rmtree("datasets/mine")
    told = add("mine", many, *STATED).refused
    assert "datasets/mine: lacks cell_0, cell_1, cell_2" in told
    assert "dvc pull datasets/mine.dvc" in told
    assert (Path("datasets/mine.yaml").read_text(), Path("datasets/mine").exists()) == (before, False)
    Path("datasets/mine.yaml").unlink()
    assert "datasets/mine.dvc: is there, but datasets/mine.yaml is not" in add("mine", many, *STATED).refused


CELLS = st.lists(
    st.integers(0, 40).map(lambda number: f"cell_{number:02d}"), min_size=3, max_size=25, unique=True
)


@settings(max_examples=60, deadline=None)
@given(CELLS, st.lists(CELLS, max_size=3), st.integers(0, 5), st.sampled_from([(0.2, 0.2), (0.3, 0.1)]))
def test_no_cell_ever_changes_its_part(
    first: list[str], later: list[list[str]], seed: int, shares: tuple[float, float]
) -> None:
    """However often cells are added: each is in one part, where it was put first, and shares come near."""
    chosen = SplitSettings(val=shares[0], test=shares[1], seed=seed)
    split, known = split_by_cell(first, chosen, "mine"), set(first)
    for cells in later:
        new = sorted(set(cells) - known)
        before, known = split, known | set(new)
        split = _dealt(new, chosen, before)
        assert all(set(before.cells(part)) <= set(split.cells(part)) for part in PARTS)
        assert sorted(cell for part in PARTS for cell in split.cells(part)) == sorted(known)
        assert _dealt(list(reversed(new)), chosen, before) == split
        grown = [len(split.cells(part)) - len(before.cells(part)) for part in PARTS]
        wanted = (1 - sum(shares), *shares)
        for part, more, share in zip(PARTS, grown, wanted, strict=True):
            assert more == 0 or len(split.cells(part)) <= share * len(known) + 1
