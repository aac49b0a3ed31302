"""From frames to stripes without being told where to look: the order of the steps, and the reasons to refuse."""

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from scipy.stats import chi2

from sim_models.config import BadInput
from sim_models.field import Microscope
from sim_models.optics.estimate import refine, search
from sim_models.optics.estimate.bands import Bands, Steps, even_steps, take_apart
from sim_models.optics.estimate.refine import FrameFit, Images, Summit, phase_deviation
from sim_models.optics.estimate.refuse import apart, refuse_disorder, refuse_missing, refuse_uncertain
from sim_models.optics.estimate.result import Estimate
from sim_models.optics.estimate.scene import set_scene
from sim_models.optics.estimate.search import Atlas, LikelihoodMap, Peak
from sim_models.optics.estimate.summary import summarise
from sim_models.optics.otf import Otf
from sim_models.optics.separation import num_bands

SMALLEST_PX = 32
"""shorter edges hold too few cycles of stripes to tell them from structure"""

ROUNDS = 3
"""of separating the bands with what was found before, where phases or brightness turn out uneven"""

PHASE_FLOOR_RAD, GAIN_FLOOR = 0.01, 0.005
"""deviations that an imperfect guess of the object may feign"""

INSIST = 1e-4
"""probability of deviations by chance below which they are believed"""


def usual_harmonics(phases: int) -> int:
    """Harmonics that so many phases per angle are taken for: two beams with 3 or 4, three with 5 or more."""
    return 2 if phases >= num_bands(2) else 1


def estimate(
    frames: torch.Tensor,
    microscope: Microscope,
    harmonics: int,
    otf: Otf | None = None,
    start: Sequence[tuple[float, float]] | None = None,
) -> Estimate:
    """Find the stripes in frames (A, P, Y, X).

    Args:
        frames: in photo-electrons where `microscope` has a camera, else in counts above the camera's offset.
        microscope: what decides cutoff and pixel size.
        harmonics: 1 for stripes of two beams, 2 for three beams or a non-linear response.
        otf: the true one; None for an ideal objective.
        start: (angle_rad, spacing_um) of each angle to look near, either way round; None to look everywhere.

    Raises:
        NoPattern: if an angle shows no stripes, or none that can be trusted, or if frames are out of order.
        BadInput: if the frames cannot hold such stripes.
    """
    _check(frames, harmonics, start)
    with torch.no_grad():
        scene, unit = set_scene(frames.float(), microscope, otf or Otf.ideal(microscope))
        hints = None if start is None else [_wave(*each, scene.pixel_um) for each in start]
        steps = even_steps(scene)
        bands = take_apart(scene, steps, harmonics)
        atlas = Atlas(scene, harmonics)
        maps = _maps(atlas, bands)
        peaks = _find(atlas, maps, hints)
        refuse_missing(scene, peaks, harmonics)
        for trial in range(ROUNDS + 1):
            summits = [
                refine.sharpen(each, bands.guess, peak.wave) for each, peak in zip(maps, peaks, strict=True)
            ]
            peaks = [
                replace(peak, wave=top.wave, score=top.score)
                for peak, top in zip(peaks, summits, strict=True)
            ]
            refuse_missing(scene, peaks, harmonics)
            images = refine.image(scene, bands.guess, [peak.wave for peak in peaks], harmonics)
            fits = refine.fit_frames(scene, images)
            refuse_disorder(scene, steps, fits, peaks)
            better = _better_steps(steps, fits)
            if better is steps or trial == ROUNDS:
                break
            steps, bands = better, take_apart(scene, better, harmonics)
            maps = _maps(atlas, bands)
        covariances = _covariances(atlas, bands, images, maps, summits)
        refuse_uncertain(scene, covariances, peaks)
        return summarise(scene, bands, steps, fits, covariances, peaks, unit)


def _check(frames: torch.Tensor, harmonics: int, start: Sequence[tuple[float, float]] | None) -> None:
    if frames.ndim != 4:
        raise BadInput(
            f"frames have shape {tuple(frames.shape)}; expected angles x phases x rows x columns (APYX)"
        )
    angles, phases, *shape = frames.shape
    if phases < num_bands(harmonics):
        raise BadInput(
            f"{phases} phases per angle cannot tell the {num_bands(harmonics)} bands of {harmonics} harmonics apart; "
            f"give at least {num_bands(harmonics)} phases or fewer harmonics"
        )
    if min(shape) < SMALLEST_PX:
        raise BadInput(
            f"frames of {shape[0]} x {shape[1]} pixels are too small; {SMALLEST_PX} a side is the least"
        )
    if not math.isfinite(float(frames.sum())):
        raise BadInput("frames have NaN or infinite pixels; export the stack again")
    if start is not None and len(start) != angles:
        raise BadInput(f"{len(start)} start values for {angles} angles; give one (angle, spacing) for each")


def _wave(angle_rad: float, spacing_um: float, pixel_um: float) -> torch.Tensor:
    """Wave vector (2,) (y, x) in cycles per pixel."""
    length = pixel_um / spacing_um
    return torch.tensor([length * math.sin(angle_rad), length * math.cos(angle_rad)], dtype=torch.float64)


def _maps(atlas: Atlas, bands: Bands) -> list[LikelihoodMap]:
    return [search.likelihood_map(atlas, bands.of(angle), bands.guess) for angle in range(len(bands.all))]


def _find(atlas: Atlas, maps: Sequence[LikelihoodMap], hints: Sequence[torch.Tensor] | None) -> list[Peak]:
    """A peak for each angle: near its hint, or alone, or guided by those found alone, or all together."""
    tolerance = search.GUIDED_TOLERANCE * atlas.scene.cutoff
    if hints is not None:
        pairs = zip(maps, hints, strict=True)
        return [search.near(atlas, each, [hint], tolerance, "given") for each, hint in pairs]
    peaks = [search.strongest(atlas, each) for each in maps]
    found = [peak.wave for peak in peaks if peak.score >= peak.limit]
    if found and len(found) < len(peaks):
        expected = _missing_directions(found, len(peaks))
        peaks = [
            peak if peak.score >= peak.limit else search.near(atlas, each, expected, tolerance, "guided")
            for peak, each in zip(peaks, maps, strict=True)
        ]
    if len(peaks) > 1 and any(peak.score < peak.limit for peak in peaks):
        jointly = search.together(atlas, maps)
        if all(peak.score >= peak.limit for peak in jointly):
            return jointly
    return peaks


def _missing_directions(found: Sequence[torch.Tensor], angles: int) -> list[torch.Tensor]:
    """Where the other angles should be if all are evenly spread over half a turn and equally long."""
    length = torch.stack([wave.norm() for wave in found]).mean()
    spread = [
        search.rotated(wave / wave.norm() * length, math.pi * turn / angles)
        for wave in found
        for turn in range(1, angles)
    ]
    return [wave for wave in spread if all(apart(wave, other) > 0.25 * float(length) for other in found)]


def _better_steps(steps: Steps, fits: Sequence[FrameFit]) -> Steps:
    """Steps as the frames say, where they insist; the same object where nothing changes."""
    phase, uneven = steps.phase_rad.clone(), list(steps.uneven)
    for angle, fit in enumerate(fits):
        deviation, sigma = phase_deviation(fit, angle, steps.phase_rad[angle])
        if uneven[angle] or _insists(deviation, sigma, PHASE_FLOOR_RAD):
            phase[angle] += deviation
            uneven[angle] = True
    gain = torch.stack([fit.gain[angle] for angle, fit in enumerate(fits)])
    gain_sigma = torch.stack([fit.gain_sigma[angle] for angle, fit in enumerate(fits)])
    gain = gain / gain.mean()
    if not _insists((gain - 1).flatten(), gain_sigma.flatten(), GAIN_FLOOR):
        gain = torch.ones_like(gain)
    moved = float((phase - steps.phase_rad).abs().max()) > PHASE_FLOOR_RAD / 4
    dimmed = float((gain - steps.gain).abs().max()) > GAIN_FLOOR / 4
    return Steps(phase, gain, tuple(uneven)) if moved or dimmed else steps


def _insists(deviation: torch.Tensor, sigma: torch.Tensor, floor: float) -> bool:
    """Whether deviations (K,) from zero, their mean aside, are beyond chance and beyond the floor."""
    squares = float((deviation.square() / (sigma.square() + floor**2)).sum())
    return squares > float(chi2.isf(INSIST, len(deviation) - 1))


def _covariances(
    atlas: Atlas, bands: Bands, images: Images, maps: Sequence[LikelihoodMap], summits: Sequence[Summit]
) -> list[torch.Tensor]:
    """(2, 2) covariance of each wave vector: the inverse curvature of the log likelihood (Fisher information)."""
    covariances = []
    for angle, (likelihood, top) in enumerate(zip(maps, summits, strict=True)):
        finest = images.striped[angle, -1]
        around = likelihood.noise[-1].at(float((atlas.harmonics * top.wave).norm()))
        alone = search.noise_left(atlas, bands.of(angle)[-1], bands.guess, finest, top.wave)
        summit = bool((torch.linalg.eigvalsh(top.curvature) > 0).all())
        inverse = (
            torch.linalg.inv(top.curvature) if summit else torch.full((2, 2), math.inf, dtype=torch.float64)
        )
        covariances.append(inverse * (alone / around))
    return covariances
