"""Crops: the same for every number of workers, after every interruption, and of the same place."""

import errno
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sim_models.config import BadInput
from sim_models.field import Field
from sim_models.normalise import Normaliser, NormaliserSettings
from sim_models.recipe import Recipe
from sim_models.samples import Pair, Sample, Samples, Share, Shelf
from sim_models.task import Task

ALONE = Share()
TASK = Task(input="widefield", frames="all", light="all", per="stack", target="reference", scale=2)


def as_it_is() -> Normaliser:
    """Leaves values as they are, so that tests can recognise them."""
    settings = NormaliserSettings(
        scope="dataset", kind="minmax", low_percent=None, high_percent=None, of="mean", target="as_input"
    )
    return Normaliser.fit(settings, [np.array([[0.0, 1.0]])], [])


def ramp(rows: int, columns: int, scale: int) -> NDArray[np.float32]:
    """Every value says where its pixel lies, in raw pixels: 1000 * row + column of its upper left corner."""
    row, column = np.indices((rows * scale, columns * scale)) / scale
    return (1000 * row + column).astype(np.float32)


@pytest.fixture
def ramps(make_field: Callable[..., Field]) -> Samples:
    """Three fields, told apart by millions."""
    fields = [
        make_field(cell).with_images(
            {
                "widefield": ramp(20, 30, 1) + 1_000_000 * cell,
                "reference": ramp(20, 30, 2) + 1_000_000 * cell,
            }
        )
        for cell in range(3)
    ]
    return Samples(fields, TASK, as_it_is())


@pytest.fixture
def samples(make_field: Callable[..., Field], recipe: Recipe) -> Samples:
    fields = [make_field(cell) for cell in range(3)]
    return Samples(fields, recipe.task, Normaliser.fit(recipe.normaliser, [], []))


def same(first: Sample, second: Sample) -> bool:
    return all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


def shows(sample: Sample, pair: Pair) -> bool:
    return torch.equal(sample.input[0], pair.input) and torch.equal(sample.target[0], pair.target)


def test_input_and_target_show_the_same_place_of_the_same_field(ramps: Samples) -> None:
    stack, target, _ = ramps.batch(0, 50, 8, seed=0, share=ALONE)
    assert stack.shape == (50, 1, 8, 8)
    assert target.shape == (50, 1, 16, 16)
    assert torch.equal(target[:, :, ::2, ::2], stack)
    assert torch.equal(target[:, :, 1::2, 1::2], stack + 500.5)


def test_crops_come_from_everywhere(ramps: Samples) -> None:
    corners = ramps.batch(0, 3000, 16, seed=0, share=ALONE).input[:, 0, 0, 0]
    assert {int(corner // 1_000_000) for corner in corners} == {0, 1, 2}
    places = corners % 1_000_000
    assert {int(place // 1000) for place in places} == set(range(20 - 16 + 1))
    assert {int(place % 1000) for place in places} == set(range(30 - 16 + 1))


def test_a_crop_may_be_the_whole_field(ramps: Samples) -> None:
    assert ramps.batch(0, 1, 20, seed=0, share=ALONE).input.shape == (1, 1, 20, 20)


def test_a_batch_depends_on_seed_and_step_alone(samples: Samples) -> None:
    first = samples.batch(5, 4, 8, seed=1, share=ALONE)
    samples.batch(6, 4, 8, seed=1, share=ALONE)
    np.random.default_rng().random()
    assert same(samples.batch(5, 4, 8, seed=1, share=ALONE), first)
    assert not same(samples.batch(6, 4, 8, seed=1, share=ALONE), first)
    assert not same(samples.batch(5, 4, 8, seed=2, share=ALONE), first)


@pytest.mark.parametrize("workers", [2, 3, 6])
def test_the_shares_of_all_workers_are_the_global_batch(samples: Samples, workers: int) -> None:
    whole = samples.batch(7, 6, 8, seed=1, share=ALONE)
    shares = [samples.batch(7, 6, 8, seed=1, share=Share(rank, workers)) for rank in range(workers)]
    for image, parts in zip(whole, zip(*shares, strict=True), strict=True):
        assert torch.equal(torch.stack(parts, dim=1).flatten(0, 1), image)


def test_fields_on_disk_give_the_same_batches(make_field: Callable[..., Field], recipe: Recipe) -> None:
    """None of them, some of them, all of them in memory."""
    fields = [make_field(cell) for cell in range(3)]
    normaliser = Normaliser.fit(recipe.normaliser, [], [])
    one = sum(image.nbytes for image in Samples(fields, recipe.task, normaliser).pairs[0][:2])
    held, half, none = (Samples(fields, recipe.task, normaliser, limit) for limit in (np.inf, 1.5 * one, 0.0))
    for other in (half, none):
        for step in range(4):
            first, second = (
                each.batch(step, 5, 8, seed=1, share=ALONE, augment="symmetries") for each in (held, other)
            )
            assert same(first, second)
        assert all(shows(*each) for each in zip(other.whole(ALONE), held.pairs, strict=True))


def test_a_shelf_leaves_no_file_and_keeps_no_file_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process may have a thousand files open, and a data set more fields than that."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    open_before = len(list(Path("/proc/self/fd").iterdir()))
    shelf, images = Shelf(100.0), torch.arange(60.0).reshape(3, 4, 5)
    kept = [shelf.keep(images + index) for index in range(30)]
    assert len(list(Path("/proc/self/fd").iterdir())) == open_before
    assert list(tmp_path.iterdir()) == []
    assert all(torch.equal(each, images + index) for index, each in enumerate(kept))


def test_a_disk_that_is_full_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "NamedTemporaryFile", full)
    with pytest.raises(BadInput, match=r"No space left on device.*TMPDIR.*SIM_MODELS_MEMORY_GB"):
        Shelf(0.0).keep(torch.zeros(2))


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_workers_share_the_validation_fields(samples: Samples, workers: int) -> None:
    """Every field once, also where there are more workers than fields."""
    seen = [sample for rank in range(workers) for sample in samples.whole(Share(rank, workers))]
    assert len(seen) == 3
    for pair in samples.pairs:
        assert sum(shows(sample, pair) for sample in seen) == 1


def test_channels(samples: Samples) -> None:
    assert samples.channels == (9, 1)


def test_input_and_target_are_mapped_by_the_input_alone(
    samples: Samples, make_field: Callable[..., Field]
) -> None:
    """Else a network would have to guess at the brightness of an image it has never seen."""
    field = make_field(0)
    brighter = field.with_images({"reference": 3 * field.image("reference")})
    normaliser = Normaliser.fit(
        NormaliserSettings(
            scope="stack", kind="minmax", low_percent=None, high_percent=None, of="mean", target="as_input"
        ),
        [],
        [],
    )
    task = samples.task
    (pair,), (bright,) = (Samples([each], task, normaliser).pairs for each in (field, brighter))
    affine = normaliser.of(task.inputs_of(field.images))
    assert torch.equal(pair.input, bright.input)
    torch.testing.assert_close(
        bright.target * affine.scale + affine.offset, 3 * (pair.target * affine.scale + affine.offset)
    )


def test_a_crop_that_does_not_fit_is_refused(ramps: Samples) -> None:
    ramps.refuse_crop(20)
    with pytest.raises(
        BadInput, match=r"crop_px is 21 but the smallest field is 20 x 30 pixels; choose at most 20"
    ):
        ramps.refuse_crop(21)


def test_no_field_is_refused() -> None:
    with pytest.raises(BadInput, match="there is no field to learn from"):
        Samples([], TASK, as_it_is())


def test_a_target_of_another_size_is_refused(make_field: Callable[..., Field]) -> None:
    task = TASK.model_copy(update={"scale": 3})
    with pytest.raises(BadInput, match=r"'reference' is 64 x 64 but 'widefield' is 32 x 32.*needs 96 x 96"):
        Samples([make_field()], task, as_it_is())


def test_a_field_without_the_role_is_refused(make_field: Callable[..., Field]) -> None:
    field = make_field()
    lacking = replace(field, images={"raw": field.image("raw")})
    with pytest.raises(
        BadInput, match=r"discs/cell_000/high: has no image of role 'reference' \(it has raw\)"
    ):
        Samples([lacking], TASK.model_copy(update={"input": "raw"}), as_it_is())
