"""Every kind of network can be exported, go to whole numbers, and lose channels."""

import math
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise

import onnx
import pytest
import torch
from torch import Tensor

from sim_models.compression.export import exported
from sim_models.compression.gated import gates
from sim_models.compression.prune import Recovery, multiplications, pruned, recovered
from sim_models.compression.quantise import Quantisation, quantised
from sim_models.config import BadInput
from sim_models.networks import (
    Network,
    NetworkSettings,
    dfcan,
    nafnet,
    rcan3d,
    rdl_denoiser,
    rednet,
    scunet,
    swin,
    unet,
)
from sim_models.onnx_network import OnnxNetwork

INT8 = Quantisation(float_edges=True, weight_bits_7=True)
Train = Callable[[str], Network]
UNET = unet.Settings(
    name="unet",
    width=8,
    depth=2,
    batch_norm="none",
    up="nearest",
    skip="concatenate",
    output="linear",
    enlarge="after",
    init="torch",
)
KINDS: dict[str, NetworkSettings] = {
    "unet": UNET,
    "unet_running": UNET.model_copy(update={"batch_norm": "running", "up": "transposed"}),
    "unet_own": UNET.model_copy(update={"batch_norm": "own"}),
    "unet_adding": UNET.model_copy(update={"up": "transposed", "skip": "add", "output": "relu"}),
    "unet_before": UNET.model_copy(update={"enlarge": "before"}),
    "rednet": rednet.Settings(name="rednet", filters=4, pairs=2, output="linear", skips="symmetric"),
    "nafnet": nafnet.Settings(name="nafnet", width=8, encoder=(1, 1), middle=1, decoder=(1, 1)),
    "scunet": scunet.Settings(name="scunet", unet=UNET),
    "dfcan": dfcan.Settings(
        name="dfcan", width=16, groups=1, blocks=1, gamma=0.8, taper_px=2, spectrum_px=None, output="linear"
    ),
    "dfcan_resized": dfcan.Settings(
        name="dfcan", width=16, groups=1, blocks=1, gamma=0.1, taper_px=0, spectrum_px=16, output="sigmoid"
    ),
    "swin": swin.Settings(
        name="swin",
        width=16,
        groups=1,
        blocks=2,
        heads=2,
        window=2,
        drop_path=0.1,
        output="linear",
        faithful=False,
    ),
    "rdl_denoiser": rdl_denoiser.Settings(
        name="rdl_denoiser",
        width=16,
        blocks=1,
        pattern_groups=1,
        noisy_groups=1,
        joint_groups=1,
        noise_suppression=0.1,
        output="leaky_relu",
    ),
}
CHANNELS = 4


def build(kind: str, channels_out: int = 1) -> Network:
    """Untrained, at the scale of the kind, in use."""
    torch.manual_seed(0)
    scale = 1 if kind == "rdl_denoiser" else 2
    network = KINDS[kind].build(CHANNELS, channels_out, scale)
    for parameter in network.parameters():
        if parameter.ndim > 1 and not parameter.any():  # else what comes before would not be seen
            torch.nn.init.normal_(parameter, std=0.1)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d) and module.running_mean is not None:
            module.running_mean.uniform_(-0.1, 0.1)
    return network.eval()


def blobs(count: int, height: int, width: int, seed: int = 0) -> Tensor:
    """Smooth frames with some noise."""
    random = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 1, 6, 6, generator=random)
    smooth = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bicubic")
    return smooth + 0.05 * torch.randn(count, CHANNELS, height, width, generator=random)


@pytest.fixture
def trained() -> Callable[[str], Network]:
    """Makes a network that has begun to learn the mean of its frames."""

    def train(kind: str) -> Network:
        network = build(kind)
        optimiser = torch.optim.Adam(network.parameters(), lr=3e-3)
        for step in range(60):
            frames = blobs(4, 16, 16, step)
            wanted = torch.nn.functional.interpolate(frames.mean(1, keepdim=True), scale_factor=network.scale)
            loss = torch.nn.functional.mse_loss(network(frames), wanted)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        return network.eval()

    return train


def fidelity(network: Network, other: Network, frames: Tensor) -> float:
    with torch.inference_mode():
        wanted, found = network(frames), other(frames)
    return 10 * math.log10(float((wanted.max() - wanted.min()) ** 2 / (wanted - found).square().mean()))


def in_whole_numbers(network: Network, settings: Quantisation = INT8) -> OnnxNetwork:
    tiles = [network.padded(blobs(1, 24, 24, seed)).numpy() for seed in range(6)]
    return quantised(exported(network, CHANNELS), tiles, CHANNELS, settings)


@pytest.mark.parametrize("kind", KINDS)
def test_an_exported_network_gives_the_same_for_any_field(kind: str) -> None:
    network = build(kind, channels_out=2)
    graph = exported(network, CHANNELS)
    assert (graph.scale, graph.divisor, graph.halo_px) == (network.scale, network.divisor, network.halo_px)
    assert graph.num_parameters == network.num_parameters
    for count, height, width in [(1, 13, 17), (2, 32, 24), (1, 40, 21)]:
        frames = blobs(count, height, width)
        with torch.inference_mode():
            torch.testing.assert_close(graph(frames), network(frames), rtol=1e-4, atol=1e-4)


def test_exporting_leaves_the_network_as_it_was() -> None:
    network = build("unet_running")
    before, names = network.state_dict(), list(dict(network.named_modules()))
    exported(network, CHANNELS)
    assert list(dict(network.named_modules())) == names
    assert not network.training
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert all(parameter.requires_grad for parameter in network.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_whole_numbers_are_near(kind: str, trained: Train) -> None:
    network = trained(kind)
    graph = in_whole_numbers(network)
    types = {node.op_type for node in onnx.load_model_from_string(graph.content).graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= types
    # Beyond the size of the tiles, for spectra grow with the field.
    assert fidelity(network, graph, blobs(1, 61, 72, seed=99)) > 35


def test_whole_numbers_are_a_quarter_of_the_size() -> None:
    wide = KINDS["unet"].model_copy(update={"width": 24})
    network = wide.build(CHANNELS, 1, 2).eval()
    graph = exported(network, CHANNELS)
    tiles = [network.padded(blobs(1, 24, 24)).numpy()]
    assert len(quantised(graph, tiles, CHANNELS, INT8).content) < 0.32 * len(graph.content)


def test_many_layers_of_few_weights_are_smaller_too() -> None:
    wide = KINDS["nafnet"].model_copy(update={"width": 16})
    network = wide.build(13, 1, 2).eval()
    graph = exported(network, 13)
    assert len(graph.content) < 1.1 * 4 * network.num_parameters
    tiles = [network.padded(torch.rand(1, 13, 24, 24)).numpy()]
    assert len(quantised(graph, tiles, 13, INT8).content) < 0.5 * len(graph.content)


@pytest.mark.parametrize("noise_suppression", [None, 0.3])
def test_volumes(noise_suppression: float | None) -> None:
    torch.manual_seed(0)
    settings = rcan3d.Settings(
        name="rcan3d", width=16, groups=1, blocks=1, noise_suppression=noise_suppression, output="linear"
    )
    network = settings.build(2, 2, 1).eval()
    frames = torch.rand(1, 2, 5, 26, 19)
    graph, smaller = exported(network, 2), pruned(network, 0.4, 2)
    tiles = [torch.rand(1, 2, 3, 24, 24).numpy() for _ in range(4)]
    with torch.inference_mode():
        torch.testing.assert_close(graph(frames), network(frames), rtol=1e-4, atol=1e-4)
        assert smaller(frames).shape == network(frames).shape
    assert multiplications(smaller, 2) < 0.7 * multiplications(network, 2)
    assert fidelity(network, quantised(graph, tiles, 2, INT8), frames) > 30


def test_edges_in_floats_are_nearer(trained: Train) -> None:
    network, frames = trained("unet"), blobs(1, 61, 72, seed=99)
    all_whole = in_whole_numbers(network, Quantisation(float_edges=False, weight_bits_7=True))
    assert fidelity(network, in_whole_numbers(network), frames) > fidelity(network, all_whole, frames)


def test_whole_numbers_are_the_same_every_time(trained: Train) -> None:
    network = trained("unet")
    assert in_whole_numbers(network).sha256 == in_whole_numbers(network).sha256


@pytest.mark.parametrize("kind", KINDS)
def test_pruning_takes_out_work_and_keeps_the_output(kind: str) -> None:
    network = build(kind, channels_out=2)
    frames = blobs(1, 13, 17)
    with torch.inference_mode():
        before = network(frames)
    smaller = pruned(network, 0.4, CHANNELS)
    with torch.inference_mode():
        assert smaller(frames).shape == before.shape
        assert torch.equal(network(frames), before)  # the network itself is left alone
        torch.testing.assert_close(exported(smaller, CHANNELS)(frames), smaller(frames), rtol=1e-4, atol=1e-4)
    assert smaller.num_parameters < 0.9 * network.num_parameters
    assert multiplications(smaller, CHANNELS) < 0.9 * multiplications(network, CHANNELS)


def test_maps_that_meet_in_a_gate_leave_together() -> None:
    network, frames = build("nafnet", channels_out=2), blobs(1, 13, 17)
    found = gates(network, frames[..., :12, :16])
    assert len(found) == 10
    for gate in found:
        gone = [1, 4]  # a quarter of the first level, less than that of others
        for layer in gate.before:
            for channels in (gone, [each + gate.maps for each in gone]):
                layer.weight.data[channels] = 0
                assert layer.bias is not None
                layer.bias.data[channels] = 0
        for layer in (*gate.between, *gate.after):
            layer.weight.data[:, gone] = 0
        for layer in gate.between:
            layer.weight.data[gone] = 0
    smaller = pruned(
        network, 2 / 32, CHANNELS
    )  # two maps of the lowest level, one of the next, none of the first
    with torch.inference_mode():
        torch.testing.assert_close(smaller(frames), network(frames), rtol=1e-5, atol=1e-5)
    assert smaller.num_parameters < network.num_parameters
    assert [gate.maps for gate in gates(smaller, frames[..., :12, :16])] != [gate.maps for gate in found]


def test_a_larger_share_leaves_less() -> None:
    left = [pruned(build("unet"), share, CHANNELS).num_parameters for share in (0.25, 0.5, 0.75)]
    assert all(more > less for more, less in pairwise(left))


@pytest.mark.parametrize("share", [0.0, 1.0, 1.5, -0.1, math.nan])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(
        BadInput, match=r"of the channels cannot be taken out; give a share above 0 and below 1"
    ):
        pruned(build("unet"), share, CHANNELS)


def test_recovery_brings_it_nearer_and_is_decided_by_the_seed(trained: Train) -> None:
    network, frames = trained("unet"), blobs(1, 32, 32, seed=99)
    tiles = list(blobs(8, 16, 16))
    settings = Recovery(steps=60, batch=4, learning_rate=5e-3, seed=1)
    first, second = (recovered(pruned(network, 0.25, CHANNELS), network, tiles, settings) for _ in range(2))
    assert fidelity(network, first, frames) > fidelity(network, pruned(network, 0.25, CHANNELS), frames) + 3
    assert all(map(torch.equal, first.state_dict().values(), second.state_dict().values()))


def _spoil_domain(model: onnx.ModelProto) -> None:
    model.graph.node[0].domain = "com.stranger"
    model.opset_import.append(onnx.helper.make_opsetid("com.stranger", 1))


def _spoil_external(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")


def _spoil_branch(model: onnx.ModelProto) -> None:
    body = onnx.helper.make_graph([], "body", [], [])
    model.graph.node.append(onnx.helper.make_node("If", ["x"], ["y"], then_branch=body, else_branch=body))


def _spoil_input(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 7


def _spoil_name(model: onnx.ModelProto) -> None:
    model.graph.input[0].name = "other"


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_spoil_domain, "operators of other libraries"),
        (_spoil_external, "weights are in another file, which is not read"),
        (_spoil_branch, "a loop, a branch"),
        (_spoil_input, "does not take 4 frames"),
        (_spoil_name, "takes 'frames' and gives 'restored'"),
    ],
)
def test_a_graph_that_is_not_ours_is_refused(spoil: Callable[[onnx.ModelProto], None], said: str) -> None:
    network = build("unet")
    model = onnx.load_model_from_string(exported(network, CHANNELS).content)
    spoil(model)
    with pytest.raises(BadInput, match=said):
        OnnxNetwork(model.SerializeToString(), network, 1, CHANNELS)


@pytest.mark.parametrize("content", [b"", b"no graph at all", b"\x00" * 64])
def test_what_is_no_graph_is_refused(content: bytes) -> None:
    with pytest.raises(BadInput):
        OnnxNetwork(content, build("unet"), 1, CHANNELS)


def test_nothing_heavy_is_imported_with_a_restorer() -> None:
    code = (
        "import sys, sim_models.restorer; print(*{'onnx', 'onnxruntime', 'torch_pruning'} & set(sys.modules))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == ""
