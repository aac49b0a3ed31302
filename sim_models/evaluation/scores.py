"""Restore whole fields with every arm and score them all alike."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from sim_models.evaluation.baselines import BASELINES
from sim_models.evaluation.consistency import consistency, values
from sim_models.evaluation.metrics import METRICS
from sim_models.field import Field, Image
from sim_models.optics.consistency import Consistency
from sim_models.restorer import Restorer

COLUMNS = ["structure", "cell", "level", "arm", "metric", "value"]


@dataclass(frozen=True)
class Restored:
    """One field, restored by every arm and baseline, with the image it should have been."""

    field: Field
    target: Image
    """(Y, X)"""
    images: Mapping[str, Image]
    """by the name of an arm or baseline, each (Y, X) in the unit of the field"""
    consistency: Mapping[str, Consistency]
    """of those images that can be compared with the raw frames"""


def restore(fields: Sequence[Field], arms: Mapping[str, Restorer]) -> Iterator[Restored]:
    """Restore each field with every arm, and with every baseline that its metadata allow."""
    task = next(iter(arms.values())).recipe.task
    for field in fields:
        images: dict[str, Image] = {
            name: restorer(field.image(restorer.recipe.task.input)) for name, restorer in arms.items()
        }
        target = task.target_of(field)[0]
        for name, baseline in BASELINES.items():
            image = baseline(field, target.shape[-1] // field.image("raw").shape[-1])
            if image is not None:
                images[name] = image
        checked = {name: consistency(image, field) for name, image in images.items()}
        known = {name: found for name, found in checked.items() if found is not None}
        yield Restored(field, target, images, known)


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
