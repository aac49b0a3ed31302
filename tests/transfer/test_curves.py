"""What is read from learning curves: how many cells are enough, and how soon a quality is reached."""

from collections.abc import Sequence

import pytest

from sim_models.evaluation.intervals import Bootstrap
from sim_models.transfer.curves import Enough, enough, time_to_quality
from sim_models.transfer.decision import Contender, Repeat

BOOTSTRAP = Bootstrap(confidence=0.95, resamples=500, seed=0)
CELLS = tuple("abcdef")


def contender(name: str, cells: int, psnr: float, scatter: float = 0.0) -> Contender:
    """Two seeds that score alike but for `scatter`, which every other cell gets and the others lack."""
    psnrs = tuple(psnr + scatter * (-1) ** index for index in range(len(CELLS)))
    repeats = tuple(
        Repeat(seed=seed, steps=10, best_step=10, seconds=1.0, psnrs=psnrs, curve=()) for seed in (1, 2)
    )
    return Contender(
        name=name, cells=cells, frozen="none", learning_rate=1e-3, budget=10, tflop=1.0, repeats=repeats
    )


def line(name: str, psnrs: Sequence[float], scatter: Sequence[float] = (0.0, 0.0, 0.0)) -> list[Contender]:
    """A learning curve with 1, 2 and 5 cells."""
    return [contender(name, *each) for each in zip((1, 2, 5), psnrs, scatter, strict=True)]


@pytest.mark.parametrize(
    ("finetune", "scratch", "expected"),
    [
        ((30.0, 30.0, 30.0), (30.0, 30.0, 30.0), (1, 1, 1)),
        ((28.0, 29.95, 30.0), (25.0, 27.0, 29.0), (2, 2, None)),
        ((28.0, 29.0, 30.0), (25.0, 29.0, 31.0), (None, None, 2)),
        ((28.0, 29.0, 30.0), (20.0, 22.0, 28.05), (None, 1, None)),
        ((30.5, 29.0, 30.0), (20.0, 22.0, 24.0), (1, 1, None)),  # fewer cells may happen to be better
    ],
)
def test_the_fewest_cells_within_the_margin_are_enough(
    finetune: tuple[float, ...], scratch: tuple[float, ...], expected: tuple[int | None, ...]
) -> None:
    found = enough(line("finetune", finetune), line("scratch", scratch), CELLS, 0.1, BOOTSTRAP)
    assert (found.of_itself, found.matches_scratch, found.scratch_catches_up) == expected


def test_what_is_as_good_only_on_average_is_not_surely_enough() -> None:
    finetune = line("finetune", (30.0, 30.0, 30.0), scatter=(2.0, 0.0, 0.0))
    found = enough(finetune, line("scratch", (20.0, 20.0, 20.0)), CELLS, 0.1, BOOTSTRAP)
    assert found.of_itself == 2


def test_with_two_validation_cells_nothing_is_surely_enough() -> None:
    def two(each: Contender) -> Contender:
        repeats = tuple(repeat.model_copy(update={"psnrs": repeat.psnrs[:2]}) for repeat in each.repeats)
        return each.model_copy(update={"repeats": repeats})

    same = [two(each) for each in line("finetune", (30.0, 30.0, 30.0))]
    scratch = [two(each) for each in line("scratch", (20.0, 20.0, 20.0))]
    found = enough(same, scratch, CELLS[:2], 0.1, BOOTSTRAP)
    assert found == Enough(arm="finetune", of_itself=None, matches_scratch=None, scratch_catches_up=None)


def with_curves(name: str, *curves: Sequence[float]) -> Contender:
    """A seed for each curve, with a look every 10 steps of a tenth of a second."""
    repeats = []
    for seed, psnrs in enumerate(curves):
        best = max(range(len(psnrs)), key=psnrs.__getitem__)
        looks = tuple((10 * look, psnr, float(look)) for look, psnr in enumerate(psnrs, 1))
        repeats.append(
            Repeat(
                seed=seed,
                steps=10 * len(psnrs),
                best_step=10 * (best + 1),
                seconds=float(len(psnrs)),
                psnrs=(max(psnrs),),
                curve=looks,
            )
        )
    return contender(name, 5, 0.0).model_copy(update={"repeats": tuple(repeats)})


SCRATCH = with_curves("scratch", (20, 25, 31, 30), (20, 25, 29, 28))
"""comes to 30 dB, on the mean of its seeds, at step 30"""


def test_the_first_look_counts_at_which_the_quality_is_reached() -> None:
    found = time_to_quality([with_curves("finetune", (29, 30, 29, 32), (30, 20), (29, 29, 30))], SCRATCH)
    assert (found.quality_db, found.scratch_steps, found.scratch_seconds) == (30, 30, 3)
    assert (found.reached, found.seeds) == (3, 3)
    assert (found.steps, found.seconds) == (20, 2)
    assert found.share == pytest.approx(2 / 3)


def test_a_quality_that_no_seed_reaches_takes_no_time_at_all() -> None:
    found = time_to_quality([with_curves("finetune", (29, 29.9), (20, 21))], SCRATCH)
    assert (found.reached, found.seeds, found.steps, found.seconds, found.share) == (0, 2, None, None, None)


def test_seeds_that_never_got_there_count_as_later_than_all_others() -> None:
    early, late, never = (30, 31), (20, 20, 20, 30), (20, 21)
    two_of_three = time_to_quality([with_curves("finetune", early, late, never)], SCRATCH)
    assert (two_of_three.reached, two_of_three.steps, two_of_three.seconds) == (2, 40, 4)
    half = time_to_quality([with_curves("finetune", early, never)], SCRATCH)
    assert (half.reached, half.steps) == (1, None)
    fewer = time_to_quality([with_curves("finetune", early, never, never)], SCRATCH)
    assert (fewer.reached, fewer.steps) == (1, None)
