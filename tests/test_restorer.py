"""A restorer: what is saved is what is loaded, and what does not fit is refused in a sentence."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from sim_models.config import BadInput
from sim_models.field import Field, Image
from sim_models.restorer import SETTINGS, WEIGHTS, Restorer


@pytest.fixture
def stack(make_field: Callable[..., Field]) -> Image:
    return make_field(4).image("raw")


@pytest.fixture
def folder(restorer: Restorer, tmp_path: Path) -> Path:
    restorer.save(tmp_path / "saved")
    return tmp_path / "saved"


def test_saved_and_loaded_it_restores_the_same_bits(restorer: Restorer, folder: Path, stack: Image) -> None:
    loaded = Restorer.load(folder)
    assert np.array_equal(loaded(stack), restorer(stack))
    assert loaded.weights_sha256 == restorer.weights_sha256
    assert (loaded.recipe, loaded.card, loaded.channels) == (
        restorer.recipe,
        restorer.card,
        restorer.channels,
    )
    assert sorted(file.name for file in folder.iterdir()) == [SETTINGS, WEIGHTS]


def test_the_same_restorer_gives_the_same_bytes(restorer: Restorer, folder: Path, tmp_path: Path) -> None:
    Restorer.load(folder).save(tmp_path / "again")
    for name in (WEIGHTS, SETTINGS):
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()


def test_saving_replaces_what_was_there(restorer: Restorer, folder: Path) -> None:
    (folder / "of_old").write_text("left over")
    restorer.save(folder)
    assert not (folder / "of_old").exists()
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_output_is_in_the_unit_and_on_the_grid_of_the_reference(restorer: Restorer, stack: Image) -> None:
    restored = restorer(stack)
    assert restored.shape == (64, 64)
    assert restored.dtype == np.float32


@pytest.mark.parametrize(("gain", "offset"), [(4.0, 0.0), (1.0, 100.0), (2.0, 100.0)])
def test_a_brighter_stack_gives_a_restoration_as_much_brighter(
    restorer: Restorer, stack: Image, gain: float, offset: float
) -> None:
    expected = gain * restorer(stack) + offset
    np.testing.assert_allclose(restorer(gain * stack + offset), expected, rtol=1e-4, atol=1e-3 * gain)


def test_tiles_equal_the_whole(restorer: Restorer, make_field: Callable[..., Field]) -> None:
    wide = np.concatenate([make_field(cell).image("raw") for cell in range(4)], axis=-1)
    seen: list[tuple[int, int]] = []
    tiled = restorer(wide, tile_px=16, progress=lambda done, total: seen.append((done, total)))
    np.testing.assert_allclose(tiled, restorer(wide), rtol=1e-4, atol=1e-3)
    assert len(seen) > 1
    assert seen[-1][0] == seen[-1][1] == len(seen)


def test_integers_and_channels_are_taken_too(restorer: Restorer, stack: Image) -> None:
    counts = (10 * stack.clip(0)).astype(np.uint16)
    assert np.array_equal(restorer(counts), restorer(counts.astype(np.float32)))
    assert np.array_equal(restorer(counts.reshape(9, 32, 32)), restorer(counts))


def test_restoring_leaves_no_trace(restorer: Restorer, stack: Image) -> None:
    """Batch statistics would move if the network were left in training mode."""
    restorer.network.train()
    before = restorer.weights_sha256
    first = restorer(stack)
    assert restorer.weights_sha256 == before
    assert np.array_equal(restorer(stack), first)


def test_a_wrong_number_of_frames_is_refused(restorer: Restorer, stack: Image) -> None:
    with pytest.raises(BadInput, match=r"has 6 frames but the model restores 9 \(3 angles x 3 phases\)"):
        restorer(stack[:2])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_no_number_is_refused(restorer: Restorer, stack: Image, bad: float) -> None:
    broken = stack.copy()
    broken[1, 1, :2, 3] = bad
    with pytest.raises(BadInput, match=r"2 values that are NaN or infinite"):
        restorer(broken)


def test_a_constant_stack_is_refused(restorer: Restorer, stack: Image) -> None:
    with pytest.raises(BadInput, match="is constant"):
        restorer(np.full_like(stack, 7))


def test_weights_that_were_changed_are_refused(folder: Path) -> None:
    weights = load_file(folder / WEIGHTS)
    weights["head.0.bias"] += 1e-6
    save_file(weights, folder / WEIGHTS)
    with pytest.raises(BadInput, match=r"SHA-256 is .* but restorer.json says .*; the file was changed"):
        Restorer.load(folder)


def test_statistics_count_as_weights(restorer: Restorer) -> None:
    before = restorer.weights_sha256
    statistics = dict(restorer.network.named_buffers())["enc1.1.running_mean"]
    statistics += 1e-6
    assert restorer.weights_sha256 != before


@pytest.mark.parametrize(
    "spoil",
    [
        lambda weights: {name: torch.zeros(3) for name in weights},
        lambda weights: {name: tensor for name, tensor in weights.items() if "head" not in name},
        lambda weights: weights | {"stranger": torch.zeros(3)},
    ],
    ids=["shapes", "missing", "stranger"],
)
def test_weights_of_another_network_are_refused(
    folder: Path, spoil: Callable[..., dict[str, torch.Tensor]]
) -> None:
    save_file(spoil(load_file(folder / WEIGHTS)), folder / WEIGHTS)
    with pytest.raises(
        BadInput, match=r"weights.safetensors: not the weights of this restorer \(.*\)"
    ) as refusal:
        Restorer.load(folder)
    assert "\n" not in str(refusal.value)


def test_missing_and_damaged_files_are_refused(folder: Path) -> None:
    whole = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(whole[:100])
    with pytest.raises(BadInput, match=r"weights.safetensors: not the weights"):
        Restorer.load(folder)
    (folder / WEIGHTS).unlink()
    with pytest.raises(BadInput, match=r"weights.safetensors: not the weights"):
        Restorer.load(folder)
    (folder / SETTINGS).write_text("{")
    with pytest.raises(BadInput, match=r"restorer.json: not found or not JSON; a restorer's folder holds"):
        Restorer.load(folder)
    with pytest.raises(BadInput, match=r"nowhere/restorer.json: not found"):
        Restorer.load(folder / "nowhere")


def test_a_record_with_a_mistake_is_refused_by_address(folder: Path) -> None:
    record = json.loads((folder / SETTINGS).read_text())
    del record["recipe"]["network"]["depth"]
    record["card"]["steps"] = "many"
    (folder / SETTINGS).write_text(json.dumps(record))
    with pytest.raises(
        BadInput, match=r"recipe.network.depth: Field required; card.steps: .*\(found 'many'\)"
    ):
        Restorer.load(folder)


def test_an_interrupted_save_leaves_the_old_restorer(
    restorer: Restorer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    before = (folder / WEIGHTS).read_bytes()
    monkeypatch.setattr("sim_models.restorer.folder.save_file", full_disk)
    with pytest.raises(OSError, match="No space left"):
        replace(restorer, card=restorer.card.model_copy(update={"steps": 9})).save(folder)
    assert (folder / WEIGHTS).read_bytes() == before
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
