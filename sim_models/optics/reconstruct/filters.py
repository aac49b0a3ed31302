"""What all filters of a reconstruction share: transfer functions on the bands' boxes, apodisation, and their result."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from sim_models.optics.otf import Otf, circular_pupil_otf, pixel_transfer
from sim_models.optics.reconstruct.bands import Bands
from sim_models.optics.reconstruct.geometry import SCALE, Geometry


@dataclass(frozen=True)
class Optics:
    """The bands of an acquisition laid out on the grids of a reconstruction."""

    geometry: Geometry
    bands: Bands
    otf: Otf
    pixel_um: float
    first_px: float
    """raw pixels from the middle of raw pixel (0, 0) to that of pixel (0, 0) of the reconstruction"""

    @property
    def cutoff(self) -> float:
        """Of the detection, cycles per raw pixel."""
        return self.otf.cutoff_per_um * self.pixel_um


@dataclass(frozen=True)
class Filters:
    """Complex weights that turn the bands' spectra into that of the image, and what they do to the object."""

    weights: list[torch.Tensor]
    """on the boxes of the bands; half for the wide-field, which is its own opposite"""
    transfer: torch.Tensor
    """(R, C)"""


def band_otfs(optics: Optics) -> list[torch.Tensor]:
    """The objective's OTF on each band's box, where the band was seen."""
    values = []
    for box in optics.geometry.boxes:
        rows, columns = box.rows.float()[:, None], box.columns.float()
        values.append(optics.otf(rows / optics.pixel_um, columns / optics.pixel_um))
    return values


def summed(geometry: Geometry, terms: Sequence[torch.Tensor]) -> torch.Tensor:
    """Real, even sum (R, C) over all bands and their opposites of terms on the bands' boxes."""
    total = torch.zeros(len(geometry.rows), len(geometry.columns), device=terms[0].device)
    for box, term in zip(geometry.boxes[1:], terms[1:], strict=True):
        total[box.target] += term
    total = total + total.flip(0, 1)
    total[geometry.boxes[0].target] += terms[0]
    return total


def finished(
    optics: Optics, terms: Sequence[torch.Tensor], response: torch.Tensor, transfer: torch.Tensor
) -> Filters:
    """Filters that weigh each band by its term and the sum by a response (R, C)."""
    scaled = response * moved(optics) * SCALE**2
    halves = [0.5, *[1.0] * (len(terms) - 1)]
    weights = [
        half * term * scaled[box.target]
        for half, term, box in zip(halves, terms, optics.geometry.boxes, strict=True)
    ]
    return Filters(weights, transfer)


def ideal_apodisation(optics: Optics) -> torch.Tensor:
    """(R, C) the ideal OTF of the extended cutoff, alike in all directions (see `otf.extended_cutoff_per_um`)."""
    lengths = optics.bands.waves[1:].norm(dim=1)
    finest = lengths[lengths > 0.75 * lengths.max()].mean()
    away = optics.geometry.radius
    return circular_pupil_otf(torch.zeros_like(away[:1, :1]), away, optics.cutoff + float(finest))


def support_apodisation(optics: Optics) -> torch.Tensor:
    """(R, C) the ideal OTF of the cutoff that the bands really reach in each direction."""
    rows, columns = optics.geometry.rows.float()[:, None], optics.geometry.columns.float()
    away = optics.geometry.radius
    reach = torch.full_like(away, optics.cutoff)
    side_waves = optics.bands.waves[1:]
    for wave in torch.cat([side_waves, -side_waves]).tolist():
        along = (rows * wave[0] + columns * wave[1]) / away.clamp(min=1e-9)
        across = (wave[0] ** 2 + wave[1] ** 2 - along.square()).clamp(min=0)
        edge = along + (optics.cutoff**2 - across).clamp(min=0).sqrt()
        reach = torch.where(across < optics.cutoff**2, torch.maximum(reach, edge), reach)
    return circular_pupil_otf(torch.zeros_like(away), away / reach, 1.0)


def fine_pixels(optics: Optics) -> torch.Tensor:
    """(R, C) transfer of the pixels of the reconstruction, where the camera's integrate over their area."""
    geometry = optics.geometry
    if not optics.otf.pixel_um:
        return torch.ones(len(geometry.rows), len(geometry.columns), device=geometry.rows.device)
    rows, columns = (
        geometry.rows.float()[:, None] / optics.pixel_um,
        geometry.columns.float() / optics.pixel_um,
    )
    return pixel_transfer(rows, columns, optics.otf.pixel_um / SCALE)


def moved(optics: Optics) -> torch.Tensor:
    """(R, C) complex: moves the image so that its first pixel lies at `first_px`."""
    rows, columns = (
        torch.exp(2j * math.pi * axis * optics.first_px).to(torch.complex64)
        for axis in (optics.geometry.rows, optics.geometry.columns)
    )
    return rows[:, None] * columns
