"""What the bands say where they overlap: depth of the stripes, width of the OTF, and light without stripes.

At the frequency k, band h of stripes with wave vector q holds c otf(k) O(k - h q), and the wide-field at k - h q holds
otf(k - h q) O(k - h q): the same object frequency seen twice (Gustafsson et al., Biophys. J. 94 (2008) 4957). Noise
adds to the power of the wide-field but not to the product of the two, so its known power is subtracted; where it is
not, stripes seem shallower the less light there is.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

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
    """Sums over frequencies in bins of (|k - h q|, |k|), for one band of one angle; each (NEAR, FAR).

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
    band_noise: float
    """noise power of the band at each frequency"""
    widefield_noise: float
    edge_px: int
    """shorter edge of the field"""


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
    both = (near < scene.cutoff**2) & (scene.radius < scene.cutoff) & (scene.otf > RELIABLE)
    place = both.flatten().nonzero()[:, 0]
    row, column = place // scene.shape[1], place % scene.shape[1]
    near_otf, far_otf = scene.otf_at(rows[row], columns[column]), scene.otf.flatten()[place]
    seen = torch.fft.fft2(band * window).flatten()[place]
    shifted = torch.fft.fft2(widefield * window * scene.carrier(wave)).flatten()[place]
    radii = near.flatten()[place].sqrt(), scene.radius.flatten()[place]
    bins = [(radius / scene.cutoff * num).long() for radius, num in zip(radii, (NEAR, FAR), strict=True)]
    used = near_otf > RELIABLE
    index = (bins[0] * FAR + bins[1])[used]

    def sums(values: torch.Tensor) -> Table:
        table = torch.bincount(index, values[used].double(), minlength=NEAR * FAR)
        return table.reshape(NEAR, FAR).cpu().numpy()

    noise = widefield_variance * energy
    turned = complex(math.cos(phase_rad), -math.sin(phase_rad)) * seen
    light = power(shifted) - noise
    return Overlap(
        sums(near_otf * (turned * shifted.conj()).real),
        sums(far_otf * light),
        sums(light),
        sums(torch.ones_like(light)),
        band_variance * energy,
        noise,
        min(scene.shape),
    )


@dataclass(frozen=True)
class Depth:
    """How deep the stripes of one band are."""

    amplitude: float
    """half the modulation"""
    sigma: float
    misfit: Table
    """(K,) squared residuals over their variance, of the bins that were used"""


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
        share = (torch.arange(num) + 0.5) / num
        diagonal = share * scene.cutoff / width / math.sqrt(2)
        tables.append((scene.otf_at(diagonal, diagonal) * torch.exp(-damping * share)).double().numpy())
    return Profile(tables[0][:, None], tables[1][None])


def _corrected(
    sums: Overlap, stated: Profile, true: Profile
) -> tuple[Table, Table, Table, Table, NDArray[np.bool_]]:
    """Both sides of c's equation for another OTF than they were summed with; its values; and which bins are left."""
    near = np.where(true.near > RELIABLE, true.near / np.maximum(stated.near, RELIABLE), 0.0)
    far = np.where(true.far > RELIABLE, true.far / np.maximum(stated.far, RELIABLE), 0.0)
    used = (near > 0) & (far > 0) & (sums.counts > 0)
    return sums.band * near, sums.widefield * far, near * stated.near, far * stated.far, used


def depth(sums: Overlap, stated: Profile, true: Profile) -> Depth:
    """The amplitude c that explains the band by the wide-field, away from haze.

    Weights do not depend on the noise of what they weigh, so c has no bias. `stated` is the OTF the sums were made
    with, `true` the one to be tried.
    """
    band, widefield, near, far, used = _corrected(sums, stated, true)
    used[:HAZY] = False
    counts = np.where(used, sums.counts, 0.0)
    light = np.where(used, sums.power, 0.0).sum(axis=1, keepdims=True)
    expected = np.maximum(light / np.maximum(counts.sum(axis=1, keepdims=True), 1), 0) * counts
    amplitude = 0.3
    for _ in range(3):
        variance = 0.5 * (near**2 * sums.band_noise + (amplitude * far) ** 2 * sums.widefield_noise)
        variance = np.maximum(variance * (expected + sums.widefield_noise * counts), 1e-200)
        weight = np.where(used, far * expected / variance, 0.0)
        gain = float((weight * widefield).sum())
        if gain <= 0:
            return Depth(0.0, math.inf, np.zeros(0))
        amplitude = float((weight * band).sum()) / gain
    residual = (band - amplitude * widefield) ** 2
    # The scatter of the bins themselves, which holds what the noise model does not: bright places are noisier.
    scatter = SCATTER * math.sqrt(float((weight**2 * residual).sum())) / gain
    sigma = math.hypot(scatter, amplitude * ((BORDER_PX / sums.edge_px) ** 2 + FLOOR))
    return Depth(amplitude, sigma, (residual / variance)[used])


def haze(
    overlaps: Sequence[Overlap], amplitudes: Sequence[float], stated: Profile, true: Profile
) -> tuple[float, ...]:
    """(HAZE_RINGS,) share of the wide-field's power at low frequencies that has no stripes to match; 0 where not sure.

    Where the light of the stripes explains only the share s of the wide-field, the rest is out of focus.
    """
    matched, whole, variance = np.zeros(HAZE_RINGS), np.zeros(HAZE_RINGS), np.zeros(HAZE_RINGS)
    for sums, amplitude in zip(overlaps, amplitudes, strict=True):
        band, widefield, near, _, used = _corrected(sums, stated, true)
        weight = np.where(used, amplitude / max(sums.band_noise, 1e-300), 0.0)[:HAZE_RINGS]
        matched += (weight * band[:HAZE_RINGS]).sum(axis=1)
        whole += (weight * amplitude * widefield[:HAZE_RINGS]).sum(axis=1)
        light = sums.power + sums.widefield_noise * sums.counts
        variance += (weight**2 * (0.5 * near**2 * sums.band_noise * light)[:HAZE_RINGS]).sum(axis=1)
    seen = whole > 0
    whole = np.where(seen, whole, 1.0)
    share, sigma = 1 - matched / whole, np.sqrt(variance) / whole
    sure = seen & (share > HAZE_FLOOR + 3 * sigma)
    # Haze is smooth: beyond the first ring without it there is none.
    return tuple(
        float(value) for value in np.where(np.logical_and.accumulate(sure), np.clip(share, 0, 0.99), 0.0)
    )


WIDTHS = np.linspace(0.6, 1.5, 10)
"""of the true OTF relative to the stated one: what a wrong pixel size, aperture or wavelength looks like"""

DAMPINGS = np.linspace(-0.5, 4.0, 10)
"""minus the logarithm of an attenuation (see `Otf`): what aberrations look like"""

FEWEST_BINS = 30

BELIEVED = 150.0
"""gain in chi-squared, scaled by what is left of it, from which another OTF than the stated one is believed"""


@dataclass(frozen=True)
class OtfFit:
    """How the bands would agree best: by another width of the OTF, or by another attenuation."""

    width: float
    width_sigma: float | None
    """None where the overlap does not tell; also below"""
    attenuation: float
    attenuation_sigma: float | None
    believed: Literal["stated", "width", "attenuation"]


def fit_otf(scene: Scene, overlaps: Sequence[Overlap]) -> OtfFit:
    """Bands agree in their overlap only for the true ratio of OTF values, whatever the object."""
    stated = profile(scene)

    def misfit(true: Profile) -> tuple[float, int]:
        bins = np.concatenate([depth(each, stated, true).misfit for each in overlaps])
        return (float(bins.mean()) if len(bins) >= FEWEST_BINS else math.inf), len(bins)

    as_stated, counts = misfit(stated)
    width = _lowest(lambda width: misfit(profile(scene, width=width))[0], WIDTHS, 1.0, counts)
    damping = _lowest(lambda damping: misfit(profile(scene, damping=damping))[0], DAMPINGS, 0.0, counts)
    best = min(width.misfit, damping.misfit)
    believed: Literal["stated", "width", "attenuation"] = "stated"
    if math.isfinite(best) and (as_stated / best - 1) * counts > BELIEVED:
        believed = "width" if width.misfit < damping.misfit else "attenuation"
    attenuation = math.exp(-damping.place)
    damping_sigma = None if damping.sigma is None else attenuation * damping.sigma
    return OtfFit(width.place, width.sigma, attenuation, damping_sigma, believed)


@dataclass(frozen=True)
class _Lowest:
    place: float
    sigma: float | None
    misfit: float


def _lowest(misfit: Callable[[float], float], places: Table, stated: float, counts: int) -> _Lowest:
    """The lowest point of a curve, looked for around the best of some places; the stated one where nothing tells."""
    values = [misfit(float(place)) for place in places]
    best = int(np.argmin(values))
    if math.isinf(values[best]):
        return _Lowest(stated, None, math.inf)
    step = float(places[1] - places[0])
    around = float(places[best]) - step, float(places[best]) + step
    found = minimize_scalar(misfit, bounds=around, method="bounded", options={"xatol": step / 50})
    place, height = float(found.x), float(found.fun)
    near = step / 10
    bend = (misfit(place - near) - 2 * height + misfit(place + near)) / near**2
    # At the lowest point the chi-squared over its mean rises by one within one standard deviation.
    sigma = math.sqrt(2 * height / bend / counts) if math.isfinite(bend) and bend > 0 else None
    return _Lowest(place, sigma, height)
