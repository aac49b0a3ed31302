"""What the bands say where they overlap: depth of the stripes, width of the OTF, and light without stripes.

At the frequency k, band h of stripes with wave vector q holds c otf(k) O(k - h q), and the wide-field at k - h q holds
otf(k - h q) O(k - h q): the same object frequency seen twice (Gustafsson et al., Biophys. J. 94 (2008) 4957). Noise
adds to the power of the wide-field but not to the product of the two, so its known power is subtracted; where it is
not, stripes seem shallower the less light there is.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from sim_models.optics.estimate.scene import Scene

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

    band: torch.Tensor
    """otf(k - h q) Re(band(k) conj(wide-field(k - h q)) / exp(i phase))"""
    widefield: torch.Tensor
    """otf(k) (|wide-field(k - h q)|^2 - its noise)"""
    power: torch.Tensor
    """|wide-field(k - h q)|^2 - its noise"""
    counts: torch.Tensor
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
    rows, columns = (torch.fft.fftfreq(size, device=band.device) for size in scene.shape)
    near_radius = torch.hypot(rows[:, None] - float(wave[0]), columns - float(wave[1]))
    near, far = scene.otf_at(rows[:, None] - float(wave[0]), columns - float(wave[1])), scene.otf
    both = (near_radius < scene.cutoff) & (scene.radius < scene.cutoff) & (near > RELIABLE) & (far > RELIABLE)
    both &= near_radius > HAZE_REACH * scene.cutoff
    seen = torch.fft.fft2(band * scene.window)[both]
    shifted = torch.fft.fft2(widefield * scene.window * scene.carrier(wave))[both]
    bins = [(radius[both] / scene.cutoff * BINS).long() for radius in (near_radius, scene.radius)]
    place = bins[0] * BINS + bins[1]

    def sums(values: torch.Tensor) -> torch.Tensor:
        return torch.bincount(place, values.double(), minlength=BINS**2).reshape(BINS, BINS)

    noise = widefield_variance * energy
    turned = complex(math.cos(phase_rad), -math.sin(phase_rad)) * seen
    power = shifted.abs().square() - noise
    return Overlap(
        sums(near[both] * (turned * shifted.conj()).real),
        sums(far[both] * power),
        sums(power),
        sums(torch.ones_like(power)),
        band_variance * energy,
        noise,
    )


@dataclass(frozen=True)
class Depth:
    """How deep the stripes of one band are."""

    amplitude: float
    """half the modulation"""
    sigma: float
    misfit: torch.Tensor
    """(BINS, BINS) squared residuals over their variance; NaN where a bin was not used"""


def depth(sums: Overlap, stated: torch.Tensor, true: torch.Tensor) -> Depth:
    """The amplitude c that explains the band by the wide-field.

    Weights do not depend on the noise of what they weigh, so c has no bias. `stated` and `true` (BINS,) are OTF values
    at the middle of the bins: those the sums were made with, and those to be tried.
    """
    ratio = torch.where(true > RELIABLE, true / stated.clamp(min=RELIABLE), 0.0).double()
    near, far = (stated * ratio)[:, None], (stated * ratio)[None]
    band, widefield = sums.band * ratio[:, None], sums.widefield * ratio[None]
    used = (near > 0) & (far > 0) & (sums.counts > 0)
    counts = torch.where(used, sums.counts, 0.0)
    mean_power = torch.where(used, sums.power, 0.0).sum(1, keepdim=True) / counts.sum(1, keepdim=True).clamp(min=1)
    expected = mean_power.clamp(min=0) * counts
    amplitude, sigma = 0.3, math.inf
    for _ in range(3):
        variance = 0.5 * (near.square() * sums.band_noise + (amplitude * far).square() * sums.widefield_noise)
        variance = (variance * (expected + sums.widefield_noise * counts)).clamp(min=1e-300)
        weight = torch.where(used, far * expected / variance, 0.0)
        gain = float((weight * widefield).sum())
        if gain <= 0:
            return Depth(0.0, math.inf, torch.full_like(band, math.nan))
        amplitude = float((weight * band).sum()) / gain
        sigma = math.sqrt(float((weight.square() * variance).sum())) / gain
    misfit = (band - amplitude * widefield).square() / variance
    return Depth(amplitude, sigma, torch.where(used, misfit, math.nan))


WIDTHS = torch.linspace(0.6, 1.5, 37, dtype=torch.float64)
"""of the true OTF relative to the stated one"""

FEWEST_BINS = 30


def middle_of_bins(scene: Scene, width: float = 1.0) -> torch.Tensor:
    """(BINS,) the OTF at the middle of the bins, were it `width` times as wide."""
    middle = (torch.arange(BINS) + 0.5) / BINS * scene.cutoff / width
    diagonal = middle / math.sqrt(2)
    return scene.otf_at(diagonal, diagonal)


def otf_width(scene: Scene, overlaps: Sequence[Overlap]) -> tuple[float, float]:
    """Width of the true OTF relative to the stated one, and its standard deviation; (1, inf) where nothing tells.

    Bands agree in their overlap only for the true ratio of OTF values, whatever the object.
    """
    stated = middle_of_bins(scene)
    misfits = []
    for width in WIDTHS.tolist():
        all_bins = torch.cat([depth(each, stated, middle_of_bins(scene, width)).misfit.flatten() for each in overlaps])
        used = all_bins[~all_bins.isnan()]
        misfits.append(float(used.mean()) if len(used) >= FEWEST_BINS else math.inf)
    best = min(range(len(misfits)), key=misfits.__getitem__)
    if not 0 < best < len(misfits) - 1 or not all(map(math.isfinite, misfits[best - 1 : best + 2])):
        return (1.0 if math.isinf(misfits[best]) else float(WIDTHS[best])), math.inf
    left, middle, right = misfits[best - 1 : best + 2]
    bend = left - 2 * middle + right
    step = float(WIDTHS[1] - WIDTHS[0])
    counted = len(overlaps) * int(torch.isfinite(overlaps[0].power).sum())
    return float(WIDTHS[best]) + step * (left - right) / (2 * bend), step * math.sqrt(2 * middle / bend / counted)
