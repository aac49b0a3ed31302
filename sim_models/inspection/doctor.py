"""The examination: from a path to a `Report`."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim_models.config import BadInput, parse
from sim_models.field import Microscope
from sim_models.images import ImageFile, ends_with_mean, read
from sim_models.inspection.faults import below_offset, frame_problems, not_an_image
from sim_models.inspection.known import Known, contradicted, refuse_nonsense
from sim_models.inspection.layout import Layout, find_layout
from sim_models.inspection.light import Noise, measure_noise
from sim_models.inspection.pattern import Pattern, find_pattern, finding, rounded, share_of_limit
from sim_models.inspection.report import Report
from sim_models.inspection.several import stack_among
from sim_models.inspection.steadiness import brightness, drift_px, fading
from sim_models.sources.checks import saturated_share
from sim_models.sources.stripes import USUAL_LAYOUTS, Grouping

BRIGHTNESS_RANGE = 2.0
"""angles that differ by more than this factor in brightness bleach or are unevenly lit"""

FADED = 0.1
"""share of the light lost from the first frame to the last, from which on it is told"""

MOVED_PX = 1.0
"""drift between angles, from which on it is told: a reconstruction puts angles together to a fraction of a pixel"""

FEW_PHOTONS = 20.0
"""per pixel and frame at the brightest places, below which light is called low"""

LIKELY_GAIN = 0.05, 50.0
"""counts per photo-electron of scientific cameras; beyond, values were averaged, or stretched to the range of a file"""

STACK = "APYX"
"""axes of a stack whose file says what is angle and what is phase"""

MANY_PHASES, MANY_ANGLES = 3, 2
"""the least that stripes can be told with"""


@dataclass(frozen=True)
class Examined:
    """A report, and the frames it is about."""

    report: Report
    frames: NDArray[np.float32]
    """(F, Y, X) of the stack that was examined, in the order of the file; (0, Y, X) where there was none to examine"""


def inspect(path: Path, known: Known | None = None) -> Report:
    """Examine a raw stack, or a folder that holds one file per frame.

    Args:
        path: file or folder.
        known: what is known of it.

    Raises:
        BadInput: if `path` cannot be read at all, or what is known makes no sense. What is wrong with its content is
            in the report.
    """
    return examine(path, known or Known()).report


def examine(path: Path, known: Known) -> Examined:
    """The same, with the frames that were examined. Raises like `inspect`."""
    refuse_nonsense(known)
    file = read(path)
    report = Report(
        path=str(path), format=file.format, axes=file.axes, shape=file.data.shape, dtype=str(file.data.dtype),
        pixel_um=known.pixel_um or file.pixel_um, angles=None, phases=None, order=None, sections=1,
        offset_counts=None, light_counts=None, gain=None, light_photons=None, saturated_share=0.0,
        frame_brightness=(), angle_brightness=(), drift_px=(), pattern=None, evidence=(),
        warnings=file.warnings, problems=(), usable_for="nothing before its problems are solved",
    )  # fmt: skip
    if problem := not_an_image(file):
        return Examined(replace(report, problems=(problem,)), np.empty((0, 0, 0), np.float32))
    expected = _expected_layout(file, known)
    frames, report = _frames(file, report, expected)
    return Examined(_verdict(_examine(frames, report, expected, file, known)), frames.astype(np.float32))


def _expected_layout(file: ImageFile, known: Known) -> tuple[int, int] | None:
    """What the user, or else the file, says about angles and phases."""
    if known.angles is not None and known.phases is not None:
        return known.angles, known.phases
    if (stated := known.angles or known.phases) is not None:
        usual = [layout for layout in USUAL_LAYOUTS.values() if stated == layout[known.angles is None]]
        frames = file.data.shape[-3] if file.data.ndim > 2 else 1
        fits = [layout for layout in usual if frames % (layout[0] * layout[1]) == 0]
        return fits[0] if len(fits) == 1 else None
    if file.axes.endswith(STACK):
        return file.data.shape[-4], file.data.shape[-3]
    return (file.data.shape[0], file.data.shape[1]) if file.axes.startswith("AP") else None


def _frames(file: ImageFile, report: Report, expected: tuple[int, int] | None) -> tuple[NDArray[Any], Report]:
    """The frames (F, Y, X) of one stack in the file, without a trailing mean of the others."""
    data = file.data
    if file.axes.endswith(STACK) and data.ndim > 4:
        # Several of our own stacks: one list of frames each.
        data = data.reshape(*data.shape[:-4], -1, *data.shape[-2:])
    if file.axes.startswith("AP"):
        data = data.reshape(-1, *data.shape[2:])
    elif data.ndim > 3:
        stacks = data.reshape(-1, *data.shape[-3:])
        told = f"{len(stacks)} stacks of {data.shape[-3]} frames; the first is examined"
        data = stacks[0]
        report = replace(report, evidence=(*report.evidence, told), sections=len(stacks))
    data = data.reshape(-1, *data.shape[-2:])
    if ends_with_mean(data):
        told = f"the last of {len(data)} images is the mean of the others and left out"
        data, report = data[:-1], replace(report, evidence=(*report.evidence, told))
    one = expected[0] * expected[1] if expected else None
    if len(data) == one or (one is None and len(data) in USUAL_LAYOUTS) or len(data) < 2:
        return data, report
    if (found := stack_among(data, expected)) is None:
        return data, report
    told = f"stripes say that {len(data)} frames are {found}; the stack in the middle is examined"
    stack = found.stack(data)
    report = replace(_with_evidence(report, told), sections=report.sections * found.size["Z"])
    return stack.reshape(-1, *stack.shape[2:]), report


def _examine(
    frames: NDArray[Any], report: Report, expected: tuple[int, int] | None, file: ImageFile, known: Known
) -> Report:
    integer = bool(np.issubdtype(frames.dtype, np.integer) or (frames == np.round(frames)).all())
    problems = (*frame_problems(frames), *below_offset(frames, known.offset))
    counts = frames.astype(np.float32)
    noise = measure_noise(counts, integer)
    report = replace(report, saturated_share=saturated_share(frames), problems=problems)
    report = _with_light(counts.mean(axis=0), noise, known, report)
    if len(frames) == 1:
        return report
    if noise.interpolated:
        told = "corners of the spectrum are empty, as after interpolation: noise of neighbours is correlated"
        report = _with_evidence(report, told)
    layout = find_layout(counts, expected, look=not problems)
    report = replace(
        report,
        angles=layout.angles,
        phases=layout.phases,
        evidence=(*report.evidence, *layout.evidence),
        problems=(*report.problems, *layout.problems, *contradicted(known, layout.angles, layout.phases)),
    )
    return report if report.problems else _with_stripes(counts, layout, expected, file, known, report)


def _with_evidence(report: Report, *told: str) -> Report:
    return replace(report, evidence=(*report.evidence, *told))


def _with_light(widefield: NDArray[np.float32], noise: Noise, known: Known, report: Report) -> Report:
    darkest, bright = (float(value) for value in np.percentile(widefield, [1, 99.9]))
    offset = darkest if known.offset is None else known.offset
    gain = noise.gain
    if gain and not LIKELY_GAIN[0] < gain < LIKELY_GAIN[1]:
        each = f"{gain:.3g} counts for each photo-electron, as the noise has it,"
        told = (
            f"{each} are those of no camera: the values were averaged or rescaled, and photons are not known"
        )
        report, gain = _with_evidence(report, told), None
    return replace(
        report,
        offset_counts=offset,
        light_counts=bright - offset,
        gain=gain,
        light_photons=(bright - offset) / gain if gain else None,
    )


def _with_stripes(
    counts: NDArray[np.float32],
    layout: Layout,
    expected: tuple[int, int] | None,
    file: ImageFile,
    known: Known,
    report: Report,
) -> Report:
    """Order, stripes, brightness and drift of frames (F, Y, X) whose numbers of angles and phases are known."""
    relative = brightness(counts)
    report = replace(report, frame_brightness=_digits(relative, 4))
    grouping, pattern, report = _pattern(counts, layout, file, known, report)
    if grouping is None:
        return report
    stack = grouping.of(counts)
    report = _with_brightness(stack, relative, report)
    report = replace(
        report,
        angles=grouping.angles,
        phases=grouping.phases,
        order=grouping.order,
        drift_px=tuple((round(y, 2), round(x, 2)) for y, x in drift_px(stack)),
        pattern=None if pattern is None else rounded(pattern),
    )
    if not report.drift_px:
        told = "angles have no specimen in common, as of patterns alone or in dim light: drift cannot be measured"
        report = _with_evidence(report, told)
    if report.furthest_px > MOVED_PX:
        told = f"the specimen moved by {report.furthest_px:.1f} px between angles, or is another in each"
        report = _with_evidence(report, told)
    stored_otherwise = "AP" in report.axes and grouping.order == "phase-major"
    if expected and (stored_otherwise or (grouping.angles, grouping.phases) != expected):
        problem = f"stated are {expected[0]} angles x {expected[1]} phases, but the frames say {grouping}"
        report = replace(report, problems=(problem,))
    return report


def _pattern(
    counts: NDArray[np.float32], layout: Layout, file: ImageFile, known: Known, report: Report
) -> tuple[Grouping | None, Pattern | None, Report]:
    """The stripes, and how the frames are read to see them; what came of it is added to the report."""
    optics = _optics(file, known)
    above = counts - np.float32(report.offset_counts or 0.0)
    found: dict[Grouping, Pattern] = {}
    reasons: dict[Grouping, BadInput] = {}
    for grouping in layout.alternatives():
        if grouping.angles < MANY_ANGLES or grouping.phases < MANY_PHASES:
            continue
        seen = find_pattern(grouping.of(above), optics, report.pixel_um)
        if isinstance(seen, Pattern):
            found[grouping] = seen
        else:
            reasons[grouping] = seen
    if not found:
        return layout.grouping, None, _with_evidence(report, *_why_none(reasons))
    best = max(found, key=lambda grouping: found[grouping].weakest)
    if layout.grouping is None:
        report = _with_evidence(report, f"stripes decide the order: they are found when read as {best}")
    return best, found[best], _with_evidence(report, *found[best].doubts)


def _why_none(reasons: Mapping[Grouping, BadInput]) -> tuple[str, ...]:
    """Why no reading of the frames shows stripes: that of the reading which came nearest to some, once."""
    if not reasons:
        return ()
    nearest = max(reasons, key=lambda grouping: share_of_limit(reasons[grouping]))
    how = f"read as {nearest}" if len(reasons) == 1 else f"read in either order, nearest as {nearest}"
    return (f"{how}: {finding(reasons[nearest])}",)


def _optics(file: ImageFile, known: Known) -> Microscope | None:
    """The optics as stated or as the file says; None where something is missing.

    Raises:
        BadInput: if what is stated makes no sense together.
    """
    told = file.metadata.get("microscope") or {}
    aperture = known.numerical_aperture or told.get("numerical_aperture")
    emission_um = known.emission_um or told.get("emission_um")
    pixel_um = known.pixel_um or told.get("pixel_um") or file.pixel_um
    if aperture is None or emission_um is None or pixel_um is None:
        return None
    values = {
        "numerical_aperture": aperture,
        "refractive_index": told.get("refractive_index") or max(1.518, 1.02 * aperture),
        "emission_um": emission_um,
        "pixel_um": pixel_um,
        "camera": None,
    }
    return parse(Microscope, values, "optics")


def _with_brightness(stack: NDArray[np.float32], relative: NDArray[np.float64], report: Report) -> Report:
    level = stack.mean(axis=(1, 2, 3)) - np.percentile(stack.mean(axis=(0, 1)), 1)
    angles = _digits(level / level[0], 3)
    if max(angles) > BRIGHTNESS_RANGE * min(angles):
        told = "angles differ in brightness by more than a factor of 2: bleaching or uneven illumination"
        report = _with_evidence(report, told)
    elif (lost := fading(relative)) > FADED:
        report = _with_evidence(
            report, f"light fades by {lost:.0%} from the first frame to the last: bleaching"
        )
    return replace(report, angle_brightness=angles)


def _digits(values: NDArray[Any], digits: int) -> tuple[float, ...]:
    return tuple(float(value) for value in np.round(values, digits))


def _verdict(report: Report) -> Report:
    if report.problems:
        return report
    if report.angles is None:
        return replace(report, usable_for="a reference, or an object for simulation; it has no raw frames")
    uses = "restoration, reconstruction and training"
    if report.pattern is None:
        uses = "restoration; reconstruction only with known illumination, since its stripes are not clear"
    elif report.light_photons is not None and report.light_photons < FEW_PHOTONS:
        uses = "restoration, reconstruction and training at low light"
    if report.pixel_um is None:
        uses += "; state the pixel size, the file does not"
    return replace(report, usable_for=uses)
