"""A training job: everything a worker needs to know, as one JSON document."""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from sim_models.config import BadInput, Settings
from sim_models.field import Field, Image
from sim_models.freeze import FreezeRange, fingerprint, freeze
from sim_models.networks import Network
from sim_models.normalise import Normaliser
from sim_models.recipe import Recipe
from sim_models.restorer import Card, Restorer
from sim_models.samples import Samples
from sim_models.sources.prepared import SOME, Prepared
from sim_models.sources.split import Part
from sim_models.task import Task
from sim_models.training.loop import State, TrainingSettings


class Job(Settings):
    """One training: from what, on what, with which stages frozen.

    Paths are as the workers see them.
    """

    recipe: Recipe
    training: TrainingSettings
    dataset: str
    """folder of prepared fields with their split"""
    source: str | None
    """folder of the restorer to start from; None starts from random weights"""
    frozen: FreezeRange
    cells: tuple[str, ...] | None = None
    """training cells to learn from; None takes all of the split"""


@dataclass(frozen=True)
class LaidOut:
    """A job laid out on one machine, ready for the loop."""

    job: Job
    network: Network
    normaliser: Normaliser
    samples: Samples
    validation: Samples
    card: Card
    untouched: str
    """fingerprint of the frozen stages before training"""
    channels: tuple[int, int]
    """of the network"""
    derived: Prepared | None
    """where `synthetic` frames come from"""

    def start(self) -> State:
        """The state before the first step."""
        return State(weights={name: tensor.clone() for name, tensor in self.network.state_dict().items()})

    def verify_frozen(self, weights: dict[str, Tensor]) -> None:
        """Frozen means frozen: weights and statistics of those stages are bit for bit as before."""
        self.network.load_state_dict(weights)
        now = fingerprint(self.network, self.job.frozen)
        if now != self.untouched:
            raise RuntimeError(f"frozen stages {self.job.frozen.label(self.network)} changed while training")

    def restorer(self, state: State) -> Restorer:
        """The restorer with the weights that were best on the validation cells."""
        if not state.best_weights:
            raise BadInput(
                f"training diverged within {state.step} steps: no look at the validation cells gave a finite score; "
                "lower training.learning_rate or training.clip_norm"
            )
        self.verify_frozen(state.best_weights)
        card = self.card.model_copy(update={"steps": state.best_step})
        own = self.job.recipe, self.network, self.normaliser, card, self.channels
        if self.derived is None or self.derived.upstream is None:
            return Restorer(*own)
        return Restorer(*own, Restorer.load(self.derived.upstream), self.derived.full_modulation)


def lay_out(job: Job) -> LaidOut:
    """Read the data, build the network and freeze its stages.

    Raises:
        BadInput: if fields, crop, recipe and source do not fit each other.
    """
    prepared = Prepared.open(Path(job.dataset))
    fields = _of_cells(job, prepared, fields_of(prepared, "train", job.recipe.task))
    validation_fields = fields_of(prepared, "val", job.recipe.task)
    source = Restorer.load(Path(job.source)) if job.source else None
    # A network expects the numbers it was trained on, so a source keeps its normaliser.
    normaliser = (
        source.normaliser
        if source
        else Normaliser.fit(job.recipe.normaliser, *_inputs_and_targets(job, fields))
    )
    samples = Samples(fields, job.recipe.task, normaliser, memory_bytes())
    validation = Samples(validation_fields, job.recipe.task, normaliser, memory_bytes())
    samples.refuse_crop(job.training.crop_px)
    torch.manual_seed(job.training.seed)
    channels = job.recipe.method.channels(*samples.channels)
    network = job.recipe.network.build(*channels, job.recipe.task.scale)
    if job.training.crop_px % network.divisor:
        raise BadInput(
            f"training.crop_px is {job.training.crop_px} but the network '{job.recipe.network.name}' halves its input "
            f"until only multiples of {network.divisor} fit; choose {_nearest(job.training.crop_px, network.divisor)}"
        )
    if source:
        _take_weights(network, source, job)
    freeze(network, job.frozen)
    return LaidOut(
        job,
        network,
        normaliser,
        samples,
        validation,
        _card(job, prepared, fields, network, source),
        fingerprint(network, job.frozen),
        channels,
        prepared if "synthetic" in job.recipe.task.roles else None,
    )


def memory_bytes() -> float:
    """What a worker holds of one part of its data: `SIM_MODELS_MEMORY_GB` (4), of its node rather than of the job.

    Up to so much of the fields as they were prepared, and of the samples made of them. What does not fit is read from
    disk when it is needed, which takes longer and changes nothing else.

    Raises:
        BadInput: if it is no positive number.
    """
    text = os.environ.get("SIM_MODELS_MEMORY_GB", "4")
    try:
        gigabytes = float(text)
    except ValueError:
        gigabytes = math.nan
    if not gigabytes > 0:
        raise BadInput(f"environment variable SIM_MODELS_MEMORY_GB is {text!r}; give a positive number")
    return gigabytes * 1e9


def fields_of(prepared: Prepared, part: Part, task: Task) -> tuple[Field, ...]:
    """The fields of one part that a task learns from: those with its target, at its light levels.

    A brightest level from which the clean frames of the others were made has none itself.
    """
    return _fields_of(prepared, part, task.light, task.target)


@lru_cache(maxsize=4)
def _fields_of(prepared: Prepared, part: Part, light: str, target: str) -> tuple[Field, ...]:
    """A worker takes up dozens of trials on the same data; files are read for the first, as far as memory goes."""
    fields = tuple(prepared.fields(part, memory_bytes()))
    fields = tuple(field for field in fields if target not in SOME or target in field.images) or fields
    if light == "all":
        return fields
    levels = prepared.light(fields)
    level = (max if light == "brightest" else min)(levels, key=levels.__getitem__)
    return tuple(field for field in fields if field.level == level)


def _of_cells(job: Job, prepared: Prepared, fields: tuple[Field, ...]) -> tuple[Field, ...]:
    if job.cells is None:
        return fields
    known = prepared.split.train
    if strangers := [cell for cell in job.cells if cell not in known]:
        raise BadInput(
            f"{job.dataset}: '{strangers[0]}' is no training cell of its split; there are {', '.join(sorted(known))}"
        )
    return tuple(field for field in fields if field.cell in job.cells)


def _inputs_and_targets(job: Job, fields: Sequence[Field]) -> tuple[list[Image], list[Image]]:
    task = job.recipe.task
    if job.recipe.normaliser.scope == "stack":
        return [], []  # each stack will be looked at by itself, and not all at once
    for field in fields:
        for role in task.missing(field.images):
            field.image(role)  # which refuses
    return [task.inputs_of(field.images) for field in fields], [
        task.targets_of(field.images) for field in fields
    ]


def _nearest(crop_px: int, divisor: int) -> int:
    return max(1, round(crop_px / divisor)) * divisor


def _take_weights(network: Network, source: Restorer, job: Job) -> None:
    try:
        network.load_state_dict(source.network.state_dict())
    except RuntimeError:
        raise BadInput(
            f"{job.source}: a '{source.recipe.network.name}' for {source.channels[0]} frames cannot start this job's "
            f"'{job.recipe.network.name}'; a fine-tune needs the network and the frame layout of its source"
        ) from None


def _card(
    job: Job, prepared: Prepared, fields: Sequence[Field], network: Network, source: Restorer | None
) -> Card:
    raw = fields[0].images.get("raw")
    angles, phases = (1, 1) if raw is None else raw.shape[:2]
    return Card(
        structure=prepared.structure,
        arm="finetune" if source else "scratch",
        angles=angles,
        phases=phases,
        pixel_um=fields[0].microscope.pixel_um,
        unit=fields[0].unit,
        light=prepared.light(fields),
        training_cells=tuple(sorted({field.cell for field in fields})),
        split_hash=prepared.split.hash,
        steps=0,
        parent=source.weights_sha256 if source else None,
        frozen_stages=tuple(job.frozen.names(network)),
    )
