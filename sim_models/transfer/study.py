"""A transfer study: use a model as it is, fine-tune it, or train from scratch?"""

from collections.abc import Sequence
from typing import Literal

from pydantic import NonNegativeFloat, NonNegativeInt

from sim_models.config import Settings
from sim_models.restorer import Restorer
from sim_models.samples import Samples, Share
from sim_models.sources.prepared import Prepared
from sim_models.training.loop import TrainingSettings, mean_psnr
from sim_models.transfer.search import SearchSettings, TrialRecord

ArmName = Literal["direct", "finetune", "scratch"]


class StudySettings(Settings):
    """How the arms of a study are trained and compared."""

    scratch: TrainingSettings
    finetune: TrainingSettings
    """its learning rate is replaced by the one the search finds"""
    search: SearchSettings
    margin_db: NonNegativeFloat
    """the cheapest arm that is at most this much below the best on the validation cells is chosen"""


class Arm(Settings):
    """One way to get a model of the target, and what it came to on the validation cells."""

    name: ArmName
    val_psnr: float
    """dB, mean over whole validation fields, nothing scaled"""
    steps: NonNegativeInt
    """optimiser steps of this arm's training; the search is counted in its trials"""
    best_step: NonNegativeInt
    seconds: float
    """spent in those steps"""
    frozen: str
    learning_rate: float | None


class StudyRecord(Settings):
    """What a study found. The test cells have had no part in it."""

    source: str
    structure: str
    arms: tuple[Arm, ...]
    trials: tuple[TrialRecord, ...]
    stages: tuple[str, ...]
    chosen: ArmName
    why: str


def direct_arm(source: Restorer, prepared: Prepared) -> Arm:
    """The source model as it is."""
    validation = Samples(prepared.fields("val"), source.recipe.task, source.normaliser)
    psnr = mean_psnr(source.network, source.recipe.method, validation, Share())
    return Arm(
        name="direct", val_psnr=psnr, steps=0, best_step=0, seconds=0.0, frozen="all", learning_rate=None
    )


def choose(arms: Sequence[Arm], margin_db: float) -> tuple[ArmName, str]:
    """The arm to use and the reason, as a sentence."""
    best = max(arms, key=lambda arm: arm.val_psnr)
    near = [arm for arm in arms if arm.val_psnr >= best.val_psnr - margin_db]
    cheapest = min(near, key=lambda arm: arm.steps)
    if cheapest is best:
        others = ", ".join(
            f"{arm.name} {arm.val_psnr - best.val_psnr:+.2f} dB" for arm in arms if arm is not best
        )
        return best.name, f"{best.name} is best on the validation cells at {best.val_psnr:.2f} dB ({others})"
    return cheapest.name, (
        f"{cheapest.name} is within {margin_db:g} dB of {best.name} on the validation cells "
        f"({cheapest.val_psnr:.2f} against {best.val_psnr:.2f} dB) and took {cheapest.steps} "
        f"steps instead of {best.steps}"
    )
