"""Gates: layers that multiply one half of the feature maps by the other (as in NAFNet), found by what they do."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sim_models.networks import Network


@dataclass(frozen=True)
class Gate:
    """A gate within a sequence, with the convolutions that see the maps that meet in it."""

    sequence: nn.Sequential
    number: int
    """of the gate in the sequence"""
    maps: int
    """that come out of it; twice as many go in"""

    @property
    def before(self) -> list[nn.Conv2d]:
        """What makes the maps, and what keeps them apart afterwards (depth-wise convolutions)."""
        found: list[nn.Conv2d] = []
        for layer in list(self.sequence)[: self.number][::-1]:
            if not isinstance(layer, nn.Conv2d):
                return []
            found.append(layer)
            if layer.groups == 1:
                return found
        return []

    @property
    def between(self) -> list[nn.Conv2d]:
        """What weighs maps by each other, as channel attention does: as many go in as come out."""
        layers = self.sequence[self.number + 1 : self._last].modules()
        return [layer for layer in layers if isinstance(layer, nn.Conv2d)]

    @property
    def after(self) -> list[nn.Conv2d]:
        """What mixes the maps to others."""
        return [layer for layer in list(self.sequence)[self._last :][:1] if isinstance(layer, nn.Conv2d)]

    @property
    def _last(self) -> int:
        numbers = range(self.number + 1, len(self.sequence))
        plain = (number for number in numbers if isinstance(self.sequence[number], nn.Conv2d))
        return next(plain, len(self.sequence))


def gates(network: Network, frames: Tensor) -> list[Gate]:
    """Those of a network as it computes these frames, which should not be all alike."""
    maps: dict[nn.Module, int] = {}
    for layer, (given, made) in passed(network, frames).items():
        if any(True for _ in layer.parameters()) or made.shape[1] * 2 != given.shape[1]:
            continue
        one, other = given.chunk(2, dim=1)
        if torch.equal(made, one * other):
            maps[layer] = made.shape[1]
    return [
        Gate(sequence, number, maps[layer])
        for sequence in network.modules()
        if isinstance(sequence, nn.Sequential)
        for number, layer in enumerate(sequence)
        if layer in maps
    ]


def passed(network: Network, frames: Tensor) -> dict[nn.Module, tuple[Tensor, Tensor]]:
    """What images (N, C, Y, X) each module is given, and those it makes of them, as a network computes frames."""
    found: dict[nn.Module, tuple[Tensor, Tensor]] = {}

    def look(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        images = [each for each in (*inputs[:1], output) if isinstance(each, Tensor) and each.ndim == 4]
        if len(images) == 2:
            found[layer] = (images[0], images[1])

    hooks = [layer.register_forward_hook(look) for layer in network.modules()]
    try:
        with torch.inference_mode():
            network.compute(frames)
    finally:
        for hook in hooks:
            hook.remove()
    return found
