"""Learn from pairs: a noisy stack and the best image there is of the same field."""

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from sim_models.losses import LossSettings
from sim_models.methods import Method
from sim_models.samples import Sample


class Settings(Method):
    """Supervised learning."""

    name: Literal["supervised"]
    loss_terms: LossSettings
    residual: Literal["none", "widefield"]
    """`widefield`: the network learns what is missing in the enlarged mean of its input frames
    (residual learning: Zhang et al., IEEE TIP 26:3142, 2017), so that it starts from an image
    rather than from nothing. `none`: it learns the whole image, as the published systems do."""

    def loss(self, network: nn.Module, sample: Sample) -> dict[str, Tensor]:
        """Distance between the restored and the target image."""
        return self.loss_terms.named_terms(self.restore(network, sample.input), sample.target)

    def restore(self, network: nn.Module, stack: Tensor) -> Tensor:
        """Restore normalised stacks (N, C, Y, X) to (N, C', sY, sX)."""
        restored: Tensor = network(stack)
        if self.residual == "none":
            return restored
        return restored + F.interpolate(
            stack.mean(1, keepdim=True), size=restored.shape[-2:], mode="bicubic", align_corners=False
        )
