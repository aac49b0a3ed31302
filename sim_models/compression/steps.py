"""The steps of compression in their order: take channels out, learn again, go to whole numbers."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from sim_models.compression.export import exported
from sim_models.compression.prune import Recovery, pruned, recovered
from sim_models.compression.quantise import Quantisation, quantised
from sim_models.config import BadInput, Settings
from sim_models.field import Image, Role
from sim_models.networks import Network
from sim_models.onnx_network import OnnxNetwork
from sim_models.restorer import Restorer


class Steps(Settings):
    """What is done to a network."""

    int8: Quantisation | None
    pruned_share: float | None
    """of the channels of every layer"""
    recovery: Recovery
    """after pruning"""
    tiles: PositiveInt
    """pieces of the stacks that are looked at"""
    tile_px: PositiveInt
    """edge of each, in input pixels"""
    seed: int
    """by which they are chosen"""


def compressed(restorer: Restorer, fields: Sequence[Mapping[Role, Image]], steps: Steps) -> OnnxNetwork:
    """The network of a restorer after these steps, with the images of fields as it takes them for examples.

    Raises:
        BadInput: if there is nothing to do, or the network is compressed already.
    """
    if isinstance(restorer.network, OnnxNetwork):
        raise BadInput("the model is compressed already; give the one it was made from")
    if steps.int8 is None and steps.pruned_share is None:
        raise BadInput("nothing is asked for; say --int8, or --prune with a share of the channels, or both")
    tiles = _tiles(restorer, fields, steps)
    network, channels_in = restorer.network, restorer.channels[0]
    if steps.pruned_share is not None:
        student = pruned(network, steps.pruned_share, channels_in)
        network = recovered(student, restorer.network, tiles, steps.recovery)
    graph = exported(network, channels_in)
    if steps.int8 is None:
        return graph
    batches = [network.padded(tile[None]).numpy() for tile in tiles]
    return quantised(graph, batches, channels_in, steps.int8)


class _Looking(nn.Module):
    """Stands where a method expects the network, to keep what that would see; gives nothing."""

    def __init__(self, network: Network, channels_out: int) -> None:
        super().__init__()
        self.scale, self.channels_out = network.scale, channels_out
        self.seen: list[Tensor] = []

    def forward(self, frames: Tensor) -> Tensor:
        self.seen += list(frames)
        height, width = frames.shape[-2:]
        between = frames.shape[2:-2]
        return frames.new_zeros(
            len(frames), self.channels_out, *between, self.scale * height, self.scale * width
        )


def _tiles(restorer: Restorer, fields: Sequence[Mapping[Role, Image]], steps: Steps) -> list[Tensor]:
    """Normalised pieces (C, ..., Y, X) from anywhere in the fields, by turns from each, as the network sees them."""
    random = np.random.default_rng(steps.seed)
    samples = [torch.from_numpy(each) for images in fields for each in restorer.samples(images)]
    tiles = []
    for number in range(steps.tiles):
        looking = _Looking(restorer.network, restorer.channels[1])
        piece = _piece(samples[number % len(samples)], steps.tile_px, random)
        restorer.recipe.method.restore(looking, piece[None])
        # A method may show the network several of one piece: times, slices, halves of a series.
        tiles.append(looking.seen[number // len(samples) % len(looking.seen)].contiguous())
    return tiles


def _piece(frames: Tensor, edge: int, random: np.random.Generator) -> Tensor:
    for axis in (-2, -1):
        length = min(edge, frames.shape[axis])
        start = int(random.integers(frames.shape[axis] - length + 1))
        frames = frames.narrow(axis, start, length)
    return frames
