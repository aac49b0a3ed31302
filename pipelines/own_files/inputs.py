"""What a model takes, made from a person's file: raw stacks as they are, or images made from them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipelines.own_files.stacks import (
    Stated,
    above_offset,
    camera_of,
    camera_told,
    microscope_of,
    refuse_unusable,
    stacks_of,
)
from sim_models.config import BadInput
from sim_models.field import AXES, Field, FrameOrder, Image, Role
from sim_models.images import ImageFile
from sim_models.normalise import ZERO_IS_DARK
from sim_models.optics.consistency import Consistency
from sim_models.optics.reconstruct import DEFAULT
from sim_models.restorer import Restorer
from sim_models.sources.checks import CopiedFrames, repeated_frames
from sim_models.sources.reconstruction import Stripes, reconstructed, synthetic


@dataclass(frozen=True)
class Given:
    """One field of a person's file."""

    images: dict[Role, Image]
    reconstruct: Callable[[Image], NDArray[np.float32]] | None = None
    """makes an image of restored raw frames, by the stripes of the noisy ones; None where those are not known"""
    check: Callable[[Image], Consistency] | None = None
    """holds an image (2 Y, 2 X) against the noisy frames; likewise"""
    as_filed: bool = False
    """whether values are those of the file, with the camera's gain and offset, rather than photo-electrons"""


def fields_in(
    file: ImageFile, restorer: Restorer, order: FrameOrder, stated: Stated, path: Path, stripes: bool
) -> list[Given]:
    """The fields of a file, each with the images a model takes; with `stripes`, theirs are found in any case.

    Raises:
        BadInput: if they are not to be had from this file.
    """
    roles = restorer.recipe.task.roles
    if AXES[roles[0]] in ("TZYX", "TYX"):
        refuse_unusable(file.data, path)
        return [Given({roles[0]: _with_axes(file, AXES[roles[0]], restorer, path)})]
    if roles == ("widefield",) and _is_images(file):
        images = np.asarray(file.data).reshape(-1, *file.data.shape[-2:])
        refuse_unusable(images, path)
        stacks = images[:, None, None]
        values = _dark(stacks, restorer, file, stated, path)
        return [Given({"widefield": each[0, 0]}, as_filed=values is stacks) for each in values]
    card = restorer.card
    stacks = stacks_of(file, (card.angles, card.phases), order, path, "the model restores stacks of")
    refuse_unusable(stacks, path)
    for stack in stacks:
        if np.ptp(stack) and repeated_frames(stack.reshape(-1, *stack.shape[-2:])):
            raise CopiedFrames(
                f"{path}: frames are copies of one image; a raw stack has one exposure for each"
            )
    if roles in (("raw",), ("widefield",)) and not stripes:
        values = _dark(stacks, restorer, file, stated, path)
        if roles == ("raw",):
            return [Given({"raw": each}, as_filed=values is stacks) for each in values]
        means = values.mean(axis=(1, 2), dtype=np.float64)
        return [Given({"widefield": each}, as_filed=values is stacks) for each in means]
    return _with_stripes(stacks, restorer, file, stated, path)


def _with_stripes(
    stacks: Image, restorer: Restorer, file: ImageFile, stated: Stated, path: Path
) -> list[Given]:
    """Fields whose stripes are known: found in the mean of all stacks."""
    from pipelines.own_files.reconstructing import check_of, reconstructions  # draws in all of classical SIM

    microscope = microscope_of(file, stated, path)
    frames, _ = above_offset(stacks, microscope.camera, stated.offset, path)
    found, images = reconstructions(stacks, microscope, stated.offset, path)
    stripes = Stripes(found.illumination, found.otf, found.haze)
    fields = []
    for counts, raw, image in zip(stacks, frames, images, strict=True):
        every: dict[Role, Image] = {
            "raw": raw,
            "reconstruction": image,
            "widefield": raw.mean(axis=(0, 1)),
        }
        field = Field("", "", "", "", every, microscope, found.illumination)
        if "synthetic" in restorer.recipe.task.roles:
            assert restorer.upstream is not None, (
                "a model of derived frames comes with what they are derived from"
            )
            guess, scale = restorer.upstream(every), restorer.upstream.recipe.task.scale
            every["synthetic"] = synthetic(
                guess, microscope, found.illumination, scale, bool(restorer.full_modulation)
            )
        check = check_of(counts, raw, microscope, found)
        fields.append(Given(every, _reconstruct(field, stripes), check))
    return fields


def _reconstruct(field: Field, stripes: Stripes) -> Callable[[Image], NDArray[np.float32]]:
    return lambda frames: reconstructed(frames, field, stripes, DEFAULT)


def _dark(stacks: Image, restorer: Restorer, file: ImageFile, stated: Stated, path: Path) -> Image:
    """Stacks (T, A, P, Y, X) as they are, or without the camera's offset where the model depends on it.

    A model that maps each stack by its own statistics is the same for any gain and offset, and gives what it is given:
    counts.
    """
    settings = restorer.normaliser.settings
    if settings.scope == "stack" and settings.kind not in ZERO_IS_DARK:
        return stacks
    return above_offset(stacks, camera_of(file, stated, path), stated.offset, path)[0]


def _is_images(file: ImageFile) -> bool:
    """Whether a file holds images that are no raw stacks: a single one, or a series along time."""
    single = [length for axis, length in zip(file.axes, file.data.shape, strict=True) if axis not in "YXT"]
    return all(length == 1 for length in single)


def _with_axes(file: ImageFile, axes: str, restorer: Restorer, path: Path) -> Image:
    """The values of a file with axes TZYX or TYX; a missing one is of length one."""
    lengths = dict(zip(file.axes, file.data.shape, strict=True))
    known = {axis: length for axis, length in lengths.items() if length > 1 or axis in "YX"}
    # Where a file does not say what its pages are, they are what the model tells from one another.
    unknown = [axis for axis in known if axis not in axes]
    wanted = "Z" if restorer.recipe.method.learns_from == "slices" and "Z" in axes else "T"
    if len(unknown) == 1 and wanted not in known:
        known = {wanted if axis == unknown[0] else axis: length for axis, length in known.items()}
        unknown = []
    if unknown:
        shape = " x ".join(map(str, file.data.shape))
        raise BadInput(
            f"{path}: holds {shape} ({file.axes}), but the model takes axes {axes}; split the file"
        )
    values = np.asarray(file.data).reshape(tuple(known.values()))
    present = [axis for axis in axes if axis in known]
    ordered = values.transpose([list(known).index(axis) for axis in present])
    whole: Image = ordered.reshape([known.get(axis, 1) for axis in axes])
    camera = camera_told(file)
    return whole if camera is None else (whole.astype(np.float32) - camera["offset"]) / camera["gain"]
