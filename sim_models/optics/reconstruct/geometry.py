"""Where the bands of an acquisition go in the spectrum of the finer image, and the shortest way there.

Band h of stripes with wave vector q holds the object's frequencies around h q. It is multiplied by a carrier on the
raw grid that moves it by the fraction of a frequency between h q and the nearest grid point, transformed there, and
pasted at whole points into the larger spectrum. Bands end below the raw Nyquist frequency, so this is exact, and all
transforms but the last have the raw size. Opposite bands are complex conjugates and come for free.

Borders: bands are mirrored into a margin, where they fade out; it is cut off in the end. What lies within about a PSF
of the border has poorer side bands, and nothing wraps around.

Frequencies here are cycles per raw pixel.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from scipy.fft import next_fast_len

SCALE = 2
"""pixels of a reconstruction per raw pixel along an axis: room for the doubled resolution"""

MARGIN_PX = 12
"""raw pixels at least on every side"""


@dataclass(frozen=True)
class Box:
    """Where one band is taken from and where it goes: slices of a centred raw and of the centred fine spectrum."""

    source: tuple[slice, slice]
    target: tuple[slice, slice]
    rows: torch.Tensor
    """(R,) raw frequencies of the band in the box, before it is moved"""
    columns: torch.Tensor
    """(C,)"""


class Geometry:
    """Grids of one field size, and the place of every band in them."""

    def __init__(
        self, shape: tuple[int, int], waves: torch.Tensor, cutoff: float, device: torch.device
    ) -> None:
        """Lay out bands with wave vectors `waves` (B, 2) along y and x, the first of them zero for the wide-field."""
        self.shape = shape
        self.padded = (_even_fast_length(shape[0]), _even_fast_length(shape[1]))
        self.margin = tuple((padded - size) // 2 for padded, size in zip(self.padded, shape, strict=True))
        places = [[round(float(wave[axis]) * self.padded[axis]) for axis in (0, 1)] for wave in waves]
        reach = [min(math.ceil(cutoff * size) + 1, size // 2 - 1) for size in self.padded]
        self.half = [
            min(reach[axis] + max(abs(place[axis]) for place in places), self.padded[axis] - 1)
            for axis in (0, 1)
        ]
        """rows and columns of the fine spectrum on each side of zero that any band reaches"""
        self.rows, self.columns = (
            torch.arange(-half, half + 1, dtype=torch.float64, device=device) / size
            for half, size in zip(self.half, self.padded, strict=True)
        )
        self.boxes = [self._box(place, reach, device) for place in places]
        self._fade = [_fade(size, padded, device) for size, padded in zip(shape, self.padded, strict=True)]
        self.energy = math.prod(float(fade.square().sum()) for fade in self._fade)
        """sum of squares of the fading window: power of white noise of variance 1 at any frequency of a band"""
        self._carriers = torch.stack(
            [self._carrier(wave, place) for wave, place in zip(waves, places, strict=True)]
        )

    @cached_property
    def radius(self) -> torch.Tensor:
        """(R, C) |frequency|, cycles per raw pixel."""
        return torch.hypot(self.rows.float()[:, None], self.columns.float())

    def _box(self, place: Sequence[int], reach: Sequence[int], device: torch.device) -> Box:
        source, target, axes = [], [], []
        for axis in (0, 1):
            first = max(-reach[axis] - place[axis], -self.half[axis])
            last = min(reach[axis] - place[axis], self.half[axis])
            target.append(slice(first + self.half[axis], last + self.half[axis] + 1))
            middle = self.padded[axis] // 2 + place[axis]
            source.append(slice(first + middle, last + middle + 1))
            index = torch.arange(first, last + 1, dtype=torch.float64, device=device)
            axes.append(index + place[axis])
        return Box(
            (source[0], source[1]), (target[0], target[1]), axes[0] / self.padded[0], axes[1] / self.padded[1]
        )

    def _carrier(self, wave: torch.Tensor, place: Sequence[int]) -> torch.Tensor:
        """(Y', X') what moves a band to its place up to whole frequencies, and its spectrum's zero to the middle."""
        factors = []
        for axis in (0, 1):
            index = torch.arange(self.padded[axis], dtype=torch.float64, device=self._fade[axis].device)
            turns = float(wave[axis]) * (index - self.margin[axis]) - place[axis] / self.padded[axis] * index
            alternating = 1 - 2 * (index % 2)
            factors.append(torch.exp(-2j * math.pi * turns) * alternating * self._fade[axis])
        return (factors[0][:, None] * factors[1]).to(torch.complex64)

    def band_spectra(self, bands: torch.Tensor) -> torch.Tensor:
        """Centred spectra (..., B, Y', X') of bands given as pairs of real images (..., 2 B, Y, X)."""
        down, right = self.margin
        bottom, far = (self.padded[axis] - self.shape[axis] - self.margin[axis] for axis in (0, 1))
        stacks = bands.reshape(-1, *bands.shape[-3:])
        wide = torch.nn.functional.pad(stacks, (right, far, down, bottom), mode="reflect")
        wide = wide.reshape(*bands.shape[:-2], *wide.shape[-2:])
        spectra: torch.Tensor = torch.fft.fft2(
            torch.complex(wide[..., 0::2, :, :], wide[..., 1::2, :, :]) * self._carriers
        )
        return spectra

    def recombined(self, spectra: torch.Tensor, weights: Sequence[torch.Tensor]) -> torch.Tensor:
        """Weighted sum of all bands and their opposites in place: half a spectrum (..., R, C/2), row 0 in its middle.

        `weights` are complex, one for each box. The wide-field is its own opposite, so its weight is to be halved.
        """
        total = spectra.new_zeros(*spectra.shape[:-3], len(self.rows), len(self.columns))
        for band, (box, weight) in enumerate(zip(self.boxes, weights, strict=True)):
            total[..., box.target[0], box.target[1]] += (
                spectra[..., band, box.source[0], box.source[1]] * weight
            )
        middle = self.half[1]
        return total[..., middle:] + total[..., : middle + 1].flip(-2, -1).conj()

    def image(self, half_spectrum: torch.Tensor) -> torch.Tensor:
        """The image (..., 2 Y, 2 X) of half a spectrum (..., R, C), without the margin."""
        ordered = self._ordered(half_spectrum, half_spectrum.shape[-1], 0.0)
        top, left = SCALE * self.margin[0], SCALE * self.margin[1]
        rows = torch.fft.ifft(ordered, dim=-2)[..., top : top + SCALE * self.shape[0], :]
        image: torch.Tensor = torch.fft.irfft(rows, n=SCALE * self.padded[1], dim=-1)
        return image[..., left : left + SCALE * self.shape[1]]

    @property
    def fine(self) -> tuple[int, int]:
        """Rows and columns of the finer image with its margin."""
        return SCALE * self.padded[0], SCALE * self.padded[1]

    def unfolded(self, half_spectrum: torch.Tensor, fill: float) -> torch.Tensor:
        """Half a spectrum (..., R, C/2) in the order and size of `torch.fft.rfft2` of the finer image."""
        return self._ordered(half_spectrum, self.fine[1] // 2 + 1, fill)

    def folded(self, spectrum: torch.Tensor) -> torch.Tensor:
        """The part of a spectrum of `torch.fft.rfft2` that bands reach, as half a spectrum (..., R, C/2)."""
        middle, columns = self.half[0], self.half[1] + 1
        return torch.cat([spectrum[..., -middle:, :columns], spectrum[..., : middle + 1, :columns]], dim=-2)

    def _ordered(self, half_spectrum: torch.Tensor, columns: int, fill: float) -> torch.Tensor:
        """Rows in the order of `torch.fft.fft`, with what is not there filled."""
        middle, height = self.half[0], self.fine[0]
        ordered = half_spectrum.new_full((*half_spectrum.shape[:-2], height, columns), fill)
        ordered[..., : middle + 1, : half_spectrum.shape[-1]] = half_spectrum[..., middle:, :]
        ordered[..., height - middle :, : half_spectrum.shape[-1]] = half_spectrum[..., :middle, :]
        return ordered


def _even_fast_length(size: int) -> int:
    """An even number of pixels, with the margin, that transforms fast."""
    length = int(next_fast_len(size + 2 * MARGIN_PX))
    while length % 2:
        length = int(next_fast_len(length + 1))
    return length


def _fade(size: int, padded: int, device: torch.device) -> torch.Tensor:
    """(padded,) 1 on the field, falling to 0 through the margin like a cosine."""
    index = torch.arange(padded, dtype=torch.float64, device=device)
    margin = (padded - size) // 2
    inwards = torch.minimum(index + 0.5, padded - 0.5 - index)
    return 0.5 - 0.5 * torch.cos(math.pi * (inwards / margin).clamp(max=1))
