"""The denoiser of TiS-rDL and SiS-rDL: volumes of a light-sheet microscope, learned from their own times or slices.

Qiao et al., Nat. Biotechnol. 41:367 (2023). A residual channel attention network (RCAN, Zhang et al., ECCV 2018) with
three-dimensional convolutions (Chen et al., Nat. Methods 18:678, 2021), but without skips around groups and around all.
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

STEEPNESS = 1080.0
"""pixels over which the low-pass falls at first; 100 um at the pixel of 92.6 nm it was published for"""

WIDER = 4
"""times as many feature maps in the last layer but one"""


class Settings(NetworkSettings):
    """Settings of a three-dimensional RCAN."""

    name: Literal["rcan3d"]
    width: int = Field(ge=SQUEEZE, le=512, multiple_of=SQUEEZE)
    """feature maps of every layer but the last two; 64 as published"""
    groups: int = Field(ge=1, le=16)
    """of blocks, 3 as published; each is one stage, for there is no skip around them"""
    blocks: int = Field(ge=1, le=32)
    """residual channel attention blocks in every group; 5 as published"""
    noise_suppression: PositiveFloat | None
    """frequency (cycles per pixel) from which the frames are also shown without noise, by a low-pass of every slice
    that learns; 0.38 as published (4.1 cycles per um at 92.6 nm); None for the variant without"""
    output: Literal["linear", "leaky_relu"]
    """`leaky_relu` as published: values below the offset of the normaliser are a fifth of what they would be"""

    @property
    def divisor(self) -> int:
        """Any size fits, for nothing is pooled."""
        return 1

    def build(self, channels_in: int, channels_out: int, scale: int) -> "RCAN3D":
        """Make the untrained network.

        Raises:
            BadInput: if the output is to be finer.
        """
        if scale != 1:
            raise BadInput(f"an 'rcan3d' gives volumes of the size of its frames; found scale {scale}")
        return RCAN3D(self, channels_in, channels_out)


class RCAN3D(Network):
    """Stages first, group1 .. groupG, tail, head: frames (N, C_in, Z, Y, X) in, (N, C_out, Z, Y, X) out.

    The channels are points of time. The attention sees whole volumes, and the low-pass whole slices, so tiles of a
    field are restored a little differently from the whole.
    """

    of_volumes = True

    def __init__(self, settings: Settings, channels_in: int, channels_out: int) -> None:
        # By convolutions: two in every block, and three around them.
        super().__init__(1, settings.divisor, halo_px=2 * settings.groups * settings.blocks + 3)
        width, wide = settings.width, WIDER * settings.width
        self.first = _first(channels_in, width, settings.noise_suppression)
        for number in range(1, settings.groups + 1):
            self.add_module(f"group{number}", nn.Sequential(*[_Block(width) for _ in range(settings.blocks)]))
        self.tail = nn.Sequential(nn.Conv3d(width, wide, 3, padding=1), nn.LeakyReLU(SLOPE))
        head: list[nn.Module] = [nn.Conv3d(wide, channels_out, 3, padding=1)]
        if settings.output == "leaky_relu":
            head.append(nn.LeakyReLU(SLOPE))
        self.head = nn.Sequential(*head)
        start_as_keras(self)

    def compute(self, frames: Tensor) -> Tensor:
        """One stage after the other.

        Raises:
            BadInput: if the frames have no axis Z.
        """
        # Otherwise torch would take (N, C, Y, X) for one volume, wherever there are as many samples as channels.
        if frames.ndim != 5:
            raise BadInput(
                f"an 'rcan3d' takes volumes (N, C, Z, Y, X); found {tuple(frames.shape)}, of {frames.ndim} axes"
            )
        restored = frames
        for stage in self.children():
            restored = stage(restored)
        return restored


class _Block(nn.Module):
    """Two convolutions and channel attention, with a skip around them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv3d(width, width, 3, padding=1),
            nn.LeakyReLU(SLOPE),
            nn.Conv3d(width, width, 3, padding=1),
            nn.LeakyReLU(SLOPE),
            _ChannelAttention(width),
        )

    def forward(self, features: Tensor) -> Tensor:
        added: Tensor = features + self.body(features)
        return added


class _ChannelAttention(nn.Module):
    """Weigh each feature map by the means of all over the volume (Zhang et al. 2018)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weigh = nn.Sequential(
            nn.Conv3d(width, width // SQUEEZE, 1),
            nn.ReLU(),
            nn.Conv3d(width // SQUEEZE, width, 1),
            nn.Sigmoid(),
        )

    def forward(self, features: Tensor) -> Tensor:
        weighed: Tensor = features * self.weigh(features.mean(dim=(-3, -2, -1), keepdim=True))
        return weighed


def _first(channels_in: int, width: int, noise_suppression: float | None) -> nn.Module:
    if noise_suppression is None:
        return nn.Conv3d(channels_in, width, 3, padding=1)
    return _NoiseSuppressed(channels_in, width, noise_suppression)


class _NoiseSuppressed(nn.Module):
    """The frames as they are and through a low-pass, which learns where to begin and how steeply to fall, added."""

    def __init__(self, channels_in: int, width: int, cutoff: float) -> None:
        super().__init__()
        self.cutoff = nn.Parameter(torch.tensor(float(cutoff)))
        self.steepness = nn.Parameter(torch.tensor(STEEPNESS))
        self.plain = nn.Conv3d(channels_in, width, 3, padding=1)
        self.smooth = nn.Conv3d(channels_in, width, 3, padding=1)

    def forward(self, frames: Tensor) -> Tensor:
        smooth = low_passed(frames, self.cutoff, self.steepness)
        joined: Tensor = self.plain(frames) + self.smooth(smooth)
        return joined
