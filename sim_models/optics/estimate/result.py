"""What an estimation finds: stripes with uncertainties, or a reason why there are none."""

from dataclasses import dataclass

from sim_models.config import BadInput
from sim_models.field import Illumination
from sim_models.optics.estimate.otf_fit import OtfFit
from sim_models.optics.estimate.overlap import NEAR
from sim_models.optics.otf import Otf


class NoPattern(BadInput):
    """The frames do not show stripes that could be trusted.

    `angle` counts from 0 and is None where no single angle is to blame; `score` and `limit` are those of
    that angle, where a score was the reason. `phase_by_phase` says that the frames make sense in the other order.
    """

    def __init__(
        self,
        message: str,
        angle: int | None = None,
        score: float | None = None,
        limit: float | None = None,
        phase_by_phase: bool = False,
    ) -> None:
        super().__init__(message)
        self.angle, self.score, self.limit, self.phase_by_phase = angle, score, limit, phase_by_phase


@dataclass(frozen=True)
class AngleEstimate:
    """The stripes of one angle. A name with `_sigma` is one standard deviation of the value before it."""

    angle_rad: float
    """direction of the wave vector, x towards y"""
    angle_sigma_rad: float
    spacing_um: float
    """period of the first harmonic"""
    spacing_sigma_um: float
    phase_rad: tuple[float, ...]
    """(P,) at the centre of pixel (0, 0)"""
    phase_sigma_rad: tuple[float, ...]
    """(P,) of the phases at the centre of the field, where the wave vector's error does not enter"""
    modulation: tuple[float, ...]
    """(H,) depth of each harmonic, with the noise that flattens it taken out"""
    modulation_sigma: tuple[float, ...]
    lead_rad: tuple[float, ...]
    """(H,) by how much harmonic h is ahead of h times the phase; zero for the first"""
    gain: tuple[float, ...]
    """(P,) brightness of each frame relative to the mean of all"""
    score: float
    """likelihood ratio of stripes over none, in units of the noise around; exponential where there are none"""
    limit: float
    """score that noise alone exceeds with the probability FALSE_ALARMS"""
    found: str
    """how: 'alone', 'guided' by other angles, 'together' with them, or near a 'given' start"""


@dataclass(frozen=True)
class Estimate:
    """The stripes of all angles, and what else the frames told on the way."""

    angles: tuple[AngleEstimate, ...]
    equal_steps: bool
    """whether phases are evenly spread; unevenness is only believed where the data insist"""
    electrons_per_count: float
    """photo-electrons per unit of the frames that were given"""
    noise_variance: tuple[float, ...]
    """(A,) of one pixel of one frame, photo-electrons squared"""
    coloured: bool
    """whether neighbouring pixels share their noise, as in frames that were interpolated: what it is was guessed"""
    otf: Otf
    """the stated one, of another width or attenuated where the overlap of the bands insists"""
    otf_fit: OtfFit
    """how the overlap would like it best, relative to `otf`"""
    haze: tuple[float, ...]
    """share of the wide-field's power without stripes, in even rings from frequency zero; 0 where not sure"""
    warnings: tuple[str, ...]

    @property
    def hazy_per_um(self) -> float:
        """Frequency below which a reconstruction leaves out haze; 0 where there is none.

        Twice as far as haze was measured for sure: it does not end there at once.
        """
        rings = sum(share > 0 for share in self.haze)
        return (2 * rings + 1) * self.otf.cutoff_per_um / NEAR if rings else 0.0

    @property
    def illumination(self) -> Illumination:
        """The stripes as the rest of the house takes them."""
        return Illumination(
            angle_rad=tuple(angle.angle_rad for angle in self.angles),
            spacing_um=tuple(angle.spacing_um for angle in self.angles),
            phase_rad=tuple(angle.phase_rad for angle in self.angles),
            modulation=tuple(angle.modulation for angle in self.angles),
            lead_rad=tuple(angle.lead_rad for angle in self.angles),
            brightness=tuple(angle.gain for angle in self.angles),
        )
