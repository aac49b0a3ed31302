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
from sim_models.optics.noise import power

Table = NDArray[np.float64]

BINS = 14
"""of |k| and of |k - h q| each, between zero and the cutoff"""

HAZE_REACH = 0.12
"""of the cutoff, below which the wide-field may hold smooth light without stripes"""


RELIABLE = 0.03
"""values of the OTF below this are left out: a small error of the cutoff changes them by a factor"""


@dataclass(frozen=True)
class Overlap:
    """Sums over frequencies in bins of (|k - h q|, |k|), for one band of one angle; each (BINS, BINS).

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
    energy = float(scene.window.square().sum())
    rows, columns = (
        torch.fft.fftfreq(size, device=band.device) - float(part) for size, part in zip(scene.shape, wave, strict=True)
    )
    near = rows.square()[:, None] + columns.square()
    both = (near < scene.cutoff**2) & (near > (HAZE_REACH * scene.cutoff) ** 2) & (scene.otf > RELIABLE)
    place = both.flatten().nonzero()[:, 0]
    row, column = place // scene.shape[1], place % scene.shape[1]
    near_otf, far_otf = scene.otf_at(rows[row], columns[column]), scene.otf.flatten()[place]
    seen = torch.fft.fft2(band * scene.window).flatten()[place]
    shifted = torch.fft.fft2(widefield * scene.window * scene.carrier(wave)).flatten()[place]
    radii = near.flatten()[place].sqrt(), scene.radius.flatten()[place]
    bins = [(radius / scene.cutoff * BINS).long().clamp(max=BINS - 1) for radius in radii]
    used = near_otf > RELIABLE
    index = (bins[0] * BINS + bins[1])[used]

    def sums(values: torch.Tensor) -> Table:
        table = torch.bincount(index, values[used].double(), minlength=BINS**2)
        return table.reshape(BINS, BINS).cpu().numpy()

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
    )


@dataclass(frozen=True)
class Depth:
    """How deep the stripes of one band are."""

    amplitude: float
    """half the modulation"""
    sigma: float
    misfit: Table
    """(K,) squared residuals over their variance, of the bins that were used"""


def depth(sums: Overlap, stated: Table, true: Table) -> Depth:
    """The amplitude c that explains the band by the wide-field.

    Weights do not depend on the noise of what they weigh, so c has no bias. `stated` and `true` (BINS,) are OTF values
    at the middle of the bins: those the sums were made with, and those to be tried.
    """
    ratio = np.where(true > RELIABLE, true / np.maximum(stated, RELIABLE), 0.0)
    near, far = (stated * ratio)[:, None], (stated * ratio)[None]
    band, widefield = sums.band * ratio[:, None], sums.widefield * ratio
    used = (near > 0) & (far > 0) & (sums.counts > 0)
    counts = np.where(used, sums.counts, 0.0)
    light = np.where(used, sums.power, 0.0).sum(axis=1, keepdims=True)
    expected = np.maximum(light / np.maximum(counts.sum(axis=1, keepdims=True), 1), 0) * counts
    amplitude, sigma = 0.3, math.inf
    for _ in range(3):
        variance = 0.5 * (near**2 * sums.band_noise + (amplitude * far) ** 2 * sums.widefield_noise)
        variance = np.maximum(variance * (expected + sums.widefield_noise * counts), 1e-300)
        weight = np.where(used, far * expected / variance, 0.0)
        gain = float((weight * widefield).sum())
        if gain <= 0:
            return Depth(0.0, math.inf, np.zeros(0))
        amplitude = float((weight * band).sum()) / gain
        sigma = math.sqrt(float((weight**2 * variance).sum())) / gain
    return Depth(amplitude, sigma, ((band - amplitude * widefield) ** 2 / variance)[used])


WIDTHS = np.linspace(0.6, 1.5, 19)
"""of the true OTF relative to the stated one"""

FEWEST_BINS = 30


def middle_of_bins(scene: Scene, width: float = 1.0) -> Table:
    """(BINS,) the OTF at the middle of the bins, were it `width` times as wide."""
    middle = (torch.arange(BINS) + 0.5) / BINS * scene.cutoff / width / math.sqrt(2)
    return scene.otf_at(middle, middle).double().numpy()


def otf_width(scene: Scene, overlaps: Sequence[Overlap]) -> tuple[float, float]:
    """Width of the true OTF relative to the stated one, and its standard deviation; (1, inf) where nothing tells.

    Bands agree in their overlap only for the true ratio of OTF values, whatever the object.
    """
    stated = middle_of_bins(scene)
    misfits, counts = [], []
    for width in WIDTHS:
        true = middle_of_bins(scene, float(width))
        bins = np.concatenate([depth(each, stated, true).misfit for each in overlaps])
        counts.append(len(bins))
        misfits.append(float(bins.mean()) if len(bins) >= FEWEST_BINS else math.inf)
    best = int(np.argmin(misfits))
    around = misfits[max(best - 1, 0) : best + 2]
    if math.isinf(misfits[best]):
        return 1.0, math.inf
    if len(around) < 3 or not np.isfinite(around).all():
        return float(WIDTHS[best]), math.inf
    left, middle, right = around
    bend, step = left - 2 * middle + right, float(WIDTHS[1] - WIDTHS[0])
    return float(WIDTHS[best]) + step * (left - right) / (2 * bend), step * math.sqrt(2 * middle / bend / counts[best])
