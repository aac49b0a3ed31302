"""What makes a field unusable, whatever layout it comes from."""

from itertools import combinations
from typing import Any

import numpy as np

from sim_models.config import BadInput
from sim_models.field import AXES, Field, Image

AXIS_NAMES = {"A": "angles", "P": "phases", "T": "times", "Z": "slices", "Y": "rows", "X": "columns"}

SATURATED_SHARE = 0.01
"""a frame with more of its pixels than this at the camera's limit has lost its stripes there"""


class CopiedFrames(BadInput):
    """Frames of a raw stack are copies of one image: it is none of a microscope with stripes."""


def check(field: Field, where: str) -> None:
    """Refuse a field that no method could learn from.

    Args:
        field: the field to look at.
        where: its file or folder, for the message.

    Raises:
        BadInput: if an image has wrong axes, NaN or infinite values, nothing in it, saturated or
            repeated frames, not the frames its illumination describes, or a size that does not
            match the raw frames.
    """
    for role, image in field.images.items():
        place = f"{where}: image '{role}'"
        _check_values(image, place)
        if image.ndim != len(AXES[role]):
            names = " x ".join(AXIS_NAMES[axis] for axis in AXES[role])
            raise BadInput(f"{place} has shape {image.shape}; expected {names} ({AXES[role]})")
        if AXES[role] == "YX":
            _check_size(image, field, place)
        else:
            _check_light(image, place)
        if AXES[role] == "APYX":
            _check_frames(image, field, place)


def raw_rows_and_columns(field: Field) -> tuple[int, int] | None:
    """Size of the frames as the camera gave them; None where a field has none."""
    frames = next((image for role, image in field.images.items() if AXES[role] != "YX"), None)
    return None if frames is None else (frames.shape[-2], frames.shape[-1])


def saturated_share(image: Image) -> float:
    """Largest share of pixels, over the frames (..., Y, X), that sit at the limit of an integer type."""
    if not np.issubdtype(image.dtype, np.integer):
        return 0.0
    at_limit = np.equal(image, largest(image.dtype))
    return float(np.mean(at_limit, axis=(-2, -1)).max())


def largest(dtype: np.dtype[Any]) -> int:
    """Largest value of an integer type."""
    return int(np.iinfo(dtype).max)


def repeated_frames(frames: Image) -> list[tuple[int, int]]:
    """Pairs of frames (F, Y, X) that are equal in every pixel; noise alone makes that impossible."""
    contents = [frame.tobytes() for frame in frames]
    return [(i, j) for i, j in combinations(range(len(contents)), 2) if contents[i] == contents[j]]


def _check_values(image: Image, place: str) -> None:
    if not np.isfinite(image).all():
        bad = int(np.size(image) - np.isfinite(image).sum())
        raise BadInput(f"{place} has {bad} NaN or infinite pixels; mend or leave out this field")
    if np.ptp(image) == 0:
        raise BadInput(f"{place} is constant (every pixel is {image.flat[0]}); leave out this field")


def _check_light(frames: Image, place: str) -> None:
    if (share := saturated_share(frames)) > SATURATED_SHARE:
        raise BadInput(
            f"{place} is saturated: {share:.1%} of the pixels of a frame are at {largest(frames.dtype)}; "
            "take it again with less light or a shorter exposure"
        )


def _check_frames(frames: Image, field: Field, place: str) -> None:
    if field.illumination is not None:
        angles, phases = len(field.illumination.phase_rad), len(field.illumination.phase_rad[0])
        if frames.shape[:2] != (angles, phases):
            raise BadInput(
                f"{place} has {frames.shape[0]} angles x {frames.shape[1]} phases, but its illumination "
                f"describes {angles} x {phases}; correct the one that is wrong (angles and phases swapped?)"
            )
    if repeated := repeated_frames(frames.reshape(-1, *frames.shape[2:])):
        raise CopiedFrames(
            f"{place} repeats itself: frames {repeated[0][0] + 1} and {repeated[0][1] + 1} are identical; "
            "a raw stack needs one exposure per angle and phase, not copies of one image"
        )


def _check_size(image: Image, field: Field, place: str) -> None:
    size = raw_rows_and_columns(field)
    if size is None:
        return
    rows, columns = size
    scale = image.shape[0] // rows
    if scale < 1 or image.shape != (scale * rows, scale * columns):
        raise BadInput(
            f"{place} has {image.shape[0]} x {image.shape[1]} pixels, no whole multiple of the raw frames' "
            f"{rows} x {columns}; crop both to the same field"
        )
