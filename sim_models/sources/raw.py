"""Images of others, read as they were declared and held against that: nothing is guessed, and what was done is told."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import PositiveInt

from sim_models.config import BadInput, Settings
from sim_models.field import FrameOrder
from sim_models.images import ImageFile, is_mean_of, read
from sim_models.sources.checks import CopiedFrames, repeated_frames
from sim_models.sources.listing import Listed
from sim_models.sources.stripes import Grouping, clear_winner, groupings, stripe_strengths


class Declared(Settings):
    """How the frames of a dataset lie in its files."""

    angles: PositiveInt
    phases: PositiveInt
    order: FrameOrder
    rows: Literal["top-down", "bottom-up"]
    """which row a file begins with; all images come out top-down, as the stripes of `Illumination` count them"""
    transposed: bool
    """whether a file has columns where others have rows; swapped before `rows` is heeded"""
    time: Literal["one", "slowest", "T", "Z", "C", "I"]
    """`one` stack per file; or several, whose frames follow each other in one list (`slowest`), or along that axis"""


class Contradicted(BadInput):
    """What a file holds is not what was declared of it: the declaration is wrong, or it is another dataset's file."""


@dataclass(frozen=True)
class Raw:
    """Raw stacks of one file or folder."""

    stacks: NDArray[Any]
    """(T, A, P, Y, X), rows top-down, values as stored"""
    pixel_um: float | None
    metadata: Mapping[str, Any]
    """our own acquisition metadata; empty for files of others"""
    notes: tuple[str, ...]
    """what was done and found"""


def read_raw(listed: Listed, declared: Declared) -> Raw:
    """Read raw frames.

    Raises:
        BadInput: if a file cannot be read, or one more image is not their mean as declared.
        Contradicted: if the frames contradict what is declared: their number, or their order as the stripes tell it.
        CopiedFrames: if frames are copies of one image.
    """
    file, notes = _opened(listed)
    data, turned = _upright(file.data, declared)
    frames = _by_time(data, file.axes, declared, listed.where)
    _refuse_copies(frames[0], listed.where)
    said = _agrees(frames[0], declared, listed.where)
    stacks = np.stack(
        [Grouping(declared.angles, declared.phases, declared.order).of(each) for each in frames]
    )
    counted = (
        f"{len(stacks)} x {declared.angles} angles x {declared.phases} phases, {declared.order} as declared"
    )
    return Raw(stacks, file.pixel_um, file.metadata, (*notes, *turned, counted, said))


def read_image(listed: Listed, declared: Declared) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Read an image other than raw frames, turned as those, (..., Y, X), and what was done.

    Raises:
        BadInput: if it cannot be read, or has no such plane.
    """
    file, notes = _opened(listed)
    data, turned = _upright(file.data, declared)
    if listed.plane is not None and data.ndim > 2:
        if listed.plane >= len(data):
            raise BadInput(
                f"{listed.where}: has {len(data)} planes, so none number {listed.plane}; check the layout"
            )
        notes = (*notes, f"plane {listed.plane} of {len(data)}")
        data = data[listed.plane]
    return data, (*notes, *turned)


def _opened(listed: Listed) -> tuple[ImageFile, tuple[str, ...]]:
    """One file; or several of one image each, as one list of frames."""
    files = [read(path) for path in listed.paths]
    first = files[0]
    if "S" in first.axes or np.iscomplexobj(first.data):
        what = (
            "is in colour" if "S" in first.axes else "holds complex numbers, as an optical transfer function"
        )
        raise BadInput(f"{listed.where}: {what}; a dataset has grey images, so give its raw frames")
    if len(files) == 1 and listed.mean is None:
        return first, first.warnings
    for path, file in zip(listed.paths, files, strict=True):
        if file.axes != "YX" or file.data.shape != first.data.shape:
            raise BadInput(
                f"{path}: has axes {file.axes} and shape {file.data.shape}; one file per frame means one image each, "
                f"of the same size ({listed.paths[0].name} has {first.data.shape})"
            )
    stack = ImageFile(
        np.stack([file.data for file in files]), "IYX", first.pixel_um, first.format, {},
        first.warnings, listed.paths, first.header,
    )  # fmt: skip
    if listed.mean is None:
        return stack, first.warnings
    _refuse_no_mean(stack.data, listed.mean)
    return stack, (*first.warnings, f"{listed.mean.name} is the mean of the {len(files)} frames, as declared")


def _refuse_no_mean(frames: NDArray[Any], path: Path) -> None:
    mean = read(path).data
    if mean.shape != frames.shape[1:] or not is_mean_of(mean, frames):
        raise BadInput(
            f"{path}: should be the mean of the {len(frames)} frames beside it and is not; check the number of frames"
        )


def _upright(data: NDArray[Any], declared: Declared) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Rows top-down and columns to the right."""
    done = []
    if declared.transposed:
        data, done = data.swapaxes(-1, -2), ["rows and columns swapped, as declared"]
    if declared.rows == "bottom-up":
        data, done = data[..., ::-1, :], [*done, "rows turned from bottom-up, as declared"]
    return np.ascontiguousarray(data), tuple(done)


def _by_time(data: NDArray[Any], axes: str, declared: Declared, where: Path) -> NDArray[Any]:
    """All frames of each time, (T, F, Y, X)."""
    num = declared.angles * declared.phases
    shape = " x ".join(map(str, data.shape))
    wanted = f"declared are {declared.angles} angles x {declared.phases} phases"
    if "A" in axes and "P" in axes:
        found = data.shape[axes.index("A")], data.shape[axes.index("P")]
        if found != (declared.angles, declared.phases) or declared.order is not FrameOrder.ANGLE_MAJOR:
            raise Contradicted(
                f"{where}: says it has {found[0]} angles x {found[1]} phases, angle-major, but {wanted}, "
                f"{declared.order}; mend the declaration"
            )
    if len(declared.time) == 1:
        if declared.time not in axes[:-2]:
            raise Contradicted(
                f"{where}: has axes {axes}, so time cannot be its axis {declared.time}; declare another"
            )
        data = np.moveaxis(data, axes.index(declared.time), 0)
        frames = data.reshape(len(data), -1, *data.shape[-2:])
    else:
        frames = data.reshape(1, -1, *data.shape[-2:])
        if declared.time == "slowest" and frames.shape[1] % num == 0:
            frames = frames.reshape(-1, num, *frames.shape[-2:])
    if frames.shape[1] != num:
        times = {"one": "one time", "slowest": "times one after the other"}.get(declared.time, "every time")
        raise Contradicted(
            f"{where}: holds {shape} ({axes}), but {wanted}, {num} frames, for {times}; mend the declaration"
        )
    return frames


def _refuse_copies(frames: NDArray[Any], where: Path) -> None:
    if repeated := repeated_frames(frames):
        raise CopiedFrames(
            f"{where}: frames {repeated[0][0] + 1} and {repeated[0][1] + 1} are identical; a raw stack has one "
            "exposure for each angle and phase, not copies of one image"
        )


def _agrees(frames: NDArray[Any], declared: Declared, where: Path) -> str:
    """What the stripes say of the declared order, where they say anything."""
    if declared.angles < 2 or declared.phases < 3:
        return "order not tested: that takes two angles and three phases"
    if not np.isfinite(frames).all() or (frames.mean(axis=(1, 2)) <= 0).any():
        return "order not tested: frames are dark or not finite"
    strengths = stripe_strengths(frames.astype(np.float32), groupings(declared.angles, declared.phases))
    told = ", ".join(f"{group} {strength:.1f}" for group, strength in strengths.items())
    winner = clear_winner(strengths)
    if winner is None:
        return f"stripes too weak to tell the order, which is as declared (strength {told})"
    if winner != Grouping(declared.angles, declared.phases, str(declared.order)):
        raise Contradicted(
            f"{where}: declared are {declared.angles} angles x {declared.phases} phases, {declared.order}, but its "
            f"stripes say {winner} (strength {told}); mend the declaration"
        )
    return f"stripes say the same order (strength {told})"
