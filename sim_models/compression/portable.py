"""A network of ours in layers that can be exported, and that ONNX Runtime computes fast and in whole numbers."""

import copy
import itertools

import torch
from torch import Tensor, nn

from sim_models.compression.gated import gates, passed
from sim_models.networks import Network


def portable(network: Network, frames: Tensor) -> Network:
    """A copy on the CPU that gives the same, with layers that export and that compute in whole numbers."""
    copied = copy.deepcopy(network).cpu().eval().requires_grad_(False)
    for gate in gates(copied, frames):
        gate.sequence[gate.number] = _Gate(gate.maps)
    _spell_out_norms(copied, frames)
    for parent in list(copied.modules()):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, nn.BatchNorm2d) and layer.running_mean is None:
                setattr(parent, name, _OwnStatistics(layer))
            elif isinstance(layer, nn.ConvTranspose2d) and (same := _as_convolution(layer)) is not None:
                setattr(parent, name, same)
    return copied


class _Gate(nn.Module):
    """One half of the maps times the other, whose number is written down: else the graph would count it every time."""

    def __init__(self, maps: int) -> None:
        super().__init__()
        self.maps = maps

    def forward(self, features: Tensor) -> Tensor:
        one, other = torch.split(features, [self.maps, self.maps], dim=1)
        gated: Tensor = one * other
        return gated


def _spell_out_norms(network: Network, frames: Tensor) -> None:
    """Normalisation of pixels with its means as convolutions, its factors within the convolution that follows."""
    images = passed(network, frames)
    for sequence in [module for module in network.modules() if isinstance(module, nn.Sequential)]:
        for number, (layer, after) in enumerate(itertools.pairwise(sequence)):
            epsilon = getattr(layer, "EPSILON", None)
            if epsilon is None or layer not in images or not isinstance(after, nn.Conv2d):
                continue
            given, made = images[layer]
            plain = _PixelNorm(given.shape[1], float(epsilon))
            numbers = dict(layer.named_parameters())
            if numbers.keys() != {"weight", "bias"} or after.kernel_size != (1, 1) or after.groups != 1:
                continue
            weight, bias = numbers["weight"], numbers["bias"]
            with torch.inference_mode():
                same = weight.shape == bias.shape == (1, given.shape[1], 1, 1) and torch.allclose(
                    plain(given) * weight + bias, made, rtol=1e-3, atol=1e-3
                )
            if same and after.bias is not None:
                kernel = after.weight.detach()
                shifted = after.bias + (kernel * bias).sum(dim=(1, 2, 3))
                _fill(after, kernel * weight, shifted)
                sequence[number] = plain


class _PixelNorm(nn.Module):
    """Zero mean and unit variance over the maps of every pixel.

    ONNX Runtime takes ten times as long for means over an axis that is not the last as for the same by convolution.
    """

    def __init__(self, maps: int, epsilon: float) -> None:
        super().__init__()
        self.epsilon = epsilon
        self.register_buffer("mean", torch.full((1, maps, 1, 1), 1 / maps))

    def forward(self, features: Tensor) -> Tensor:
        mean = self.get_buffer("mean")
        centred = features - nn.functional.conv2d(features, mean)
        return centred * torch.rsqrt(nn.functional.conv2d(centred.square(), mean) + self.epsilon)


class _OwnStatistics(nn.Module):
    """Batch normalisation by the statistics of the batch at hand, spelled out."""

    def __init__(self, layer: nn.BatchNorm2d) -> None:
        super().__init__()
        self.weight, self.bias, self.eps = layer.weight, layer.bias, layer.eps

    def forward(self, features: Tensor) -> Tensor:
        centred = features - features.mean(dim=(0, 2, 3), keepdim=True)
        deviation = (centred.square().mean(dim=(0, 2, 3), keepdim=True) + self.eps).sqrt()
        return self.weight[:, None, None] * centred / deviation + self.bias[:, None, None]


def _as_convolution(layer: nn.ConvTranspose2d) -> nn.Module | None:
    """The same as a plain convolution, which ONNX Runtime has in whole numbers, or None where it is none.

    Of stride 1 it is one with the kernel turned round. Of stride s and kernel s it gives s * s values per pixel, side
    by side.
    """
    weight, bias = layer.weight, layer.bias
    plain = (
        layer.groups == 1 and layer.dilation == (1, 1) and layer.output_padding == (0, 0) and bias is not None
    )
    if not plain or bias is None:
        return None
    kernel, stride, padding = layer.kernel_size, layer.stride, layer.padding
    if (
        stride == (1, 1)
        and kernel[0] == kernel[1]
        and isinstance(padding, tuple)
        and padding[0] == padding[1]
    ):
        edge = kernel[0]
        same = nn.Conv2d(layer.in_channels, layer.out_channels, edge, padding=edge - 1 - int(padding[0]))
        _fill(same, weight.transpose(0, 1).flip(2, 3), bias)
        return same
    if stride == kernel and stride[0] == stride[1] and padding == (0, 0):
        times = stride[0]
        dense = nn.Conv2d(layer.in_channels, layer.out_channels * times**2, 1)
        _fill(
            dense,
            weight.permute(1, 2, 3, 0).reshape(-1, layer.in_channels, 1, 1),
            bias.repeat_interleave(times**2),
        )
        return nn.Sequential(dense, nn.PixelShuffle(times))
    return None


def _fill(layer: nn.Conv2d, weight: Tensor, bias: Tensor) -> None:
    layer.weight = nn.Parameter(weight.detach().contiguous(), requires_grad=False)
    layer.bias = nn.Parameter(bias.detach().clone(), requires_grad=False)
