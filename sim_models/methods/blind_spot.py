"""Learn from noisy images alone: tell a hidden pixel from those around it, through the blur of the microscope.

Noise of one pixel says nothing of its neighbours', so that what can be told of a hidden pixel is free of noise (Krull,
Buchholz & Jug, CVPR 2019). What the network gives is blurred before it is compared, and so becomes a deconvolved image;
blurred, it is the denoised one (Goncharova, Honigmann, Jug & Krull, ECCV workshops 2020).
"""

import math
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn

from sim_models.methods import Method
from sim_models.samples import Sample

Places = NDArray[np.int64]

SMALL = 1e-15
"""under the root of the total variation, whose derivative it keeps finite"""


class Settings(Method):
    """Blind-spot learning. Values have to be in units of which zero is no light, best of one standard deviation."""

    name: Literal["blind_spot"]
    box_px: PositiveInt
    """one pixel at random is hidden in each box of this edge"""
    reach_px: PositiveInt
    """it is replaced by another one, at most so far away along each axis"""
    psf_sigma_px: PositiveFloat
    """of the Gaussian the result is blurred with: 0.21 wavelength / NA / pixel (Zhang, Zerubia & Olivo-Marin,
    Appl. Opt. 46:1819, 2007, table 1)"""
    gain: PositiveFloat
    """what the network gives is this many times larger: large steps for a network whose first weights are small"""
    positivity: NonNegativeFloat
    """weight of what is below zero in the deconvolved image"""
    total_variation: NonNegativeFloat
    """weight of its unevenness"""
    faithful_border: bool
    """as published: near the left or upper border a pixel can be replaced by itself, and by a last neighbour never"""

    @property
    def learns_from(self) -> str:
        """Noisy images."""
        return "images"

    @property
    def gives(self) -> tuple[str, ...]:
        """The denoised image, and the deconvolved one it is the blur of."""
        return ("denoised", "deconvolved")

    @property
    def halo_px(self) -> int:
        """As far as the blur reaches."""
        return math.ceil(4 * self.psf_sigma_px)

    def loss(self, network: nn.Module, sample: Sample) -> dict[str, Tensor]:
        """Mean square error at hidden pixels, and what a deconvolved image should not be."""
        hidden, mask = self.hide(sample)
        sharp = self.gain * network(hidden)
        terms = {"hidden_mse": _masked_mse(self.blurred(sharp), sample.input, mask)}
        if self.positivity:
            terms["positivity"] = self.positivity * sharp.clamp(max=0).abs().mean()
        if self.total_variation:
            terms["total_variation"] = self.total_variation * _total_variation(sharp)
        return terms

    def restore(self, network: nn.Module, stack: Tensor) -> Tensor:
        """Denoised and deconvolved images (N, 2, Y, X) of noisy ones (N, 1, Y, X)."""
        sharp: Tensor = self.gain * network(stack)
        return torch.cat([self.blurred(sharp), sharp], dim=1)

    def score(self, network: nn.Module, sample: Sample) -> Tensor:
        """How well hidden pixels are told, in dB under the range of the image: there is no other truth to select by."""
        hidden, mask = self.hide(sample)
        error = _masked_mse(self.blurred(self.gain * network(hidden)), sample.input, mask)
        return 10 * torch.log10((sample.input.max() - sample.input.min()).double().square() / error.double())

    def blurred(self, sharp: Tensor) -> Tensor:
        """Images (N, 1, Y, X) through the microscope: a Gaussian, images going on mirrored beyond their border."""
        half = min(self.halo_px, min(sharp.shape[-2:]) - 1)
        place = torch.arange(-half, half + 1, device=sharp.device, dtype=torch.float32)
        line = torch.exp(-place.square() / (2 * self.psf_sigma_px**2))
        line = line / line.sum()
        with torch.autocast(sharp.device.type, enabled=False):
            padded = F.pad(sharp.float(), (half,) * 4, mode="reflect")
            down = F.conv2d(padded, line.view(1, 1, -1, 1))
            return F.conv2d(down, line.view(1, 1, 1, -1))

    def hide(self, sample: Sample) -> tuple[Tensor, Tensor]:
        """Images (N, 1, Y, X) with hidden pixels replaced, and where those are."""
        images = sample.input
        rows, columns = images.shape[-2:]
        masks, sources = [], []
        for chance in sample.chance.tolist():
            random = np.random.default_rng(chance)
            place = _one_in_each_box(rows, columns, self.box_px, random)
            source = self._replacements(place, rows, columns, random)
            flat = place[0] * columns + place[1]
            mask = torch.zeros(rows * columns, dtype=torch.bool)
            mask[torch.from_numpy(flat)] = True
            taken = torch.arange(rows * columns)
            taken[torch.from_numpy(flat)] = torch.from_numpy(source[0] * columns + source[1])
            masks.append(mask)
            sources.append(taken)
        mask = torch.stack(masks).view(-1, 1, rows, columns).to(images.device)
        taken = torch.stack(sources).to(images.device)
        hidden = images.flatten(1).gather(1, taken).view_as(images)
        return hidden, mask

    def _replacements(
        self, place: tuple[Places, Places], rows: int, columns: int, random: np.random.Generator
    ) -> tuple[Places, Places]:
        """For every hidden pixel another one near it, within the image."""
        near = []
        for at, length in zip(place, (rows, columns), strict=True):
            low, high = np.maximum(at - self.reach_px, 0), np.minimum(at + self.reach_px, length - 1)
            near.append((low, high))
        (top, bottom), (left, right) = near
        if self.faithful_border:
            bottom, right = np.minimum(bottom, rows - 2), np.minimum(right, columns - 2)
        heights, widths = bottom - top + 1, right - left + 1
        own = (place[0] - top) * widths + (place[1] - left)
        if self.faithful_border:
            own = np.full_like(own, self.reach_px) * widths + self.reach_px
        # One of all others: numbers from its own on are shifted by one.
        drawn = random.integers(0, np.maximum(heights * widths - 1, 1))
        drawn = np.minimum(drawn + (drawn >= own), heights * widths - 1)
        return top + drawn // widths, left + drawn % widths


def _one_in_each_box(
    rows: int, columns: int, box_px: int, random: np.random.Generator
) -> tuple[Places, Places]:
    """Rows and columns of one pixel at random in each box of an image; boxes cut off by a border have less chance."""
    top, left = np.meshgrid(np.arange(0, rows, box_px), np.arange(0, columns, box_px), indexing="ij")
    row = top.ravel() + random.integers(box_px, size=top.size)
    column = left.ravel() + random.integers(box_px, size=top.size)
    inside = (row < rows) & (column < columns)
    return row[inside], column[inside]


def _masked_mse(told: Tensor, truth: Tensor, mask: Tensor) -> Tensor:
    return ((told.float() - truth.float()).square() * mask).sum() / mask.sum()


def _total_variation(images: Tensor) -> Tensor:
    """Mean length of the gradient by central differences (Rudin, Osher & Fatemi 1992)."""
    down = (images[..., 2:, 1:-1] - images[..., :-2, 1:-1]) / 2
    right = (images[..., 1:-1, 2:] - images[..., 1:-1, :-2]) / 2
    return torch.sqrt(down.square() + right.square() + SMALL).mean()
