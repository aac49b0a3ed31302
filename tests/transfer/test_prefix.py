"""Frozen stages at the input, computed once: the same to the bit, and cheaper."""

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from sim_models.freeze import FreezeRange
from sim_models.networks import NetworkSettings, dfcan, nafnet, rednet, swin
from sim_models.restorer import Restorer
from sim_models.samples import Share
from sim_models.training.job import Job, lay_out
from sim_models.training.loop import State, mean_psnr, train
from sim_models.transfer.prefix import Store, remembered

NETWORKS: dict[str, NetworkSettings | None] = {
    "unet": None,  # that of the fixture, with batch normalisation
    "nafnet": nafnet.Settings(name="nafnet", width=4, encoder=(1, 1), middle=1, decoder=(1, 1)),
    "rednet": rednet.Settings(name="rednet", filters=4, pairs=2, output="linear", skips="symmetric"),
    "dfcan": dfcan.Settings(
        name="dfcan",
        width=16,
        groups=1,
        blocks=1,
        gamma=0.8,
        taper_px=2,
        spectrum_px=None,
        output="linear",
    ),
    "swin": swin.Settings(
        name="swin",
        width=8,
        groups=2,
        blocks=1,
        heads=2,
        window=2,
        drop_path=0.3,
        output="linear",
        faithful=False,
    ),
}

FineTune = Callable[..., Job]


@pytest.fixture
def fine_tune(job: Job, tmp_path: Path) -> FineTune:
    """Makes fine-tunes of four steps with two looks, from sources whose weights all count."""

    def make(
        network: str = "unet", frozen: tuple[int, int] = (0, 3), source: int = 0, **training: Any
    ) -> Job:
        recipe = job.recipe
        if (settings := NETWORKS[network]) is not None:
            recipe = recipe.model_copy(update={"network": settings})
        fresh = job.model_copy(update={"recipe": recipe})
        folder = tmp_path / f"{network}_{source}"
        if not folder.exists():
            _save_source(fresh, source, folder)
        changes = {"steps": 4, **training}
        return fresh.model_copy(
            update={
                "source": str(folder),
                "frozen": FreezeRange(start=frozen[0], end=frozen[1]),
                "training": job.training.model_copy(update=changes),
            }
        )

    return make


def _save_source(job: Job, seed: int, folder: Path) -> None:
    bench = lay_out(job)
    torch.manual_seed(seed)
    for parameter in bench.network.parameters():
        nn.init.normal_(parameter, std=0.1)
    Restorer(job.recipe, bench.network, bench.normaliser, bench.card, bench.channels).save(folder)


def trained(job: Job, store: Store | None) -> State:
    """As a trial is trained, with what is remembered in a store or without any."""
    bench = lay_out(job)
    parent = bench.card.parent
    assert parent is not None
    block = nullcontext() if store is None else remembered(bench.network, job.frozen, parent, store)
    with block:
        return train(
            bench.network,
            job.recipe.method,
            bench.samples,
            bench.validation,
            job.training,
            bench.start(),
            job.training.steps,
        )


def assert_same(one: State, other: State) -> None:
    for name, tensor in one.weights.items():
        assert torch.equal(other.weights[name], tensor), name
    assert [_without_time(look) for look in one.curve] == [_without_time(look) for look in other.curve]


def _without_time(look: tuple[int, dict[str, float]]) -> tuple[int, dict[str, float]]:
    return look[0], {name: value for name, value in look[1].items() if not name.endswith("seconds")}


@pytest.mark.parametrize("network", NETWORKS)
def test_training_is_the_same_to_the_bit_whatever_is_remembered(network: str, fine_tune: FineTune) -> None:
    """For every range that begins at the input, with one store for all: longer ones find what shorter ones left."""
    stages = len(lay_out(fine_tune(network, (0, 0))).network.stages())
    store = Store()
    for end in range(stages):
        job = fine_tune(network, (0, end))
        assert_same(trained(job, None), trained(job, store))
    assert store.found > 0


def test_a_second_look_finds_every_validation_field(fine_tune: FineTune) -> None:
    job, store = fine_tune(), Store()
    bench = lay_out(job)
    fields = len(bench.validation.pairs)
    looks = []
    with remembered(bench.network, job.frozen, "source", store):
        for _ in range(2):
            looks.append(mean_psnr(bench.network, job.recipe.method, bench.validation, Share()))
    assert looks[0] == looks[1]
    assert (store.missed, store.found) == (3 * fields, 3 * fields)


def test_a_trial_meets_each_batch_once_and_each_validation_field_at_every_look(fine_tune: FineTune) -> None:
    store = Store()
    job = fine_tune()
    fields = len(lay_out(job).validation.pairs)
    trained(job, store)
    assert store.missed == 3 * (4 + fields)
    assert store.found == 3 * fields
    trained(fine_tune(learning_rate=0.5), store)
    assert store.missed == 3 * (4 + fields), "another rate meets nothing new"


def test_a_longer_range_finds_the_stages_it_shares_with_a_shorter_one(fine_tune: FineTune) -> None:
    store = Store()
    trained(fine_tune(frozen=(0, 2)), store)
    missed = store.missed
    trained(fine_tune(frozen=(0, 3)), store)
    assert store.missed - missed == missed // 2


@pytest.mark.parametrize("frozen", [(0, 0), (1, 3), (5, 6)])
def test_what_is_fed_by_trained_stages_is_never_remembered(
    frozen: tuple[int, int], fine_tune: FineTune
) -> None:
    store = Store()
    trained(fine_tune(frozen=frozen), store)
    assert (store.found, store.missed, store.bytes) == (0, 0, 0)


def test_another_seed_meets_other_batches_and_the_same_validation_fields(fine_tune: FineTune) -> None:
    store = Store()
    trained(fine_tune(), store)
    missed = store.missed
    trained(fine_tune(seed=4), store)
    assert store.missed - missed == 3 * 4


def test_another_source_shares_nothing(fine_tune: FineTune) -> None:
    store = Store()
    trained(fine_tune(), store)
    found, missed = store.found, store.missed
    job = fine_tune(source=1)
    assert_same(trained(job, None), trained(job, store))
    assert (store.found, store.missed) == (2 * found, 2 * missed)


def test_the_second_trial_computes_less_and_trains_the_same_stages(fine_tune: FineTune) -> None:
    store = Store()
    operations = []
    for rate in (1e-3, 2e-3):
        with FlopCounterMode(display=False) as counter:
            trained(fine_tune(frozen=(0, 5), learning_rate=rate), store)
        operations.append(counter.get_total_flops())
    assert operations[1] < 0.2 * operations[0]


def test_gradients_reach_the_trained_stages_and_no_frozen_one(fine_tune: FineTune) -> None:
    job, store = fine_tune(frozen=(0, 2)), Store()
    bench = lay_out(job)
    sample = bench.samples.batch(0, 4, 16, 3, Share())
    gradients = []
    with remembered(bench.network, job.frozen, "source", store):
        for _ in range(2):
            bench.network.zero_grad()
            sum(job.recipe.method.loss(bench.network.train(), sample).values()).backward()  # type: ignore[union-attr]
            gradients.append({name: value.grad for name, value in bench.network.named_parameters()})
    assert store.found == 2
    for name, gradient in gradients[0].items():
        assert (gradient is None) == (name.split(".")[0] in {"enc1", "enc2"})
        if gradient is not None:
            assert gradient.abs().sum() > 0, name
            assert torch.equal(gradients[1][name], gradient)  # type: ignore[arg-type]


@pytest.mark.parametrize("network", ["unet", "nafnet"])
def test_afterwards_the_network_is_as_it_was_even_after_an_error(network: str, fine_tune: FineTune) -> None:
    job, store = fine_tune(network), Store()
    bench = lay_out(job)
    frames = bench.validation.pairs[0].input[None]
    before = bench.network.eval()(frames)
    with remembered(bench.network, job.frozen, "source", store):
        assert torch.equal(bench.network(frames), before)
    with pytest.raises(RuntimeError), remembered(bench.network, job.frozen, "source", store):
        bench.network(frames[:, :1])  # which the first layer refuses
    met = store.found, store.missed
    assert torch.equal(bench.network(frames), before)
    assert (store.found, store.missed) == met
    assert not any("forward" in vars(stage) for stage in bench.network.modules())
    assert not bench.network._forward_pre_hooks


def test_the_store_keeps_within_its_limit_and_drops_what_was_used_least() -> None:
    tensors = [torch.full((10,), float(value)) for value in range(4)]  # 40 bytes each
    store = Store(limit_bytes=100)
    for key in "aba":
        store.get(key, lambda: tensors[0])
    store.get("c", lambda: tensors[2])
    assert store.bytes == 80
    refuse = _refuse()
    assert store.get("a", refuse) is tensors[0]
    assert store.get("c", refuse) is tensors[2]
    with pytest.raises(AssertionError, match="computed"):
        store.get("b", refuse)
    bytes_before = store.bytes
    store.get("large", lambda: (torch.zeros(20), [torch.zeros(10)]))
    assert store.bytes == bytes_before, "what is larger than all of it is not kept, and drives nothing out"


def _refuse() -> Callable[[], Tensor]:
    def compute() -> Tensor:
        raise AssertionError("computed")

    return compute


def test_a_small_store_is_slower_and_no_less_right(fine_tune: FineTune) -> None:
    job = fine_tune("nafnet")
    store = Store(limit_bytes=30_000)
    assert_same(trained(job, None), trained(job, store))
    assert 0 < store.bytes <= 30_000
