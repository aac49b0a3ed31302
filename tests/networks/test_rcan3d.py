import numpy as np
import pytest
import torch

from sim_models.config import BadInput
from sim_models.networks.rcan3d import STEEPNESS, Settings
from sim_models.spectra import low_passed

PIXEL_UM = 0.0926
PUBLISHED = Settings(
    name="rcan3d",
    width=64,
    groups=3,
    blocks=5,
    noise_suppression=4.1 * PIXEL_UM,
    output="leaky_relu",
)
SMALL = PUBLISHED.model_copy(update={"width": 16, "groups": 1, "blocks": 1})


@pytest.mark.parametrize(
    ("channels", "noise_suppression", "parameters"),
    [
        pytest.param(4, 0.38, 3_812_610, id="TiS-rDL"),
        pytest.param(1, 0.38, 3_781_503, id="SiS-rDL"),
        pytest.param(1, None, 3_779_709, id="without noise suppression"),
    ],
)
def test_published_parameter_counts(channels: int, noise_suppression: float | None, parameters: int) -> None:
    with torch.device("meta"):
        settings = PUBLISHED.model_copy(update={"noise_suppression": noise_suppression})
        network = settings.build(channels, channels, 1)
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters


def test_stage_names() -> None:
    with torch.device("meta"):
        network = PUBLISHED.build(4, 4, 1)
    assert list(network.stages()) == ["first", "group1", "group2", "group3", "tail", "head"]


@pytest.mark.parametrize("shape", [(48, 64), (37, 50)])
def test_the_low_pass_is_the_published_one_of_every_slice(shape: tuple[int, int]) -> None:
    volume = np.random.default_rng(0).random((1, 2, 3, *shape)).astype(np.float32)
    rows, columns = (np.fft.fftfreq(size, PIXEL_UM) for size in shape)
    with np.errstate(over="ignore"):
        kept = 1 / (1 + np.exp(-(4.1 - np.hypot(rows[:, None], columns)) * STEEPNESS * PIXEL_UM))
    expected = np.fft.ifft2(np.fft.fft2(volume) * kept).real
    cutoff = torch.tensor(4.1 * PIXEL_UM)
    passed = low_passed(torch.from_numpy(volume), cutoff, torch.tensor(STEEPNESS))
    np.testing.assert_allclose(passed.numpy(), expected, atol=1e-4)
    assert pytest.approx(100, rel=1e-3) == STEEPNESS * PIXEL_UM


def test_the_low_pass_learns_where_to_begin_and_how_steeply_to_fall() -> None:
    torch.manual_seed(0)
    network = SMALL.build(2, 2, 1)
    network(torch.rand(1, 2, 3, 40, 40)).square().sum().backward()
    first = network.get_submodule("first")
    assert first.cutoff.grad.abs() > 0
    assert first.steepness.grad.abs() > 0


def test_its_attention_reaches_over_all_slices() -> None:
    torch.manual_seed(0)
    network = SMALL.build(1, 1, 1)
    for layer in network.modules():
        if isinstance(layer, torch.nn.Conv3d) and layer.kernel_size == (1, 1, 1) and layer.out_channels == 1:
            torch.nn.init.ones_(layer.bias)  # the one unit of so narrow an attention must not sleep
            torch.nn.init.constant_(layer.weight, 0.01)
    volume = torch.rand(1, 1, 14, 6, 6, requires_grad=True)
    network(volume)[:, :, -1].sum().backward()
    assert volume.grad is not None
    assert volume.grad[:, :, 0].abs().max() > 0


def test_below_zero_little_is_left() -> None:
    torch.manual_seed(0)
    leaky = SMALL.build(1, 1, 1)
    linear = SMALL.model_copy(update={"output": "linear"}).build(1, 1, 1)
    linear.load_state_dict(leaky.state_dict())
    volume = torch.randn(1, 1, 4, 9, 9)
    values = linear(volume)
    assert values.min() < 0 < values.max()
    torch.testing.assert_close(leaky(volume), torch.where(values < 0, 0.2 * values, values))


def test_images_and_finer_volumes_are_refused() -> None:
    with pytest.raises(BadInput, match=r"takes volumes \(N, C, Z, Y, X\); found \(3, 3, 8, 8\), of 4 axes"):
        SMALL.build(3, 1, 1)(torch.rand(3, 3, 8, 8))
    with pytest.raises(BadInput, match="volumes of the size of its frames; found scale 2"):
        SMALL.build(3, 1, 2)
