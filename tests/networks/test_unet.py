import pytest
import torch
from pydantic import ValidationError

from sim_models.networks.unet import Settings

FAIRSIM = Settings(
    name="unet",
    width=16,
    depth=5,
    batch_norm="none",
    up="nearest",
    skip="concatenate",
    output="relu",
    enlarge="after",
    init="torch",
)
DLSIM = Settings(
    name="unet",
    width=64,
    depth=4,
    batch_norm="running",
    up="transposed",
    skip="concatenate",
    output="linear",
    enlarge="after",
    init="torch",
)
DECONOISING = Settings(
    name="unet",
    width=64,
    depth=2,
    batch_norm="none",
    up="transposed",
    skip="add",
    output="linear",
    enlarge="after",
    init="torch",
)


@pytest.mark.parametrize(
    ("settings", "channels_in", "channels_out", "parameters"),
    [
        pytest.param(FAIRSIM, 1, 1, 7_862_113, id="U-Net-fairSIM"),
        pytest.param(DLSIM, 15, 1, 31_050_433, id="U-Net-SIM15"),
        pytest.param(DLSIM, 3, 1, 31_043_521, id="U-Net-SIM3"),
        pytest.param(DLSIM, 15, 15, 31_051_343, id="U-Net-SNR"),
        # The published count has one scalar more, which its network never uses.
        pytest.param(DECONOISING, 1, 1, 1_677_377, id="DecoNoising"),
        pytest.param(DECONOISING.model_copy(update={"depth": 3}), 1, 1, 6_922_049, id="DecoNoising, deeper"),
    ],
)
def test_published_parameter_counts(
    settings: Settings, channels_in: int, channels_out: int, parameters: int
) -> None:
    with torch.device("meta"):
        network = settings.build(channels_in, channels_out, scale=1)
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters


def test_stage_names() -> None:
    with torch.device("meta"):
        network = DECONOISING.build(9, 1, scale=2)
    assert list(network.stages()) == ["enc1", "enc2", "bottleneck", "dec2", "dec1", "head"]


def test_addition_of_unequal_feature_maps_is_refused() -> None:
    with pytest.raises(ValidationError, match="skip 'add' needs up 'transposed'"):
        Settings(
            name="unet",
            width=4,
            depth=1,
            batch_norm="none",
            up="nearest",
            skip="add",
            output="linear",
            enlarge="after",
            init="torch",
        )


def test_a_relu_output_is_never_negative() -> None:
    torch.manual_seed(0)
    network = FAIRSIM.model_copy(update={"width": 2, "depth": 1}).build(1, 1, scale=2)
    assert network(torch.randn(4, 1, 8, 8)).min() >= 0


def test_a_zero_head_starts_from_nothing_and_learns() -> None:
    torch.manual_seed(0)
    network = Settings(
        name="unet", width=4, depth=2, batch_norm="none", up="nearest", skip="concatenate", output="linear",
        enlarge="after",
        init="he_zero_head",
    ).build(3, 1, scale=2)  # fmt: skip
    frames = torch.rand(2, 3, 16, 16)
    assert not network(frames).any()
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-2)
    for _ in range(60):
        optimiser.zero_grad()
        loss = (network(frames) - 1).square().mean()
        loss.backward()
        optimiser.step()
    assert loss < 0.1


def test_a_zero_head_under_a_relu_is_refused() -> None:
    with pytest.raises(ValueError, match="passes no gradient"):
        Settings(
            name="unet", width=4, depth=1, batch_norm="none", up="nearest", skip="concatenate", output="relu",
            enlarge="after",
            init="he_zero_head",
        )  # fmt: skip
