"""Loss terms: functions of a prediction and its target, both (N, C, Y, X) in normalised units."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from pydantic import Field, PositiveFloat, field_validator
from torch import Tensor

from sim_models.config import Settings

CHARBONNIER_EPSILON = 1e-3
"""in normalised units; below it the loss is quadratic (Lai et al. 2017, section 3.2)"""


def charbonnier(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean of sqrt(d**2 + epsilon**2): a smooth L1 (Charbonnier et al. 1994)."""
    return torch.sqrt((prediction - target) ** 2 + CHARBONNIER_EPSILON**2).mean()


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mse": F.mse_loss,
    "l1": F.l1_loss,
    "charbonnier": charbonnier,
}


class LossSettings(Settings):
    """A weighted sum of terms."""

    terms: dict[str, PositiveFloat] = Field(min_length=1)
    """weight by the name of a term"""

    @field_validator("terms")
    @classmethod
    def _terms_exist(cls, terms: dict[str, float]) -> dict[str, float]:
        for name in terms:
            if name not in LOSSES:
                raise ValueError(f"there is no loss term '{name}'; choose from {', '.join(LOSSES)}")
        return terms

    def named_terms(self, prediction: Tensor, target: Tensor) -> dict[str, Tensor]:
        """The weighted terms, each a scalar; the loss is their sum."""
        return {name: weight * LOSSES[name](prediction, target) for name, weight in self.terms.items()}
