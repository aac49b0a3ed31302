from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
import torch.distributed
from pydantic import ValidationError
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from sim_models.config import BadInput
from sim_models.freeze import FreezeRange, fingerprint, freeze, trainable_share
from sim_models.networks import Network, rednet, unet

Build = Callable[[], Network]


def unet_with_batch_norm() -> Network:
    torch.manual_seed(0)
    return unet.Settings(
        name="unet",
        width=4,
        depth=2,
        batch_norm="running",
        up="transposed",
        skip="concatenate",
        output="linear",
        enlarge="after",
        init="torch",
    ).build(3, 1, scale=2)


def small_rednet() -> Network:
    torch.manual_seed(0)
    return rednet.Settings(name="rednet", filters=4, pairs=2, output="linear", skips="symmetric").build(
        3, 1, scale=2
    )


def train_an_epoch(network: nn.Module) -> None:
    """As a training loop does: training mode, steps, evaluation mode, training mode again."""
    trainable = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(trainable, lr=1e-2)
    for _ in range(2):
        network.train()
        for _ in range(2):
            loss = (network(torch.rand(2, 3, 8, 8)) - torch.rand(2, 1, 16, 16)).square().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        network.eval()


@pytest.fixture
def process_group(tmp_path: Path) -> Iterator[None]:
    meeting = f"file://{tmp_path / 'rendezvous'}"
    torch.distributed.init_process_group("gloo", init_method=meeting, rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("build", [unet_with_batch_norm, small_rednet])
@pytest.mark.parametrize(("start", "end"), [(0, 3), (2, 4), (0, 5), (5, 6)])
def test_frozen_stages_stay_bit_equal_and_the_others_learn(build: Build, start: int, end: int) -> None:
    network, frozen = build(), FreezeRange(start=start, end=end)
    everything_else = [name for name in network.stages() if name not in frozen.names(network)]
    freeze(network, frozen)
    before, weights = fingerprint(network, frozen), _copy(network)

    train_an_epoch(network)

    assert fingerprint(network, frozen) == before
    for stage in everything_else:
        assert any(
            not torch.equal(tensor, weights[stage, name])
            for name, tensor in network.get_submodule(stage).state_dict().items()
        )


def test_without_evaluation_mode_the_statistics_would_drift() -> None:
    """The negative control: what freezing by `requires_grad` alone does."""
    network, frozen = unet_with_batch_norm(), FreezeRange(start=0, end=3)
    for name in frozen.names(network):
        network.get_submodule(name).requires_grad_(False)
    before = fingerprint(network, frozen)

    train_an_epoch(network)

    assert fingerprint(network, frozen) != before


@pytest.mark.usefixtures("process_group")
def test_frozen_stages_stay_bit_equal_inside_distributed_training() -> None:
    network, frozen = unet_with_batch_norm(), FreezeRange(start=0, end=3)
    freeze(network, frozen)
    before = fingerprint(network, frozen)

    train_an_epoch(DistributedDataParallel(network))

    assert fingerprint(network, frozen) == before


def test_freezing_anew_releases_what_was_frozen() -> None:
    network = unet_with_batch_norm()
    freeze(network, FreezeRange(start=0, end=3))
    assert 0 < trainable_share(network) < 1
    freeze(network, FreezeRange(start=0, end=0))
    assert trainable_share(network) == 1
    assert all(module.training for module in network.modules())


def test_the_fingerprint_sees_every_bit_of_weights_and_statistics() -> None:
    network, frozen = unet_with_batch_norm(), FreezeRange(start=0, end=2)
    seen = {fingerprint(network, frozen)}
    for name in frozen.names(network):
        for tensor in network.get_submodule(name).state_dict().values():
            tensor.view(-1)[0] = tensor.view(-1)[0] + 1
            seen.add(fingerprint(network, frozen))
    assert len(seen) == 1 + sum(
        len(network.get_submodule(name).state_dict()) for name in frozen.names(network)
    )
    untouched = fingerprint(network, frozen)
    nn.init.zeros_(next(network.get_submodule("head").parameters()))
    assert fingerprint(network, frozen) == untouched


@pytest.mark.parametrize(
    ("start", "end", "label"),
    [(0, 0, "none"), (3, 3, "none"), (0, 1, "enc1"), (0, 3, "enc1-bottleneck"), (1, 5, "enc2-dec1")],
)
def test_labels(start: int, end: int, label: str) -> None:
    assert FreezeRange(start=start, end=end).label(unet_with_batch_norm()) == label


def test_useless_ranges_are_refused() -> None:
    network = unet_with_batch_norm()
    with pytest.raises(BadInput, match="freezes all 6 stages and leaves nothing to train"):
        freeze(network, FreezeRange(start=0, end=6))
    with pytest.raises(BadInput, match=r"past the last of the 6 stages \(enc1, enc2, bottleneck"):
        freeze(network, FreezeRange(start=2, end=7))
    with pytest.raises(ValidationError, match="end 1 must not be before start 2"):
        FreezeRange(start=2, end=1)


def _copy(network: Network) -> dict[tuple[str, str], torch.Tensor]:
    return {
        (stage, name): tensor.clone()
        for stage, module in network.stages().items()
        for name, tensor in module.state_dict().items()
    }


FAIRSIM = unet.Settings(
    name="unet", width=1, depth=5, batch_norm="none", up="nearest", skip="concatenate", output="relu",
    enlarge="after", init="torch",
)  # fmt: skip


@pytest.mark.parametrize(
    ("build", "layers"),
    [
        (lambda: FAIRSIM.build(1, 1, 1), 39),
        (
            lambda: rednet.Settings(
                name="rednet", filters=1, pairs=7, output="relu", skips="symmetric"
            ).build(1, 1, 1),
            45,
        ),
        (
            lambda: rednet.Settings(
                name="rednet", filters=1, pairs=10, output="relu", skips="symmetric"
            ).build(15, 1, 2),
            65,
        ),
    ],
    ids=["U-Net-fairSIM", "RED-fairSIM", "SR-REDSIM"],
)
def test_published_lists_of_layers_are_as_long_as_published(
    build: Callable[[], Network], layers: int
) -> None:
    network = build()
    listed = network.published_layers()
    assert len(listed) == layers
    assert set(listed) - {""} == set(network.stages())


@pytest.mark.parametrize(
    ("start", "end", "label"),
    [
        (0, 0, "none"),
        (0, 4, "enc1"),
        (0, 3, "enc1"),  # pooling has no weights
        (0, 16, "enc1-enc5"),
        (16, 18, "bottleneck"),
        (18, 38, "dec5-dec1"),
        (38, 39, "head"),
    ],
)
def test_ranges_of_published_layers_are_ranges_of_stages(start: int, end: int, label: str) -> None:
    network = FAIRSIM.build(1, 1, 1)
    assert FreezeRange.of_layers(network, start, end).label(network) == label


@pytest.mark.parametrize(
    ("start", "end", "told"),
    [
        (0, 2, r"cut the stage enc1 in two; a range may begin and end at 0, 1, 3, 4, 6"),
        (0, 40, r"\[0, 40\) are not among the 39"),
    ],
)
def test_other_ranges_of_layers_are_refused(start: int, end: int, told: str) -> None:
    with pytest.raises(BadInput, match=told):
        FreezeRange.of_layers(FAIRSIM.build(1, 1, 1), start, end)
