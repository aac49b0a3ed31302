"""DFCAN, deep Fourier channel attention (Qiao et al., Nat. Methods 18:194, 2021), as rDL-SIM infers with it.

Qiao et al., Nat. Biotechnol. 41:367 (2023), use it to guess the super-resolved image from which patterns are derived.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field, PositiveFloat
from torch import Tensor, nn

from sim_models.networks import Network, NetworkSettings, start_as_keras
from sim_models.spectra import centred, magnitudes

SQUEEZE = 16
"""feature maps for one unit of the attention's bottleneck"""

FLOOR = 1e-8
"""added to a spectrum, whose power of less than one has no slope at zero"""


class Settings(NetworkSettings):
    """Settings of a DFCAN."""

    name: Literal["dfcan"]
    width: int = Field(ge=SQUEEZE, le=512, multiple_of=SQUEEZE)
    """feature maps of every layer but the last two"""
    groups: int = Field(ge=1, le=16)
    blocks: int = Field(ge=1, le=32)
    """in every group, each with its Fourier channel attention"""
    gamma: PositiveFloat
    """power that spectra are raised to before they are looked at: 0.8 first, 0.1 in rDL-SIM"""
    taper_px: int = Field(ge=0, le=64)
    """over which opposite borders are blended before the transform; 0 for none"""
    spectrum_px: int | None = Field(ge=8, le=1024)
    """edge that spectra are resized to, 128 as published; None keeps every frequency"""
    output: Literal["linear", "sigmoid"]
    """`sigmoid` as published: between the offset of the normaliser and one scale above"""

    @property
    def divisor(self) -> int:
        """Any size fits, for nothing is pooled."""
        return 1

    def build(self, channels_in: int, channels_out: int, scale: int) -> "DFCAN":
        """Make the untrained network."""
        return DFCAN(self, channels_in, channels_out, scale)


class DFCAN(Network):
    """Stages head, group1 .. groupG, tail.

    The attention sees whole spectra, so tiles of a field are restored a little differently from the whole.
    """

    def __init__(self, settings: Settings, channels_in: int, channels_out: int, scale: int) -> None:
        # By convolutions: two in every block, and four around them.
        super().__init__(scale, settings.divisor, halo_px=2 * settings.groups * settings.blocks + 4)
        width = settings.width
        self.head = nn.Sequential(nn.Conv2d(channels_in, width, 3, padding=1), nn.GELU())
        for number in range(1, settings.groups + 1):
            self.add_module(f"group{number}", _Group(settings))
        tail: list[nn.Module] = [
            nn.Conv2d(width, width * scale**2, 3, padding=1),
            nn.GELU(),
            nn.PixelShuffle(scale),
            nn.Conv2d(width, channels_out, 3, padding=1),
        ]
        if settings.output == "sigmoid":
            tail.append(nn.Sigmoid())
        self.tail = nn.Sequential(*tail)
        start_as_keras(self)

    def compute(self, frames: Tensor) -> Tensor:
        """One stage after the other."""
        restored = frames
        for stage in self.children():
            restored = stage(restored)
        return restored


class _Group(nn.Module):
    """Blocks with a skip around them."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*[_Block(settings) for _ in range(settings.blocks)])

    def forward(self, features: Tensor) -> Tensor:
        grouped: Tensor = features + self.blocks(features)
        return grouped


class _Block(nn.Module):
    """Two convolutions and the attention, with a skip around them."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        width = settings.width
        self.convolutions = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1), nn.GELU(), nn.Conv2d(width, width, 3, padding=1), nn.GELU()
        )
        self.attention = _FourierAttention(settings)

    def forward(self, features: Tensor) -> Tensor:
        added: Tensor = features + self.attention(self.convolutions(features))
        return added


class _FourierAttention(nn.Module):
    """Weigh each feature map by what its power spectrum holds."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        width = settings.width
        self.gamma, self.taper_px, self.spectrum_px = settings.gamma, settings.taper_px, settings.spectrum_px
        self.look = nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.ReLU())
        self.weigh = nn.Sequential(
            nn.Conv2d(width, width // SQUEEZE, 1),
            nn.ReLU(),
            nn.Conv2d(width // SQUEEZE, width, 1),
            nn.Sigmoid(),
        )

    def forward(self, features: Tensor) -> Tensor:
        weights = self.weigh(self.look(self._spectrum(features)).mean(dim=(-2, -1), keepdim=True))
        weighed: Tensor = features * weights
        return weighed

    def _spectrum(self, features: Tensor) -> Tensor:
        """|FFT|^gamma with frequency zero in the middle; half precision has neither the range nor the transform."""
        with torch.autocast(features.device.type, enabled=False):
            spectrum = magnitudes(tapered(features.float(), self.taper_px))
            spectrum = centred((spectrum + FLOOR) ** self.gamma)
            if self.spectrum_px is not None:
                edge = self.spectrum_px
                spectrum = F.interpolate(spectrum, size=(edge, edge), mode="bilinear", align_corners=False)
        return spectrum


def tapered(images: Tensor, edge_px: int) -> Tensor:
    """Images (..., Y, X) whose opposite borders blend into each other over `edge_px` on each side.

    At a depth d into the border, half the weight 1 - sin(pi d / (2 edge_px)) goes to the pixel mirrored at the other
    side, so that the periodic continuation has no step.
    """
    if not edge_px:
        return images
    for axis in (-2, -1):
        size = images.shape[axis]
        depth = torch.arange(size, device=images.device, dtype=images.dtype)
        depth = torch.minimum(depth, size - 1 - depth)
        share = 0.5 * (1 - torch.sin(torch.pi / 2 * (depth / edge_px).clamp(max=1)))
        share = share[:, None] if axis == -2 else share
        images = (1 - share) * images + share * images.flip(axis)
    return images
