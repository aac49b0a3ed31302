import numpy as np
import pytest
import torch

from sim_models.networks.dfcan import Settings, tapered

PUBLISHED = Settings(
    name="dfcan", width=64, groups=4, blocks=4, gamma=0.1, taper_px=10, spectrum_px=128, output="sigmoid"
)


@pytest.mark.parametrize(
    ("channels_in", "scale", "parameters"), [(9, 2, 1_935_361), (1, 2, 1_930_753), (25, 3, 2_129_217)]
)
def test_published_parameter_counts(channels_in: int, scale: int, parameters: int) -> None:
    with torch.device("meta"):
        network = PUBLISHED.build(channels_in, 1, scale)
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters


def test_a_sigmoid_keeps_within_bounds() -> None:
    torch.manual_seed(0)
    network = PUBLISHED.model_copy(update={"width": 16, "groups": 1, "blocks": 1, "spectrum_px": 16}).build(
        3, 1, 2
    )
    restored = network(100 * torch.randn(1, 3, 24, 24))
    assert restored.min() >= 0
    assert restored.max() <= 1


def test_the_attention_computes_its_spectra_in_full_precision() -> None:
    """Half a million photo-electrons at frequency zero are beyond half precision."""
    torch.manual_seed(0)
    settings = PUBLISHED.model_copy(update={"width": 16, "groups": 1, "blocks": 1, "spectrum_px": None})
    network = settings.build(3, 1, 1)
    with torch.autocast("cpu", torch.float16):
        assert torch.isfinite(network(1000 * torch.rand(1, 3, 32, 32))).all()


def test_a_tapered_image_has_no_step_where_it_continues() -> None:
    ramp = torch.arange(64.0).expand(64, 64)
    tapering = tapered(ramp, 8)
    steps = np.abs(np.diff(tapering[0].numpy(), append=tapering[0, :1].numpy()))
    assert steps[-1] < 1e-4
    torch.testing.assert_close(tapering[:, 8:-8], ramp[:, 8:-8])
    assert torch.equal(tapered(ramp, 0), ramp)
