"""Floating-point operations of a step, beside a count by hand."""

from pathlib import Path

import pytest
import torch

from sim_models.freeze import FreezeRange, freeze
from sim_models.networks import unet
from sim_models.restorer import Restorer
from sim_models.training.job import Job, LaidOut, lay_out
from sim_models.transfer.cost import step_operations
from sim_models.transfer.search import freeze_ranges, operations_of

CROP = 16
STAGES: tuple[tuple[tuple[int, int, int, int], ...], ...] = (
    (
        (9, 4, 3, CROP),
        (4, 4, 3, CROP),
    ),  # enc1: channels in, channels out, edge of the kernel, edge of the image
    ((4, 8, 3, CROP // 2), (8, 8, 3, CROP // 2)),  # bottleneck
    ((12, 4, 3, CROP), (4, 4, 3, CROP)),  # dec1, which joins eight and four
    ((4, 4, 1, CROP),),  # head, of four values for every pixel
)


@pytest.fixture
def bench(job: Job) -> LaidOut:
    network = unet.Settings(
        name="unet",
        width=4,
        depth=1,
        batch_norm="none",
        up="nearest",
        skip="concatenate",
        output="linear",
        enlarge="after",
        init="keras",
    )
    return lay_out(job.model_copy(update={"recipe": job.recipe.model_copy(update={"network": network})}))


def by_hand(frozen: FreezeRange, batch: int) -> float:
    """A product and a sum for every weight and pixel: forward, for the gradient of what is trained, and for that of
    an input whose makers are trained."""
    total = 0
    something_trained = False
    for number, convolutions in enumerate(STAGES):
        trained = not frozen.start <= number < frozen.end
        for channels_in, channels_out, kernel, edge in convolutions:
            once = 2 * channels_in * channels_out * kernel**2 * edge**2
            total += once * (1 + trained + something_trained)
            something_trained |= trained
    return float(batch * total)


def test_every_range_costs_what_is_counted_by_hand(bench: LaidOut) -> None:
    counted = operations_of(bench)
    assert set(counted) == set(freeze_ranges(4))
    for frozen, operations in counted.items():
        assert operations == by_hand(frozen, bench.job.training.batch), frozen


def test_a_frozen_prefix_spares_the_way_back_and_frozen_stages_behind_it_do_not(bench: LaidOut) -> None:
    counted = operations_of(bench)
    cost = {(each.start, each.end): operations for each, operations in counted.items()}
    forward = by_hand(FreezeRange(start=0, end=4), bench.job.training.batch)
    assert cost[0, 0] > cost[0, 1] > cost[0, 2] > cost[0, 3] > forward
    assert cost[0, 0] > cost[3, 4] > cost[2, 4] > cost[1, 4]
    # Through frozen stages at the output gradients must pass still, down to what is trained.
    assert cost[1, 4] - forward > 0.5 * forward
    assert cost[1, 4] > cost[0, 3]


def test_afterwards_nothing_is_frozen_and_no_weight_has_moved(bench: LaidOut) -> None:
    before = bench.start().weights
    operations_of(bench)
    assert all(parameter.requires_grad and parameter.grad is None for parameter in bench.network.parameters())
    assert all(torch.equal(before[name], tensor) for name, tensor in bench.network.state_dict().items())


def test_operations_grow_with_the_batch_and_counting_leaves_statistics_alone(job: Job) -> None:
    costs = []
    for batch in (2, 4):
        one = lay_out(job.model_copy(update={"training": job.training.model_copy(update={"batch": batch})}))
        before = one.start().weights
        costs.append(step_operations(one))
        assert all(torch.equal(before[name], tensor) for name, tensor in one.network.state_dict().items())
    assert costs[1] == 2 * costs[0] > 0


def test_a_batch_of_one_pixel_can_be_counted(job: Job) -> None:
    """Batch normalisation refuses to learn from one value, of which the count for a single crop may have no more."""
    training = job.training.model_copy(update={"crop_px": 4})
    assert step_operations(lay_out(job.model_copy(update={"training": training}))) > 0


def test_a_fine_tune_costs_what_training_from_scratch_costs(
    job: Job, restorer: Restorer, tmp_path: Path
) -> None:
    restorer.save(tmp_path / "source")
    bench = lay_out(job.model_copy(update={"source": str(tmp_path / "source")}))
    freeze(bench.network, FreezeRange(start=0, end=0))
    assert step_operations(bench) == step_operations(lay_out(job))
