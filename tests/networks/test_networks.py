"""What every network promises, whatever its architecture."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sim_models import networks
from sim_models.config import BadInput, Settings, choice_of, parse
from sim_models.networks import Network, NetworkSettings, dfcan, rednet, scunet, swin, unet

UNET = unet.Settings(
    name="unet",
    width=4,
    depth=2,
    batch_norm="none",
    up="nearest",
    skip="concatenate",
    output="linear",
    enlarge="after",
    init="torch",
)
NETWORKS: dict[str, NetworkSettings] = {
    "unet": UNET,
    "unet_dlsim": UNET.model_copy(update={"batch_norm": "running", "up": "transposed"}),
    "unet_decon": UNET.model_copy(update={"up": "transposed", "skip": "add", "output": "relu"}),
    "unet_before": UNET.model_copy(update={"enlarge": "before"}),
    "unet_own_statistics": UNET.model_copy(update={"batch_norm": "own"}),
    "rednet": rednet.Settings(name="rednet", filters=4, pairs=2, output="linear", skips="symmetric"),
    "scunet": scunet.Settings(name="scunet", unet=UNET),
    "dfcan": dfcan.Settings(
        name="dfcan", width=16, groups=2, blocks=1, gamma=0.8, taper_px=2, spectrum_px=None, output="linear"
    ),
    "swin": swin.Settings(
        name="swin",
        width=8,
        groups=2,
        blocks=2,
        heads=2,
        window=2,
        drop_path=0.1,
        output="linear",
        faithful=False,
    ),
}
BY_IMAGE = [key for key in NETWORKS if key != "unet_own_statistics"]
"""networks whose images do not see each other in use"""
LOCAL = [key for key in NETWORKS if key != "dfcan" and not key.startswith("unet_own")]
"""networks whose every output pixel depends on what is near it alone"""


def build(key: str, channels_in: int = 3, scale: int = 2) -> Network:
    torch.manual_seed(0)
    return NETWORKS[key].build(channels_in, 1, scale).eval()


@pytest.mark.parametrize("key", NETWORKS)
def test_stages_cover_every_parameter_and_buffer_once(key: str) -> None:
    network = build(key)
    staged = [f"{stage}.{name}" for stage, module in network.stages().items() for name in module.state_dict()]
    assert sorted(staged) == sorted(network.state_dict())


@pytest.mark.parametrize("key", NETWORKS)
def test_stages_are_ordered_from_input_to_output(key: str) -> None:
    network = build(key)
    called: list[str] = []
    for name, stage in network.stages().items():
        stage.register_forward_hook(lambda *_, name=name: called.append(name))
    network(torch.zeros(1, 3, 16, 16))
    assert called == list(network.stages())


@pytest.mark.parametrize("key", BY_IMAGE)
@settings(max_examples=15, deadline=None)
@given(
    height=st.integers(3, 21),
    width=st.integers(3, 21),
    scale=st.sampled_from([1, 2, 3]),
    batch=st.integers(1, 2),
)
def test_any_size_scale_and_batch(key: str, height: int, width: int, scale: int, batch: int) -> None:
    network = build(key, scale=scale)
    height, width = max(height, network.smallest_px), max(width, network.smallest_px)
    restored = network(torch.rand(batch, 3, height, width))
    assert restored.shape == (batch, 1, scale * height, scale * width)


@pytest.mark.parametrize("key", BY_IMAGE)
def test_images_of_a_batch_do_not_see_each_other_when_restoring(key: str) -> None:
    network, frames = build(key), torch.rand(3, 3, 12, 12)
    one_by_one = torch.cat([network(frame[None]) for frame in frames])
    torch.testing.assert_close(network(frames), one_by_one)


@pytest.mark.parametrize("key", LOCAL)
def test_nothing_beyond_the_halo_reaches_an_output_pixel(key: str) -> None:
    network = build(key)
    for parameter in network.parameters():
        parameter.data.abs_()  # so that no ReLU hides what reaches a pixel
    edge = 4 * network.halo_px + network.divisor
    for centre in range(edge // 2, edge // 2 + network.divisor):
        frames = torch.rand(1, 3, edge, edge, requires_grad=True)
        network(frames)[0, 0, 2 * centre, 2 * centre].backward()
        assert frames.grad is not None
        reached = frames.grad[0].abs().sum(0).nonzero()
        assert (reached - centre).abs().max() <= network.halo_px


@pytest.mark.parametrize("key", NETWORKS)
def test_the_seed_decides_the_weights(key: str) -> None:
    first, second = build(key).state_dict(), build(key).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("key", NETWORKS)
def test_learns_the_mean_of_its_frames(key: str) -> None:
    network = build(key).train()
    optimiser = torch.optim.Adam(network.parameters(), lr=5e-3)
    losses = []
    for _ in range(60):
        frames = torch.rand(4, 3, 8, 8)
        target = frames.mean(1, keepdim=True).repeat_interleave(2, -1).repeat_interleave(2, -2)
        loss = torch.nn.functional.mse_loss(network(frames), target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])


def test_a_field_too_small_to_mirror_is_refused() -> None:
    with pytest.raises(BadInput, match=r"2 x 9 pixels is too small.* at least 3 x 3"):
        build("unet")(torch.rand(1, 3, 2, 9))


@pytest.mark.parametrize("key", NETWORKS)
def test_settings_survive_json_and_are_chosen_by_file_name(key: str) -> None:
    chosen = NETWORKS[key]

    class Tree(Settings):
        network: choice_of(networks)  # type: ignore[valid-type]

    assert parse(Tree, {"network": chosen.model_dump()}, "test").network == chosen
