"""From a network of ours to an ONNX file that any number, height and width of frames goes into."""

import tempfile
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from sim_models.compression.portable import portable
from sim_models.networks import Network
from sim_models.onnx_network import FRAMES, OPSET, RESTORED, OnnxNetwork, terse


def exported(network: Network, channels_in: int) -> OnnxNetwork:
    """The network in use, as a graph with its weights; padding stays outside, in `Network.forward`.

    Tracing is what writes it: torch's other exporter gives the same graph in a hundred times the time, knows neither
    the attention of Swin nor the spectra of DFCAN for fields of every size, and needs two more packages.
    """
    edge = -(-24 // network.divisor) * network.divisor
    slices = (3,) if network.of_volumes else ()
    frames = torch.rand(
        2, channels_in, *slices, edge, edge + network.divisor, generator=torch.Generator().manual_seed(0)
    )
    free = {axis: f"length_{axis}" for axis in range(frames.ndim) if axis != 1}
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "network.onnx"
        warnings.simplefilter("ignore")  # that tracing is old, and that sizes are taken as they are
        torch.onnx.export(
            _Computing(portable(network, frames)).eval(),
            (frames,),
            file,
            dynamo=False,
            opset_version=OPSET,
            input_names=[FRAMES],
            output_names=[RESTORED],
            dynamic_axes={FRAMES: free, RESTORED: {axis: f"fine_{name}" for axis, name in free.items()}},
        )
        content = file.read_bytes()
    return OnnxNetwork(terse(content), network, network.num_parameters, channels_in)


class _Computing(nn.Module):
    """A network whose `forward` is `compute`."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, frames: Tensor) -> Tensor:
        return self.network.compute(frames)
