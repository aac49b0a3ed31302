import pytest
import torch

from sim_models.config import BadInput
from sim_models.networks.rdl_denoiser import Settings
from sim_models.spectra import low_passed

PUBLISHED = Settings(
    name="rdl_denoiser",
    width=64,
    blocks=5,
    pattern_groups=2,
    noisy_groups=5,
    joint_groups=5,
    noise_suppression=None,
    output="leaky_relu",
)
SMALL = PUBLISHED.model_copy(
    update={"width": 16, "blocks": 1, "pattern_groups": 1, "noisy_groups": 1, "joint_groups": 1}
)


@pytest.mark.parametrize(("noise_suppression", "parameters"), [(None, 4_743_619), (0.31, 4_780_549)])
def test_published_parameter_counts(noise_suppression: float | None, parameters: int) -> None:
    with torch.device("meta"):
        network = PUBLISHED.model_copy(update={"noise_suppression": noise_suppression}).build(6, 3, 1)
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters


def test_both_halves_of_its_channels_count() -> None:
    torch.manual_seed(0)
    network = SMALL.build(6, 3, 1).eval()
    frames = torch.rand(1, 6, 12, 14, requires_grad=True)
    network(frames).sum().backward()
    assert frames.grad is not None
    assert (frames.grad.abs().sum(dim=(0, 2, 3)) > 0).all()


def test_the_low_pass_passes_low_frequencies_and_learns_its_cutoff() -> None:
    torch.manual_seed(0)
    network = SMALL.model_copy(update={"noise_suppression": 0.25}).build(6, 3, 1)
    first = network.get_submodule("noisy.first")
    place = torch.arange(64.0)
    slow, fast = (torch.cos(2 * torch.pi * k / 64 * place).expand(1, 1, 64, 64) for k in (8, 28))
    torch.testing.assert_close(low_passed(slow, first.cutoff, first.steepness), slow, atol=1e-4, rtol=0)
    assert low_passed(fast, first.cutoff, first.steepness).abs().max() < 1e-4
    network(torch.rand(1, 6, 16, 16)).sum().backward()
    assert first.cutoff.grad is not None


@pytest.mark.parametrize(("channels", "scale"), [(5, 1), (6, 2)])
def test_frames_that_are_not_two_halves_or_another_size_are_refused(channels: int, scale: int) -> None:
    with pytest.raises(BadInput, match="takes derived and noisy frames, as many of each"):
        SMALL.build(channels, 3, scale)
