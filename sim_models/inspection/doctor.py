"""The examination: from a path to a `Report`."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim_models.images import ImageFile, ends_with_mean, read
from sim_models.inspection.light import Noise, measure_noise
from sim_models.inspection.report import Report
from sim_models.sources.checks import SATURATED_SHARE, repeated_frames, saturated_share
from sim_models.sources.stripes import Grouping, clear_winner, groupings, stripe_strengths

USUAL_LAYOUTS = {9: (3, 3), 15: (3, 5), 25: (5, 5)}
"""frames -> (angles, phases) of linear, three-dimensional or non-linear SIM"""

SMALLEST_PX = 24
"""below this there are too few frequencies to tell stripes from structure"""

DARK = 0.1
"""a frame with less than this share of the usual brightness is called dark"""

BRIGHTNESS_RANGE = 2.0
"""angles that differ by more than this factor in brightness bleach or are unevenly lit"""

SAME_BRIGHTNESS = 100.0
"""variance between over within angles; steady bleaching alone reaches 27 (3 x 3 frames)"""


def inspect(path: Path, angles: int | None, phases: int | None) -> Report:
    """Examine a raw stack, or a folder that holds one file per frame.

    Args:
        path: file or folder.
        angles: number of stripe directions, where known.
        phases: number of stripe positions per direction, where known.

    Raises:
        BadInput: if `path` cannot be read at all. What is wrong with its content is in the report.
    """
    file = read(path)
    report = Report(
        path=str(path), format=file.format, axes=file.axes, shape=file.data.shape, dtype=str(file.data.dtype),
        pixel_um=file.pixel_um, angles=None, phases=None, order=None, stripes_clear=False,
        offset_counts=None, light_counts=None, gain=None, light_photons=None,
        saturated_share=0.0, angle_brightness=(), evidence=(),
        warnings=file.warnings, problems=(), usable_for="nothing before its problems are solved",
    )  # fmt: skip
    if problem := _not_an_image(file):
        return replace(report, problems=(problem,))
    frames, report = _frames(file, report)
    return _verdict(_examine(frames, report, _expected_layout(file, angles, phases)))


def _not_an_image(file: ImageFile) -> str | None:
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
    return None


def _frames(file: ImageFile, report: Report) -> tuple[NDArray[Any], Report]:
    """The frames (F, Y, X) of the first stack in the file, without a trailing mean of the others."""
    data = file.data
    if file.axes.startswith("AP"):
        data = data.reshape(-1, *data.shape[2:])
    elif data.ndim > 3:
        stacks = data.reshape(-1, *data.shape[-3:])
        told = f"{len(stacks)} stacks of {data.shape[-3]} frames; the first is examined"
        data, report = stacks[0], replace(report, evidence=(*report.evidence, told))
    data = data.reshape(-1, *data.shape[-2:])
    if ends_with_mean(data):
        told = f"the last of {len(data)} images is the mean of the others and left out"
        data, report = data[:-1], replace(report, evidence=(*report.evidence, told))
    return data, report


def _expected_layout(file: ImageFile, angles: int | None, phases: int | None) -> tuple[int, int] | None:
    """What the user, or else the file, says about angles and phases."""
    if angles is not None and phases is not None:
        return angles, phases
    return (file.data.shape[0], file.data.shape[1]) if file.axes.startswith("AP") else None


def _examine(frames: NDArray[Any], report: Report, expected: tuple[int, int] | None) -> Report:
    integer = bool(np.issubdtype(frames.dtype, np.integer) or (frames == np.round(frames)).all())
    share, problems = saturated_share(frames), _frame_problems(frames)
    counts = frames.astype(np.float32)
    noise = measure_noise(counts, integer)
    report = _with_light(counts.mean(axis=0), noise, replace(report, saturated_share=share))
    if noise.interpolated:
        told = "corners of the spectrum are empty, as after interpolation: noise of neighbours is correlated"
        report = replace(report, evidence=(*report.evidence, told))
    if len(frames) > 1:
        report = _with_layout(counts, report, expected, look=not problems)
    return replace(report, problems=(*problems, *report.problems))


def _frame_problems(frames: NDArray[Any]) -> list[str]:
    problems = []
    if (share := saturated_share(frames)) > SATURATED_SHARE:
        problems.append(f"saturated: {share:.1%} of the pixels of a frame are at the limit; use less light")
    if constant := [i for i, frame in enumerate(frames) if np.ptp(frame) == 0]:
        problems.append(f"frames {constant} are constant; the camera or the shutter missed them")
    elif repeated := repeated_frames(frames):
        problems.append(
            f"{len(repeated)} pairs of frames are identical, e.g. {repeated[0][0]} and {repeated[0][1]}; "
            "SIM needs one exposure per angle and phase, not copies of one image"
        )
    brightness = frames.mean(axis=(1, 2)) - np.percentile(frames, 1)
    dark = np.flatnonzero(brightness < DARK * np.median(brightness)).tolist()
    if dark and not constant:
        problems.append(f"frames {dark} are dark; the illumination was off or blocked")
    return problems


def _with_light(widefield: NDArray[np.float32], noise: Noise, report: Report) -> Report:
    offset, bright = (float(value) for value in np.percentile(widefield, [1, 99.9]))
    return replace(
        report,
        offset_counts=offset,
        light_counts=bright - offset,
        gain=noise.gain,
        light_photons=(bright - offset) / noise.gain if noise.gain else None,
    )


def _with_layout(
    frames: NDArray[np.float32], report: Report, expected: tuple[int, int] | None, look: bool
) -> Report:
    layout = expected or USUAL_LAYOUTS.get(len(frames))
    if layout is None or layout[0] * layout[1] != len(frames):
        return replace(report, problems=(_unknown_layout(len(frames), expected),))
    if not look or layout[0] < 2 or layout[1] < 3:
        return replace(report, angles=layout[0], phases=layout[1])
    strengths = stripe_strengths(frames, groupings(*layout))
    told = "strength of stripes: " + ", ".join(f"{group} {value:.1f}" for group, value in strengths.items())
    report = replace(report, angles=layout[0], phases=layout[1], evidence=(*report.evidence, told))
    by_stripes, by_brightness = clear_winner(strengths), _by_brightness(frames, list(strengths))
    winner = by_stripes or by_brightness
    if winner is None:
        return report
    if by_stripes is None:
        told = f"the brightness of the frames decides the order: it comes in steps when read as {winner}"
        report = replace(report, evidence=(*report.evidence, told))
    report = _with_brightness(frames, winner, report)
    stored_otherwise = report.axes.startswith("AP") and winner.order == "phase-major"
    if expected and (stored_otherwise or (winner.angles, winner.phases) != expected):
        problem = f"stated are {expected[0]} angles x {expected[1]} phases, but the frames say {winner}"
        report = replace(report, problems=(problem,))
    return replace(
        report,
        angles=winner.angles,
        phases=winner.phases,
        order=winner.order,
        stripes_clear=by_stripes is not None,
    )


def _unknown_layout(num_frames: int, expected: tuple[int, int] | None) -> str:
    if expected:
        angles, phases = expected
        return f"{num_frames} frames, but {angles} angles x {phases} phases need {angles * phases}"
    if num_frames == 7:
        return "7 frames, as in hexagonal SIM, whose three-beam pattern is not supported"
    return (
        f"{num_frames} frames fit no usual layout (3 x 3, 3 x 5, 5 x 5); state angles and phases, and take "
        "one section out of a volume"
    )


def _by_brightness(frames: NDArray[np.float32], candidates: list[Grouping]) -> Grouping | None:
    """The grouping whose angles have a brightness of their own, far beyond what bleaching explains."""
    means = frames.mean(axis=(1, 2))
    for grouping in candidates:
        groups = grouping.of(means[:, None, None])[..., 0, 0]
        within = groups.var(axis=1, ddof=1).mean()
        if grouping.phases * groups.mean(axis=1).var(ddof=1) > SAME_BRIGHTNESS * within:
            return grouping
    return None


def _with_brightness(frames: NDArray[np.float32], grouping: Grouping, report: Report) -> Report:
    level = grouping.of(frames).mean(axis=(1, 2, 3)) - np.percentile(frames.mean(axis=0), 1)
    brightness = tuple(float(value) for value in np.round(level / level[0], 3))
    if max(brightness) > BRIGHTNESS_RANGE * min(brightness):
        told = "angles differ in brightness by more than a factor of 2: bleaching or uneven illumination"
        report = replace(report, evidence=(*report.evidence, told))
    return replace(report, angle_brightness=brightness)


def _verdict(report: Report) -> Report:
    if report.problems:
        return report
    if report.angles is None:
        return replace(report, usable_for="a reference, or an object for simulation; it has no raw frames")
    uses = "restoration, reconstruction and training"
    if not report.stripes_clear:
        uses = "restoration; reconstruction only with known illumination, since its stripes are not clear"
    if report.pixel_um is None:
        uses += "; state the pixel size, the file does not"
    return replace(report, usable_for=uses)
