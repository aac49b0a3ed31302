"""A folder with one file per frame is restored as the stack it stands for."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch

from pipelines.own_files.restoring import Options, Restoration, restore_file
from pipelines.own_files.stacks import Stated
from sim_models.config import BadInput
from sim_models.field import FrameOrder
from sim_models.images import read, write_ome
from sim_models.restorer import Restorer

Model = Callable[[int, int], str]


@pytest.fixture
def model(restorer: Restorer, tmp_path: Path) -> Model:
    """Makes folders of models that tell every frame from every other."""

    def make(angles: int, phases: int) -> str:
        torch.manual_seed(1)
        network = restorer.recipe.network.build(angles * phases, 1, restorer.recipe.task.scale)
        for parameter in network.parameters():
            torch.nn.init.normal_(parameter, std=0.2)
        card = restorer.card.model_copy(update={"angles": angles, "phases": phases})
        channels = angles * phases, 1
        folder = tmp_path / "models" / f"{angles}x{phases}"
        Restorer(restorer.recipe, network.eval(), restorer.normaliser, card, channels).save(folder)
        return str(folder)

    return make


@pytest.fixture
def frames() -> np.ndarray:
    """(15, 32, 32) counts; no frame is like another."""
    return (
        np.random.default_rng(3)
        .poisson(np.linspace(50, 300, 15)[:, None, None], (15, 32, 32))
        .astype(np.uint16)
    )


def restore(path: Path, model: str, out: Path, order: FrameOrder = FrameOrder.ANGLE_MAJOR) -> Restoration:
    return restore_file(
        path, model, out, Options(order, Stated(0.065, None, None, None, None, None), 512), lambda *_: None
    )


def write_frames(folder: Path, images: np.ndarray) -> Path:
    """In the way of DL-SIM: HE_0.tif to HE_14.tif, then their mean."""
    folder.mkdir()
    for index, image in enumerate(images):
        tifffile.imwrite(folder / f"HE_{index}.tif", image)
    return folder


@pytest.mark.parametrize("order", FrameOrder)
def test_a_folder_is_restored_like_its_stack(
    tmp_path: Path, model: Model, frames: np.ndarray, order: FrameOrder
) -> None:
    stack, restored = tmp_path / "stack.ome.tif", tmp_path / "from_stack.tif"
    write_ome(stack, frames, "CYX", 0.065, {}, "n")
    folder = write_frames(tmp_path / "Sample_1", np.stack([*frames, frames.mean(axis=0).astype(np.uint16)]))

    restore(stack, model(3, 5), restored, order)
    done = restore(folder, model(3, 5), tmp_path / "from_folder.tif", order)

    np.testing.assert_array_equal(read(done.path).data, read(restored).data)
    assert done.shape == (64, 64)
    assert any("HE_15.tif, the last of 16 images, is the mean" in warning for warning in done.warnings)


def test_the_output_names_every_frame(tmp_path: Path, model: Model, frames: np.ndarray) -> None:
    images = np.stack([*frames, frames.mean(axis=0).astype(np.uint16)])
    done = restore(write_frames(tmp_path / "Sample_1", images), model(3, 5), tmp_path / "out.tif")
    facts = read(done.path).metadata
    assert facts["restored_from"] == "Sample_1"
    assert facts["files"] == [f"HE_{index}.tif" for index in range(15)]


def test_a_folder_with_a_frame_missing(tmp_path: Path, model: Model, frames: np.ndarray) -> None:
    folder = write_frames(tmp_path / "Sample_1", frames[:-1])
    with pytest.raises(BadInput, match=r"Sample_1: holds 14 x 32 x 32 .*15 frames \(3 angles x 5 phases\)"):
        restore(folder, model(3, 5), tmp_path / "out.tif")


def test_frames_are_never_overwritten(tmp_path: Path, model: Model, frames: np.ndarray) -> None:
    folder = write_frames(tmp_path / "Sample_1", frames)
    before = (folder / "HE_3.tif").read_bytes()
    with pytest.raises(BadInput, match=r"HE_3\.tif: lies among the raw frames"):
        restore(folder, model(3, 5), folder / "HE_3.tif")
    assert (folder / "HE_3.tif").read_bytes() == before


@pytest.mark.parametrize(
    ("name", "layout", "last"),
    [
        ("dlsim-microtubules-low-high/HE_X2/Sample_1", (3, 5), "HE_14.tif"),
        ("dlsim-microtubules-low-high/LE_X2/Sample_1", (3, 5), "LE_14.tif"),
        ("spsim-particles", (3, 3), "1_X9.tif"),
    ],
)
def test_real_folders(
    real_data: Path, tmp_path: Path, model: Model, name: str, layout: tuple[int, int], last: str
) -> None:
    done = restore(real_data / name, model(*layout), tmp_path / "out.tif")
    file = read(done.path)
    edge = 2 * tifffile.imread(real_data / name / last).shape[0]
    assert file.data.shape == (edge, edge)
    assert np.isfinite(file.data).all()
    assert len(file.metadata["files"]) == layout[0] * layout[1]
    assert file.metadata["files"][-1] == last
