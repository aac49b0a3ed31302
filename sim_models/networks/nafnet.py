"""NAFNet (Chen, Chu, Zhang & Sun, ECCV 2022): a U-Net of blocks without activation functions."""

from typing import Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from sim_models.networks import Network, NetworkSettings


class Settings(NetworkSettings):
    """Settings of a NAFNet."""

    name: Literal["nafnet"]
    width: int = Field(ge=1, le=512)
    """feature maps of the first level; every level below has twice as many"""
    encoder: tuple[int, ...] = Field(min_length=1, max_length=6)
    """blocks of each level on the way down, after which the image is halved"""
    middle: int = Field(ge=1, le=64)
    """blocks of the lowest level"""
    decoder: tuple[int, ...] = Field(min_length=1, max_length=6)
    """blocks of each level on the way up, from the lowest"""

    @model_validator(mode="after")
    def _as_many_levels_up_as_down(self) -> Self:
        if len(self.encoder) != len(self.decoder):
            raise ValueError(
                f"encoder has {len(self.encoder)} levels and decoder {len(self.decoder)}; give as many"
            )
        return self

    @property
    def divisor(self) -> int:
        """The lowest level must have whole pixels."""
        return int(2 ** len(self.encoder))

    def build(self, channels_in: int, channels_out: int, scale: int) -> "NAFNet":
        """Make the untrained network."""
        return NAFNet(self, channels_in, channels_out, scale)


class NAFNet(Network):
    """Stages intro, enc1 .. encD, middle, decD .. dec1, head.

    The head starts from zeros: where a method adds its output to an image, training starts from that image. At scale s
    it gives s * s values per pixel, which are put side by side (Shi et al., CVPR 2016).
    """

    def __init__(self, settings: Settings, channels_in: int, channels_out: int, scale: int) -> None:
        depth = len(settings.encoder)
        blocks = [*settings.encoder, settings.middle, *settings.decoder]
        levels = [*range(depth), depth, *reversed(range(depth))]
        # Every block looks one pixel of its level further; halving and doubling snap to a grid.
        halo_px = sum(count * 2**level for count, level in zip(blocks, levels, strict=True)) + 2**depth + 2
        super().__init__(scale, settings.divisor, halo_px)
        self.depth = depth
        widths = [settings.width * 2**level for level in range(depth + 1)]
        self.intro = nn.Conv2d(channels_in, settings.width, 3, padding=1)
        for level, count in enumerate(settings.encoder):
            self.add_module(f"enc{level + 1}", _Encoder(widths[level], count))
        self.middle = nn.Sequential(*[_Block(widths[-1]) for _ in range(settings.middle)])
        for level, count in zip(reversed(range(depth)), settings.decoder, strict=True):
            self.add_module(f"dec{level + 1}", _Decoder(widths[level], count))
        self.head = nn.Sequential(
            nn.Conv2d(settings.width, channels_out * scale**2, 3, padding=1), nn.PixelShuffle(scale)
        )
        nn.init.zeros_(self.get_parameter("head.0.weight"))
        nn.init.zeros_(self.get_parameter("head.0.bias"))

    def compute(self, frames: Tensor) -> Tensor:
        """Go down with what each level saw kept, come up again adding it."""
        features = self.intro(frames)
        seen = []
        for level in range(1, self.depth + 1):
            kept, features = self.get_submodule(f"enc{level}")(features)
            seen.append(kept)
        features = self.middle(features)
        for level in range(self.depth, 0, -1):
            features = self.get_submodule(f"dec{level}")(features, seen.pop())
        restored: Tensor = self.head(features)
        return restored


class _Encoder(nn.Module):
    def __init__(self, width: int, blocks: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*[_Block(width) for _ in range(blocks)])
        self.down = nn.Conv2d(width, 2 * width, 2, stride=2)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        seen = self.blocks(features)
        return seen, self.down(seen)


class _Decoder(nn.Module):
    def __init__(self, width: int, blocks: int) -> None:
        super().__init__()
        self.up = nn.Sequential(nn.Conv2d(2 * width, 4 * width, 1, bias=False), nn.PixelShuffle(2))
        self.blocks = nn.Sequential(*[_Block(width) for _ in range(blocks)])

    def forward(self, below: Tensor, seen: Tensor) -> Tensor:
        features: Tensor = self.blocks(self.up(below) + seen)
        return features


class _Block(nn.Module):
    """Depth-wise convolution with gate and channel attention, then a gated pair of 1 x 1 convolutions; both added."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.space = nn.Sequential(
            _Norm(width),
            nn.Conv2d(width, 2 * width, 1),
            nn.Conv2d(2 * width, 2 * width, 3, padding=1, groups=2 * width),
            _Gate(),
            _ChannelAttention(width),
            nn.Conv2d(width, width, 1),
        )
        self.channels = nn.Sequential(
            _Norm(width), nn.Conv2d(width, 2 * width, 1), _Gate(), nn.Conv2d(width, width, 1)
        )
        # Blocks begin as the identity, by which deep stacks of them can be trained at once.
        self.space_share = nn.Parameter(torch.zeros(1, width, 1, 1))
        self.channels_share = nn.Parameter(torch.zeros(1, width, 1, 1))

    def forward(self, features: Tensor) -> Tensor:
        features = features + self.space_share * self.space(features)
        out: Tensor = features + self.channels_share * self.channels(features)
        return out


class _Gate(nn.Module):
    """One half of the feature maps times the other: the only non-linearity."""

    def forward(self, features: Tensor) -> Tensor:
        one, other = features.chunk(2, dim=1)
        return one * other


class _Norm(nn.Module):
    """Zero mean and unit variance over the feature maps of every pixel (Ba, Kiros & Hinton 2016)."""

    EPSILON = 1e-6

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1, width, 1, 1))
        self.bias = nn.Parameter(torch.zeros(1, width, 1, 1))

    def forward(self, features: Tensor) -> Tensor:
        mean = features.mean(1, keepdim=True)
        variance = (features - mean).square().mean(1, keepdim=True)
        return (features - mean) * torch.rsqrt(variance + self.EPSILON) * self.weight + self.bias


class _ChannelAttention(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.weigh = nn.Conv2d(width, width, 1)

    def forward(self, features: Tensor) -> Tensor:
        weighed: Tensor = features * self.weigh(features.mean(dim=(-2, -1), keepdim=True))
        return weighed
