"""How a network learns and how it is used afterwards: one file per method."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from sim_models.config import Settings
from sim_models.samples import Sample


class Method(Settings, ABC):
    """A way to learn. Every file of this room holds one, as its `Settings`."""

    name: str

    @property
    def learns_from(self) -> str:
        """What there must be to learn from: `pairs`, or noisy `images`, `times` or `slices` alone."""
        return "pairs"

    @property
    def gives(self) -> tuple[str, ...]:
        """Names of the images that come out of one input, the first of which is judged."""
        return ("restored",)

    @property
    def halo_px(self) -> int:
        """Pixels around one of the result that what comes out of the network is mixed over."""
        return 0

    def channels(self, channels_in: int, channels_out: int) -> tuple[int, int]:
        """Channels of the network, for samples of so many."""
        return channels_in, channels_out

    @abstractmethod
    def loss(self, network: nn.Module, sample: Sample) -> dict[str, Tensor]:
        """The weighted terms of the loss by name; their sum is minimised."""

    @abstractmethod
    def restore(self, network: nn.Module, stack: Tensor) -> Tensor:
        """Restore normalised samples (N, C, ..., Y, X) to (N, C', ..., sY, sX)."""

    def score(self, network: nn.Module, sample: Sample) -> Tensor:
        """How well one sample is restored, in dB: PSNR, whose peak is the range of the target."""
        return psnr(self.restore(network, sample.input), sample.target)


def psnr(restored: Tensor, target: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB, a scalar; the peak is the range of the target."""
    error = (restored - target).double().square().mean()
    return 10 * torch.log10((target.max() - target.min()).double().square() / error)
