"""Whole numbers of 8 bits in place of floats, with ranges that example images showed (static quantisation).

ONNX Runtime does it and computes the result: it is maintained, has kernels for whole numbers on every processor, and
whoever runs the result needs no torch for the network. `torch.ao.quantization` is being taken out of torch, and what
has taken its place computes through compilers that not every machine has.
"""

import logging
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sim_models.config import Settings
from sim_models.onnx_network import FRAMES, RESTORED, OnnxNetwork, terse

if TYPE_CHECKING:
    import onnx

WEIGHTED = ("Conv", "ConvTranspose", "MatMul", "Gemm")
"""operators that hold nearly all weights and take nearly all time"""

BETWEEN = ("MaxPool", "Concat", "Resize", "Relu")
"""operators that lose nothing in whole numbers, and spare the way to floats and back"""


class Quantisation(Settings):
    """How weights and values become whole numbers."""

    float_edges: bool
    """whether layers stay in floats that see the frames themselves, or give the image itself"""
    weight_bits_7: bool
    """whether weights use 7 of the 8 bits: sums of products then fit everywhere, where processors without instructions
    for it would cut them off, so that every machine gives the same image"""


def quantised(
    network: OnnxNetwork, tiles: Sequence[NDArray[np.float32]], channels_in: int, settings: Quantisation
) -> OnnxNetwork:
    """The network in whole numbers of 8 bits, weights by a scale for every channel.

    Args:
        network: in floats.
        tiles: normalised frames (N, C, ..., Y, X) by which the ranges of values are settled.
        channels_in: frames that it takes.
        settings: what stays as it is.
    """
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.rest = iter(tiles)

        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            tile = next(self.rest, None)
            return None if tile is None else {FRAMES: tile}

    model = onnx.load_model_from_string(network.content)
    with tempfile.TemporaryDirectory() as folder, _quiet():
        path = Path(folder) / "network.onnx"
        quantize_static(
            model,
            path,
            Reader(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=[*WEIGHTED, *BETWEEN],
            nodes_to_exclude=_floats(model, settings),
            per_channel=True,
            reduce_range=settings.weight_bits_7,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        return OnnxNetwork(terse(path.read_bytes()), network, network.num_parameters, channels_in)


def _floats(model: "onnx.ModelProto", settings: Quantisation) -> list[str]:
    """Names of the nodes that stay in floats: products of two values, those of spectra, convolutions of few weights
    that only lose by the way to whole numbers and back, and the edges if they shall."""
    weights = {tensor.name: tensor.dims for tensor in model.graph.initializer}
    nodes = list(model.graph.node)
    products = [
        node.name for node in nodes if node.op_type == "MatMul" and not weights.keys() & set(node.input)
    ]
    convolutions = [node for node in nodes if node.op_type == "Conv" and node.input[1] in weights]
    small = [node.name for node in convolutions if _small(node, weights[node.input[1]])]
    inner = [*products, *small, *_spectral(nodes)]
    return [*inner, *_first(nodes), *_last(nodes)] if settings.float_edges else inner


def _small(node: "onnx.NodeProto", dims: "Sequence[int]") -> bool:
    """Whether a convolution keeps maps apart (depth-wise), or has no bias and gives one map (a mean over all)."""
    apart = any(attribute.name == "group" and attribute.i > 1 for attribute in node.attribute)
    return apart or (dims[0] == 1 and len(node.input) == 2)


def _spectral(nodes: "Sequence[onnx.NodeProto]") -> list[str]:
    """Weighted nodes that see a spectrum, which grows with the field, up to where it became a share or an image."""
    reached: set[str] = set()
    found = []
    for node in nodes:
        forward = node.op_type == "DFT" and not _inverse(node)
        if not forward and not reached.intersection(node.input):
            continue
        if node.op_type in WEIGHTED:
            found.append(node.name)
        if forward or node.op_type not in ("Sigmoid", "Shape", "DFT"):
            reached.update(node.output)
    return found


def _inverse(node: "onnx.NodeProto") -> bool:
    return any(attribute.name == "inverse" and attribute.i for attribute in node.attribute)


def _first(nodes: "Sequence[onnx.NodeProto]") -> list[str]:
    """Weighted nodes that see the frames through no other; nodes stand in order of computing."""
    plain, found = {FRAMES}, []
    for node in nodes:
        if not plain.intersection(node.input):
            continue
        if node.op_type in WEIGHTED:
            found.append(node.name)
        else:
            plain.update(node.output)
    return found


def _last(nodes: "Sequence[onnx.NodeProto]") -> list[str]:
    """Weighted nodes whose values reach the image through no other."""
    plain, found = {RESTORED}, []
    for node in reversed(nodes):
        if not plain.intersection(node.output):
            continue
        if node.op_type in WEIGHTED:
            found.append(node.name)
        else:
            plain.update(node.input)
    return found


@contextmanager
def _quiet() -> Iterator[None]:
    """It advises on every call to have the graph optimised before, which tracing has done."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
