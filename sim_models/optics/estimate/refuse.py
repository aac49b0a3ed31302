"""The reasons to refuse. Each says which angle, what was measured, what was needed, and what to try."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import combinations

import torch
from scipy.stats import chi2

from sim_models.optics.estimate import search
from sim_models.optics.estimate.bands import Steps, even_steps, take_apart
from sim_models.optics.estimate.refine import FrameFit, scatter
from sim_models.optics.estimate.result import NoPattern
from sim_models.optics.estimate.scene import Scene
from sim_models.optics.estimate.search import GIVEN, Peak

WAVE_SIGMA_LIMIT = 0.1
"""cycles per field: more, and stripes drift by over a tenth of a period from one border to the other"""

SCATTER = 0.3
"""of the mean amplitude: how much the frames of an angle may differ beyond noise (uneven phases, bleaching)"""

DISORDER = 1e-6
"""probability by chance of a scatter that is taken for frames out of order"""

SAME_WAVE = 3.0
"""cycles per field within which two angles have the same stripes"""


def refuse_missing(scene: Scene, peaks: Sequence[Peak], harmonics: int) -> None:
    """Refuse where an angle's score is below its limit, or not the only one of its height."""
    missing = [angle for angle, peak in enumerate(peaks) if not peak.accepted]
    if not missing:
        return
    worst = min(missing, key=lambda angle: peaks[angle].score - peaks[angle].limit)
    angles, phases = scene.frames.shape[:2]
    which = f"angle{'s' if len(missing) > 1 else ''} {_list(angle + 1 for angle in missing)} of {angles}"
    message = f"no stripes found in {which}: {_told(peaks[worst])}"
    swapped = _swapped(scene)
    if swapped is not None:
        atlas, bands = (
            search.Atlas(swapped, harmonics),
            take_apart(swapped, even_steps(swapped), harmonics),
        )
        likelihoods = [search.likelihood(atlas, bands.of(angle), bands.guess) for angle in range(angles)]
        other = [search.strongest(atlas, search.mapped(atlas, each)) for each in likelihoods]
        better = sum(peak.score for peak in other) > sum(peak.score for peak in peaks)
        if better and all(peak.accepted for peak in other):
            scores = _list(f"{peak.score:.0f}" for peak in other)
            message += (
                f"; read in the other order they score {scores}, so angles and phases have to be swapped"
            )
            raise NoPattern(message, worst, peaks[worst].score, peaks[worst].limit, phase_by_phase=True)
    message += (
        f"; check that the frames are {angles} angles x {phases} phases in angle-major order, and the pixel size, "
        "numerical aperture and wavelength; in dim light add up several stacks"
    )
    message += "; or give other start values" if peaks[worst].found == GIVEN else ", or give start values"
    raise NoPattern(message, worst, peaks[worst].score, peaks[worst].limit)


def _told(peak: Peak) -> str:
    if peak.score >= peak.limit:
        return (
            f"score {peak.score:.1f}, {peak.limit:.1f} needed, but other wave vectors score {peak.rival:.1f}"
        )
    return f"score {peak.score:.1f} at the best wave vector, {peak.limit:.1f} needed"


def _list(items: Iterable[object]) -> str:
    words = [str(item) for item in items]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _swapped(scene: Scene) -> Scene | None:
    """The same frames read phase by phase."""
    angles, phases, *shape = scene.frames.shape
    if 1 in (angles, phases):
        return None
    frames = scene.frames.reshape(phases, angles, *shape).swapaxes(0, 1).contiguous()
    return replace(scene, frames=frames, variance=scene.variance.mean().expand(angles))


def refuse_disorder(scene: Scene, steps: Steps, fits: Sequence[FrameFit], peaks: Sequence[Peak]) -> None:
    """Refuse where the frames of an angle do not share its stripes, or two angles have the same stripes."""
    angles, phases = scene.frames.shape[:2]
    for angle, fit in enumerate(fits):
        if _share_stripes(fit, angle, steps.phase_rad[angle]):
            continue
        strongest = _strongest(fit, phases)
        phase_major = strongest == list(range(strongest[0], angles * phases, angles))
        raise NoPattern(
            f"the stripes of angle {angle + 1} of {angles} (score {peaks[angle].score:.0f}) "
            f"{_misplaced(strongest, angle, angles, phases, phase_major)}",
            angle,
            peaks[angle].score,
            peaks[angle].limit,
            phase_major,
        )
    cells = min(scene.shape)
    for first, second in combinations(range(angles), 2):
        if apart(peaks[first].wave, peaks[second].wave) * cells < SAME_WAVE:
            degrees = math.degrees(math.atan2(float(peaks[first].wave[0]), float(peaks[first].wave[1]))) % 180
            raise NoPattern(
                f"angles {first + 1} and {second + 1} of {angles} have the same stripes (direction {degrees:.0f} "
                "degrees); check the number of angles and phases and the frame order",
                first,
                peaks[first].score,
                peaks[first].limit,
            )


def _strongest(fit: FrameFit, phases: int) -> list[int]:
    """As many frames as an angle has, those with the strongest of its stripes; fit is of all frames."""
    energy = (fit.amplitude.abs() * fit.gain).square().sum(0)
    return sorted(energy.flatten().topk(phases).indices.tolist())


def _misplaced(strongest: Sequence[int], angle: int, angles: int, phases: int, phase_major: bool) -> str:
    """Where stripes are that should be in the frames of their angle, and what to do."""
    own = range(angle * phases, (angle + 1) * phases)
    if list(strongest) == list(own):
        return (
            "are in its own frames, but not in even steps or not equally strong in each; check the order of these "
            "frames, and that nothing else changed from one to the next"
        )
    told = "so angles and phases have to be swapped" if phase_major else "check the frame order"
    frames = _list(frame + 1 for frame in strongest)
    return (
        f"are in frames {frames} of {angles * phases}, not in its own {own[0] + 1} to {own[-1] + 1}; {told}"
    )


def _share_stripes(fit: FrameFit, angle: int, phase_rad: torch.Tensor) -> bool:
    """Whether the frames of an angle have the stripes of its wave vector in steps, all about equally strong.

    Out of order, one of them has stripes and the others have none.
    """
    order = int(fit.amplitude[:, angle].abs().sum(dim=1).argmax())
    turned = fit.amplitude[order, angle] * torch.exp(-1j * (order + 1) * phase_rad)
    residual = (turned - turned.mean()).abs().square()
    squares = 2 * residual / (scatter(fit, angle, order + 1) + (SCATTER * turned.mean().abs()).square())
    return float(squares.sum()) < float(chi2.isf(DISORDER, 2 * (len(turned) - 1)))


def apart(first: torch.Tensor, second: torch.Tensor) -> float:
    """Distance of two wave vectors, each of which may be reversed."""
    return float(torch.minimum((first - second).norm(), (first + second).norm()))


def refuse_uncertain(scene: Scene, covariances: Sequence[torch.Tensor], peaks: Sequence[Peak]) -> None:
    """Refuse where stripes are there, but not known well enough to put the bands in place."""
    size = torch.tensor(scene.shape, dtype=torch.float64)
    for angle, covariance in enumerate(covariances):
        sigma = math.inf
        if bool(torch.isfinite(covariance).all()):
            sigma = math.sqrt(
                max(float(torch.linalg.eigvalsh(covariance * torch.outer(size, size))[-1]), 0.0)
            )
        if not sigma <= WAVE_SIGMA_LIMIT:
            raise NoPattern(
                f"the stripes of angle {angle + 1} of {len(peaks)} are there (score {peaks[angle].score:.1f}, "
                f"{peaks[angle].limit:.1f} needed), but their wave vector only to {sigma:.2f} cycles per field, "
                f"{WAVE_SIGMA_LIMIT} needed; add up several stacks, or reconstruct with the stripes of a brighter one",
                angle,
                peaks[angle].score,
                peaks[angle].limit,
            )


def refuse_unmeasured(depth_sigmas: Sequence[float]) -> None:
    """Refuse where a band does not overlap with the wide-field, so that the depth of its stripes cannot be told."""
    if not all(map(math.isfinite, depth_sigmas)):
        raise NoPattern(
            "the bands of the stripes do not overlap with the wide-field, so their depth cannot be measured; check "
            "pixel size, numerical aperture and wavelength"
        )
