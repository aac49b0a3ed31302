"""The generalised Wiener filter, with every band weighted by the inverse of its own noise variance.

Gustafsson et al., Biophys. J. 94 (2008) 4957, eq. 4: with bands B_b = t_b O + noise of variance v_b, the object O of
mean power S has the least mean square error estimate

    O' = sum_b(t_b B_b / v_b) / (sum_b(t_b^2 / v_b) + 1 / S)

where the power S of the object at each |frequency| is measured in the frames themselves.
"""

from collections.abc import Sequence

import torch

from sim_models.optics.estimate.overlap import NEAR
from sim_models.optics.noise import power
from sim_models.optics.reconstruct.filters import Filters, Optics, band_otfs, finished, summed
from sim_models.optics.reconstruct.geometry import Geometry

HAZE_RINGS_TO_CUTOFF = NEAR
"""even rings between zero and the cutoff in which haze is told"""

SIGNIFICANT = 3.0
"""standard deviations above zero from which the object's power in a ring is believed"""

SMOOTHING = 0.08
"""of the radius, over which the power of rings is averaged on each side"""

STEEPEST, FLATTEST = -6.0, -0.5
"""exponents of the power law that continues the object's power to where noise drowns it"""


class Wiener:
    """What the filter knows before an apodisation and a strength are chosen."""

    def __init__(self, optics: Optics, spectra: torch.Tensor, haze: Sequence[float]) -> None:
        """From the bands' spectra (B, Y', X') of a first stack, and its haze (see `Estimate`)."""
        self.optics = optics
        otfs = band_otfs(optics)
        transfers = [float(depth) * otf for depth, otf in zip(optics.bands.depth, otfs, strict=True)]
        noise = [torch.tensor(float(variance), device=spectra.device) for variance in optics.bands.variance]
        noise[0] = noise[0] + haze_variance(optics, spectra[0], haze)
        self.terms = [each / variance.to(each) for each, variance in zip(transfers, noise, strict=True)]
        self.information = summed(
            optics.geometry, [a * b for a, b in zip(transfers, self.terms, strict=True)]
        )
        halves = [0.5, *[1.0] * (len(self.terms) - 1)]
        self.gather = [half * each.to(torch.complex64) for half, each in zip(halves, self.terms, strict=True)]
        gathered = optics.geometry.recombined(spectra, self.gather)
        self.object_power = object_power(optics.geometry, gathered, self.information)

    @property
    def doubt(self) -> torch.Tensor:
        """(R, C) what stands for 1 / S in the units of the information."""
        return self.optics.geometry.energy / self.object_power

    def filters(self, apodisation: torch.Tensor, strength: float) -> Filters:
        """The filter for an apodisation (R, C)."""
        response = apodisation / (self.information + strength * self.doubt)
        return finished(self.optics, self.terms, response, self.information * response)


def haze_variance(optics: Optics, widefield: torch.Tensor, haze: Sequence[float]) -> torch.Tensor:
    """Light without stripes, as noise of the wide-field on its box: at low frequencies the side bands know better.

    `widefield` (Y', X') is its centred spectrum; `haze` the share of its power in even rings up to the cutoff.
    """
    geometry, box = optics.geometry, optics.geometry.boxes[0]
    away = torch.hypot(box.rows.float()[:, None], box.columns.float())
    if not any(haze):
        return torch.zeros_like(away)
    width = optics.cutoff / HAZE_RINGS_TO_CUTOFF
    ring = (away / width).long()
    seen = power(widefield[box.source])
    light = torch.bincount(ring.flatten(), seen.flatten()) / torch.bincount(ring.flatten()).clamp(min=1)
    share = torch.zeros(int(ring.max()) + 2, device=away.device)
    share[: len(haze)] = torch.tensor(haze, device=share.device)
    level = share[: len(light)] * light / geometry.energy
    level = torch.cat([level, level.new_zeros(1)])
    # Linear between the middles of the rings, so that no ring shows in the image.
    place = (away / width - 0.5).clamp(min=0)
    below = place.long().clamp(max=len(level) - 2)
    return torch.lerp(level[below], level[below + 1], place - below)


def object_power(geometry: Geometry, gathered: torch.Tensor, information: torch.Tensor) -> torch.Tensor:
    """Mean power S (R, C) of the object's spectrum at each |frequency|.

    With the information I = sum_b(t_b^2 / v_b), the sum `gathered` = sum_b(t_b B_b / v_b), half a spectrum (R, C/2),
    has the mean power I^2 S + I. Where noise drowns the object, a power law goes on from where it does not.
    """
    known = information[:, geometry.half[1] :].double()
    index = (geometry.radius * max(geometry.padded)).round().long()
    ring = index[:, geometry.half[1] :].flatten()
    noise = known * geometry.energy
    excess = power(gathered).double() - noise

    def rings(values: torch.Tensor) -> torch.Tensor:
        return _smoothed(torch.bincount(ring, values.flatten()))

    weight = rings(known.square())
    seen = weight > 1e-12 * weight.max()
    weight = torch.where(seen, weight, 1.0)
    measured = torch.where(seen, rings(excess) / weight, 0.0)
    sigma = rings(noise.square() + 2 * noise * excess.clamp(min=0)).sqrt() / weight
    law = _continued(measured, seen & (measured > SIGNIFICANT * sigma))
    return law.float()[index.clamp(max=len(law) - 1)]


def _smoothed(rings: torch.Tensor) -> torch.Tensor:
    """Sums over neighbouring rings, as many as `SMOOTHING` says."""
    index = torch.arange(len(rings), device=rings.device)
    reach = (SMOOTHING * index).long().clamp(min=1)
    sums = torch.cat([rings.new_zeros(1), rings.cumsum(0)])
    return sums[(index + reach + 1).clamp(max=len(rings))] - sums[(index - reach).clamp(min=0)]


def _continued(measured: torch.Tensor, believed: torch.Tensor) -> torch.Tensor:
    """Measured power as long as it is believed, then a power law fitted to the upper half of that."""
    index = torch.arange(len(measured), device=measured.device)
    doubted = (~believed & (index > 3)).nonzero()[:, 0]
    end = int(doubted[0]) if len(doubted) else len(measured)
    fitted = slice(max(2, end // 2), max(end, 4))
    place = index.double().clamp(min=1).log()
    floor = 1e-12 * float(measured.abs().max().clamp(min=1e-30))
    height = measured.clamp(min=floor).log()
    x, y = place[fitted] - place[fitted].mean(), height[fitted] - height[fitted].mean()
    slope = ((x * y).sum() / x.square().sum().clamp(min=1e-12)).clamp(STEEPEST, FLATTEST)
    law = (height[fitted].mean() + slope * (place - place[fitted].mean())).exp()
    return torch.where(index < end, measured.clamp(min=floor), law)
