"""From frames to stripes without being told where to look: the order of the steps, and the reasons to refuse."""

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from scipy.stats import chi2

from sim_models.config import BadInput
from sim_models.field import Microscope
from sim_models.optics.estimate import overlap, refine, search
from sim_models.optics.estimate.bands import Bands, Steps, even_steps, take_apart
from sim_models.optics.estimate.refine import FrameFit, Images, Summit
from sim_models.optics.estimate.refuse import apart, refuse_disorder, refuse_missing, refuse_uncertain
from sim_models.optics.estimate.result import AngleEstimate, Estimate
from sim_models.optics.estimate.scene import Scene, set_scene
from sim_models.optics.estimate.search import Atlas, LikelihoodMap, Peak
from sim_models.optics.illumination import deepest_shadow
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

WIDTH_TOLERANCE = 0.2
"""of the OTF: real objectives are somewhat narrower than ideal ones"""


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
        peaks, maps = _find(scene, bands, harmonics, hints)
        refuse_missing(scene, peaks, harmonics)
        atlas = Atlas(scene, harmonics, finer=1)
        for trial in range(ROUNDS + 1):
            summits = [
                refine.sharpen(each, bands.guess, peak.wave) for each, peak in zip(maps, peaks, strict=True)
            ]
            peaks = [replace(peak, wave=top.wave, score=top.score) for peak, top in zip(peaks, summits, strict=True)]
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
        return _summary(scene, bands, steps, fits, covariances, peaks, unit)


def _check(frames: torch.Tensor, harmonics: int, start: Sequence[tuple[float, float]] | None) -> None:
    if frames.ndim != 4:
        raise BadInput(f"frames have shape {tuple(frames.shape)}; expected angles x phases x rows x columns (APYX)")
    angles, phases, *shape = frames.shape
    if phases < num_bands(harmonics):
        raise BadInput(
            f"{phases} phases per angle cannot tell the {num_bands(harmonics)} bands of {harmonics} harmonics apart; "
            f"give at least {num_bands(harmonics)} phases or fewer harmonics"
        )
    if min(shape) < SMALLEST_PX:
        raise BadInput(f"frames of {shape[0]} x {shape[1]} pixels are too small; {SMALLEST_PX} a side is the least")
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


def _find(
    scene: Scene, bands: Bands, harmonics: int, hints: Sequence[torch.Tensor] | None
) -> tuple[list[Peak], list[LikelihoodMap]]:
    """A peak for each angle: near its hint, or alone, or guided by those found alone, or all together; and the maps."""
    atlas = Atlas(scene, harmonics, finer=1)
    maps = _maps(atlas, bands)
    if hints is None:
        peaks = [search.strongest(atlas, each) for each in maps]
        if all(peak.score >= peak.limit for peak in peaks):
            return peaks, maps
    atlas = Atlas(scene, harmonics, finer=2)
    maps = _maps(atlas, bands)
    tolerance = search.GUIDED_TOLERANCE * scene.cutoff
    if hints is not None:
        peaks = [search.near(atlas, each, [hint], tolerance, "given") for each, hint in zip(maps, hints, strict=True)]
        return peaks, maps
    peaks = [search.strongest(atlas, each) for each in maps]
    found = [peak for peak in peaks if peak.score >= peak.limit]
    if found and len(found) < len(peaks):
        expected = _missing_directions([peak.wave for peak in found], len(peaks))
        peaks = [
            peak if peak.score >= peak.limit else search.near(atlas, each, expected, tolerance, "guided")
            for peak, each in zip(peaks, maps, strict=True)
        ]
    if len(peaks) > 1 and any(peak.score < peak.limit for peak in peaks):
        jointly = search.together(atlas, maps)
        if all(peak.score >= peak.limit for peak in jointly):
            peaks = jointly
    return peaks, maps


def _missing_directions(found: Sequence[torch.Tensor], angles: int) -> list[torch.Tensor]:
    """Where the other angles should be if all are evenly spread over half a turn and equally long."""
    length = torch.stack([wave.norm() for wave in found]).mean()
    spread = [
        search.rotated(wave / wave.norm() * length, math.pi * turn / angles) for wave in found for turn in range(1, angles)
    ]
    return [wave for wave in spread if all(apart(wave, other) > 0.25 * float(length) for other in found)]


def _better_steps(steps: Steps, fits: Sequence[FrameFit]) -> Steps:
    """Steps as the frames say, where they insist; the same object where nothing changes."""
    phase, uneven = steps.phase_rad.clone(), list(steps.uneven)
    for angle, fit in enumerate(fits):
        deviation, sigma = _phase_deviation(fit, angle, steps.phase_rad[angle])
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


def _phase_deviation(fit: FrameFit, angle: int, phase_rad: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(P,) deviations of the frames' phases from the given ones up to a constant, and their standard deviations."""
    total, weights = torch.zeros_like(phase_rad), torch.zeros_like(phase_rad)
    for order, (amplitude, sigma) in enumerate(
        zip(fit.amplitude[:, angle], fit.amplitude_sigma[:, angle], strict=True), start=1
    ):
        turned = amplitude * torch.exp(-1j * order * phase_rad)
        deviation = (turned * turned.mean().conj()).angle() / order
        weight = (order * turned.mean().abs() / sigma).square()
        total, weights = total + weight * deviation, weights + weight
    deviation = total / weights
    return deviation - (weights * deviation).sum() / weights.sum(), weights.rsqrt()


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
        around = float(likelihood.noise[-1].at((atlas.harmonics * top.wave).norm()))
        alone = search.noise_left(atlas, bands.of(angle)[-1], bands.guess, finest, top.wave)
        summit = bool((torch.linalg.eigvalsh(top.curvature) > 0).all())
        inverse = torch.linalg.inv(top.curvature) if summit else torch.full((2, 2), math.inf, dtype=torch.float64)
        covariances.append(inverse * (alone / around))
    return covariances


def _summary(
    scene: Scene,
    bands: Bands,
    steps: Steps,
    fits: Sequence[FrameFit],
    covariances: Sequence[torch.Tensor],
    peaks: Sequence[Peak],
    unit: float,
) -> Estimate:
    overlaps = [_overlaps(scene, bands, steps, fits[angle], angle, peak.wave) for angle, peak in enumerate(peaks)]
    width, width_sigma = overlap.otf_width(scene, [each for angle in overlaps for each in angle])
    angles = tuple(
        _angle(scene, steps, fits[angle], overlaps[angle], angle, covariances[angle], peak)
        for angle, peak in enumerate(peaks)
    )
    return Estimate(
        angles=angles,
        equal_steps=not any(steps.uneven),
        electrons_per_count=unit,
        noise_variance=tuple(scene.variance.tolist()),
        otf_width=width,
        otf_width_sigma=width_sigma,
        warnings=tuple(_doubts(angles, width, width_sigma)),
    )


def _overlaps(
    scene: Scene, bands: Bands, steps: Steps, fit: FrameFit, angle: int, wave: torch.Tensor
) -> list[overlap.Overlap]:
    """(H,) how each band of an angle overlaps with the wide-field."""
    widefield_variance = float(bands.variance[:, 0].mean()) / len(bands.variance)
    return [
        overlap.overlap(
            scene,
            bands.widefield,
            band,
            order * wave,
            float(_start_phase(fit, steps, angle, order)),
            widefield_variance,
            float(bands.variance[angle, order]),
        )
        for order, band in enumerate(bands.of(angle), start=1)
    ]


def _start_phase(fit: FrameFit, steps: Steps, angle: int, order: int) -> torch.Tensor:
    """order x phase + lead of a frame whose relative phase is zero, at the centre of the field."""
    turned = fit.amplitude[order - 1, angle] * torch.exp(-1j * order * steps.phase_rad[angle])
    return turned.mean().angle()


def _angle(
    scene: Scene,
    steps: Steps,
    fit: FrameFit,
    overlaps: Sequence[overlap.Overlap],
    angle: int,
    covariance: torch.Tensor,
    peak: Peak,
) -> AngleEstimate:
    wave = peak.wave
    depths = [overlap.depth(each, otf, otf) for each in overlaps for otf in (overlap.middle_of_bins(scene),)]
    length = float(wave.norm())
    along = wave / wave.norm()
    across = torch.stack([along[1], -along[0]])
    spacing = scene.pixel_um / length
    start = _start_phase(fit, steps, angle, 1)
    deviation, sigma = _phase_deviation(fit, angle, steps.phase_rad[angle])
    if not steps.uneven[angle]:
        deviation, sigma = torch.zeros_like(deviation), (1 / sigma.square().reciprocal().sum()).sqrt().expand_as(sigma)
    to_corner = 2 * math.pi * float(sum(f * (size - 1) / 2 for f, size in zip(wave, scene.shape, strict=True)))
    phases = start + steps.phase_rad[angle] + deviation - to_corner
    return AngleEstimate(
        angle_rad=math.atan2(float(wave[0]), float(wave[1])),
        angle_sigma_rad=math.sqrt(float(across @ covariance @ across)) / length,
        spacing_um=spacing,
        spacing_sigma_um=spacing * math.sqrt(float(along @ covariance @ along)) / length,
        phase_rad=tuple(float(phase) for phase in torch.remainder(phases, 2 * math.pi)),
        phase_sigma_rad=tuple(float(each) for each in sigma),
        modulation=tuple(max(2 * each.amplitude, 0.0) for each in depths),
        modulation_sigma=tuple(2 * each.sigma for each in depths),
        lead_rad=tuple(_lead(fit, steps, angle, order) for order in range(1, len(depths) + 1)),
        gain=tuple(steps.gain[angle].tolist()),
        score=peak.score,
        limit=peak.limit,
        found=peak.found,
    )


def _lead(fit: FrameFit, steps: Steps, angle: int, order: int) -> float:
    lead = _start_phase(fit, steps, angle, order) - order * _start_phase(fit, steps, angle, 1)
    return math.remainder(float(lead), 2 * math.pi)


def _doubts(angles: Sequence[AngleEstimate], width: float, width_sigma: float) -> list[str]:
    doubts = []
    if abs(width - 1) > WIDTH_TOLERANCE and abs(width - 1) > 3 * width_sigma:
        doubts.append(
            f"the bands agree for an OTF {width:.2f} times as wide as stated: check pixel size, numerical aperture and "
            "wavelength (one of them may be wrong by that factor), or measure the OTF"
        )
    for number, angle in enumerate(angles, start=1):
        if deepest_shadow(angle.modulation) - sum(angle.modulation_sigma) * 3 > 1:
            doubts.append(
                f"angle {number}: modulation {', '.join(f'{m:.2f}' for m in angle.modulation)} is more than light can "
                "have; the offset or the OTF is wrong, or the angle too dim to tell"
            )
    return doubts
