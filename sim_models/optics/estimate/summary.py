"""What all steps found, put together: stripes as people name them, their uncertainties, and doubts."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from sim_models.optics.estimate.otf_fit import OtfFit, fit_otf
from sim_models.optics.estimate.overlap import HAZE_RINGS, Overlap, depths, haze, overlap, profile, together
from sim_models.optics.estimate.refine import phase_deviation
from sim_models.optics.estimate.refuse import refuse_unmeasured
from sim_models.optics.estimate.result import AngleEstimate, Estimate
from sim_models.optics.estimate.scene import Scene
from sim_models.optics.estimate.view import View
from sim_models.optics.illumination import deepest_shadow
from sim_models.optics.otf import Otf

WIDTH_TOLERANCE = 0.1
"""of the OTF, beyond which a wrong pixel size, aperture or wavelength is suspected"""

SPACING_TOLERANCE = 0.04
"""of the usual spacing, beyond which an angle is doubted: instruments keep all alike within a percent or two"""

PHASE_FLOOR_RAD_PX = 1.2
"""error of the phase, times the shorter edge, that noise does not show: the guess of the object and the borders"""

DARKEST_ATTENUATION = 0.05
"""of the OTF at the cutoff, below which it is no good objective any more"""


@dataclass(frozen=True)
class Agreement:
    """How the bands of a view agree with its wide-field."""

    overlap: Overlap
    fit: OtfFit


def agreement(view: View) -> Agreement:
    """Compare all bands of all angles with the wide-field."""
    bands = view.bands
    widefield_variance = float(bands.variance[:, 0].mean()) / len(bands.variance)
    overlaps = [
        overlap(
            view.scene,
            bands.widefield,
            band,
            order * peak.wave,
            float(_start_phase(view, angle, order)),
            widefield_variance,
            float(bands.variance[angle, order]),
        )
        for angle, peak in enumerate(view.peaks)
        for order, band in enumerate(bands.of(angle), start=1)
    ]
    sums = together(overlaps)
    return Agreement(sums, fit_otf(view.scene, sums))


def true_otf(otf: Otf, fit: OtfFit) -> Otf:
    """The OTF that the overlap of the bands insists on; the same one where it does not."""
    if fit.believed == "attenuation":
        return otf.attenuated(otf.attenuation * fit.attenuation)
    off = abs(fit.width - 1)
    if fit.believed == "width" and off > WIDTH_TOLERANCE and off > 3 * (fit.width_sigma or 0):
        return otf.widened(fit.width)
    return otf


def summarise(
    view: View,
    agreed: Agreement,
    covariances: Sequence[torch.Tensor],
    unit: float,
    stated: Otf,
) -> Estimate:
    """The result of an estimation; `unit` is photo-electrons per unit of the frames that were given."""
    scene, fit, otf = view.scene, agreed.fit, profile(view.scene)
    found = depths(agreed.overlap, otf, otf)
    refuse_unmeasured(found.sigma.tolist())
    modulation, sigma = (
        2 * values.reshape(len(covariances), -1) for values in (np.maximum(found.amplitude, 0), found.sigma)
    )
    angles = tuple(
        _angle(view, angle, modulation[angle].tolist(), sigma[angle].tolist(), covariance)
        for angle, covariance in enumerate(covariances)
    )
    return Estimate(
        angles=angles,
        equal_steps=not any(view.steps.uneven),
        electrons_per_count=unit,
        noise_variance=tuple(scene.variance.tolist()),
        coloured=scene.coloured,
        otf=scene.objective,
        otf_fit=fit,
        haze=haze(agreed.overlap, found.amplitude, otf, otf)
        if fit.believed == "stated"
        else (0.0,) * HAZE_RINGS,
        warnings=tuple(_doubts(scene, angles, stated)),
    )


def _start_phase(view: View, angle: int, order: int) -> torch.Tensor:
    """order x phase + lead of a frame whose relative phase is zero, at the centre of the field."""
    phases = view.steps.phase_rad[angle]
    turned = view.fits[angle].amplitude[order - 1, angle] * torch.exp(-1j * order * phases)
    return turned.mean().angle()


def _angle(
    view: View,
    angle: int,
    modulation: Sequence[float],
    modulation_sigma: Sequence[float],
    covariance: torch.Tensor,
) -> AngleEstimate:
    peak, steps, scene = view.peaks[angle], view.steps, view.scene
    wave, length = peak.wave, float(peak.wave.norm())
    along = wave / wave.norm()
    across = torch.stack([along[1], -along[0]])
    spacing = scene.pixel_um / length
    deviation, sigma = phase_deviation(view.fits[angle], angle, steps.phase_rad[angle])
    if not steps.uneven[angle]:
        deviation, sigma = (
            torch.zeros_like(deviation),
            sigma.square().reciprocal().sum().rsqrt().expand_as(sigma),
        )
    to_corner = (
        2 * math.pi * sum(f * (size - 1) / 2 for f, size in zip(wave.tolist(), scene.shape, strict=True))
    )
    phases = _start_phase(view, angle, 1) + steps.phase_rad[angle] + deviation - to_corner
    return AngleEstimate(
        angle_rad=math.atan2(float(wave[0]), float(wave[1])),
        angle_sigma_rad=math.sqrt(float(across @ covariance @ across)) / length,
        spacing_um=spacing,
        spacing_sigma_um=spacing * math.sqrt(float(along @ covariance @ along)) / length,
        phase_rad=tuple(float(phase) for phase in torch.remainder(phases, 2 * math.pi)),
        phase_sigma_rad=tuple(
            math.hypot(float(each), PHASE_FLOOR_RAD_PX / min(scene.shape)) for each in sigma
        ),
        modulation=tuple(modulation),
        modulation_sigma=tuple(modulation_sigma),
        lead_rad=tuple(_lead(view, angle, order) for order in range(1, len(modulation) + 1)),
        gain=tuple(steps.gain[angle].tolist()),
        score=peak.score,
        limit=peak.limit,
        found=peak.found,
    )


def _lead(view: View, angle: int, order: int) -> float:
    lead = _start_phase(view, angle, order) - order * _start_phase(view, angle, 1)
    return math.remainder(float(lead), 2 * math.pi)


def _doubts(scene: Scene, angles: Sequence[AngleEstimate], stated: Otf) -> list[str]:
    doubts = []
    if scene.coloured:
        doubts.append(
            "the frames were interpolated or smoothed before: their noise can only be guessed, and with it the "
            "uncertainties and what the frames contradict; take them as the camera gave them"
        )
    if scene.objective.cutoff_per_um != stated.cutoff_per_um:
        doubts.append(
            f"the bands agree for an OTF {scene.objective.cutoff_per_um / stated.cutoff_per_um:.2f} times as wide as "
            "stated, which is used from here on: check pixel size, numerical aperture and wavelength (one of them may "
            "be wrong by that factor)"
        )
    if scene.objective.attenuation < DARKEST_ATTENUATION:
        doubts.append(
            f"the OTF falls to {scene.objective.attenuation:.1g} of an ideal one at the cutoff: check pixel size, "
            "numerical aperture and wavelength, and whether the specimen is in focus"
        )
    usual_um = statistics.median(angle.spacing_um for angle in angles)
    for number, angle in enumerate(angles, start=1):
        if abs(angle.spacing_um / usual_um - 1) > SPACING_TOLERANCE:
            doubts.append(
                f"angle {number}: stripes {1000 * angle.spacing_um:.0f} nm apart, where others have "
                f"{1000 * usual_um:.0f} nm; check whether the instrument does so, else these are not its stripes"
            )
        if deepest_shadow(angle.modulation) - sum(angle.modulation_sigma) * 3 > 1:
            doubts.append(
                f"angle {number}: modulation {', '.join(f'{m:.2f}' for m in angle.modulation)} is more than light can "
                "have; the offset or the OTF is wrong, or the angle too dim to tell"
            )
    return doubts
