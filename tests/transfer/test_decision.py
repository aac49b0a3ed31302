"""Which way is chosen, how sure that is, and how many cells it would take to be sure."""

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from sim_models.evaluation.intervals import Bootstrap
from sim_models.training.loop import DIVERGED_DB
from sim_models.transfer.decision import Contender, Decision, Repeat, cells_needed, decide

BOOTSTRAP = Bootstrap(confidence=0.95, resamples=1000, seed=0)
EVENLY = np.array([-3.0, -1.0, 0.0, 1.0, 3.0, 0.0])
"""how cells differ from each other, whoever restores them"""


def contender(name: str, psnrs: NDArray[np.float64] | Sequence[Sequence[float]], tflop: float) -> Contender:
    """Scores by (seed, field)."""
    repeats = tuple(
        Repeat(seed=seed, steps=10, best_step=10, seconds=1.0, psnrs=tuple(map(float, row)), curve=())
        for seed, row in enumerate(psnrs)
    )
    return Contender(
        name=name,
        cells=5,
        frozen="none",
        learning_rate=1e-3,
        budget=0 if name == "direct" else 10,
        tflop=tflop,
        repeats=repeats,
    )


def steady(name: str, psnr: float, tflop: float, seeds: int = 3) -> Contender:
    """The same with every seed."""
    return contender(name, np.tile(psnr + EVENLY, (seeds, 1)), tflop)


def study(direct: float, finetune: float, scratch: float) -> list[Contender]:
    return [
        steady("scratch", scratch, 9.0),
        steady("direct", direct, 0.0, seeds=1),
        steady("finetune", finetune, 1.0),
    ]


def decided(contenders: Sequence[Contender], margin_db: float = 0.1) -> Decision:
    cells = [f"cell_{index}" for index in range(len(contenders[0].repeats[0].psnrs))]
    return decide(contenders, cells, margin_db, BOOTSTRAP)


@pytest.mark.parametrize(
    ("direct", "finetune", "scratch", "chosen", "best"),
    [
        (20.0, 31.0, 30.0, "finetune", "finetune"),
        (20.0, 30.0, 31.0, "scratch", "scratch"),
        (31.0, 30.0, 29.0, "direct", "direct"),
        (20.0, 30.95, 31.0, "finetune", "scratch"),  # within the margin of the best, and cheaper
        (20.0, 30.85, 31.0, "scratch", "scratch"),  # not within
        (30.95, 31.0, 20.0, "direct", "finetune"),
    ],
)
def test_the_cheapest_within_the_margin_is_chosen(
    direct: float, finetune: float, scratch: float, chosen: str, best: str
) -> None:
    """Cells differ by decibels and it does not matter, for all ways restored the same ones."""
    found = decided(study(direct, finetune, scratch))
    assert (found.chosen, found.best, found.verdict) == (chosen, best, "decided")
    assert (found.cells, found.seeds) == (6, 3)
    assert found.of(best).to_best.mean == 0
    assert found.of("direct").to_best.mean == pytest.approx(direct - max(direct, finetune, scratch))
    assert [each.name for each in found.comparisons] == ["direct", "finetune", "scratch"]
    assert not found.unclear


def test_where_all_are_alike_there_is_no_difference_and_the_cheapest_is_chosen() -> None:
    found = decided(study(30.0, 30.02, 30.04))
    assert (found.verdict, found.chosen) == ("no difference", "direct")
    assert all(each.standing == "not worse" for each in found.comparisons)


def test_without_a_margin_only_the_best_is_good_enough() -> None:
    assert decided(study(29.0, 30.98, 31.0), margin_db=0.0).chosen == "scratch"
    assert decided(study(31.0, 31.0, 31.0), margin_db=0.0).verdict == "no difference"


def test_a_way_alone_is_decided_for() -> None:
    found = decided([steady("none", 30.0, 1.0)])
    assert (found.verdict, found.chosen, found.best) == ("decided", "none", "none")


def test_few_cells_that_disagree_leave_it_open() -> None:
    """Of what is cheaper and may be as good the report can say how many cells would tell."""
    better_on_some = 30 + np.array([0.0, 1.5, -1.9, 0.9])
    found = decided([steady_on(4, "scratch", 30.2, 9.0), contender("direct", [better_on_some], 0.0)])
    assert (found.verdict, found.chosen) == ("inconclusive", "scratch")
    direct = found.of("direct")
    assert direct.standing == "unclear"
    doubt = direct.doubt
    assert doubt is not None
    assert doubt.low is not None
    assert doubt.high is not None
    assert doubt.low < -0.1 < doubt.high
    assert doubt.cells_needed is not None
    assert doubt.cells_needed > 4
    assert doubt.against == "scratch"
    assert [each.name for each in found.unclear] == ["direct", "scratch"]


def steady_on(cells: int, name: str, psnr: float, tflop: float) -> Contender:
    return contender(name, np.full((3, cells), psnr), tflop)


def test_what_is_unclear_but_dearer_than_what_was_chosen_need_not_be_settled() -> None:
    """It may well be no better, or half a decibel worse: either way there is something cheaper."""
    noisy = contender("scratch", np.tile(29.5 + np.array([0.2, 0.3, -0.4, -0.1]), (3, 1)), 9.0)
    found = decided([steady_on(4, "finetune", 29.5, 1.0), noisy, steady_on(4, "direct", 20.0, 0.0)], 0.35)
    assert found.of("scratch").standing == "unclear"
    assert found.of("finetune").standing == "not worse"
    assert (found.verdict, found.chosen) == ("decided", "finetune")


@pytest.mark.parametrize("cells", [1, 2])
def test_with_too_few_cells_nothing_is_sure(cells: int) -> None:
    found = decided([steady_on(cells, "scratch", 31.0, 9.0), steady_on(cells, "direct", 20.0, 0.0)])
    assert (found.verdict, found.chosen, found.cells) == ("inconclusive", "scratch", cells)
    assert found.of("direct").standing == found.of("scratch").standing == "unclear"
    doubt = found.of("direct").doubt
    assert doubt is not None
    assert (doubt.low, doubt.high, doubt.mean) == (None, None, -11)
    assert doubt.cells_needed == (3 if cells == 2 else None), "one cell says nothing of their spread"


def test_with_one_seed_nothing_is_sure() -> None:
    """However far apart they are: how much of it is the luck of a seed, nobody knows."""
    found = decided([steady("scratch", 31.0, 9.0, seeds=1), steady("finetune", 20.0, 1.0, seeds=1)])
    assert (found.verdict, found.seeds) == ("inconclusive", 1)
    assert decided([steady("scratch", 31.0, 9.0), steady("finetune", 20.0, 1.0)]).verdict == "decided"


def test_what_diverged_with_a_seed_is_worse_however_good_the_others_are() -> None:
    broken = contender("finetune", [31 + EVENLY, 31 + EVENLY, np.full(6, DIVERGED_DB)], 1.0)
    assert (broken.diverged, broken.val_psnr, broken.spread) == ((2,), 31, (31, 31))
    found = decided([steady("direct", 20.0, 0.0, seeds=1), broken, steady("scratch", 30.0, 9.0)])
    assert (found.chosen, found.best, found.verdict) == ("scratch", "scratch", "decided")
    assert found.of("finetune").standing == "worse"
    assert found.of("finetune").diverged == (2,)


def truly(random: np.random.Generator, qualities: Sequence[float], cells: int) -> list[Contender]:
    """Ways of these true qualities, the cheapest first, as few cells that differ by 1 dB show them."""
    specimen = 30 + 3 * random.standard_normal(cells)
    return [
        contender(
            f"{number}",
            specimen
            + quality
            + random.standard_normal(cells) / np.sqrt(2)
            + 0.1 * random.standard_normal((3, 1))
            + 0.1 * random.standard_normal((3, cells)),
            float(number),
        )
        for number, quality in enumerate(qualities)
    ]


@pytest.mark.parametrize(
    ("qualities", "right"),
    [
        ((0.3, 0.0), {"0"}),
        ((0.0, 0.3), {"1"}),
        ((0.0, 0.3, 0.3), {"1"}),
        ((-1.0, 0.0, 0.0), {"1"}),
        ((0.0, 0.0, 0.0, 0.0), {"0"}),
        ((-0.5, -0.2, 0.0), {"2"}),
    ],
)
def test_a_winner_by_noise_is_not_decided_for(qualities: tuple[float, ...], right: set[str]) -> None:
    """Six cells that differ by 1 dB hardly tell tenths of decibels; whoever says more is wrong more than he may be.

    A decision is wrong where something is more than the margin better, or something cheaper is as good.
    """
    random = np.random.default_rng(11)
    bootstrap = BOOTSTRAP.model_copy(update={"resamples": 400})
    cells = [f"cell_{index}" for index in range(6)]
    found = [decide(truly(random, qualities, 6), cells, 0.1, bootstrap) for _ in range(200)]
    wrong = [each for each in found if each.verdict != "inconclusive" and each.chosen not in right]
    assert len(wrong) <= 0.06 * len(found)


def test_with_enough_cells_the_true_winner_is_decided_for() -> None:
    random = np.random.default_rng(12)
    cells = [f"cell_{index:03d}" for index in range(300)]
    bootstrap = BOOTSTRAP.model_copy(update={"resamples": 200})
    found = [decide(truly(random, (-1.0, 0.6, 0.0), 300), cells, 0.1, bootstrap) for _ in range(20)]
    assert sum(each.verdict == "decided" and each.chosen == "1" for each in found) >= 18


def test_cells_count_not_fields() -> None:
    """Two light levels of a cell are one piece of evidence."""
    psnrs = [[30.0, 20.0, 31.0, 21.0, 29.0, 19.0]]
    by_cell = contender("a", psnrs, 0.0).by_cell(["x", "x", "y", "y", "z", "z"])
    assert by_cell.tolist() == [[25.0, 26.0, 24.0]]
    found = decide([contender("a", psnrs, 0.0)], ["x", "x", "y", "y", "z", "z"], 0.1, BOOTSTRAP)
    assert found.cells == 3


def test_a_contender_speaks_for_its_seeds() -> None:
    each = contender("a", [[30.0, 31.0], [32.0, 35.0]], 1.0)
    assert each.val_psnr == 32
    assert each.spread == (30.5, 33.5)
    assert (each.steps, each.seconds) == (10, 1)


def draw(random: np.random.Generator, cells: int, own_db: float, over_seeds: float) -> list[Contender]:
    """A cheap way whose difference to the dear one scatters over cells by 1 dB."""
    quality = 30 + 3 * random.standard_normal(cells)
    dear = quality + over_seeds * random.standard_normal((3, 1)) + np.zeros((3, cells))
    cheap = quality + own_db + random.standard_normal(cells) + over_seeds * random.standard_normal((3, 1))
    return [contender("cheap", cheap, 0.0), contender("dear", dear, 9.0)]


def test_with_the_cells_that_are_needed_most_studies_settle() -> None:
    random = np.random.default_rng(2)
    spread, difference = 1.0, -0.6
    needed = cells_needed(difference + 0.1, spread, 0.0, 0.95, 4)
    assert needed is not None
    assert 25 < needed < 40  # ((1.96 + 0.84) * 1 / 0.5)^2
    verdicts = [decided(draw(random, needed, difference, 0.0)).verdict for _ in range(60)]
    assert 0.65 <= np.mean([verdict != "inconclusive" for verdict in verdicts]) <= 0.95
    fewer = [decided(draw(random, needed // 3, difference, 0.0)).verdict for _ in range(60)]
    assert np.mean([verdict == "inconclusive" for verdict in fewer]) > 0.4


def test_seeds_that_disagree_take_more_cells_or_more_than_there_can_be() -> None:
    alike = cells_needed(-0.5, 1.0, 0.0, 0.95, 4)
    apart = cells_needed(-0.5, 1.0, 0.15, 0.95, 4)
    assert alike is not None
    assert apart is not None
    assert apart > 2 * alike
    assert cells_needed(-0.5, 1.0, 0.2, 0.95, 4) is None
    seeds = [contender("cheap", [[29.0] * 5, [30.0] * 5], 0.0), contender("dear", [[30.0] * 5] * 2, 9.0)]
    doubt = decided(seeds).of("cheap").doubt
    assert doubt is not None
    assert doubt.cells_needed is None


@pytest.mark.parametrize(("distance", "spread"), [(0.0, 1.0), (0.5, float("nan"))])
def test_where_no_number_of_cells_would_settle_it_none_is_given(distance: float, spread: float) -> None:
    assert cells_needed(distance, spread, 0.0, 0.95, 4) is None


def test_at_least_one_more_cell_is_needed_than_there_are() -> None:
    assert cells_needed(5.0, 0.1, 0.0, 0.95, 7) == 8
