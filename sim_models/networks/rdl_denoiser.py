"""The denoiser of rDL-SIM: noisy frames of one angle, and the frames that a first guess of the object would have given.

Qiao et al., Nat. Biotechnol. 41:367 (2023). Two encoders, one for each, and a decoder for their sum; the blocks are
those of RCAN (Zhang et al., ECCV 2018).
"""

from typing import Literal

import torch
from pydantic import Field, PositiveFloat
from torch import Tensor, nn

from sim_models.config import BadInput
from sim_models.networks import Network, NetworkSettings, start_as_keras
from sim_models.spectra import low_passed

SQUEEZE = 16
"""feature maps for one unit of the attention's bottleneck"""

SLOPE = 0.2
"""of the leaky rectifier below zero"""


class Settings(NetworkSettings):
    """Settings of an rDL denoiser."""

    name: Literal["rdl_denoiser"]
    width: int = Field(ge=SQUEEZE, le=512, multiple_of=SQUEEZE)
    """feature maps"""
    blocks: int = Field(ge=1, le=32)
    """residual channel attention blocks in every group"""
    pattern_groups: int = Field(ge=1, le=16)
    """in the encoder of the derived frames"""
    noisy_groups: int = Field(ge=1, le=16)
    """in the encoder of the noisy frames"""
    joint_groups: int = Field(ge=1, le=16)
    """after both are added"""
    noise_suppression: PositiveFloat | None
    """frequency (cycles per pixel) from which the noisy frames are also shown without noise, by a low-pass that
    learns; None for the variant without"""
    output: Literal["linear", "leaky_relu"]
    """`leaky_relu` as published: values below zero are a fifth of what they would be"""

    @property
    def divisor(self) -> int:
        """Any size fits, for nothing is pooled."""
        return 1

    def build(self, channels_in: int, channels_out: int, scale: int) -> "RDLDenoiser":
        """Make the untrained network.

        Raises:
            BadInput: if the channels are not two equal parts, or the output is to be finer.
        """
        if channels_in % 2 or scale != 1:
            raise BadInput(
                f"an 'rdl_denoiser' takes derived and noisy frames, as many of each, and gives frames of their size; "
                f"found {channels_in} channels and scale {scale}"
            )
        return RDLDenoiser(self, channels_in // 2, channels_out)


class RDLDenoiser(Network):
    """Stages pattern, noisy, joint, out; the first half of the channels are derived frames, the second noisy ones."""

    def __init__(self, settings: Settings, frames: int, channels_out: int) -> None:
        deepest = max(settings.pattern_groups, settings.noisy_groups) + settings.joint_groups
        super().__init__(1, settings.divisor, halo_px=2 * settings.blocks * deepest + 6)
        width = settings.width
        self.pattern = _Encoder(_first(frames, width, None), width, settings.pattern_groups, settings.blocks)
        first = _first(frames, width, settings.noise_suppression)
        self.noisy = _Encoder(first, width, settings.noisy_groups, settings.blocks)
        self.joint = _Joint(width, settings.joint_groups, settings.blocks)
        self.out = nn.Sequential(
            nn.Conv2d(width, 4 * width, 3, padding=1),
            nn.LeakyReLU(SLOPE),
            _ChannelAttention(4 * width),
            nn.Conv2d(4 * width, channels_out, 3, padding=1),
            *([nn.LeakyReLU(SLOPE)] if settings.output == "leaky_relu" else []),
        )
        start_as_keras(self)

    def compute(self, frames: Tensor) -> Tensor:
        """Encode both halves, add, and decode."""
        derived, noisy = frames.chunk(2, dim=1)
        restored: Tensor = self.out(self.joint(self.pattern(derived) + self.noisy(noisy)))
        return restored


class _Encoder(nn.Module):
    """A first convolution, groups of blocks with a skip around all of them, and a last convolution."""

    def __init__(self, first: nn.Module, width: int, groups: int, blocks: int) -> None:
        super().__init__()
        self.first = first
        self.groups = nn.Sequential(nn.LeakyReLU(SLOPE), *[_Group(width, blocks) for _ in range(groups)])
        self.last = nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.LeakyReLU(SLOPE))

    def forward(self, frames: Tensor) -> Tensor:
        seen = self.first(frames)
        encoded: Tensor = self.last(self.groups(seen) + seen)
        return encoded


class _Joint(nn.Module):
    """A convolution, and groups of blocks with a skip around all of them."""

    def __init__(self, width: int, groups: int, blocks: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.LeakyReLU(SLOPE))
        self.groups = nn.Sequential(*[_Group(width, blocks) for _ in range(groups)])

    def forward(self, features: Tensor) -> Tensor:
        seen = self.first(features)
        joined: Tensor = seen + self.groups(seen)
        return joined


class _Group(nn.Module):
    """Residual channel attention blocks, with a skip around them."""

    def __init__(self, width: int, blocks: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*[_Block(width) for _ in range(blocks)])

    def forward(self, features: Tensor) -> Tensor:
        grouped: Tensor = features + self.blocks(features)
        return grouped


class _Block(nn.Module):
    """Two convolutions and channel attention, with a skip around them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(width, width, 3, padding=1),
            nn.LeakyReLU(SLOPE),
            _ChannelAttention(width),
        )

    def forward(self, features: Tensor) -> Tensor:
        added: Tensor = features + self.body(features)
        return added


class _ChannelAttention(nn.Module):
    """Weigh each feature map by the means of all (Zhang et al. 2018)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weigh = nn.Sequential(
            nn.Conv2d(width, width // SQUEEZE, 1),
            nn.ReLU(),
            nn.Conv2d(width // SQUEEZE, width, 1),
            nn.Sigmoid(),
        )

    def forward(self, features: Tensor) -> Tensor:
        weighed: Tensor = features * self.weigh(features.mean(dim=(-2, -1), keepdim=True))
        return weighed


def _first(frames: int, width: int, noise_suppression: float | None) -> nn.Module:
    if noise_suppression is None:
        return nn.Conv2d(frames, width, 3, padding=1)
    return _NoiseSuppressed(frames, width, noise_suppression)


class _NoiseSuppressed(nn.Module):
    """The frames as they are and through a low-pass, which learns where to begin and how steeply to fall."""

    STEEPNESS = 1600.0
    """pixels; 100 um at the pixel of 62.6 nm it was published for"""

    def __init__(self, frames: int, width: int, cutoff: float) -> None:
        super().__init__()
        self.cutoff = nn.Parameter(torch.tensor(float(cutoff)))
        self.steepness = nn.Parameter(torch.tensor(self.STEEPNESS))
        self.plain = nn.Conv2d(frames, width // 2, 3, padding=1)
        self.smooth = nn.Conv2d(frames, width // 2, 3, padding=1)
        self.joined = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, frames: Tensor) -> Tensor:
        seen = torch.cat(
            [self.plain(frames), self.smooth(low_passed(frames, self.cutoff, self.steepness))], dim=1
        )
        joined: Tensor = self.joined(seen)
        return joined
