"""A network that ONNX Runtime computes: what compression leaves of a network of ours.

A graph from a stranger is computed, not run as code: it may hold plain ONNX operators only, no operators of other
libraries, no loops, and no values in other files.
"""

import hashlib
from typing import TYPE_CHECKING, Any

import torch
from pydantic import NonNegativeInt, PositiveInt
from torch import Tensor, nn

from sim_models.config import BadInput, Settings
from sim_models.networks import Network

if TYPE_CHECKING:
    import onnx

FRAMES, RESTORED = "frames", "restored"
"""names of the graph's one input and one output"""

OPSET = 17
"""the first with DFT and LayerNormalization"""


class Judged(Settings):
    """What was found when a compressed network was compared with the one it came from."""

    criterion: str
    """`loss_db` against references, or `fidelity_db` against what the float network gives"""
    value: float | None
    """of the worst stack; None where both give the same to the last bit"""
    limit: float
    stacks: PositiveInt
    held_out: bool
    """whether these stacks had no part in the compression"""


class Compression(Settings):
    """How a network was compressed, and what it lost."""

    parent: str
    """SHA-256 of the weights it was made from"""
    int8: bool
    pruned_share: float | None
    recover_steps: NonNegativeInt
    parameters: PositiveInt
    """weights and biases of the network that was exported"""
    judged: Judged


class OnnxNetwork(Network):
    """A graph with the geometry of the network it was made from; it is used only, and has no stages to train."""

    def __init__(self, content: bytes, like: Network, num_parameters: int, channels_in: int) -> None:
        """Check the graph and make ready to compute.

        Args:
            content: an ONNX file.
            like: has the geometry; its weights are not looked at.
            num_parameters: of the network that was exported.
            channels_in: that the graph must take.

        Raises:
            BadInput: if it is no graph, or holds what a network of ours does not.
        """
        super().__init__(like.scale, like.divisor, like.halo_px)
        # Whoever uses a network asks its parameters where it is.
        self.place = nn.Parameter(torch.empty(0), requires_grad=False)
        self.content, self.count = content, num_parameters
        refuse_strange(content, channels_in)
        self._session = _session(content)

    @property
    def num_parameters(self) -> int:
        """Of the network that was exported."""
        return self.count

    @property
    def sha256(self) -> str:
        """SHA-256 of the ONNX file."""
        return hashlib.sha256(self.content).hexdigest()

    def stages(self) -> dict[str, nn.Module]:
        """None: there is nothing to train or to freeze."""
        return {}

    def compute(self, frames: Tensor) -> Tensor:
        """The graph's answer, on the device of the frames."""
        (restored,) = self._session.run([RESTORED], {FRAMES: frames.detach().float().cpu().numpy()})
        return torch.from_numpy(restored).to(frames.device)


def terse(content: bytes) -> bytes:
    """The same graph with short names, without remarks, and with equal numbers kept once.

    Small networks have many layers of few weights, whose names take more than the weights do.
    """
    import onnx

    model = onnx.load_model_from_string(content)
    graph = model.graph
    for node in [
        node for node in graph.node if node.op_type == "Constant" and node.attribute[0].HasField("t")
    ]:
        graph.initializer.add().CopyFrom(node.attribute[0].t)
        graph.initializer[-1].name = node.output[0]
        graph.node.remove(node)
    names: dict[str, str] = {"": "", FRAMES: FRAMES, RESTORED: RESTORED}
    same: dict[bytes, str] = {}
    for tensor in list(graph.initializer):
        name, tensor.name = tensor.name, ""
        tensor.ClearField("doc_string")
        alike = tensor.SerializeToString(deterministic=True)
        if alike in same:
            graph.initializer.remove(tensor)
        else:
            same[alike] = tensor.name = f"w{len(same)}"
        names[name] = same[alike]
    # Tracing gives weights that several layers share a name for each.
    for node in [each for each in graph.node if each.op_type == "Identity" and each.input[0] in names]:
        if node.input[0] != FRAMES and node.output[0] != RESTORED:
            names[node.output[0]] = names[node.input[0]]
            graph.node.remove(node)
    for number, node in enumerate(graph.node):
        node.name = str(number)
        node.ClearField("doc_string")
        for place, name in enumerate(node.input):
            node.input[place] = names[name]
        for place, name in enumerate(node.output):
            node.output[place] = names.setdefault(name, str(len(names)))
        node.ClearField("metadata_props")
    graph.ClearField("value_info")
    return bytes(model.SerializeToString(deterministic=True))


def refuse_strange(content: bytes, channels_in: int) -> None:
    """Refuse a graph that holds what no network of ours does.

    Raises:
        BadInput: if it is damaged, or reaches beyond itself, or takes other frames.
    """
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load_model_from_string(content)
    except (DecodeError, ValueError):
        raise BadInput("it is no ONNX file; fetch it again") from None
    strange = {node.domain for node in model.graph.node} | {each.domain for each in model.opset_import}
    if strange - {"", "ai.onnx"} or model.functions:
        raise BadInput("it holds operators of other libraries, which are not loaded; take a file of ours")
    if any(_reaches_beyond(node) for node in model.graph.node) or model.graph.sparse_initializer:
        raise BadInput("it holds a loop, a branch or values in other files; take a file of ours")
    if any(_external(tensor) for tensor in model.graph.initializer):
        raise BadInput("its weights are in another file, which is not read; take a file of ours")
    inputs, outputs = model.graph.input, model.graph.output
    if [each.name for each in inputs] != [FRAMES] or [each.name for each in outputs] != [RESTORED]:
        raise BadInput(f"a network of ours takes '{FRAMES}' and gives '{RESTORED}', it does not")
    dimensions = inputs[0].type.tensor_type.shape.dim
    if len(dimensions) not in (4, 5) or dimensions[1].dim_value != channels_in:
        raise BadInput(f"it does not take {channels_in} frames as the record says; fetch it again")


def _reaches_beyond(node: "onnx.NodeProto") -> bool:
    return any(
        attribute.HasField("g")
        or attribute.graphs
        or _external(attribute.t)
        or any(map(_external, attribute.tensors))
        for attribute in node.attribute
    )


def _external(tensor: "onnx.TensorProto") -> bool:
    import onnx

    return bool(tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data)


def _session(content: bytes) -> Any:
    """A session on the CPU with as many threads as torch has, which do not spin while they wait."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = torch.get_num_threads(), 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4  # what goes wrong is raised, and told in a sentence
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors share no other base
        reason = " ".join(str(error).split())[:200]
        raise BadInput(f"ONNX Runtime does not take it ({reason}); fetch it again") from None
