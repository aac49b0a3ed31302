"""What makes frames unusable, whatever they show."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim_models.images import ImageFile
from sim_models.sources.checks import SATURATED_SHARE, repeated_frames, saturated_share

SMALLEST_PX = 24
"""below this there are too few frequencies to tell stripes from structure"""

DARK = 0.1
"""a frame with less than this share of the usual brightness is called dark"""

MOST_NAMED = 10
"""frames of a kind that are named one by one"""

LARGEST, SMALLEST_RANGE = 1e12, 1e-9
"""beyond these, powers of values are no longer told by 32-bit floats"""


def not_an_image(file: ImageFile) -> str | None:
    """Why a file holds nothing that could be examined; None where it does."""
    if file.data.dtype == bool:
        return "the values are only true and false, as in a mask; give raw frames"
    if np.iscomplexobj(file.data):
        return "the values are complex numbers, as in a file of an optical transfer function; give raw frames"
    if "S" in file.axes:
        return "the image is in colour; raw frames have one channel, so save it as grey values"
    if min(file.data.shape[-2:]) < SMALLEST_PX:
        return f"images of {file.data.shape[-2:]} pixels are too small; {SMALLEST_PX} a side is the least"
    if not np.isfinite(file.data).all():
        return f"{int((~np.isfinite(file.data)).sum())} pixels are NaN or infinite; export the stack again"
    if np.ptp(file.data) == 0:
        return f"every pixel is {file.data.flat[0]}; the camera or the export went wrong"
    if (largest := float(np.abs(file.data).max())) > LARGEST or np.ptp(file.data) < SMALLEST_RANGE:
        return f"values of up to {largest:.3g} are those of no camera; scale them and export the stack again"
    return None


def below_offset(frames: NDArray[Any], offset: float | None) -> tuple[str, ...]:
    """Whether frames (F, Y, X) in counts have no light above the offset that is stated, if one is."""
    if offset is None or (mean := float(frames.mean(dtype=np.float64))) > offset:
        return ()
    return (f"on average ({mean:.4g} counts) no brighter than the offset, {offset:g}; check the offset",)


def frame_problems(frames: NDArray[Any]) -> tuple[str, ...]:
    """What is wrong with frames (F, Y, X), of which every one should be an exposure of its own."""
    problems: list[str] = []
    if (share := saturated_share(frames)) > SATURATED_SHARE:
        problems.append(f"saturated: {share:.1%} of the pixels of a frame are at the limit; use less light")
    if constant := [i for i, frame in enumerate(frames) if np.ptp(frame) == 0]:
        problems.append(f"{_these(constant, frames)} constant; the camera or the shutter missed an exposure")
    elif repeated := repeated_frames(frames):
        problems.append(
            f"{len(repeated)} pairs of frames are identical, e.g. {repeated[0][0] + 1} and {repeated[0][1] + 1}; "
            "SIM needs one exposure per angle and phase, not copies of one image"
        )
    level = frames.mean(axis=(1, 2)) - np.percentile(frames, 1)
    dark = np.flatnonzero(level < DARK * np.median(level)).tolist()
    if dark and not constant:
        problems.append(f"{_these(dark, frames)} dark; the illumination was off or blocked")
    return tuple(problems)


def _these(indices: Sequence[int], frames: NDArray[Any]) -> str:
    """Some of the frames, counted from 1 as in every sentence about them."""
    numbers = [str(index + 1) for index in indices[:MOST_NAMED]]
    numbers += ["..."] if len(indices) > MOST_NAMED else []
    word, verb = ("frames", "are") if len(indices) > 1 else ("frame", "is")
    return f"{word} {', '.join(numbers)} of {len(frames)} {verb}"
