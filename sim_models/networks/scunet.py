"""scU-Net, two U-Nets in a row (Jin et al., Nat. Commun. 11:1934, 2020): the second sees the frames and the first's."""

from typing import Literal

import torch
from torch import Tensor, nn

from sim_models.networks import Network, NetworkSettings, unet


class Settings(NetworkSettings):
    """Settings of a scU-Net; its two U-Nets are alike but for their channels."""

    name: Literal["scunet"]
    unet: unet.Settings

    @property
    def divisor(self) -> int:
        """That of the U-Nets."""
        return self.unet.divisor

    def build(self, channels_in: int, channels_out: int, scale: int) -> "SCUNet":
        """Make the untrained network."""
        return SCUNet(self, channels_in, channels_out, scale)


class SCUNet(Network):
    """Stages first.enc1 .. first.head, second.enc1 .. second.head.

    The first gives as many frames as it gets; they are not held against anything, for only the end has a target.
    """

    def __init__(self, settings: Settings, channels_in: int, channels_out: int, scale: int) -> None:
        first = settings.unet.build(channels_in, channels_in, 1)
        second = settings.unet.build(2 * channels_in, channels_out, scale)
        super().__init__(scale, settings.divisor, first.halo_px + second.halo_px)
        self.first, self.second = first, second

    def stages(self) -> dict[str, nn.Module]:
        """Those of both U-Nets."""
        return {
            f"{part}.{name}": stage
            for part, network in self.named_children()
            for name, stage in network.named_children()
        }

    def compute(self, frames: Tensor) -> Tensor:
        """The second U-Net on the frames and on what the first made of them."""
        restored: Tensor = self.second.compute(torch.cat([self.first.compute(frames), frames], dim=1))
        return restored
