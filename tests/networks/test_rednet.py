import pytest
import torch

from sim_models.networks.rednet import Settings


@pytest.mark.parametrize(
    ("filters", "pairs", "channels_in", "scale", "parameters"),
    [
        pytest.param(64, 7, 1, 1, 1_035_201, id="RED-Net-fairSIM"),
        pytest.param(64, 10, 15, 2, 1_560_257, id="SR-REDSIM"),
        pytest.param(32, 10, 15, 2, 393_057, id="SR-REDSIM, published file"),
    ],
)
def test_published_parameter_counts(
    filters: int, pairs: int, channels_in: int, scale: int, parameters: int
) -> None:
    with torch.device("meta"):
        settings = Settings(name="rednet", filters=filters, pairs=pairs, output="relu", skips="symmetric")
        network = settings.build(channels_in, 1, scale)
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters


def test_stage_names() -> None:
    network = Settings(name="rednet", filters=2, pairs=2, output="linear", skips="symmetric").build(
        9, 1, scale=2
    )
    assert list(network.stages()) == ["enc1", "enc2", "bottleneck", "dec2", "dec1", "head"]


def test_skips_reach_the_output() -> None:
    """Without its bottleneck the network still sees its input, through the skips alone."""
    torch.manual_seed(0)
    network = Settings(name="rednet", filters=4, pairs=2, output="linear", skips="symmetric").build(
        1, 1, scale=1
    )
    for parameter in network.stages()["bottleneck"].parameters():
        torch.nn.init.zeros_(parameter)
    first, second = network(torch.rand(2, 1, 8, 8))
    assert not torch.allclose(first, second)
