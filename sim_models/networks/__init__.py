"""Networks: one file per architecture, each with its `Settings` and its named, ordered stages."""

from abc import ABC, abstractmethod
from typing import Self

import torch.nn.functional as F
from torch import Tensor, nn

from sim_models.config import BadInput, Settings


class Network(nn.Module, ABC):
    """An untrained network: frames (N, C_in, Y, X) in, images (N, C_out, scale * Y, scale * X) out.

    Networks of volumes have an axis Z before Y, of any length and as long in the output: `scale`, `divisor` and
    `halo_px` speak of Y and X alone.

    The children are the stages: a subclass adds them in order from input to output and keeps
    nothing else, so that the stages cover every parameter and buffer exactly once.
    """

    of_volumes = False
    """whether it takes slices, (N, C_in, Z, Y, X)"""

    def __init__(self, scale: int, divisor: int, halo_px: int) -> None:
        """State the geometry of the network.

        Args:
            scale: output pixels per input pixel, along Y and X.
            divisor: `compute` needs height and width to be multiples of it.
            halo_px: input pixels around an output pixel that can influence it, by way of its layers of limited
                reach: what attention over a whole field, or a transform of it, adds is left out.
        """
        super().__init__()
        self.scale = scale
        self.divisor = divisor
        self.halo_px = halo_px
        self.frozen: frozenset[str] = frozenset()
        """Stages that stay in evaluation mode; set by `sim_models.freeze.freeze`."""

    @abstractmethod
    def compute(self, frames: Tensor) -> Tensor:
        """What `forward` does to frames whose height and width are multiples of `divisor`."""

    def stages(self) -> dict[str, nn.Module]:
        """The stages by name, from input to output."""
        return dict(self.named_children())

    def published_layers(self) -> tuple[str, ...]:
        """The layers of the published model in the order it lists them, each as the stage that holds its weights.

        Empty for layers without weights. Published freeze ranges count in these. Nothing where no list is known.
        """
        return ()

    def fixed_layers(self) -> tuple[nn.Module, ...]:
        """Layers that pruning may give fewer inputs but not fewer outputs, because code counts on their number."""
        return ()

    @property
    def num_parameters(self) -> int:
        """Numbers it has learned, or would."""
        return sum(parameter.numel() for parameter in self.parameters())

    @property
    def smallest_px(self) -> int:
        """Smallest height and width: fewer pixels cannot be mirrored up to `divisor`."""
        return self.divisor // 2 + 1

    def forward(self, frames: Tensor) -> Tensor:
        """Restore frames (N, C, Y, X) or (N, C, Z, Y, X) of any size.

        Padding mirrors at the bottom and right edge only. So a window that starts on a multiple of
        `divisor` meets the same pooling grid as the whole field, which makes exact tiling possible.

        Raises:
            BadInput: if the field is smaller than `smallest_px`.
        """
        height, width = frames.shape[-2:]
        if min(height, width) < self.smallest_px:
            raise BadInput(
                f"a field of {height} x {width} pixels is too small for this network, which needs at least "
                f"{self.smallest_px} x {self.smallest_px}; use a larger field or a network of less depth"
            )
        restored = self.compute(self.padded(frames))
        return restored[..., : self.scale * height, : self.scale * width]

    def padded(self, frames: Tensor) -> Tensor:
        """Mirrored up to multiples of `divisor` along Y and X; slices stay as they are and as many."""
        height, width = frames.shape[-2:]
        padding = (0, -width % self.divisor, 0, -height % self.divisor)
        # torch mirrors two axes of no more than four, so slices pass as channels.
        mirrored = F.pad(frames.flatten(1, -3), padding, mode="reflect")
        return mirrored.reshape(*frames.shape[:-2], *mirrored.shape[-2:])

    def train(self, mode: bool = True) -> Self:
        """Set the mode; frozen stages stay in evaluation mode, else their batch statistics would move."""
        super().train(mode)
        for name in self.frozen:
            self.get_submodule(name).eval()
        return self


def start_as_keras(network: nn.Module) -> None:
    """First weights as in Keras: uniform by Glorot & Bengio (AISTATS 2010, eq. 16), biases of zero.

    Networks that end in a rectifier need it: with torch's own, whose biases are not zero, one in two gives nothing but
    zeros from the first step on, and learns nothing.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Conv3d | nn.ConvTranspose2d | nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


class NetworkSettings(Settings, ABC):
    """Settings of an architecture; `name` is the name of its file."""

    name: str

    @property
    @abstractmethod
    def divisor(self) -> int:
        """Crops for training must have sides that are multiples of it."""

    @abstractmethod
    def build(self, channels_in: int, channels_out: int, scale: int) -> Network:
        """Make the untrained network, drawn from torch's global generator, which the caller seeds."""
