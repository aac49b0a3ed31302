"""What the report says of a transfer, in plain sentences with numbers."""

import re

import pandas as pd

from sim_models.evaluation.intervals import Bootstrap, Estimate
from sim_models.evaluation.report import COLUMNS, MAIN, NOUNS, difference, in_words, interval, number
from sim_models.transfer.search import best
from sim_models.transfer.study import Arm, ArmName, StudyRecord

STRUCTURES = {"ccps": "clathrin-coated pits", "er": "endoplasmic reticulum", "f_actin": "F-actin"}
"""short keys that a reader may not know"""


def plain(structure: str) -> str:
    """A structure of `params.yaml` as people say it."""
    return STRUCTURES.get(structure, structure.replace("_", " "))


def plainly(text: str) -> str:
    """Names of arms and metrics as people say them, with true minus signs, beginning with a capital."""
    for arm, words in NOUNS.items():
        text = re.sub(rf"\b{arm}\b", words, text)
    for column in COLUMNS:
        text = text.replace(column.metric, column.name)
    text = re.sub(r"(?<![\w.])-(?=\d)", "−", text)
    return text[:1].upper() + text[1:]


def on_test(reached: Estimate, chosen: ArmName, scores: pd.DataFrame, bootstrap: Bootstrap) -> str:
    """What the chosen arm came to on the sealed test cells, and how it compares to the other arms."""
    compared = [
        in_words(difference(scores, chosen, other, MAIN, bootstrap), noun)
        for other, noun in NOUNS.items()
        if other != chosen
    ]
    psnr = f"{number(reached.mean, 2)} dB {interval(reached, 2)}".strip()
    cells = f"{reached.cells} sealed test cell{'s' if reached.cells > 1 else ''}"
    return f"On the {cells} it comes to a PSNR of {psnr}: {'; '.join(compared)}."


def cost(study: StudyRecord) -> str:
    """Steps and seconds of each arm."""
    finetune, scratch = _arm(study, "finetune"), _arm(study, "scratch")
    steps = sum(trial.steps for trial in study.trials)
    seconds = sum(trial.seconds for trial in study.trials)
    return (
        f"Fine-tuning took {finetune.steps} steps ({finetune.seconds:.0f} s) after a search of {len(study.trials)} "
        f"short trials ({steps} steps, {seconds:.0f} s); training from scratch {scratch.steps} steps "
        f"({scratch.seconds:.0f} s); direct use none."
    )


def caveats(study: StudyRecord) -> list[str]:
    """What keeps the comparison of arms from being fair or final."""
    direct, scratch = _arm(study, "direct"), _arm(study, "scratch")
    if scratch.val_psnr < direct.val_psnr:
        return [
            f"After {scratch.steps} steps training from scratch is still below direct use, so it has hardly learned; "
            "what fine-tuning gains over it says little."
        ]
    if scratch.best_step == scratch.steps:
        return ["Training from scratch was best at its very last step; with more steps it may come closer."]
    return []


def trials(study: StudyRecord, margin_db: float) -> str:
    """How much it means that one trial of the freeze study came out on top."""
    ended = [trial for trial in study.trials if not trial.pruned]
    top = best(ended).val_psnr
    near = sum(trial.val_psnr >= top - margin_db for trial in ended)
    if len(ended) == 1:
        return "Only one of them ran to its end."
    if near == 1:
        return f"The best is more than {margin_db:g} dB above every other trial that ran to its end."
    return (
        f"{near} of the {len(ended)} trials that ran to their end lie within {margin_db:g} dB of the best: "
        "which of them is on top may be chance."
    )


def _arm(study: StudyRecord, name: ArmName) -> Arm:
    return next(arm for arm in study.arms if arm.name == name)
