"""Which arm is chosen, and why."""

from pathlib import Path

import pytest

from sim_models.restorer import Restorer
from sim_models.samples import Samples, Share
from sim_models.sources.prepared import Prepared
from sim_models.training.loop import mean_psnr
from sim_models.transfer.study import Arm, ArmName, choose, direct_arm


def arm(name: ArmName, val_psnr: float, steps: int) -> Arm:
    return Arm(
        name=name,
        val_psnr=val_psnr,
        steps=steps,
        best_step=steps,
        seconds=0.0,
        frozen="none",
        learning_rate=None,
    )


def arms(direct: float, finetune: float, scratch: float) -> list[Arm]:
    return [arm("direct", direct, 0), arm("finetune", finetune, 200), arm("scratch", scratch, 600)]


@pytest.mark.parametrize(
    ("direct", "finetune", "scratch", "chosen"),
    [
        (20.0, 31.0, 30.0, "finetune"),
        (20.0, 30.0, 31.0, "scratch"),
        (31.0, 30.0, 29.0, "direct"),
        (20.0, 30.96, 31.0, "finetune"),  # within the margin of the best, and cheaper
        (30.96, 30.97, 31.0, "direct"),
        (20.0, 30.94, 31.0, "scratch"),  # not within
        (30.96, 31.0, 20.0, "direct"),
    ],
)
def test_the_cheapest_within_the_margin_is_chosen(
    direct: float, finetune: float, scratch: float, chosen: str
) -> None:
    assert choose(arms(direct, finetune, scratch), 0.05)[0] == chosen


def test_without_a_margin_the_best_is_chosen() -> None:
    assert choose(arms(30.0, 30.98, 31.0), 0.0)[0] == "scratch"


def test_the_reason_is_a_sentence_with_the_numbers() -> None:
    assert choose(arms(20.0, 31.0, 30.0), 0.05)[1] == (
        "finetune is best on the validation cells at 31.00 dB (direct -11.00 dB, scratch -1.00 dB)"
    )
    assert choose(arms(20.0, 30.96, 31.0), 0.05)[1] == (
        "finetune is within 0.05 dB of scratch on the validation cells (30.96 against 31.00 dB) "
        "and took 200 steps instead of 600"
    )


def test_the_direct_arm_is_the_source_on_the_validation_cells(
    restorer: Restorer, prepared_folder: Path
) -> None:
    prepared = Prepared.open(prepared_folder)
    direct = direct_arm(restorer, prepared)
    validation = Samples(prepared.fields("val"), restorer.recipe.task, restorer.normaliser)
    assert direct.val_psnr == mean_psnr(restorer.network, restorer.recipe.method, validation, Share())
    assert (direct.steps, direct.frozen) == (0, "all")
