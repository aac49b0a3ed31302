"""Transfer functions: what the objective and the camera pixel leave of each spatial frequency."""

import math
from dataclasses import dataclass, replace

import torch

from sim_models.field import Illumination, Microscope


@dataclass(frozen=True)
class Otf:
    """What objective and camera leave of each spatial frequency: 1 at zero, nothing from the cutoff on."""

    cutoff_per_um: float
    pixel_um: float
    """edge of the pixel the camera integrates over; 0 for a camera that takes points"""
    profile: tuple[float, ...] | None = None
    """measured radial values at evenly spaced frequencies from 0 to the cutoff; None for an ideal objective"""
    attenuation: float = 1.0
    """what aberrations leave at the cutoff: values are lower by attenuation to the power frequency / cutoff"""

    @staticmethod
    def ideal(microscope: Microscope) -> "Otf":
        """A circular pupil without aberrations, and square pixels that lose nothing between them."""
        return Otf(microscope.cutoff_per_um, microscope.pixel_um)

    def __call__(self, rows_per_um: torch.Tensor, columns_per_um: torch.Tensor) -> torch.Tensor:
        """Values at the frequencies along y and x (cycles per um), which broadcast against each other."""
        if self.profile is None:
            passed = circular_pupil_otf(rows_per_um, columns_per_um, self.cutoff_per_um)
        else:
            passed = _interpolated(self._share(rows_per_um, columns_per_um), self.profile)
        if self.attenuation != 1:
            passed = passed * self.attenuation ** self._share(rows_per_um, columns_per_um)
        if self.pixel_um:
            passed = passed * pixel_transfer(rows_per_um, columns_per_um, self.pixel_um)
        return passed

    def widened(self, width: float) -> "Otf":
        """The same stretched to this many times the cutoff."""
        return replace(self, cutoff_per_um=width * self.cutoff_per_um)

    def attenuated(self, attenuation: float) -> "Otf":
        """The same with this much left at the cutoff."""
        return replace(self, attenuation=attenuation)

    def _share(self, rows_per_um: torch.Tensor, columns_per_um: torch.Tensor) -> torch.Tensor:
        return torch.hypot(rows_per_um, columns_per_um) / self.cutoff_per_um


def _interpolated(share_of_cutoff: torch.Tensor, profile: tuple[float, ...]) -> torch.Tensor:
    """Linear interpolation of evenly spaced values from 0 to 1; zero beyond."""
    values = torch.tensor([*profile, 0.0], dtype=share_of_cutoff.dtype, device=share_of_cutoff.device)
    place = share_of_cutoff * (len(profile) - 1)
    below = place.floor().clamp(max=len(profile) - 1)
    index, between = below.long(), place - below
    value = values[index] * (1 - between) + values[index + 1] * between
    return torch.where(share_of_cutoff < 1, value, torch.zeros_like(value))


def circular_pupil_otf(
    rows_per_um: torch.Tensor, columns_per_um: torch.Tensor, cutoff_per_um: float
) -> torch.Tensor:
    """Incoherent, in-focus OTF of an ideal circular pupil: 1 at zero, 0 from the cutoff on.

    Goodman, Introduction to Fourier Optics (2nd ed. 1996), section 6.3, the autocorrelation of a disc:

        OTF(v) = 2 / pi * (arccos(v) - v * sqrt(1 - v^2)),   v = frequency / cutoff

    A scalar model of a thin specimen in focus. The refractive index does not enter it: in focus the
    cutoff is 2 NA over the vacuum wavelength whatever the medium. Nor do the vectorial effects that
    dampen high frequencies somewhat above NA 1.

    The frequencies along y and x, in cycles per um, broadcast against each other.
    """
    v = (torch.hypot(rows_per_um, columns_per_um) / cutoff_per_um).clamp(max=1.0)
    return 2 / math.pi * (torch.arccos(v) - v * torch.sqrt(1 - v**2))


def pixel_transfer(rows_per_um: torch.Tensor, columns_per_um: torch.Tensor, pixel_um: float) -> torch.Tensor:
    """Transfer function of integrating over a square pixel: sinc(f_y p) sinc(f_x p)."""
    return torch.sinc(rows_per_um * pixel_um) * torch.sinc(columns_per_um * pixel_um)


def extended_cutoff_per_um(microscope: Microscope, illumination: Illumination) -> float:
    """Highest frequency SIM can restore: the detection cutoff plus the finest stripes.

    Gustafsson, J. Microsc. 198 (2000) 82: every harmonic of the stripes moves the observable region
    by its wave vector. The mean over the angles, as if the region were a disc.
    """
    finest = [
        len(depths) / spacing
        for depths, spacing in zip(illumination.modulation, illumination.spacing_um, strict=True)
    ]
    return microscope.cutoff_per_um + sum(finest) / len(finest)
