"""Fewer channels: whole feature maps are taken out, with everything that depends on them, and the rest learns again.

Which layers must shrink together is read off the network's graph (DepGraph: Fang et al., CVPR 2023); of every such
group the channels with the smallest weights go. What is left learns to give what the whole network gave, for which no
references are needed (Hinton et al. 2015).

Where maps meet in gates (NAFNet), those within the gated pairs of convolutions go and no others: what runs between the
blocks is normalised over all of its maps, so that each that is missing would change all others.
"""

import copy
import warnings
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor, nn

from sim_models.compression.gated import Gate, gates
from sim_models.config import BadInput, Settings
from sim_models.networks import Network

WEIGHTED = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.Linear)
"""layers with channels of their own"""

OWNERS = (*WEIGHTED, nn.BatchNorm2d, nn.LayerNorm)
"""layers whose numbers go with their channels"""


class Recovery(Settings):
    """How a pruned network learns again."""

    steps: int = Field(ge=0)
    batch: PositiveInt
    learning_rate: PositiveFloat
    """of the first step; falls to zero by a cosine"""
    seed: int


def pruned(network: Network, share: float, channels_in: int) -> Network:
    """A copy without this share of the channels of every layer that can lose some.

    Raises:
        BadInput: if the share is none, or there is nothing to take out.
    """
    if not 0 < share < 1:
        raise BadInput(f"{share:g} of the channels cannot be taken out; give a share above 0 and below 1")
    copied = copy.deepcopy(network).cpu().eval().requires_grad_(True)
    for layer in copied.modules():
        if isinstance(layer, nn.ReLU):
            layer.inplace = False  # else the graph shows a change of memory where there was a layer
    frames = _example(network, channels_in)
    if gated := gates(copied, frames):
        for gate in gated:
            _take_out_of_gate(gate, share)
    else:
        _take_out(copied, share, frames)
    if copied.num_parameters == network.num_parameters:
        raise BadInput(
            f"{share:g} of the channels are less than one channel of any layer; give a larger share"
        )
    with torch.inference_mode():
        before, after = network.cpu().eval()(frames), copied(frames)
    if before.shape != after.shape:
        raise RuntimeError(f"pruning changed the output from {tuple(before.shape)} to {tuple(after.shape)}")
    return copied


def _take_out(network: Network, share: float, frames: Tensor) -> None:
    import torch_pruning as tp
    from torch_pruning.ops import _OutputOp

    graph = tp.DependencyGraph()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about numbers outside of layers, which are told to it
        graph.build_dependency(_Computing(network).eval(), (frames,), ignored_params=_bare(network))
    importance = tp.importance.GroupMagnitudeImportance(p=2)
    fixed = [*_before_shuffles(network), *network.fixed_layers()]
    groups = graph.get_all_groups(ignored_layers=fixed, root_module_types=WEIGHTED)
    # All are scored before any is changed, since groups share layers.
    for group, scores in [(group, importance(group)) for group in groups]:
        # Rounded down: never more than was asked for.
        leaving = torch.argsort(scores)[: int(share * len(scores))].tolist()
        if not leaving or any(isinstance(member.dep.target.module, _OutputOp) for member in group):
            continue
        root = group[0].dep
        graph.get_pruning_group(root.target.module, root.handler, leaving).prune()


def _take_out_of_gate(gate: Gate, share: float) -> None:
    """Maps of both halves by pairs, those with the smallest weights."""
    if not gate.before or not gate.after:
        return
    maps, powers = gate.maps, torch.zeros(gate.maps)
    for layer in gate.before:
        powers += _power(layer, 0).reshape(2, maps).sum(0)
    for layer in gate.between:
        powers += _power(layer, 0) + _power(layer, 1)
    for layer in gate.after:
        powers += _power(layer, 1)
    staying = torch.argsort(powers)[int(share * maps) :].sort().values
    both = torch.cat([staying, staying + maps])
    for layer in gate.before:
        _keep(layer, both, None if layer.groups == 1 else both)
    for layer in gate.between:
        _keep(layer, staying, staying)
    for layer in gate.after:
        _keep(layer, None, staying)


def _power(layer: nn.Conv2d, axis: int) -> Tensor:
    """Mean square of the weights of every channel, of those that come out (0) or go in (1)."""
    return layer.weight.detach().square().mean(dim=[each for each in range(4) if each != axis])


def _keep(layer: nn.Conv2d, out: Tensor | None, inner: Tensor | None) -> None:
    """Only these channels of a convolution, that come out and that go in."""
    weight, bias = layer.weight.detach(), layer.bias
    if out is not None:
        weight, layer.out_channels = weight[out], len(out)
        if bias is not None:
            layer.bias = nn.Parameter(bias.detach()[out].clone())
    if inner is not None:
        layer.in_channels = len(inner)
        if layer.groups == 1:
            weight = weight[:, inner]
        else:
            layer.groups = len(inner)
    layer.weight = nn.Parameter(weight.clone())


class _Computing(nn.Module):
    """A network whose `forward` is `compute`, and something that is no layer: it shows where the output is."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, frames: Tensor) -> Tensor:
        return self.network.compute(frames) + 0


def _before_shuffles(network: Network) -> list[nn.Module]:
    """Layers whose channels become pixels."""
    found: list[nn.Module] = []
    for sequence in network.modules():
        layers = list(sequence) if isinstance(sequence, nn.Sequential) else []
        for number, layer in enumerate(layers):
            if isinstance(layer, nn.PixelShuffle):
                found += [each for each in layers[:number] if isinstance(each, WEIGHTED)]
    return found


def _bare(network: Network) -> list[nn.Parameter]:
    """Numbers that belong to no layer with channels, as a cutoff or a bias of positions."""
    modules = [module for module in network.modules() if not isinstance(module, OWNERS)]
    return [parameter for module in modules for parameter in module.parameters(recurse=False)]


def recovered(network: Network, teacher: Network, tiles: Sequence[Tensor], settings: Recovery) -> Network:
    """The network after it has learned to give what the teacher gives on tiles (C, ..., Y, X); changed in place.

    Statistics of batch normalisation stay those of the teacher.
    """
    if not settings.steps:
        return network.eval()
    teacher = teacher.cpu().eval()
    random = torch.Generator().manual_seed(settings.seed)
    optimiser = torch.optim.Adam(network.parameters(), lr=settings.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, settings.steps)
    network.eval()
    for _ in range(settings.steps):
        chosen = torch.randint(len(tiles), (settings.batch,), generator=random)
        frames = torch.stack([tiles[int(number)] for number in chosen])
        with torch.no_grad():
            wanted = teacher(frames)
        loss = F.mse_loss(network(frames), wanted)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
    return network


def multiplications(network: Network, channels_in: int) -> float:
    """Multiplications of convolutions and dense layers for one pixel of a frame, or of a slice."""
    frames, total = _example(network, channels_in), 0

    def count(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        weight = layer.get_parameter("weight")
        values = inputs[0] if isinstance(layer, nn.ConvTranspose2d) else output
        total += values.numel() * weight[0].numel()

    hooks = _hooked(network, count)
    try:
        with torch.inference_mode():
            network.compute(frames)
    finally:
        for hook in hooks:
            hook.remove()
    return total / frames[0, 0].numel()


def _hooked(
    network: Network, function: Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]
) -> list[torch.utils.hooks.RemovableHandle]:
    return [
        layer.register_forward_hook(function) for layer in network.modules() if isinstance(layer, WEIGHTED)
    ]


def _example(network: Network, channels_in: int) -> Tensor:
    """Frames, or slices of a volume, that are not all alike."""
    edge = -(-24 // network.divisor) * network.divisor
    slices = (4,) if network.of_volumes else ()
    random = torch.Generator().manual_seed(0)
    return torch.rand(1, channels_in, *slices, edge, edge, generator=random)
