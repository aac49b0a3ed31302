"""The network of a restorer in a folder: weights of ours, or a graph that was compressed."""

import hashlib
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from sim_models.config import BadInput
from sim_models.networks import Network
from sim_models.onnx_network import OnnxNetwork
from sim_models.restorer.record import GRAPH, SETTINGS, WEIGHTS, CompressedRecord, Record


def sha256_of(network: Network) -> str:
    """Of names and values of the weights; of a compressed network that of its file."""
    if isinstance(network, OnnxNetwork):
        return network.sha256
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def write_network(network: Network, folder: Path) -> None:
    """Write weights or graph."""
    if isinstance(network, OnnxNetwork):
        (folder / GRAPH).write_bytes(network.content)
        return
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    save_file(weights, folder / WEIGHTS)


def read_network(folder: Path, record: Record | CompressedRecord) -> Network:
    """The network that a record tells of, ready for use.

    Raises:
        BadInput: if its file is missing, damaged, or not the one the record names.
    """
    if isinstance(record, CompressedRecord):
        return _read_graph(folder / GRAPH, record).eval()
    network = _read_weights(folder / WEIGHTS, record).eval()
    if (found := sha256_of(network)) != record.weights_sha256:
        raise BadInput(
            f"{folder / WEIGHTS}: its SHA-256 is {found[:12]}... but {SETTINGS} says "
            f"{record.weights_sha256[:12]}...; the file was changed, fetch it again"
        )
    return network


def _read_weights(file: Path, record: Record) -> Network:
    network = record.recipe.network.build(record.channels_in, record.channels_out, record.recipe.task.scale)
    try:
        network.load_state_dict(load_file(file))
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise BadInput(f"{file}: not the weights of this restorer ({reason}); fetch it again") from None
    return network


def _read_graph(file: Path, record: CompressedRecord) -> Network:
    """The graph in a file, which is compared with the record before anything looks into it."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise BadInput(f"{file}: cannot be read ({error.strerror}); fetch it again") from None
    if (found := hashlib.sha256(content).hexdigest()) != record.weights_sha256:
        raise BadInput(
            f"{file}: its SHA-256 is {found[:12]}... but {SETTINGS} says {record.weights_sha256[:12]}...; the file was "
            "changed, fetch it again"
        )
    with torch.device("meta"):  # its geometry is asked for, and no weights
        like = record.recipe.network.build(record.channels_in, record.channels_out, record.recipe.task.scale)
    try:
        return OnnxNetwork(content, like, record.compression.parameters, record.channels_in)
    except BadInput as refusal:
        raise BadInput(f"{file}: {refusal}") from None
