"""Laying out a job: what does not fit is refused before anything is trained, and frozen means frozen."""

from pathlib import Path
from typing import Any

import pytest
import torch

from sim_models.config import BadInput
from sim_models.freeze import FreezeRange
from sim_models.networks import rednet
from sim_models.normalise import NormaliserSettings
from sim_models.restorer import Restorer
from sim_models.sources.prepared import Prepared
from sim_models.training import job as job_room
from sim_models.training.job import Job, LaidOut, lay_out
from sim_models.training.loop import State, train


@pytest.fixture
def source(restorer: Restorer, tmp_path: Path) -> Path:
    restorer.save(tmp_path / "source")
    return tmp_path / "source"


def changed(job: Job, **changes: Any) -> Job:
    return job.model_copy(update=changes)


def run(bench: LaidOut) -> State:
    job = bench.job
    return train(
        bench.network,
        job.recipe.method,
        bench.samples,
        bench.validation,
        job.training,
        bench.start(),
        job.training.steps,
    )


def test_a_job_survives_json(job: Job) -> None:
    assert Job.model_validate_json(job.model_dump_json()) == job


@pytest.mark.parametrize(("start", "end"), [(0, 3), (1, 5), (3, 6), (0, 5)])
def test_frozen_stages_stay_bit_equal_through_training(job: Job, source: Path, start: int, end: int) -> None:
    bench = lay_out(changed(job, source=str(source), frozen=FreezeRange(start=start, end=end)))
    before = bench.start().weights
    frozen = bench.card.frozen_stages

    state = run(bench)

    bench.verify_frozen(state.weights)
    moved = {name.split(".")[0] for name in before if not torch.equal(before[name], state.weights[name])}
    assert moved == set(bench.network.stages()) - set(frozen)
    assert len(frozen) == end - start
    assert any("running_mean" in name for name in before if name.split(".")[0] in frozen)


@pytest.mark.parametrize("name", ["enc1.0.weight", "enc2.1.running_var", "enc1.1.num_batches_tracked"])
def test_a_change_in_frozen_stages_does_not_go_unseen(job: Job, source: Path, name: str) -> None:
    bench = lay_out(changed(job, source=str(source), frozen=FreezeRange(start=0, end=2)))
    weights = bench.start().weights
    bench.verify_frozen(weights)
    weights[name].view(-1)[0] += 1
    with pytest.raises(RuntimeError, match="frozen stages enc1-enc2 changed while training"):
        bench.verify_frozen(weights)


def test_fields_on_disk_train_the_same_weights(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """So a data set may be larger than the memory of a worker."""
    held = run(lay_out(job))
    job_room._fields_of.cache_clear()
    monkeypatch.setenv("SIM_MODELS_MEMORY_GB", "0.00005")
    bench = lay_out(job)
    job_room._fields_of.cache_clear()
    state = run(bench)
    assert all(torch.equal(held.weights[name], tensor) for name, tensor in state.weights.items())
    assert [metrics["val_psnr"] for _, metrics in state.curve] == [
        metrics["val_psnr"] for _, metrics in held.curve
    ]


@pytest.mark.parametrize("text", ["0", "-1", "much", "", "nan"])
def test_memory_that_is_no_number_is_refused(job: Job, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("SIM_MODELS_MEMORY_GB", text)
    with pytest.raises(BadInput, match=rf"SIM_MODELS_MEMORY_GB is '{text}'; give a positive number"):
        lay_out(job)


def test_a_change_elsewhere_is_training(job: Job, source: Path) -> None:
    bench = lay_out(changed(job, source=str(source), frozen=FreezeRange(start=0, end=2)))
    weights = bench.start().weights
    weights["bottleneck.0.weight"] += 1
    bench.verify_frozen(weights)


def test_a_fine_tune_starts_from_its_source(job: Job, source: Path) -> None:
    parent = Restorer.load(source)
    bench = lay_out(changed(job, source=str(source)))
    for name, tensor in parent.network.state_dict().items():
        assert torch.equal(bench.start().weights[name], tensor)
    assert (bench.card.arm, bench.card.parent) == ("finetune", parent.weights_sha256)


def test_a_fine_tune_keeps_the_normaliser_of_its_source(job: Job, restorer: Restorer, tmp_path: Path) -> None:
    by_dataset = NormaliserSettings(
        scope="dataset", kind="minmax", low_percent=None, high_percent=None, of="mean", target="as_input"
    )
    recipe = job.recipe.model_copy(update={"normaliser": by_dataset})
    first = lay_out(changed(job, recipe=recipe))
    fitted = first.normaliser.fitted
    assert fitted is not None
    of_source = first.normaliser.model_copy(update={"fitted": fitted.model_copy(update={"offset": -7.0})})
    Restorer(recipe, first.network, of_source, first.card, first.samples.channels).save(tmp_path / "source")
    bench = lay_out(changed(job, recipe=recipe, source=str(tmp_path / "source")))
    assert bench.normaliser == of_source


def test_the_card_says_what_was_learnt_from(job: Job) -> None:
    card = lay_out(job).card
    prepared = Prepared.open(Path(job.dataset))
    assert card.training_cells == prepared.split.train
    assert card.split_hash == prepared.split.hash
    assert (card.structure, card.arm, card.parent, card.frozen_stages) == ("discs", "scratch", None, ())
    assert (card.angles, card.phases, card.pixel_um, card.unit) == (3, 3, 0.065, "photons")
    assert card.light == prepared.light(prepared.fields("train"))


def test_the_restorer_has_the_best_weights(job: Job) -> None:
    bench = lay_out(job)
    state = run(bench)
    state.best_step, state.best_weights = 4, {name: tensor + 1 for name, tensor in state.weights.items()}
    restorer = bench.restorer(state)
    assert restorer.card.steps == 4
    assert all(
        torch.equal(tensor, state.best_weights[name])
        for name, tensor in restorer.network.state_dict().items()
    )


def test_laid_out_twice_it_starts_from_the_same_weights(job: Job) -> None:
    first, second = lay_out(job).start().weights, lay_out(job).start().weights
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_source_with_another_network_is_refused(job: Job, source: Path) -> None:
    other = rednet.Settings(name="rednet", filters=4, pairs=1, output="linear", skips="symmetric")
    recipe = job.recipe.model_copy(update={"network": other})
    with pytest.raises(BadInput, match=r"a 'unet' for 9 frames cannot start this job's 'rednet'"):
        lay_out(changed(job, recipe=recipe, source=str(source)))


@pytest.mark.parametrize(
    ("crop_px", "told"),
    [(18, r"crop_px is 18 .*multiples of 4 fit; choose 16"), (64, r"crop_px is 64 .*32 x 32 .*at most 32")],
)
def test_crops_that_do_not_fit_are_refused(job: Job, crop_px: int, told: str) -> None:
    with pytest.raises(BadInput, match=told):
        lay_out(changed(job, training=job.training.model_copy(update={"crop_px": crop_px})))


def test_a_missing_dataset_or_source_is_refused(job: Job, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"nowhere/split.json: not found"):
        lay_out(changed(job, dataset=str(tmp_path / "nowhere")))
    with pytest.raises(BadInput, match=r"nowhere/restorer.json: not found"):
        lay_out(changed(job, source=str(tmp_path / "nowhere")))


def test_training_that_never_gave_a_number_is_told_in_a_sentence(job: Job) -> None:
    laid_out = lay_out(job)
    with pytest.raises(BadInput, match=r"training diverged .* lower training.learning_rate"):
        laid_out.restorer(laid_out.start())


def test_a_job_may_learn_from_some_of_the_cells(job: Job) -> None:
    whole, some = lay_out(job), lay_out(changed(job, cells=("cell_000", "cell_003")))
    assert some.card.training_cells == ("cell_000", "cell_003")
    assert len(some.samples.pairs) == len(whole.samples.pairs) * 2 // 3
    assert len(some.validation.pairs) == len(whole.validation.pairs)


@pytest.mark.parametrize("cell", ["cell_002", "cell_004", "nowhere"])
def test_a_cell_that_is_not_for_learning_is_refused(job: Job, cell: str) -> None:
    told = rf"'{cell}' is no training cell of its split; there are cell_000, cell_001, cell_003"
    with pytest.raises(BadInput, match=told):
        lay_out(changed(job, cells=("cell_000", cell)))
