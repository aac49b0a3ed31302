"""What all steps found, put together: stripes as people name them, their uncertainties, and doubts."""

import math
from collections.abc import Sequence

import torch

from sim_models.optics.estimate import overlap
from sim_models.optics.estimate.bands import Bands, Steps
from sim_models.optics.estimate.refine import FrameFit, phase_deviation
from sim_models.optics.estimate.refuse import refuse_unmeasured
from sim_models.optics.estimate.result import AngleEstimate, Estimate
from sim_models.optics.estimate.scene import Scene
from sim_models.optics.estimate.search import Peak
from sim_models.optics.illumination import deepest_shadow

WIDTH_TOLERANCE = 0.1
"""of the OTF, beyond which a wrong pixel size, aperture or wavelength is suspected"""

DARKEST_ATTENUATION = 0.05
"""of the OTF at the cutoff, below which it is no good objective any more"""


def summarise(
    scene: Scene,
    bands: Bands,
    steps: Steps,
    fits: Sequence[FrameFit],
    covariances: Sequence[torch.Tensor],
    peaks: Sequence[Peak],
    unit: float,
) -> Estimate:
    """The result of an estimation; `unit` is photo-electrons per unit of the frames that were given."""
    overlaps = [
        _overlaps(scene, bands, steps, fits[angle], angle, peak.wave) for angle, peak in enumerate(peaks)
    ]
    flat = [each for angle in overlaps for each in angle]
    fit = overlap.fit_otf(scene, flat)
    damping = -math.log(fit.attenuation) if fit.believed == "attenuation" else 0.0
    stated, true = overlap.profile(scene), overlap.profile(scene, damping=damping)
    depths = [[overlap.depth(each, stated, true) for each in angle] for angle in overlaps]
    refuse_unmeasured([each.sigma for angle in depths for each in angle])
    amplitudes = [each.amplitude for angle in depths for each in angle]
    angles = tuple(
        _angle(scene, steps, fits[angle], depths[angle], angle, covariances[angle], peak)
        for angle, peak in enumerate(peaks)
    )
    return Estimate(
        angles=angles,
        equal_steps=not any(steps.uneven),
        electrons_per_count=unit,
        noise_variance=tuple(scene.variance.tolist()),
        otf=scene.objective.attenuated(scene.objective.attenuation * math.exp(-damping)),
        otf_fit=fit,
        haze=overlap.haze(flat, amplitudes, stated, true),
        warnings=tuple(_doubts(scene, angles, fit)),
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
    depths: Sequence[overlap.Depth],
    angle: int,
    covariance: torch.Tensor,
    peak: Peak,
) -> AngleEstimate:
    wave = peak.wave
    length = float(wave.norm())
    along = wave / wave.norm()
    across = torch.stack([along[1], -along[0]])
    spacing = scene.pixel_um / length
    start = _start_phase(fit, steps, angle, 1)
    deviation, sigma = phase_deviation(fit, angle, steps.phase_rad[angle])
    if not steps.uneven[angle]:
        deviation, sigma = (
            torch.zeros_like(deviation),
            (1 / sigma.square().reciprocal().sum()).sqrt().expand_as(sigma),
        )
    to_corner = (
        2 * math.pi * float(sum(f * (size - 1) / 2 for f, size in zip(wave, scene.shape, strict=True)))
    )
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


def _doubts(scene: Scene, angles: Sequence[AngleEstimate], fit: overlap.OtfFit) -> list[str]:
    doubts = []
    if scene.coloured:
        doubts.append(
            "the frames were interpolated or smoothed before: their noise can only be guessed, and with it the "
            "uncertainties and what the frames contradict; take them as the camera gave them"
        )
    off = abs(fit.width - 1)
    if fit.believed == "width" and off > WIDTH_TOLERANCE and off > 3 * (fit.width_sigma or 0):
        doubts.append(
            f"the bands agree for an OTF {fit.width:.2f} times as wide as stated: check pixel size, numerical aperture "
            "and wavelength (one of them may be wrong by that factor)"
        )
    if fit.believed == "attenuation" and fit.attenuation < DARKEST_ATTENUATION:
        doubts.append(
            f"the OTF falls to {fit.attenuation:.1g} of an ideal one at the cutoff: check pixel size, numerical "
            "aperture and wavelength, and whether the specimen is in focus"
        )
    for number, angle in enumerate(angles, start=1):
        if deepest_shadow(angle.modulation) - sum(angle.modulation_sigma) * 3 > 1:
            doubts.append(
                f"angle {number}: modulation {', '.join(f'{m:.2f}' for m in angle.modulation)} is more than light can "
                "have; the offset or the OTF is wrong, or the angle too dim to tell"
            )
    return doubts
