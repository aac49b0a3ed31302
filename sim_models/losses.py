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


WINDOW_PX, WINDOW_SIGMA_PX, C1, C2 = 11, 1.5, 0.01**2, 0.03**2
"""of SSIM (Wang et al., IEEE TIP 13:600, 2004, section III.B), for images between 0 and 1"""


def dissimilarity(prediction: Tensor, target: Tensor) -> Tensor:
    """1 - SSIM, the mean over windows that lie inside (Wang et al. 2004, eq. 13); smaller ones in smaller images."""
    channels, smallest = prediction.shape[1], min(prediction.shape[-2:])
    half = min(WINDOW_PX, smallest - (smallest + 1) % 2) // 2
    place = torch.arange(-half, half + 1, device=target.device)
    line = torch.exp(-place.float().square() / (2 * WINDOW_SIGMA_PX**2))
    line = line / line.sum()

    def blurred(images: Tensor) -> Tensor:
        down = F.conv2d(images, line.view(1, 1, -1, 1).expand(channels, 1, -1, 1), groups=channels)
        return F.conv2d(down, line.view(1, 1, 1, -1).expand(channels, 1, 1, -1), groups=channels)

    # Differences of squares lose all their digits in half precision.
    with torch.autocast(target.device.type, enabled=False):
        prediction, target = prediction.float(), target.float()
        mean_p, mean_t = blurred(prediction), blurred(target)
        var_p = blurred(prediction.square()) - mean_p.square()
        var_t = blurred(target.square()) - mean_t.square()
        covariance = blurred(prediction * target) - mean_p * mean_t
        alike = (2 * mean_p * mean_t + C1) * (2 * covariance + C2)
        return 1 - (alike / ((mean_p.square() + mean_t.square() + C1) * (var_p + var_t + C2))).mean()


def scale_free(loss: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    """A loss of prediction and target each stretched to 0..1 over the whole batch, as rDL-SIM trains.

    Brightness is not learned: a prediction times a positive number plus another has the same loss.
    """

    def stretched(images: Tensor) -> Tensor:
        low, high = images.min(), images.max()
        return (images - low) / (high - low).clamp(min=1e-12)

    def of_stretched(prediction: Tensor, target: Tensor) -> Tensor:
        return loss(stretched(prediction.float()), stretched(target.float()))

    return of_stretched


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mse": F.mse_loss,
    "l1": F.l1_loss,
    "charbonnier": charbonnier,
    "dissimilarity": dissimilarity,
    "scale_free_mse": scale_free(F.mse_loss),
    "scale_free_dissimilarity": scale_free(dissimilarity),
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
