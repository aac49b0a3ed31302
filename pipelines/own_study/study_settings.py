"""The settings of `sim-models transfer`: a file of defaults, what a person changes in it, and what the data allow."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.shared.params import Evaluation
from sim_models.config import BadInput, Settings, parse, read_yaml
from sim_models.evaluation.gate import GateSettings
from sim_models.optics.reconstruct import ReconstructionSettings
from sim_models.sources.split import SplitSettings
from sim_models.training.loop import TrainingSettings
from sim_models.transfer.search import SearchSettings
from sim_models.transfer.study import StudySettings

DEFAULTS = Path(__file__).with_name("transfer_defaults.yaml")

SHARE = 10
"""a fine-tune takes one step of so many from scratch, where nothing else is asked for"""


class TransferSettings(Settings):
    """All that decides what a study of a person's own stacks comes to."""

    split: SplitSettings
    reconstruction: ReconstructionSettings
    evaluation: Evaluation
    gate: GateSettings
    """of a model that is to be champion; no part of what a study comes to"""
    study: StudySettings


@dataclass(frozen=True)
class Changes:
    """What a person asks for on the command line; None leaves what the file says."""

    steps: int | None = None
    finetune_steps: int | None = None
    trials: int | None = None
    seeds: int | None = None
    """how many"""
    cells: tuple[int, ...] | None = None
    margin_db: float | None = None

    def refuse_nonsense(self) -> None:
        """Refuse numbers that cannot be.

        Raises:
            BadInput: with the option and what it takes.
        """
        for option in ("steps", "finetune_steps", "trials", "seeds"):
            value = getattr(self, option)
            if value is not None and value < 1:
                raise BadInput(f"--{option.replace('_', '-')} is {value}; give a whole number of at least 1")
        if self.cells is not None and min(self.cells, default=1) < 1:
            raise BadInput(
                f"--cells has {min(self.cells)}; give whole numbers of at least 1, as in --cells 1,2,5"
            )
        if self.margin_db is not None and not 0 <= self.margin_db < math.inf:
            raise BadInput(
                f"--margin-db is {self.margin_db}; give the PSNR in dB that a saving may cost, 0 or more"
            )


def cells_of(text: str | None) -> tuple[int, ...] | None:
    """Numbers as a person writes them, `1,2,5`.

    Raises:
        BadInput: if they are none.
    """
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not all(part.isdecimal() for part in parts):
        raise BadInput(f"--cells is '{text}'; give whole numbers of cells with commas between, as in 1,2,5")
    return tuple(int(part) for part in parts)


def read_settings(path: Path | None, changes: Changes) -> TransferSettings:
    """The settings of a file, or the defaults, with changes laid over them.

    Raises:
        BadInput: if the file cannot be read, or a value makes no sense.
    """
    changes.refuse_nonsense()
    where = path or DEFAULTS
    if path is not None and not path.is_file():
        raise BadInput(f"{path}: not found; --settings takes a YAML file with the keys of {DEFAULTS}")
    settings = parse(TransferSettings, read_yaml(where), str(where))
    return settings.model_copy(update={"study": _changed(settings.study, changes)})


def _changed(study: StudySettings, changes: Changes) -> StudySettings:
    scratch, finetune = study.scratch, study.finetune
    steps = changes.steps or scratch.steps
    shorter = max(1, steps // SHARE) if changes.steps else finetune.steps
    update: dict[str, Any] = {
        "scratch": _with_steps(scratch, steps),
        "finetune": _with_steps(finetune, changes.finetune_steps or shorter),
    }
    update["search"] = _search(study.search, finetune, update["finetune"], changes.trials)
    if changes.seeds is not None:
        update["seeds"] = tuple(range(1, changes.seeds + 1))
    if changes.cells is not None:
        update["cells"] = tuple(sorted(set(changes.cells)))
    if changes.margin_db is not None:
        update["margin_db"] = changes.margin_db
    # As a whole once more: a copy is not checked.
    return StudySettings.model_validate(study.model_copy(update=update).model_dump())


def _with_steps(training: TrainingSettings, steps: int) -> TrainingSettings:
    """As many looks at the validation cells as before, and as large a share of warm-up."""
    share = steps / training.steps
    every, warmup = max(1, round(share * training.validate_every)), round(share * training.warmup_steps)
    return training.model_copy(update={"steps": steps, "validate_every": every, "warmup_steps": warmup})


def _search(
    search: SearchSettings, before: TrainingSettings, now: TrainingSettings, trials: int | None
) -> SearchSettings:
    """Rungs at the same looks as before; trials are compared by their looks."""
    looks = sorted({max(1, round(rung / before.validate_every)) for rung in search.rungs})
    rungs = [look * now.validate_every for look in looks]
    return search.model_copy(update={"rungs": tuple(rungs), "trials": trials or search.trials})


def fitted(
    study: StudySettings, edge_px: int, divisors: Sequence[int], training_cells: int
) -> tuple[StudySettings, list[str]]:
    """The settings as far as fields, networks and the number of training cells allow, and what was changed, in words.

    Args:
        study: as asked for.
        edge_px: shortest edge of the raw frames.
        divisors: of the networks; a crop is a multiple of each.
        training_cells: cells there are to learn from.

    Raises:
        BadInput: if no crop fits.
    """
    notes, update = [], {}
    divisor = math.lcm(*divisors)
    for name in ("scratch", "finetune"):
        training: TrainingSettings = getattr(study, name)
        crop_px = min(training.crop_px, edge_px) // divisor * divisor
        if crop_px == 0:
            raise BadInput(
                f"frames of {edge_px} pixels are too small for crops of a multiple of {divisor}, as the network needs"
            )
        if crop_px != training.crop_px:
            notes.append(
                f"study.{name}.crop_px is {crop_px} instead of {training.crop_px}: so the fields allow"
            )
        update[name] = training.model_copy(update={"crop_px": crop_px})
    few = tuple(size for size in study.cells if size < training_cells)
    if dropped := [str(size) for size in study.cells if size > training_cells]:
        notes.append(
            f"learning curves with {', '.join(dropped)} cells are left out: there are {training_cells} to learn from"
        )
    return study.model_copy(update={**update, "cells": few}), notes
