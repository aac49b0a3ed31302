"""Restore whole fields with every arm and score them all alike."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from sim_models.evaluation.baselines import BASELINES
from sim_models.evaluation.consistency import consistency, values
from sim_models.evaluation.metrics import METRICS
from sim_models.field import Field, Image, Role
from sim_models.optics.consistency import Consistency
from sim_models.optics.fourier import block_mean
from sim_models.optics.reconstruct import DEFAULT, ReconstructionSettings
from sim_models.restorer import Restorer
from sim_models.sources.reconstruction import reconstructed, stripes_of
from sim_models.task import Task

COLUMNS = ["structure", "cell", "level", "arm", "metric", "value"]


@dataclass(frozen=True)
class Restored:
    """One field, restored by every arm and baseline, with the image it should have been."""

    field: Field
    target: Image
    """(Y, X), or a volume (T, Z, Y, X)"""
    images: Mapping[str, Image]
    """by the name of an arm or baseline, each of the shape of the target and in the unit of the field"""
    consistency: Mapping[str, Consistency]
    """of those images that can be compared with the raw frames"""


def restore(
    fields: Sequence[Field], arms: Mapping[str, Restorer], settings: ReconstructionSettings = DEFAULT
) -> Iterator[Restored]:
    """Restore each field with every arm, and with every baseline that its metadata allow.

    Where an arm restores raw frames, what is judged is their reconstruction, made with `settings` and the stripes that
    the noisy frames show.
    """
    task = next(iter(arms.values())).recipe.task
    for field in fields:
        target = truth_of(field, task)
        images: dict[str, Image] = {name: _judged(each, field, settings) for name, each in arms.items()}
        for name, baseline in BASELINES.items():
            image = baseline(field, target.shape[-1] // first_frame(field).shape[-1])
            if image is not None:
                images[name] = image
        checked = {name: consistency(image, field) for name, image in images.items()}
        known = {name: found for name, found in checked.items() if found is not None}
        yield Restored(field, target, images, known)


def truth_of(field: Field, task: Task) -> Image:
    """What a restored field is compared with: the target of its task.

    Raw frames are judged by their reconstruction, against the reference. What has learned without a target is judged by
    the field without noise.

    Raises:
        BadInput: if the field has no such image.
    """
    if task.gives == "image":
        return field.image(task.target)  # type: ignore[arg-type] # a task that gives an image names a role
    if task.gives == "frames" or task.input == "reconstruction":
        return field.image("reference")
    if task.input == "volume":
        return field.image("volume_clean")
    return np.asarray(field.image("raw_clean").mean(axis=(0, 1)), np.float32)


def first_frame(field: Field) -> Image:
    """One frame (Y, X) as the camera gave it."""
    roles: tuple[Role, ...] = ("raw", "volume", "blinking")
    image = next(field.images[role] for role in roles if role in field.images)
    frames: Image = image.reshape(-1, *image.shape[-2:])
    return frames[0]


def _judged(restorer: Restorer, field: Field, settings: ReconstructionSettings) -> Image:
    """The image of a field by which a restorer is judged."""
    restored = restorer(field.images)
    if restorer.recipe.task.gives == "frames":
        scale = restorer.recipe.task.scale
        frames = block_mean(torch.as_tensor(restored), scale).numpy()
        return reconstructed(frames, field, stripes_of(field), settings)
    return restored[0] if len(restorer.recipe.method.gives) > 1 else restored


def score(restored: Restored, border_px: int) -> pd.DataFrame:
    """Every metric of every image of a field, and its consistency with the raw frames, in columns `COLUMNS`."""
    field = restored.field
    rows = [
        (field.structure, field.cell, field.level, arm, name, metric(image, restored.target, border_px))
        for arm, image in restored.images.items()
        for name, metric in METRICS.items()
    ]
    rows += [
        (field.structure, field.cell, field.level, arm, name, value)
        for arm, found in restored.consistency.items()
        for name, value in values(found, border_px).items()
    ]
    return pd.DataFrame(rows, columns=COLUMNS)
