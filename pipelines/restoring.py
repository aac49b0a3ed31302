"""Restore a person's own raw stack with a model: what `sim-models restore` does."""

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipelines.stacks import Stated, camera_told, microscope_of, refuse_unusable, stacks_of
from pipelines.stage import project_root
from sim_models.config import BadInput
from sim_models.field import FrameOrder, Image
from sim_models.images import ImageFile, read, write_ome
from sim_models.restorer import SETTINGS, Card, Restorer

PIXEL_TOLERANCE = 0.1
"""a pixel that differs by more than this share from the training data's is worth a warning"""


@dataclass(frozen=True)
class Restoration:
    """What was written, and what the person should know about it."""

    path: Path
    shape: tuple[int, ...]
    pixel_um: float
    warnings: tuple[str, ...]


def restore_file(
    path: Path,
    model: str,
    out: Path,
    order: FrameOrder,
    stated: Stated,
    tile_px: int,
    progress: Callable[[int, int], None],
) -> Restoration:
    """Restore every stack in a file, or the one in a folder of frames, and write the images as an OME-TIFF.

    Args:
        path: raw stack, a series of stacks along T, or a folder with one file per frame.
        model: `models:/NAME@ALIAS`, `models:/NAME/VERSION`, or the folder of a restorer.
        out: the OME-TIFF to write.
        order: of the frames, where the file does not say it itself.
        stated: what the file does not say of the microscope.
        tile_px: fields larger than this are restored in tiles.
        progress: told of every tile, as (done, all).

    Raises:
        BadInput: if file, model and output do not fit.
    """
    _refuse_output(out, path)
    file = read(path)
    restorer = load(model)
    card = restorer.card
    stacks = stacks_of(file, (card.angles, card.phases), order, path, "the model restores stacks of")
    pixel_um = stated.pixel_um or file.pixel_um
    if pixel_um is None:
        raise BadInput(
            f"{path}: does not say its pixel size; give it with --pixel-um, for example --pixel-um 0.065"
        )
    refuse_unusable(stacks, path)
    inputs = model_inputs(stacks, restorer.recipe.task.input, file, stated, path)
    tiles = None if max(inputs.shape[-2:]) <= tile_px else tile_px
    restored = np.stack(
        [restorer(each, tiles, _nth(number, len(inputs), progress)) for number, each in enumerate(inputs)]
    )
    fine_um = pixel_um * stacks.shape[-1] / restored.shape[-1]
    data, axes = (restored[0], "YX") if len(restored) == 1 else (restored, "TYX")
    name = path.absolute().name
    facts = {
        "restored_from": name,
        "files": [source.name for source in file.paths],
        "model": model,
        "weights_sha256": restorer.weights_sha256,
    }
    write_ome(out, data, axes, fine_um, facts, f"{name} restored")
    return Restoration(
        out, data.shape, fine_um, (*file.warnings, *_doubts(stacks, pixel_um, restorer.card, file))
    )


def model_inputs(stacks: Image, role: str, file: ImageFile, stated: Stated, path: Path) -> Image:
    """What a model takes of raw stacks (T, A, P, Y, X): these themselves, or an image made of each."""
    if role == "raw":
        return stacks
    if role == "widefield":
        widefields: Image = stacks.mean(axis=(1, 2), dtype=np.float64).astype(np.float32)
        return widefields
    from pipelines.reconstructing import reconstructions  # draws in all of classical SIM

    return reconstructions(stacks, microscope_of(file, stated, path), stated.offset, path)


def _nth(number: int, num_stacks: int, progress: Callable[[int, int], None]) -> Callable[[int, int], None]:
    """Progress within one of several stacks as progress in all of them."""
    return lambda done, total: progress(number * total + done, num_stacks * total)


def load(model: str) -> Restorer:
    """A restorer from the registry or from a folder. Reads weights and settings; runs no code of the registry's.

    Raises:
        BadInput: if it is not there.
    """
    if not model.startswith("models:/"):
        if not (Path(model) / SETTINGS).exists():
            raise BadInput(
                f"{model}: is no folder of a restorer; give models:/NAME@champion or a folder with {SETTINGS}"
            )
        return Restorer.load(Path(model))
    from sim_models.tracking.registry import Registry  # MLflow takes two seconds to import

    root = project_root()
    if "MLFLOW_TRACKING_URI" not in os.environ and not (root / "mlflow.db").exists():
        raise BadInput(
            f"{model}: there is no registry in this folder (mlflow.db); run this where `make repro` ran, or name a "
            "server in MLFLOW_TRACKING_URI"
        )
    with tempfile.TemporaryDirectory() as temporary:
        return Restorer.load(Registry.open(root).fetch(model, Path(temporary)))


def _doubts(stacks: NDArray[np.generic], pixel_um: float, card: Card, file: ImageFile) -> list[str]:
    """Ways in which a stack differs from what the model was trained on."""
    doubts = []
    if abs(pixel_um / card.pixel_um - 1) > PIXEL_TOLERANCE:
        doubts.append(
            f"pixels are {pixel_um:.4f} um, the model was trained on {card.pixel_um:.4f} um: stripes and blur look "
            "different to it, so do not trust fine detail"
        )
    camera = camera_told(file)
    if camera and card.unit == "photons":
        photons = (np.percentile(stacks.mean(axis=(1, 2)), 99.9) - camera["offset"]) / camera["gain"]
        low, high = min(card.light.values()), max(card.light.values())
        if not low / 2 <= photons <= high * 2:
            doubts.append(f"about {photons:.0f} photons, the model was trained on {low:.0f} to {high:.0f}")
    return doubts


def _refuse_output(out: Path, path: Path) -> None:
    folder = out.parent
    if not out.name.lower().endswith((".tif", ".tiff")):
        raise BadInput(f"{out}: the output is an OME-TIFF; give it a name that ends in .tif")
    if out.resolve() == path.resolve():
        raise BadInput(f"{out}: is the raw stack itself; choose another name for the output")
    if folder.resolve() == path.resolve():
        raise BadInput(f"{out}: lies among the raw frames and would pass for one; choose another folder")
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise BadInput(f"{folder}: is no folder you may write to; choose another place for the output")
