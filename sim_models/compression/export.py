"""From a network of ours to an ONNX file that any number, height and width of frames goes into."""

import copy
import tempfile
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from sim_models.networks import Network
from sim_models.onnx_network import FRAMES, OPSET, RESTORED, OnnxNetwork


def exported(network: Network, channels_in: int) -> OnnxNetwork:
    """The network in use, as a graph with its weights; padding stays outside, in `Network.forward`.

    Tracing is what writes it: torch's other exporter gives the same graph in a hundred times the time, knows neither
    the attention of Swin nor the spectra of DFCAN for fields of every size, and needs two more packages.
    """
    portable = _portable(network)
    edge = -(-24 // network.divisor) * network.divisor
    slices = (3,) if network.of_volumes else ()
    frames = torch.zeros(2, channels_in, *slices, edge, edge + network.divisor)
    free = {axis: f"length_{axis}" for axis in range(frames.ndim) if axis != 1}
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "network.onnx"
        warnings.simplefilter("ignore")  # that tracing is old, and that sizes are taken as they are
        torch.onnx.export(
            _Computing(portable).eval(),
            (frames,),
            file,
            dynamo=False,
            opset_version=OPSET,
            input_names=[FRAMES],
            output_names=[RESTORED],
            dynamic_axes={FRAMES: free, RESTORED: {axis: f"fine_{name}" for axis, name in free.items()}},
        )
        content = file.read_bytes()
    return OnnxNetwork(content, network, network.num_parameters, channels_in)


class _Computing(nn.Module):
    """A network whose `forward` is `compute`."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, frames: Tensor) -> Tensor:
        return self.network.compute(frames)


def _portable(network: Network) -> Network:
    """A copy on the CPU that gives the same, with layers that export and that compute in whole numbers."""
    copied = copy.deepcopy(network).cpu().eval().requires_grad_(False)
    for parent in list(copied.modules()):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, nn.BatchNorm2d) and layer.running_mean is None:
                setattr(parent, name, _OwnStatistics(layer))
            elif isinstance(layer, nn.ConvTranspose2d) and (same := _as_convolution(layer)) is not None:
                setattr(parent, name, same)
    return copied


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
