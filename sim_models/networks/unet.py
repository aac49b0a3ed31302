"""U-Net (Ronneberger, Fischer & Brox 2015), with the options that its published SIM variants differ in."""

from typing import Literal, Self

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from sim_models.networks import Network, NetworkSettings, start_as_keras


class Settings(NetworkSettings):
    """Settings of a U-Net."""

    name: Literal["unet"]
    width: int = Field(ge=1, le=512)
    """feature maps of the first level; every level below has twice as many"""
    depth: int = Field(ge=1, le=8)
    """number of times the image is halved"""
    batch_norm: Literal["none", "running", "own"]
    """after every 3 x 3 convolution (Ioffe & Szegedy 2015), in use by the running statistics of training; `own` takes
    those of the batch at hand in use as well, which published scripts did for one image at a time"""
    up: Literal["transposed", "nearest"]
    """how the decoder doubles an image: a learned 2 x 2 transposed convolution, or repeated pixels"""
    skip: Literal["concatenate", "add"]
    """how the decoder joins what the encoder saw"""
    output: Literal["linear", "relu"]
    """`relu` cannot give values below the offset of the normaliser"""
    enlarge: Literal["before", "after"]
    """where images become finer, at a scale above 1: frames by bicubic interpolation before the first layer, or the
    values of the last layer put side by side"""
    init: Literal["torch", "keras", "he_zero_head"]
    """first weights: torch's own, or those of `start_as_keras` or of `_start_from_nothing`"""

    @model_validator(mode="after")
    def _zero_head_can_learn(self) -> Self:
        if self.init == "he_zero_head" and self.output == "relu":
            raise ValueError(
                "init 'he_zero_head' needs output 'linear': a ReLU over zeros passes no gradient"
            )
        return self

    @model_validator(mode="after")
    def _addition_fits(self) -> Self:
        if self.skip == "add" and self.up == "nearest":
            raise ValueError("skip 'add' needs up 'transposed': 'nearest' keeps twice the feature maps")
        return self

    @property
    def divisor(self) -> int:
        """The deepest level must have whole pixels."""
        return int(2**self.depth)

    def build(self, channels_in: int, channels_out: int, scale: int) -> "UNet":
        """Make the untrained network."""
        return UNet(self, channels_in, channels_out, scale)


class UNet(Network):
    """Stages enc1 .. encD, bottleneck, decD .. dec1, head.

    At scale s > 1 the head gives s * s values per pixel, which `PixelShuffle` puts side by side
    (Shi et al. 2016); or else the frames are enlarged before.
    """

    def __init__(self, settings: Settings, channels_in: int, channels_out: int, scale: int) -> None:
        # Two 3 x 3 convolutions on every level on the way down and up reach 6 * 2**depth - 4 pixels, and
        # pooling snaps to a grid of 2**depth pixels: together less than 7 * 2**depth.
        before = scale if settings.enlarge == "before" else 1
        halo_px = 7 * settings.divisor if before == 1 else -(-7 * settings.divisor // scale) + 2
        super().__init__(scale, settings.divisor, halo_px)
        self.depth, self.before = settings.depth, before
        widths = [settings.width * 2**level for level in range(settings.depth + 1)]
        for level, (above, width) in enumerate(zip([channels_in, *widths], widths[:-1], strict=False), 1):
            self.add_module(f"enc{level}", _two_convolutions(above, width, settings.batch_norm))
        self.bottleneck = _two_convolutions(widths[-2], widths[-1], settings.batch_norm)
        for level in range(settings.depth, 0, -1):
            self.add_module(f"dec{level}", _Decoder(widths[level - 1], settings))
        self.head = _head(settings.width, channels_out, scale // before, settings.output)
        if settings.init == "keras":
            start_as_keras(self)
        elif settings.init == "he_zero_head":
            _start_from_nothing(self)

    def published_layers(self) -> tuple[str, ...]:
        """As Keras lists those of U-Net-fairSIM: input, (2 convolutions, pooling), ..., (doubling, joining, 2
        convolutions), ..., the last convolution."""
        down = [name for level in range(1, self.depth + 1) for name in (*[f"enc{level}"] * 2, "")]
        up = [name for level in range(self.depth, 0, -1) for name in ("", "", *[f"dec{level}"] * 2)]
        return ("", *down, "bottleneck", "bottleneck", *up, "head")

    def compute(self, frames: Tensor) -> Tensor:
        """Go down with what each level saw kept, come up again joining it."""
        seen = []
        features = enlarged(frames, self.before)
        for level in range(1, self.depth + 1):
            features = self.get_submodule(f"enc{level}")(features)
            seen.append(features)
            features = F.max_pool2d(features, 2)
        features = self.bottleneck(features)
        for level in range(self.depth, 0, -1):
            features = self.get_submodule(f"dec{level}")(features, seen.pop())
        restored: Tensor = self.head(features)
        return restored


def enlarged(frames: Tensor, scale: int) -> Tensor:
    """Frames (N, C, Y, X) on a grid that is `scale` times as fine."""
    if scale == 1:
        return frames
    return F.interpolate(frames, scale_factor=scale, mode="bicubic", align_corners=False)


class _Decoder(nn.Module):
    """Double the image of the level below, join the encoder's, and convolve twice."""

    def __init__(self, width: int, settings: Settings) -> None:
        super().__init__()
        learned = settings.up == "transposed"
        below = width if learned else 2 * width
        self.up = (
            nn.ConvTranspose2d(2 * width, width, 2, stride=2) if learned else nn.Upsample(scale_factor=2)
        )
        self.concatenate = settings.skip == "concatenate"
        joined = below + width if self.concatenate else width
        self.convolutions = _two_convolutions(joined, width, settings.batch_norm)

    def forward(self, below: Tensor, seen: Tensor) -> Tensor:
        up = self.up(below)
        joined = torch.cat([up, seen], dim=1) if self.concatenate else up + seen
        features: Tensor = self.convolutions(joined)
        return features


def _two_convolutions(channels_in: int, width: int, batch_norm: str) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (channels_in, width):
        layers.append(nn.Conv2d(channels, width, 3, padding=1))
        if batch_norm != "none":
            layers.append(nn.BatchNorm2d(width, track_running_stats=batch_norm == "running"))
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


def _head(width: int, channels_out: int, scale: int, output: str) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Conv2d(width, channels_out * scale**2, 1), nn.PixelShuffle(scale)]
    if output == "relu":
        layers.append(nn.ReLU())
    return nn.Sequential(*layers)


def _start_from_nothing(network: UNet) -> None:
    """Weights that keep the size of signals through ReLUs (He et al. 2015, eq. 10), but a head of zeros.

    The untrained network gives zero everywhere (Goyal et al. 2017, section 5.1). Where a method adds its
    output to the wide-field, training then starts from that image, and not from noise upon it.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    nn.init.zeros_(network.get_parameter("head.0.weight"))
