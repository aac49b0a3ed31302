"""The stripes of every angle as the frames show them: how fine, in which direction, how deep, how surely."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from sim_models.config import BadInput
from sim_models.field import Microscope
from sim_models.optics.estimate import Estimate, NoPattern, estimate, usual_harmonics

ASSUMED_CUTOFFS = (0.4, 0.3, 0.5)
"""cycles/px; where the optics are not known, one of these is near enough to that of any camera that samples rightly:
stripes are looked for from 0.3 to 1.3 of it, and the bands themselves correct its width"""

CROP_PX = 256
"""a part of the field this large decides between them"""

ALIKE = 0.1
"""relative difference from the usual spacing, beyond which an angle is doubted"""


@dataclass(frozen=True)
class Stripes:
    """The stripes of one angle."""

    cycles_per_px: float
    """of the first harmonic"""
    direction_rad: float
    """of the wave vector, x to the right towards y downwards"""
    spacing_um: float | None
    """period of the first harmonic in the specimen, where the pixel size is known"""
    modulation: tuple[float, ...]
    """depth of each harmonic in the specimen's light, with the OTF's and the noise's share taken out"""
    modulation_sigma: tuple[float, ...]
    snr: float
    """amplitude of the bands at the stripes' frequency over that of noise there, by matched filter"""
    score: float
    """the square of that, twofold for two harmonics; noise alone exceeds `limit` once in a thousand"""
    limit: float


@dataclass(frozen=True)
class Pattern:
    """The stripes of all angles."""

    angles: tuple[Stripes, ...]
    optics_stated: bool
    """whether numerical aperture and wavelength were known; else depths rest on an assumed OTF"""
    cutoff_cycles_per_px: float
    """of the OTF that explains the bands"""
    even_steps: bool
    """whether phases are evenly spread"""
    doubts: tuple[str, ...]

    @property
    def weakest(self) -> float:
        """Score over limit of the angle that is the least sure."""
        return min(stripes.score / stripes.limit for stripes in self.angles)

    def lines(self, pixel_um: float | None) -> list[str]:
        """A line for each angle, for people."""
        assumed = "" if self.optics_stated else " (OTF assumed)"
        return [
            f"angle {number}: {stripes.cycles_per_px:.4f} cycles/px at {_degrees(stripes.direction_rad):.1f} deg"
            + (f", {1000 * stripes.spacing_um:.1f} nm" if stripes.spacing_um and pixel_um else "")
            + f", depth {' and '.join(f'{depth:.2f}' for depth in stripes.modulation)}{assumed}"
            + f", SNR {stripes.snr:.1f} ({stripes.score / stripes.limit:.1f} times the least score that is believed)"
            for number, stripes in enumerate(self.angles, start=1)
        ]


def _degrees(direction_rad: float) -> float:
    """A direction of stripes, from 0 to 180: either sign of their wave vector says the same."""
    return round(math.degrees(direction_rad), 1) % 180


def find_pattern(
    stack: NDArray[np.float32], microscope: Microscope | None, pixel_um: float | None
) -> Pattern | BadInput:
    """Stripes of frames (A, P, Y, X) in counts above the camera's offset; or why there are none.

    Args:
        stack: the frames.
        microscope: the optics; None where they are not known.
        pixel_um: raw pixel in the specimen, to tell spacings; None where it is not known.
    """
    frames = torch.from_numpy(np.ascontiguousarray(stack))
    if microscope is not None:
        return _found(frames, microscope, True, pixel_um)
    # In units of pixels, NA = cutoff / 2 at a wavelength of 1 gives that cutoff.
    tries = [
        Microscope(
            numerical_aperture=cutoff / 2, refractive_index=1.5, emission_um=1.0, pixel_um=1.0, camera=None
        )
        for cutoff in ASSUMED_CUTOFFS
    ]
    part = _centre(frames)
    ranked = sorted(tries, key=lambda each: _weakest(_found(part, each, False, pixel_um)), reverse=True)
    found = [_found(frames, each, False, pixel_um) for each in ranked[:1]]
    if isinstance(found[0], BadInput) and part is not frames:
        found += [_found(frames, each, False, pixel_um) for each in ranked[1:]]
    return max(found, key=_weakest)


def finding(refusal: BadInput) -> str:
    """What the estimator found, without its advice: that is for people who have stated optics, or start values.

    Its sentences say first what was found; what to try comes behind a semicolon.
    """
    found, _, advice = str(refusal).partition("; ")
    if isinstance(refusal, NoPattern) and refusal.phase_by_phase:
        return f"{found}; {advice}"
    return found


def share_of_limit(refusal: BadInput) -> float:
    """The score of the angle to blame, over the least that is believed; 0 where no score was the reason."""
    if isinstance(refusal, NoPattern) and refusal.score is not None and refusal.limit:
        return refusal.score / refusal.limit
    return 0.0


def _weakest(found: Pattern | BadInput) -> float:
    return found.weakest if isinstance(found, Pattern) else 0.0


def _centre(frames: torch.Tensor) -> torch.Tensor:
    rows, columns = frames.shape[-2:]
    if max(rows, columns) <= CROP_PX:
        return frames
    top, left = max(0, (rows - CROP_PX) // 2), max(0, (columns - CROP_PX) // 2)
    return frames[..., top : top + CROP_PX, left : left + CROP_PX].contiguous()


def _found(
    frames: torch.Tensor, microscope: Microscope, stated: bool, pixel_um: float | None
) -> Pattern | BadInput:
    try:
        found = estimate(frames, microscope, usual_harmonics(frames.shape[1]))
    except BadInput as reason:
        return reason
    return _told(found, microscope, stated, pixel_um)


def _told(found: Estimate, microscope: Microscope, stated: bool, pixel_um: float | None) -> Pattern:
    angles = []
    for angle in found.angles:
        cycles = microscope.pixel_um / angle.spacing_um
        angles.append(
            Stripes(
                cycles_per_px=cycles,
                direction_rad=angle.angle_rad,
                spacing_um=pixel_um / cycles if pixel_um else None,
                modulation=angle.modulation,
                modulation_sigma=angle.modulation_sigma,
                snr=math.sqrt(angle.score / len(angle.modulation)),
                score=angle.score,
                limit=angle.limit,
            )
        )
    # What the estimator doubts rests on the optics, and says nothing where these were only assumed.
    doubts = found.warnings if stated else _unlike(angles)
    cutoff = found.otf.cutoff_per_um * microscope.pixel_um
    return Pattern(tuple(angles), stated, cutoff, found.equal_steps, doubts)


def _unlike(angles: Sequence[Stripes]) -> tuple[str, ...]:
    usual = statistics.median(stripes.cycles_per_px for stripes in angles)
    return tuple(
        f"angle {number}: stripes of {stripes.cycles_per_px:.3f} cycles/px, where others have {usual:.3f}; check "
        "whether the instrument does so, else these are not its stripes"
        for number, stripes in enumerate(angles, start=1)
        if abs(stripes.cycles_per_px / usual - 1) > ALIKE
    )


def rounded(pattern: Pattern) -> Pattern:
    """The same with as many digits as another machine would find again."""
    return replace(
        pattern,
        angles=tuple(
            replace(
                each,
                cycles_per_px=round(each.cycles_per_px, 5),
                direction_rad=round(each.direction_rad, 4),
                spacing_um=None if each.spacing_um is None else round(each.spacing_um, 5),
                modulation=tuple(round(depth, 3) for depth in each.modulation),
                modulation_sigma=tuple(round(sigma, 3) for sigma in each.modulation_sigma),
                snr=round(each.snr, 2),
                score=round(each.score, 1),
                limit=round(each.limit, 2),
            )
            for each in pattern.angles
        ),
        cutoff_cycles_per_px=round(pattern.cutoff_cycles_per_px, 3),
    )
