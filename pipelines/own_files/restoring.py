"""Restore a person's own raw stack with a model: what `sim-models restore` does."""

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipelines.own_files.inputs import fields_in
from pipelines.own_files.stacks import Stated, camera_told
from pipelines.shared.stage import project_root
from sim_models.config import BadInput
from sim_models.evaluation.consistency import percent
from sim_models.field import FrameOrder, Image
from sim_models.images import ImageFile, read, write_ome
from sim_models.optics.consistency import Consistency
from sim_models.restorer import SETTINGS, Card, Restorer

PIXEL_TOLERANCE = 0.1
"""a pixel that differs by more than this share from the training data's is worth a warning"""


@dataclass(frozen=True)
class Restoration:
    """What was written, and what the person should know about it."""

    path: Path
    shape: tuple[int, ...]
    pixel_um: float
    checked: tuple[str, ...]
    """what the frames say of each image, where that was asked for"""
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Options:
    """What a person asks for beyond file and model."""

    order: FrameOrder
    """of the frames, where the file does not say it itself"""
    stated: Stated
    """what the file does not say of the microscope"""
    tile_px: int
    """fields larger than this are restored in tiles"""
    reconstruct: bool = False
    """whether raw frames that were restored are put together to an image"""
    check: bool = False
    """whether images are held against the frames they were restored from"""


def restore_file(
    path: Path, model: str, out: Path, options: Options, progress: Callable[[int, int], None]
) -> Restoration:
    """Restore every stack in a file, or the one in a folder of frames, and write the images as an OME-TIFF.

    Args:
        path: raw stack, a series of stacks along T, or a folder with one file per frame; images or a volume, for
            models of those.
        model: `models:/NAME@ALIAS`, `models:/NAME/VERSION`, or the folder of a restorer.
        out: the OME-TIFF to write.
        options: what else is asked for.
        progress: told of every tile, as (done, all).

    Raises:
        BadInput: if file, model and output do not fit.
    """
    _refuse_output(out, path)
    file = read(path)
    restorer = load(model)
    stated, reconstruct = options.stated, options.reconstruct
    pixel_um = stated.pixel_um or file.pixel_um
    if pixel_um is None:
        raise BadInput(
            f"{path}: does not say its pixel size; give it with --pixel-um, for example --pixel-um 0.065"
        )
    _refuse_options(restorer, options)
    fields = fields_in(file, restorer, options.order, stated, path, stripes=reconstruct or options.check)
    restored, said = [], []
    for number, field in enumerate(fields):
        image = restorer(field.images, options.tile_px, _nth(number, len(fields), progress))
        if reconstruct and field.reconstruct is not None:
            image = field.reconstruct(image)
        if options.check and field.check is not None:
            said.append(_sentence(field.check(image)))
        restored.append(image)
    first = next(iter(fields[0].images.values()))
    fine_um = pixel_um * first.shape[-1] / restored[0].shape[-1]
    data, axes = _together(restored, "YX" if reconstruct else restorer.axes)
    name = path.absolute().name
    facts = {
        "restored_from": name,
        "gives": restorer.recipe.method.gives,
        "files": [source.name for source in file.paths],
        "model": model,
        "weights_sha256": restorer.weights_sha256,
    }
    write_ome(out, data, axes, fine_um, facts, f"{name} restored")
    return Restoration(
        out,
        data.shape,
        fine_um,
        tuple(said),
        (*file.warnings, *_doubts(first, fields[0].as_filed, pixel_um, restorer.card, file)),
    )


def _refuse_options(restorer: Restorer, options: Options) -> None:
    """Refuse what a model's images cannot be used for."""
    frames = restorer.recipe.task.gives == "frames"
    if options.reconstruct and not frames:
        raise BadInput(
            "--reconstruct is for models that restore raw frames; this one gives images: leave it out"
        )
    if (
        options.check
        and not options.reconstruct
        and (restorer.axes != "YX" or restorer.recipe.task.target == "srrf")
    ):
        raise BadInput(
            "--check holds super-resolved images against raw SIM frames; this model gives none"
            + (" without --reconstruct: add it" if frames else ": leave it out")
        )


def _sentence(found: Consistency) -> str:
    """What a comparison with the frames came to."""
    flagged = percent(100 * float(found.flagged.float().mean()))
    return (
        f"the frames contradict {flagged} % of it, and differ from what it would give by {found.chi2_reduced:.2f} "
        "times what noise allows"
    )


def _together(images: list[NDArray[np.float32]], axes: str) -> tuple[NDArray[np.float32], str]:
    """Images of several fields as one array, along T."""
    return (images[0], axes) if len(images) == 1 else (np.stack(images), f"T{axes}")


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
    refuse_without_registry(model)
    from sim_models.tracking.registry import Registry  # MLflow takes two seconds to import

    with tempfile.TemporaryDirectory() as temporary:
        return Restorer.load(Registry.open(project_root()).fetch(model, Path(temporary)))


def refuse_without_registry(model: str) -> None:
    """Refuse to look for a registered model where there is no registry, rather than make an empty one.

    Raises:
        BadInput: with `model`, that was asked for.
    """
    if "MLFLOW_TRACKING_URI" not in os.environ and not (project_root() / "mlflow.db").exists():
        raise BadInput(
            f"{model}: there is no registry in this folder (mlflow.db); run this where `make repro` ran, or name a "
            "server in MLFLOW_TRACKING_URI"
        )


def _doubts(image: Image, as_filed: bool, pixel_um: float, card: Card, file: ImageFile) -> list[str]:
    """Ways in which an image that is restored differs from what the model was trained on."""
    doubts = []
    if abs(pixel_um / card.pixel_um - 1) > PIXEL_TOLERANCE:
        doubts.append(
            f"pixels are {pixel_um:.4f} um, the model was trained on {card.pixel_um:.4f} um: stripes and blur look "
            "different to it, so do not trust fine detail"
        )
    camera = camera_told(file)
    if camera and card.unit == "photons":
        photons = np.percentile(image.mean(axis=tuple(range(image.ndim - 2))), 99.9)
        if as_filed:
            photons = (photons - camera["offset"]) / camera["gain"]
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
