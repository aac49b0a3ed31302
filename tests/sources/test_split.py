"""The split deals out cells, never crops or light levels."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim_models.config import BadInput
from sim_models.sources.split import Split, SplitSettings, split_by_cell

SHARES = SplitSettings(val=0.2, test=0.3, seed=1)
NAMES = st.characters(exclude_categories=["C"])
"""what names of folders may hold"""


@settings(deadline=None)
@given(
    cells=st.sets(st.text(NAMES, min_size=1, max_size=8), min_size=3, max_size=40),
    val=st.floats(0.01, 0.33),
    test=st.floats(0.01, 0.33),
    seed=st.integers(0, 2**32),
    levels=st.integers(1, 4),
)
def test_every_cell_is_in_one_part_whatever_its_levels(
    cells: set[str], val: float, test: float, seed: int, levels: int
) -> None:
    chosen = SplitSettings(val=val, test=test, seed=seed)
    split = split_by_cell([*cells] * levels, chosen, "er")
    assert min(len(split.train), len(split.val), len(split.test)) >= 1
    assert sorted([*split.train, *split.val, *split.test]) == sorted(cells)
    assert split == split_by_cell(sorted(cells), chosen, "er")


def test_the_seed_and_the_cells_decide_the_hash() -> None:
    cells = [f"cell_{number}" for number in range(20)]
    split = split_by_cell(cells, SHARES, "er")
    assert (len(split.train), len(split.val), len(split.test)) == (10, 4, 6)
    assert split.hash == split_by_cell(cells[::-1], SHARES, "er").hash
    assert split.hash != split_by_cell(cells, SHARES.model_copy(update={"seed": 2}), "er").hash
    assert split.hash != split_by_cell([*cells, "cell_20"], SHARES, "er").hash


def test_the_hash_sees_which_part_a_cell_is_in() -> None:
    split = Split(train=("a",), val=("b",), test=("c",))
    assert split.hash != Split(train=("a",), val=("c",), test=("b",)).hash


def test_too_few_cells_are_refused_however_many_fields_they_have() -> None:
    with pytest.raises(BadInput, match=r"er: has 2 cells, .*add cells"):
        split_by_cell(["a", "b"] * 50, SHARES, "er")


def test_shares_that_leave_nothing_to_learn_from_are_refused() -> None:
    greedy = SplitSettings(val=0.5, test=0.5, seed=0)
    with pytest.raises(BadInput, match=r"val 0.5 and test 0.5 leave none of 4 cells"):
        split_by_cell(["a", "b", "c", "d"], greedy, "er")
