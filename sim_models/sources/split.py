"""The split: which cells are for learning, which for choosing, which stay sealed.

The unit is the cell: all light levels, crops and time points of a cell stay together.
"""

import hashlib
import json
from collections.abc import Sequence
from typing import Literal

import numpy as np
from pydantic import NonNegativeInt, PositiveFloat

from sim_models.config import BadInput, Settings

Part = Literal["train", "val", "test"]
PARTS: tuple[Part, ...] = ("train", "val", "test")
FEWEST_CELLS = 3
"""one for each part"""


class SplitSettings(Settings):
    """Shares of the cells and the seed of their shuffle."""

    val: PositiveFloat
    test: PositiveFloat
    seed: NonNegativeInt


class Split(Settings):
    """Cells by part, in order of name. `train` is shuffled no further: it is a set."""

    train: tuple[str, ...]
    val: tuple[str, ...]
    test: tuple[str, ...]

    @property
    def hash(self) -> str:
        """SHA-256 of the three lists; a model and its scores belong together only if theirs agree."""
        return hashlib.sha256(json.dumps(self.model_dump(), sort_keys=True).encode()).hexdigest()

    def cells(self, part: Part) -> tuple[str, ...]:
        """The cells of one part."""
        cells: tuple[str, ...] = getattr(self, part)
        return cells


def split_by_cell(cells: Sequence[str], settings: SplitSettings, dataset: str) -> Split:
    """Deal the cells out; every part gets at least one.

    Raises:
        BadInput: if there are too few cells, or the shares leave none to learn from.
    """
    names = sorted(set(cells))
    if len(names) < FEWEST_CELLS:
        raise BadInput(
            f"{dataset}: has {len(names)} cells, but train, val and test need at least one each; "
            "add cells (crops of one cell do not count: they are not independent)"
        )
    num_val, num_test = (max(1, round(share * len(names))) for share in (settings.val, settings.test))
    num_train = len(names) - num_val - num_test
    if num_train < 1:
        raise BadInput(
            f"{dataset}: split shares val {settings.val} and test {settings.test} leave none of {len(names)} cells "
            "to learn from; lower them"
        )
    shuffled = [str(name) for name in np.random.default_rng(settings.seed).permutation(names)]
    parts = shuffled[:num_train], shuffled[num_train : num_train + num_val], shuffled[num_train + num_val :]
    return Split(train=tuple(sorted(parts[0])), val=tuple(sorted(parts[1])), test=tuple(sorted(parts[2])))
