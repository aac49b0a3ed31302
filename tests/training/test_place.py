"""How a machine is used changes nothing on a CPU, and but rounding elsewhere."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from sim_models.config import BadInput
from sim_models.restorer import Restorer
from sim_models.training.place import Place, laid_out_for_speed


def test_the_place_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    words = {"WORKERS": "4", "THREADS": "3", "CHANNELS_LAST": "1", "COMPILE": "0"}
    for name, value in words.items():
        monkeypatch.setenv(f"SIM_MODELS_{name}", value)
    assert Place.from_environment() == Place(workers=4, threads=3, channels_last=True, compiled=False)
    monkeypatch.setenv("SIM_MODELS_WORKERS", "2-8")
    elastic = Place.from_environment()
    assert (elastic.fewest, elastic.workers, str(elastic)) == (2, 8, "2-8")
    for name in words:
        monkeypatch.delenv(f"SIM_MODELS_{name}")
    assert Place.from_environment() == Place(workers=1, threads=2)


@pytest.mark.parametrize("text", ["0", "-1", "two", "1.5", "", "2-", "0-2", "3-2", "1-2-3"])
def test_a_place_that_is_no_number_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("SIM_MODELS_WORKERS", text)
    with pytest.raises(BadInput, match=rf"SIM_MODELS_WORKERS is '{text}'; give a whole number of at least 1"):
        Place.from_environment()


def test_a_device_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIM_MODELS_DEVICE", "tpu")
    with pytest.raises(BadInput, match=r"SIM_MODELS_DEVICE is 'tpu'; give auto, cpu or gpu"):
        Place.from_environment()
    monkeypatch.setenv("SIM_MODELS_DEVICE", "cpu")
    assert Place.from_environment().device == "cpu"


@pytest.mark.parametrize("name", ["CHANNELS_LAST", "COMPILE"])
def test_a_switch_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(f"SIM_MODELS_{name}", "yes")
    with pytest.raises(BadInput, match=rf"SIM_MODELS_{name} is 'yes'; give 0 or 1"):
        Place.from_environment()


def test_a_network_on_a_cpu_stays_as_it_is(untrained: Callable[..., Restorer]) -> None:
    network = untrained("wiener_nafnet", 0.1).network
    before = {name: tensor.stride() for name, tensor in network.state_dict().items()}
    assert Place(1, 1, channels_last=True, compiled=True).arranged(network) is network
    assert {name: tensor.stride() for name, tensor in network.state_dict().items()} == before


@pytest.mark.parametrize("name", ["wiener_nafnet", "unet_fairsim", "red_fairsim", "rdl_sr", "sis_rdl"])
def test_channels_last_changes_but_rounding(untrained: Callable[..., Restorer], name: str) -> None:
    """Of volumes, too, whose kernels have five axes."""
    small: dict[str, Any] = {"network": {"width": 16, "groups": 1, "blocks": 1}} if name == "rdl_sr" else {}
    restorer = untrained(name, 0.1, **small)
    axes = (2, 32, 32) if name == "sis_rdl" else (32, 32)
    sample = torch.rand(1, restorer.channels[0], *axes)
    keys = list(restorer.network.state_dict())
    with torch.inference_mode():
        plain = restorer.network(sample)
        arranged = laid_out_for_speed(restorer.network, channels_last=True, compiled=False)
        torch.testing.assert_close(arranged(sample), plain, rtol=1e-4, atol=1e-4)
    assert list(arranged.state_dict()) == keys
