"""Restore whole fields with every arm and score them all alike."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from sim_models.evaluation.baselines import BASELINES
from sim_models.evaluation.consistency import FLAGGED, consistency, values
from sim_models.evaluation.metrics import METRICS, inside
from sim_models.evaluation.resolution import SMALLEST_PX, decorrelation_resolution_um
from sim_models.evaluation.squirrel import rounded_up, squirrel, whole_scale
from sim_models.field import Field, Image, Role
from sim_models.optics.consistency import Consistency
from sim_models.optics.reconstruct import DEFAULT, ReconstructionSettings
from sim_models.restorer import Restorer
from sim_models.sources.prepared import SOME
from sim_models.sources.reconstruction import reconstructed, stripes_of
from sim_models.task import Task

COLUMNS = ["structure", "cell", "level", "arm", "metric", "value"]

DECORRELATION = "decorrelation_um"
"""resolution by decorrelation analysis of the image alone: see `evaluation.resolution`"""

RSP, RSE = "rsp_widefield", "rse_widefield"
"""correlation with the field's wide-field and root mean square difference from it, after the best gain, offset and
Gaussian: see `evaluation.squirrel`"""

ON_CAMERA_PIXELS: tuple[Role, ...] = ("raw", "widefield", "raw_clean", "blinking", "volume")
"""roles whose pixels are those of the camera, that the microscope's `pixel_um` is of"""


@dataclass(frozen=True)
class Reading:
    """How to read a number that needs no target."""

    unit: Literal["1", "um", "%", "of the field"]
    higher_is_better: bool


WITHOUT_TARGET: dict[str, Reading] = {
    DECORRELATION: Reading("um", higher_is_better=False),
    RSP: Reading("1", higher_is_better=True),
    RSE: Reading("of the field", higher_is_better=False),
    FLAGGED: Reading("%", higher_is_better=False),
}
"""None of them is a metric of the gate: a fine image without a contradiction may still show another cell"""


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
    the noisy frames show. Where some fields have no clean frames to be judged by, the others are judged.
    """
    task = next(iter(arms.values())).recipe.task
    role = task.truth
    judged = [field for field in fields if role not in SOME or role in field.images]
    for field in judged or fields:
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
    role = task.truth
    image = field.image(role)
    return np.asarray(image.mean(axis=(0, 1)), np.float32) if role == "raw_clean" else image


def first_frame(field: Field) -> Image:
    """One frame (Y, X) as the camera gave it."""
    roles: tuple[Role, ...] = ("raw", "volume", "blinking")
    image = next(field.images[role] for role in roles if role in field.images)
    first: Image = image[(0,) * (image.ndim - 2)]
    return first


def _judged(restorer: Restorer, field: Field, settings: ReconstructionSettings) -> Image:
    """The image of a field by which a restorer is judged."""
    restored = restorer(field.images)
    if restorer.recipe.task.gives == "frames":
        return reconstructed(restored, field, stripes_of(field), settings)
    return restored[0] if len(restorer.recipe.method.gives) > 1 else restored


def score(restored: Restored, border_px: int) -> pd.DataFrame:
    """Every metric of every image of a field, and what is told without a target, in columns `COLUMNS`.

    Without a target, of single planes (Y, X): their consistency with the raw frames; `decorrelation_um`, their
    resolution by decorrelation analysis, where a frequency stands out; `rsp_widefield` and `rse_widefield`,
    their correlation with the role `widefield` and root mean square difference from it (in the unit of the field) after
    the best gain, offset and Gaussian, where a pixel of it is a whole block of theirs. As that role is the mean of
    noisy frames, RSE contains their noise; and the baseline `widefield` agrees with itself. `border_px` pixels
    along every edge are left out of all of them.
    """
    field = restored.field
    rows = [
        (field.structure, field.cell, field.level, arm, name, metric(image, restored.target, border_px))
        for arm, image in restored.images.items()
        for name, metric in METRICS.items()
    ]
    rows += [
        (field.structure, field.cell, field.level, arm, name, value)
        for arm, image in restored.images.items()
        for name, value in _without_target(image, field, border_px).items()
    ]
    rows += [
        (field.structure, field.cell, field.level, arm, name, value)
        for arm, found in restored.consistency.items()
        for name, value in values(found, border_px).items()
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def higher_is_better(metric: str) -> bool:
    """Which way is up for a name in the column `metric`."""
    return (METRICS.get(metric) or WITHOUT_TARGET[metric]).higher_is_better


def _without_target(image: Image, field: Field, border_px: int) -> dict[str, float]:
    """Resolution and agreement with the wide-field, as far as image and field allow."""
    if image.ndim != 2:
        return {}
    return {**_resolution(image, field, border_px), **_agreement(image, field, border_px)}


def _resolution(image: Image, field: Field, border_px: int) -> dict[str, float]:
    camera = next((field.images[role] for role in ON_CAMERA_PIXELS if role in field.images), None)
    scale = None if camera is None else whole_scale(image.shape, camera.shape[-2:])
    inner = inside(image, border_px)
    if scale is None or min(inner.shape) < SMALLEST_PX or np.ptp(inner) == 0:
        return {}
    found = decorrelation_resolution_um(inner, field.microscope.pixel_um / scale)
    return {} if found is None else {DECORRELATION: found.resolution_um}


def _agreement(image: Image, field: Field, border_px: int) -> dict[str, float]:
    widefield = field.images.get("widefield")
    if widefield is None:
        return {}
    scale = whole_scale(image.shape, widefield.shape)
    if scale is None:
        return {}
    inner = inside(widefield, rounded_up(border_px, scale))
    if inner.size == 0 or np.ptp(inner) == 0:
        return {}
    found = squirrel(image, widefield, border_px)
    return {RSP: found.rsp, RSE: found.rse}
