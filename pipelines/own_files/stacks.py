"""Raw stacks in people's files: as (T, A, P, Y, X), with what is known of the microscope."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sim_models.config import BadInput, parse
from sim_models.field import Camera, FrameOrder, Image, Microscope
from sim_models.images import ImageFile
from sim_models.sources.checks import SATURATED_SHARE, largest, saturated_share
from sim_models.sources.stripes import USUAL_LAYOUTS


def stacks_of(
    file: ImageFile, layout: tuple[int, int], order: FrameOrder, path: Path, needed_by: str
) -> Image:
    """The stacks of a file as (T, A, P, Y, X) of a layout (angles, phases).

    `needed_by` says in messages who needs that layout, as in "the model restores stacks of 9 frames".

    Raises:
        BadInput: if the frames cannot be those of whole stacks.
    """
    data = np.asarray(file.data)
    wanted = f"{needed_by} {layout[0] * layout[1]} frames ({layout[0]} angles x {layout[1]} phases)"
    if data.ndim < 3 or "S" in file.axes:
        raise BadInput(f"{path}: holds a single image ({file.axes}), but {wanted}")
    if "A" in file.axes and "P" in file.axes:
        found = data.shape[file.axes.index("A")], data.shape[file.axes.index("P")]
        if found != layout:
            raise BadInput(f"{path}: has {found[0]} angles x {found[1]} phases, but {wanted}")
        return data.reshape(-1, *layout, *data.shape[-2:])
    if data.shape[-3] == layout[0] * layout[1]:
        return _in_order(data.reshape(-1, *data.shape[-3:]), layout, order)
    shape = " x ".join(map(str, data.shape))
    raise BadInput(
        f"{path}: holds {shape} ({file.axes}), but {wanted}; split the file, or give the frames of each stack of a "
        "series an axis of their own"
    )


def _in_order(frames: Image, layout: tuple[int, int], order: FrameOrder) -> Image:
    angles, phases = layout
    if order is FrameOrder.ANGLE_MAJOR:
        return frames.reshape(-1, angles, phases, *frames.shape[-2:])
    return frames.reshape(-1, phases, angles, *frames.shape[-2:]).swapaxes(1, 2)


def layout_of(file: ImageFile, angles: int | None, phases: int | None, path: Path) -> tuple[int, int]:
    """Angles and phases: as stated, or as the file says, or as is usual for its number of frames.

    Raises:
        BadInput: if that does not decide it, or the file cannot have what is stated.
    """
    if angles is not None and phases is not None:
        return angles, phases
    if "A" in file.axes and "P" in file.axes:
        found = file.data.shape[file.axes.index("A")], file.data.shape[file.axes.index("P")]
        return angles or found[0], phases or found[1]
    if file.data.ndim < 3 or "S" in file.axes:
        what = "colour images" if "S" in file.axes else "a single image"
        raise BadInput(
            f"{path}: holds {what} ({file.axes}); a raw stack has one grey frame per angle and phase"
        )
    num_frames = file.data.shape[-3]
    if (stated := angles or phases) is not None:
        if num_frames % stated:
            raise BadInput(
                f"{path}: holds {num_frames} frames, which cannot be {stated} {'angles' if angles else 'phases'}; "
                "give the right number, or both --angles and --phases"
            )
        other = num_frames // stated
        return (stated, other) if angles else (other, stated)
    if num_frames in USUAL_LAYOUTS:
        return USUAL_LAYOUTS[num_frames]
    if num_frames == 7:
        raise BadInput(
            f"{path}: holds 7 frames, as in hexagonal SIM, whose three beams make one pattern of three wave vectors; "
            "that is not supported, only stripes of one wave vector per angle"
        )
    raise BadInput(
        f"{path}: holds {num_frames} frame{'s' if num_frames > 1 else ''}, which fits no usual layout (3 x 3, 3 x 5, "
        "5 x 5); give --angles and --phases, and take one section out of a volume"
    )


def refuse_unusable(stacks: Image, path: Path) -> None:
    """Refuse values that no stripes can be seen in.

    Raises:
        BadInput: if they are not finite, not real, or saturated.
    """
    if np.iscomplexobj(stacks):
        raise BadInput(
            f"{path}: the values are complex numbers, as of an optical transfer function; give raw frames"
        )
    if not np.isfinite(stacks).all():
        raise BadInput(
            f"{path}: {int((~np.isfinite(stacks)).sum())} pixels are NaN or infinite; export the stack again"
        )
    if (share := saturated_share(stacks)) > SATURATED_SHARE:
        raise BadInput(
            f"{path}: is saturated: {share:.1%} of the pixels of a frame are at {largest(stacks.dtype)}, where the "
            "stripes are lost; take it again with less light or a shorter exposure"
        )


SMALLEST_PX = 32
"""shorter edges hold too few cycles of stripes"""

COARSEST, FEWEST = 1.0, 8.0
"""cycles of the finest detail an objective passes: at most so many in a pixel, and so many at least in a field"""


def refuse_scale(microscope: Microscope, shape: tuple[int, int], path: Path) -> None:
    """Refuse pixels that cannot be those of the objective, as where nanometres pass for micrometres.

    Raises:
        BadInput: if its finest detail is far smaller than a pixel, or about as large as the field of `shape` (Y, X).
    """
    cycles, pixel_um = microscope.cutoff_per_um * microscope.pixel_um, microscope.pixel_um
    if min(shape) < SMALLEST_PX:
        raise BadInput(
            f"{path}: frames of {shape[0]} x {shape[1]} pixels are too small; {SMALLEST_PX} a side is the least"
        )
    if cycles > COARSEST or cycles * min(shape) < FEWEST:
        raise BadInput(
            f"{path}: pixels of {pixel_um:g} um do not go with an objective that passes detail of "
            f"{1 / microscope.cutoff_per_um:.3g} um; check pixel size (in the specimen, in um), numerical aperture and "
            "wavelength"
        )


@dataclass(frozen=True)
class Stated:
    """What a person says of the microscope; None where the file is to say it."""

    pixel_um: float | None
    numerical_aperture: float | None
    emission_um: float | None
    offset: float | None
    gain: float | None
    read_noise: float | None


class Told(Protocol):
    """What a file says of how it was taken."""

    @property
    def pixel_um(self) -> float | None:
        """Edge of a raw pixel in the specimen."""

    @property
    def metadata(self) -> Mapping[str, Any]:
        """Our own acquisition metadata; empty for files of others."""


def microscope_of(file: Told, stated: Stated, path: Path, like: Microscope | None = None) -> Microscope:
    """The microscope as stated, and where nothing is stated as the file says, or else as that of `like`.

    Raises:
        BadInput: if pixel size, numerical aperture or wavelength remain unknown, or make no sense.
    """
    told = file.metadata.get("microscope") or {}
    known = like.model_dump() if like else {}
    pixel_um = stated.pixel_um or told.get("pixel_um") or file.pixel_um or known.get("pixel_um")
    aperture, emission_um = (
        getattr(stated, name) or told.get(name) or known.get(name)
        for name in ("numerical_aperture", "emission_um")
    )
    options = {
        "--pixel-um, as in --pixel-um 0.065": pixel_um,
        "--na, as in --na 1.4": aperture,
        "--emission-um, as in --emission-um 0.525": emission_um,
    }
    if missing := [option for option, value in options.items() if value is None]:
        raise BadInput(f"{path}: does not say all of its optics; give {'; '.join(missing)}")
    # The medium only has to allow the aperture; in focus nothing else depends on it.
    medium = told.get("refractive_index") or max(1.518, 1.02 * float(aperture or 0))
    return parse(
        Microscope,
        {
            "numerical_aperture": aperture,
            "refractive_index": medium,
            "emission_um": emission_um,
            "pixel_um": pixel_um,
            "camera": _camera(camera_told(file), stated, path),
        },
        str(path),
    )


def camera_of(file: Told, stated: Stated, path: Path) -> Camera | None:
    """The camera as stated or as the file says; None where it is not known.

    Raises:
        BadInput: if what is stated is not enough.
    """
    found = _camera(camera_told(file), stated, path)
    return None if found is None else parse(Camera, found, str(path))


def camera_told(file: Told) -> dict[str, float] | None:
    """How the values of a file come from photo-electrons, where our own metadata tell it."""
    told: dict[str, float] | None = file.metadata.get("microscope", {}).get("camera")
    if told and file.metadata.get("unit") == "photons":
        # A prepared field: gain and offset are taken off already.
        return {**told, "gain": 1.0, "offset": 0.0}
    return told


def _camera(told: dict[str, float] | None, stated: Stated, path: Path) -> dict[str, float] | None:
    """Gain and offset as stated or as told; None where they are not known."""
    given = {"gain": stated.gain, "offset": stated.offset, "read_noise": stated.read_noise}
    if told is not None:
        return {name: told[name] if value is None else value for name, value in given.items()}
    if stated.gain is None:
        if stated.read_noise is not None:
            raise BadInput(f"{path}: --read-noise (photo-electrons) says something only together with --gain")
        return None
    if stated.offset is None:
        raise BadInput(
            f"{path}: --gain (counts per photo-electron) needs --offset (counts of a dark frame) beside it"
        )
    return {"gain": stated.gain, "offset": stated.offset, "read_noise": stated.read_noise or 0.0}


DARKEST_PERCENT = 0.5
"""of the pixels of an angle's mean frame, taken for background where the camera's offset is not known"""


def above_offset(
    stacks: NDArray[np.generic], camera: Camera | None, offset: float | None, path: Path
) -> tuple[NDArray[np.float32], list[float]]:
    """Stacks (T, A, P, Y, X) in photo-electrons, or counts above the offset, and the offsets (A,) that were taken.

    Where neither camera nor offset are known, the darkest pixels of every angle are taken for background: some
    publishers stretch each angle on its own.

    Raises:
        BadInput: if the offset leaves no light.
    """
    values = stacks.astype(np.float32)
    angles = values.shape[1]
    known = camera.offset if camera else offset
    if known is not None:
        if (mean := float(values.mean())) <= known:
            raise BadInput(
                f"{path}: is on average ({mean:.4g} counts) no brighter than the offset, {known:g}; check the offset"
            )
        return (values - known) / (camera.gain if camera else 1.0), [known] * angles
    means = values.mean(axis=(0, 2))
    offsets = np.percentile(means.reshape(angles, -1), DARKEST_PERCENT, axis=1)
    return values - offsets[:, None, None, None].astype(np.float32), offsets.tolist()
