"""What the bands say where they overlap: depth of the stripes, width of the OTF, and light without stripes.

At the frequency k, band h of stripes with wave vector q holds c otf(k) O(k - h q), and the wide-field at k - h q holds
otf(k - h q) O(k - h q): the same object frequency seen twice (Gustafsson et al., Biophys. J. 94 (2008) 4957). Noise
adds to the power of the wide-field but not to the product of the two, so its known power is subtracted; where it is
not, stripes seem shallower the less light there is.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from sim_models.optics.estimate.scene import Scene
from sim_models.optics.noise import fading, power

Table = NDArray[np.float64]

NEAR, FAR = 28, 14
"""bins of |k - h q| and of |k| between zero and the cutoff"""

HAZY = 4
"""first bins of |k - h q|, where the wide-field may hold smooth light without stripes: out-of-focus haze"""

HAZE_RINGS = 8
"""bins of |k - h q| in which haze is looked for"""

HAZE_FLOOR = 0.1
"""share of haze that a slightly wrong OTF may feign"""

SCATTER = 1.8
"""by how much more the depth varies from stack to stack than the scatter of its bins says, which are not independent"""

BORDER_PX, FLOOR = 14.0, 1e-3
"""relative error of the depth that no scatter shows: (BORDER_PX / edge)^2 by the borders of the field, and a floor"""

SOFT_FADE_PX = 20
"""over which bands fade out at the borders here: a harder border mixes frequencies of different OTF values"""

RELIABLE = 0.05
"""values of the OTF below this are left out: a small error of the cutoff changes them by a factor"""


@dataclass(frozen=True)
class Overlap:
    """Sums over frequencies in bins of (|k - h q|, |k|), for the bands of all angles; tables are (B, NEAR, FAR).

    `band` and `widefield` are the two sides of c's equation: without noise, band = c * widefield in every bin.
    """

    band: Table
    """otf(k - h q) Re(band(k) conj(wide-field(k - h q)) / exp(i phase))"""
    widefield: Table
    """otf(k) (|wide-field(k - h q)|^2 - its noise)"""
    power: Table
    """|wide-field(k - h q)|^2 - its noise"""
    counts: Table
    """number of frequencies"""
    band_noise: Table
    """(B, 1, 1) noise power of a band at each frequency"""
    widefield_noise: float
    edge_px: int
    """shorter edge of the field"""


def together(overlaps: Sequence[Overlap]) -> Overlap:
    """The overlaps of single bands as one."""

    def joined(name: str) -> Table:
        return np.concatenate([getattr(each, name) for each in overlaps])

    return Overlap(
        joined("band"),
        joined("widefield"),
        joined("power"),
        joined("counts"),
        joined("band_noise"),
        overlaps[0].widefield_noise,
        overlaps[0].edge_px,
    )


def overlap(
    scene: Scene,
    widefield: torch.Tensor,
    band: torch.Tensor,
    wave: torch.Tensor,
    phase_rad: float,
    widefield_variance: float,
    band_variance: float,
) -> Overlap:
    """Sums for a band (Y, X) at the wave vector (2,) of its harmonic; variances are per pixel."""
    window = fading(scene.shape, SOFT_FADE_PX).to(band.device)
    energy = float(window.square().sum())
    rows, columns = (
        torch.fft.fftfreq(size, device=band.device) - float(part)
        for size, part in zip(scene.shape, wave, strict=True)
    )
    near = rows.square()[:, None] + columns.square()
    reach = scene.cutoff * float((scene.radial_otf > RELIABLE).mean())
    both = (near < reach**2) & (scene.radius < scene.cutoff) & (scene.otf > RELIABLE)
    place = both.flatten().nonzero()[:, 0]
    row, column = place // scene.shape[1], place % scene.shape[1]
    near_otf, far_otf = scene.otf_at(rows[row], columns[column]), scene.otf.flatten()[place]
    seen = torch.fft.fft2(band * window).flatten()[place]
    shifted = torch.fft.fft2(widefield * window * scene.carrier(wave)).flatten()[place]
    radii = near.flatten()[place].sqrt(), scene.radius.flatten()[place]
    bins = [(radius / scene.cutoff * num).long() for radius, num in zip(radii, (NEAR, FAR), strict=True)]
    index = bins[0] * FAR + bins[1]

    def sums(values: torch.Tensor | None) -> Table:
        table = torch.bincount(index, values, minlength=NEAR * FAR).double()
        return table.reshape(1, NEAR, FAR).cpu().numpy()

    noise = widefield_variance * energy
    turned = complex(math.cos(phase_rad), -math.sin(phase_rad)) * seen
    light = power(shifted) - noise
    return Overlap(
        sums(near_otf * (turned * shifted.conj()).real),
        sums(far_otf * light),
        sums(light),
        sums(None),
        np.full((1, 1, 1), band_variance * energy),
        noise,
        min(scene.shape),
    )


@dataclass(frozen=True)
class Depths:
    """How deep the stripes of each band are."""

    amplitude: Table
    """(B,) half the modulation; 0 where a band does not overlap"""
    sigma: Table
    """(B,) infinite where a band does not overlap"""
    misfit: Table
    """(B, NEAR, FAR) squared residuals over their variance; NaN where a bin was not used"""


@dataclass(frozen=True)
class Profile:
    """An OTF at the middle of the bins."""

    near: Table
    """(NEAR, 1)"""
    far: Table
    """(1, FAR)"""


def profile(scene: Scene, width: float = 1.0, damping: float = 0.0) -> Profile:
    """The stated OTF, or were it `width` times as wide, or damped."""
    tables = []
    for num in (NEAR, FAR):
        share = (np.arange(num) + 0.5) / num
        places = np.linspace(0, 1, len(scene.radial_otf))
        values = np.interp(share / width, places, scene.radial_otf, right=0.0)
        tables.append(values * np.exp(-damping * share))
    return Profile(tables[0][:, None], tables[1][None])


def _corrected(
    sums: Overlap, stated: Profile, true: Profile
) -> tuple[Table, Table, Table, Table, NDArray[np.bool_]]:
    """Both sides of c's equation for another OTF than they were summed with; its values; and which bins are left."""
    near = np.where(true.near > RELIABLE, true.near / np.maximum(stated.near, RELIABLE), 0.0)
    far = np.where(true.far > RELIABLE, true.far / np.maximum(stated.far, RELIABLE), 0.0)
    used = (near > 0) & (far > 0) & (sums.counts > 0)
    return sums.band * near, sums.widefield * far, near * stated.near, far * stated.far, used


def depths(sums: Overlap, stated: Profile, true: Profile) -> Depths:
    """The amplitudes c that explain the bands by the wide-field, away from haze.

    Weights do not depend on the noise of what they weigh, so c has no bias. `stated` is the OTF the sums were made
    with, `true` the one to be tried.
    """
    band, widefield, near, far, used = _corrected(sums, stated, true)
    used[:, :HAZY] = False
    counts = np.where(used, sums.counts, 0.0)
    light = np.where(used, sums.power, 0.0).sum(axis=2, keepdims=True)
    expected = np.maximum(light / np.maximum(counts.sum(axis=2, keepdims=True), 1), 0) * counts
    amplitude = np.full((len(band), 1, 1), 0.3)
    for _ in range(3):
        variance = 0.5 * (near**2 * sums.band_noise + (amplitude * far) ** 2 * sums.widefield_noise)
        variance = np.maximum(variance * (expected + sums.widefield_noise * counts), 1e-200)
        weight = np.where(used, far * expected / variance, 0.0)
        gain = _summed(weight * widefield)
        seen = gain > 0
        amplitude = np.where(seen, _summed(weight * band) / np.where(seen, gain, 1), 0.0)
    residual = (band - amplitude * widefield) ** 2
    # The scatter of the bins themselves, which holds what the noise model does not: bright places are noisier.
    scatter = SCATTER * np.sqrt(_summed(weight**2 * residual)) / np.where(seen, gain, 1)
    sigma = np.hypot(scatter, amplitude * ((BORDER_PX / sums.edge_px) ** 2 + FLOOR))
    misfit = np.where(used & seen, residual / variance, np.nan)
    return Depths(amplitude.flatten(), np.where(seen, sigma, np.inf).flatten(), misfit)


def _summed(tables: Table) -> Table:
    """(B, 1, 1) sums over the bins of each band."""
    sums: Table = tables.sum(axis=(1, 2), keepdims=True)
    return sums


def haze(sums: Overlap, amplitude: Table, stated: Profile, true: Profile) -> tuple[float, ...]:
    """(HAZE_RINGS,) share of the wide-field's power at low frequencies that has no stripes to match; 0 where not sure.

    Where the light of the stripes, of amplitudes (B,), explains only the share s of the wide-field, the rest is out of
    focus.
    """
    band, widefield, near, _, used = _corrected(sums, stated, true)
    amplitude = amplitude[:, None, None]
    weight = np.where(used, amplitude / np.maximum(sums.band_noise, 1e-300), 0.0)
    light = sums.power + sums.widefield_noise * sums.counts
    matched, whole, variance = (
        each[:, :HAZE_RINGS].sum(axis=(0, 2))
        for each in (
            weight * band,
            weight * amplitude * widefield,
            weight**2 * 0.5 * near**2 * sums.band_noise * light,
        )
    )
    seen = whole > 0
    whole = np.where(seen, whole, 1.0)
    share, sigma = 1 - matched / whole, np.sqrt(variance) / whole
    sure = seen & (share > HAZE_FLOOR + 3 * sigma)
    # Haze is smooth: beyond the first ring without it there is none.
    return tuple(
        float(value) for value in np.where(np.logical_and.accumulate(sure), np.clip(share, 0, 0.99), 0.0)
    )
