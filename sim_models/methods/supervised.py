"""Learn from pairs: a noisy stack and the best image there is of the same field."""

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from sim_models.losses import LossSettings
from sim_models.methods import Method
from sim_models.samples import Sample
from sim_models.task import SUBPIXELS


class Settings(Method):
    """Supervised learning."""

    name: Literal["supervised"]
    loss_terms: LossSettings
    residual: Literal["none", "widefield", "reconstruction", "noisy"]
    """What is added to what the network gives, so that it learns what is missing there and starts from an image rather
    than from nothing (residual learning: Zhang et al., IEEE TIP 26:3142, 2017).

    none            nothing: the whole image is learned, as the published systems do
    widefield       the enlarged mean of all input channels
    reconstruction  the reconstruction that comes with the raw frames
    noisy           as many of the last input channels as come out
    """

    def loss(self, network: nn.Module, sample: Sample) -> dict[str, Tensor]:
        """Distance between the restored and the target image."""
        return self.loss_terms.named_terms(self.restore(network, sample.input), sample.target)

    def restore(self, network: nn.Module, stack: Tensor) -> Tensor:
        """Restore normalised stacks (N, C, Y, X) to (N, C', sY, sX)."""
        restored: Tensor = network(stack)
        if self.residual == "none":
            return restored
        return restored + self._start(stack, restored)

    def _start(self, stack: Tensor, restored: Tensor) -> Tensor:
        if self.residual == "reconstruction":
            return F.pixel_shuffle(stack[:, -SUBPIXELS:], 2)
        if self.residual == "noisy":
            return stack[:, -restored.shape[1] :]
        mean = stack.mean(1, keepdim=True)
        return F.interpolate(mean, size=restored.shape[-2:], mode="bicubic", align_corners=False)
