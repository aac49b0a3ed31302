"""The reconstruction: made once for a set of stripes, then called for every stack taken with them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import PositiveFloat

from sim_models.config import BadInput, Settings
from sim_models.field import Illumination, Microscope
from sim_models.optics.noise import fading, frame_noise
from sim_models.optics.otf import Otf
from sim_models.optics.reconstruct.bands import bands_of
from sim_models.optics.reconstruct.fairsim import fairsim_like
from sim_models.optics.reconstruct.filters import (
    Filters,
    Optics,
    fine_pixels,
    ideal_apodisation,
    moved,
    support_apodisation,
)
from sim_models.optics.reconstruct.geometry import SCALE, Geometry
from sim_models.optics.reconstruct.positive import nonnegative
from sim_models.optics.reconstruct.wiener import Wiener
from sim_models.optics.separation import num_bands
from sim_models.optics.threads import threads_for

AREAS, POINTS = -0.25, 0.0
"""raw pixels from the middle of raw pixel (0, 0) to that of pixel (0, 0) of the reconstruction: where a raw pixel is an
area of 2 x 2 finer ones, or where every second fine sample lies on a raw one"""

SMALLEST_PX = 16

MODEL_ERROR = 0.01
"""of the mean light: no pixel is trusted better than that, for stripes and OTF are never known exactly. It decides for
frames so bright, or computed without noise, that their noise alone would let everything be sharpened beyond reason"""


class ReconstructionSettings(Settings):
    """What a reconstruction does beyond what the frames decide."""

    look: Literal["wiener", "fairsim_like"]
    """`fairsim_like`: the look of fairSIM's images, see `fairsim`"""
    strength: PositiveFloat
    """of the regularisation: 1 for the least mean square error (or fairSIM's usual constant), more for smoother"""
    apodisation: Literal["ideal", "support"]
    """`ideal`: like an objective of the extended cutoff; `support`: smooth to where the bands end in each direction"""
    positive: bool
    """whether light is held to be never negative: less noise in dark places, at the price of a small bias there"""


DEFAULT = ReconstructionSettings(look="wiener", strength=1.0, apodisation="ideal", positive=False)


@dataclass(frozen=True)
class Transfer:
    """What is left of the object in a reconstruction at each spatial frequency: 1 keeps it, 0 loses it."""

    rows_per_um: torch.Tensor
    """(R,) from the lowest to the highest, zero in the middle"""
    columns_per_um: torch.Tensor
    """(C,)"""
    values: torch.Tensor
    """(R, C)"""

    def radial(self, bins: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Frequencies (bins,) in cycles per um, and the mean over all directions (bins,) there."""
        away = torch.hypot(self.rows_per_um[:, None], self.columns_per_um)
        highest = min(float(self.rows_per_um.max()), float(self.columns_per_um.max()))
        index = (away / highest * bins).long()
        inside = index < bins
        sums = torch.bincount(index[inside], self.values[inside].double(), minlength=bins)
        counts = torch.bincount(index[inside], minlength=bins).clamp(min=1)
        return (torch.arange(bins, device=away.device) + 0.5) / bins * highest, sums / counts


class Reconstructor:
    """Turns frames into images, with everything that does not depend on them worked out before.

    Call it with frames (..., A, P, Y, X) in the unit of those it was made with; the result (..., 2 Y, 2 X) is in their
    unit per raw pixel, and differentiable in them.
    """

    transfer: Transfer
    """for `positive`, that of the linear filter it starts from"""

    def __init__(
        self,
        frames: torch.Tensor,
        microscope: Microscope,
        illumination: Illumination,
        settings: ReconstructionSettings = DEFAULT,
        otf: Otf | None = None,
        haze: Sequence[float] = (),
        first_px: float = AREAS,
    ) -> None:
        """Prepare for frames like these (A, P, Y, X), whose noise and power set the regularisation.

        Args:
            frames: photo-electrons, or counts above the camera's offset.
            microscope: what decides cutoff and pixel size.
            illumination: the stripes, as estimated or known.
            settings: what is left to choose.
            otf: the true one; None for an ideal objective.
            haze: share of the wide-field's power that is out of focus (see `Estimate`).
            first_px: `AREAS` or `POINTS`.

        Raises:
            BadInput: if the frames do not fit the illumination.
        """
        _check(frames, illumination)
        self.settings, self.illumination, self._haze = settings, illumination, haze
        otf, pixel_um = otf or Otf.ideal(microscope), microscope.pixel_um
        with torch.no_grad(), threads_for(frames):
            shape = frames.shape[-2], frames.shape[-1]
            cutoff = otf.cutoff_per_um * pixel_um
            noise = frame_noise(frames, fading(shape).to(frames.device), cutoff, microscope.camera)
            known = (MODEL_ERROR * frames.mean(dim=(1, 2, 3)).double().cpu()).square()
            bands = bands_of(microscope, illumination, noise.variance + known)
            self._separation = bands.separation.to(frames.device, torch.float32)
            self._geometry = Geometry(shape, bands.waves, cutoff, frames.device)
            optics = Optics(self._geometry, bands, otf, pixel_um, first_px)
            filters = self._make_filters(optics, frames)
        self._weights = filters.weights
        rows, columns = (axis.float() / pixel_um for axis in (self._geometry.rows, self._geometry.columns))
        self.transfer = Transfer(rows, columns, filters.transfer)

    def _make_filters(self, optics: Optics, frames: torch.Tensor) -> Filters:
        settings = self.settings
        if settings.look == "fairsim_like":
            return fairsim_like(optics, settings.strength)
        wiener = Wiener(optics, self._band_spectra(frames), self._haze)
        apodise = ideal_apodisation if settings.apodisation == "ideal" else support_apodisation
        apodisation = apodise(optics) * fine_pixels(optics)
        if settings.positive:
            middle = self._geometry.half[1]
            self._quadratic = wiener.gather, wiener.information, settings.strength * wiener.doubt
            self._finish = (apodisation * moved(optics) * SCALE**2)[:, middle:]
        return wiener.filters(apodisation, settings.strength)

    def _band_spectra(self, frames: torch.Tensor) -> torch.Tensor:
        flat = frames.flatten(-4, -3).flatten(-2)
        bands = self._separation @ flat.float()
        return self._geometry.band_spectra(bands.reshape(*bands.shape[:-1], *frames.shape[-2:]))

    def __call__(self, frames: torch.Tensor) -> torch.Tensor:
        """Reconstruct frames (..., A, P, Y, X) to (..., 2 Y, 2 X).

        Raises:
            BadInput: if they have another shape than those it was made with.
        """
        expected = (
            *map(len, (self.illumination.phase_rad, self.illumination.phase_rad[0])),
            *self._geometry.shape,
        )
        if frames.shape[-4:] != expected:
            raise BadInput(
                f"frames of shape {tuple(frames.shape[-4:])} do not fit a reconstruction made for {expected}"
            )
        with threads_for(frames):
            return self._image(self._band_spectra(frames))

    def _image(self, spectra: torch.Tensor) -> torch.Tensor:
        """The image (..., 2 Y, 2 X) of the bands' spectra (..., B, Y', X')."""
        if self.settings.positive and self.settings.look == "wiener":
            gather, information, doubt = self._quadratic
            gathered = self._geometry.recombined(spectra, gather)
            return self._geometry.image(
                nonnegative(self._geometry, gathered, information, doubt) * self._finish
            )
        image = self._geometry.image(self._geometry.recombined(spectra, self._weights))
        return image.clamp(min=0) if self.settings.look == "fairsim_like" else image


def _check(frames: torch.Tensor, illumination: Illumination) -> None:
    angles, phases = len(illumination.phase_rad), len(illumination.phase_rad[0])
    if frames.shape[:-2] != (angles, phases):
        raise BadInput(
            f"the raw stack has {frames.shape[0]} angles x {frames.shape[1]} phases but its illumination "
            f"describes {angles} x {phases}; correct the frame layout or the illumination"
        )
    harmonics = len(illumination.modulation[0])
    if phases < num_bands(harmonics):
        raise BadInput(
            f"{phases} phases per angle cannot separate the {num_bands(harmonics)} bands of {harmonics} harmonics; "
            f"give at least {num_bands(harmonics)} phases or fewer harmonics"
        )
    if min(frames.shape[-2:]) < SMALLEST_PX:
        raise BadInput(
            f"frames of {frames.shape[-2]} x {frames.shape[-1]} pixels are too small; {SMALLEST_PX} a side is the least"
        )
