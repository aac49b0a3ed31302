"""How a network learns and how it is used afterwards: one file per method."""

from abc import ABC, abstractmethod

from torch import Tensor, nn

from sim_models.config import Settings
from sim_models.samples import Sample


class Method(Settings, ABC):
    """A way to learn. Every file of this room holds one, as its `Settings`."""

    name: str

    @abstractmethod
    def loss(self, network: nn.Module, sample: Sample) -> dict[str, Tensor]:
        """The weighted terms of the loss by name; their sum is minimised."""

    @abstractmethod
    def restore(self, network: nn.Module, stack: Tensor) -> Tensor:
        """Restore normalised stacks (N, C, Y, X) to (N, C', sY, sX)."""
