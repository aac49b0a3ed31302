"""Freezing: stages of a network whose weights and statistics stay exactly as they were."""

import hashlib
from typing import Self

import torch
from pydantic import NonNegativeInt, model_validator

from sim_models.config import BadInput, Settings
from sim_models.networks import Network


class FreezeRange(Settings):
    """The stages `[start, end)` of a network, counted from the input; start == end freezes nothing."""

    start: NonNegativeInt
    end: NonNegativeInt

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.end < self.start:
            raise ValueError(f"end {self.end} must not be before start {self.start}")
        return self

    @classmethod
    def of_layers(cls, network: Network, start: int, end: int) -> Self:
        """The stages of the layers [start, end) of the published model, as it counts them.

        Raises:
            BadInput: if no such list is known, or the range reaches past it, holds stages that do not follow each
                other, or cuts one in two.
        """
        layers = network.published_layers()
        if not layers:
            raise BadInput("no list of layers was published for this network; give a range of its stages")
        if not 0 <= start <= end <= len(layers):
            raise BadInput(f"layers [{start}, {end}) are not among the {len(layers)} of the published model")
        stages, chosen = tuple(network.stages()), set(layers[start:end]) - {""}
        left = set(layers[:start] + layers[end:]) - {""}
        if cut := chosen & left:
            bounds = [place for place in range(len(layers) + 1) if not _cuts(layers, place)]
            raise BadInput(
                f"layers [{start}, {end}) cut the stage {min(cut)} in two; a range may begin and end at "
                f"{', '.join(map(str, bounds))}"
            )
        places = sorted(stages.index(name) for name in chosen)
        return cls(start=places[0], end=places[-1] + 1) if places else cls(start=0, end=0)

    def names(self, network: Network) -> tuple[str, ...]:
        """The frozen stages, from input to output.

        Raises:
            BadInput: if the range reaches past the last stage or leaves nothing to train.
        """
        stages = tuple(network.stages())
        if self.end > len(stages):
            raise BadInput(
                f"freeze range [{self.start}, {self.end}) reaches past the last of the {len(stages)} stages "
                f"({', '.join(stages)}); choose an end of at most {len(stages)}"
            )
        if self.end - self.start == len(stages):
            raise BadInput(
                f"freeze range [{self.start}, {self.end}) freezes all {len(stages)} stages and leaves "
                "nothing to train; use direct transfer instead, or leave at least one stage out"
            )
        return stages[self.start : self.end]

    def label(self, network: Network) -> str:
        """How people read it: `none`, `enc1` or `enc1-bottleneck`."""
        names = self.names(network)
        if not names:
            return "none"
        return names[0] if len(names) == 1 else f"{names[0]}-{names[-1]}"


def _cuts(layers: tuple[str, ...], place: int) -> bool:
    """Whether a stage has layers on both sides of a place between two layers."""
    return bool((set(layers[:place]) & set(layers[place:])) - {""})


def freeze(network: Network, freeze_range: FreezeRange) -> None:
    """Freeze exactly these stages, and release the others.

    Do so before wrapping the network for distributed training and before making the optimiser,
    which should get only parameters that require a gradient.
    """
    network.frozen = frozenset(freeze_range.names(network))
    for name, stage in network.stages().items():
        stage.requires_grad_(name not in network.frozen)
    network.train(network.training)


def fingerprint(network: Network, freeze_range: FreezeRange) -> str:
    """SHA-256 over names, types, shapes and bits of all parameters and buffers of the frozen stages."""
    digest = hashlib.sha256()
    for stage in freeze_range.names(network):
        for name, tensor in network.get_submodule(stage).state_dict().items():
            digest.update(f"{stage}.{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def trainable_share(network: Network) -> float:
    """Share of the parameters that training may change, 0 to 1."""
    parameters = list(network.parameters())
    trainable = sum(p.numel() for p in parameters if p.requires_grad)
    return trainable / sum(p.numel() for p in parameters)
