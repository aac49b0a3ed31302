"""SwinT-fairSIM: shifted-window attention between a convolutional head and tail (Shah et al., GigaScience 13, 2024).

Attention within windows that are shifted from block to block: Liu et al. (2021); in groups with a convolution and a
long skip: SwinIR (Liang et al. 2021).
"""

from typing import Literal, Self

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from sim_models.networks import Network, NetworkSettings, start_as_keras

SHRINKS = 4
"""input pixels along an axis for one token"""

SPREAD = 0.02
"""standard deviation of a position bias before training"""

PUBLISHED_EPSILON = 96.0
"""of the last normalisation in the published code, which passes the width where the epsilon goes"""


class Settings(NetworkSettings):
    """Settings of a SwinT-fairSIM."""

    name: Literal["swin"]
    width: int = Field(ge=4, le=512, multiple_of=4)
    """feature maps of a token; the head reaches it by way of a quarter and a half of it"""
    groups: int = Field(ge=1, le=16)
    blocks: int = Field(ge=1, le=32)
    """in every group; every second one has its windows shifted by half of one"""
    heads: int = Field(ge=1, le=64)
    """of attention; a divisor of the width"""
    window: int = Field(ge=2, le=32)
    """edge in tokens"""
    drop_path: float = Field(ge=0, lt=1)
    """chance that the last block is left out of a training step; rises to it from zero (Huang et al. 2016)"""
    output: Literal["linear", "relu"]
    """`relu` cannot give values below the offset of the normaliser"""
    faithful: bool
    """whether to keep what the published code does otherwise than a Swin transformer: the second half of a block adds
    to the block's input, shifted windows attend across the borders of the field, blocks are left out in use as well
    unless frozen, and the last normalisation has an epsilon of 96"""

    @model_validator(mode="after")
    def _heads_divide_the_width(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"{self.heads} heads do not divide a width of {self.width}")
        return self

    @property
    def divisor(self) -> int:
        """Windows must be whole."""
        return SHRINKS * self.window

    def build(self, channels_in: int, channels_out: int, scale: int) -> "SwinT":
        """Make the untrained network."""
        return SwinT(self, channels_in, channels_out, scale)


class SwinT(Network):
    """Stages head1 .. head3, group1 .. groupG, joint, tail1 .. tail3, out."""

    def __init__(self, settings: Settings, channels_in: int, channels_out: int, scale: int) -> None:
        # The first attention reaches to the end of its window, each other half a window further, for they are shifted
        # against each other; every group has a convolution of one token, and there are some around them.
        blocks = settings.groups * settings.blocks
        tokens = settings.window + (blocks - 1) * -(-settings.window // 2) + settings.groups + 4
        super().__init__(scale, settings.divisor, halo_px=SHRINKS * tokens)
        full, half, quarter = settings.width, settings.width // 2, settings.width // 4
        self.groups, self.width = settings.groups, settings.width
        self.head1 = nn.Conv2d(channels_in, quarter, 3, padding=1)
        self.head2 = nn.Conv2d(quarter, half, 3, stride=2, padding=1)
        self.head3 = nn.Conv2d(half, full, 3, stride=2, padding=1)
        total = settings.groups * settings.blocks
        drops = [settings.drop_path * block / max(1, total - 1) for block in range(total)]
        for number in range(settings.groups):
            own = drops[number * settings.blocks : (number + 1) * settings.blocks]
            self.add_module(f"group{number + 1}", _Group(settings, own))
        self.joint = _Joint(full, PUBLISHED_EPSILON if settings.faithful else 1e-5)
        self.tail1 = nn.ConvTranspose2d(full, full, 3, padding=1)
        self.tail2 = _doubled(full, half)
        self.tail3 = _doubled(half, quarter)
        self.out = _out(quarter, channels_out, scale, settings.output)
        start_as_keras(self)

    def fixed_layers(self) -> tuple[nn.Module, ...]:
        """All that make or share tokens, which attention splits into windows and heads."""
        outputs = (self.width, 3 * self.width)
        sizes = {
            module: module.out_features if isinstance(module, nn.Linear) else module.out_channels
            for module in self.modules()
            if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d)
        }
        return tuple(module for module, size in sizes.items() if size in outputs)

    def compute(self, frames: Tensor) -> Tensor:
        """To a quarter of the size, through the groups, and up again adding what the head saw."""
        fine = self.head1(frames)
        middle = self.head2(fine)
        coarse = self.head3(middle)
        features = coarse
        for number in range(1, self.groups + 1):
            features = self.get_submodule(f"group{number}")(features)
        features = coarse + self.joint(features)
        features = self.tail1(features) + coarse
        features = self.tail2(features) + middle
        features = self.tail3(features) + fine
        restored: Tensor = self.out(features)
        return restored


def _to_tokens(features: Tensor) -> Tensor:
    """(N, C, Y, X) as (N, Y, X, C), by axes counted from the front, which every export knows."""
    return features.permute(0, 2, 3, 1)


class _Joint(nn.Module):
    """Normalisation over the feature maps, and a convolution."""

    def __init__(self, width: int, epsilon: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=epsilon)
        self.convolution = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        joined: Tensor = self.convolution(self.norm(_to_tokens(features)).permute(0, 3, 1, 2))
        return joined


class _Group(nn.Module):
    """Blocks and a convolution, with a skip around them."""

    def __init__(self, settings: Settings, drops: list[float]) -> None:
        super().__init__()
        shifts = [settings.window // 2 if number % 2 else 0 for number in range(settings.blocks)]
        self.blocks = nn.Sequential(
            *[_Block(settings, shift, drop) for shift, drop in zip(shifts, drops, strict=True)]
        )
        self.convolution = nn.Conv2d(settings.width, settings.width, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        tokens = self.blocks(_to_tokens(features))
        grouped: Tensor = features + self.convolution(tokens.permute(0, 3, 1, 2))
        return grouped


class _Block(nn.Module):
    """Attention within windows, then two dense layers on every token, each with a skip; tokens are (N, Y, X, C)."""

    def __init__(self, settings: Settings, shift: int, drop: float) -> None:
        super().__init__()
        width = settings.width
        self.shift, self.drop, self.faithful = shift, drop, settings.faithful
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = _WindowAttention(settings)
        self.dense = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, tokens: Tensor) -> Tensor:
        rolled = torch.roll(self.norm1(tokens), (-self.shift, -self.shift), (1, 2))
        seen = torch.roll(
            self.attention(rolled, 0 if self.faithful else self.shift), (self.shift, self.shift), (1, 2)
        )
        attended = tokens + self._dropped(seen)
        base = tokens if self.faithful else attended
        answer: Tensor = base + self._dropped(self.dense(self.norm2(attended)))
        return answer

    def _dropped(self, change: Tensor) -> Tensor:
        """Leave the change out for some of the samples, and make up for it in the others."""
        # In the published code it is not the mode but freezing that decides.
        active = self.norm1.weight.requires_grad if self.faithful else self.training
        if not self.drop or not active:
            return change
        kept = torch.rand(len(change), 1, 1, 1, device=change.device) >= self.drop
        return change * kept / (1 - self.drop)


class _WindowAttention(nn.Module):
    """Self-attention within windows, with a learned bias for every distance between two tokens."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.window, self.heads = settings.window, settings.heads
        self.to_qkv = nn.Linear(settings.width, 3 * settings.width)
        self.project = nn.Linear(settings.width, settings.width)
        self.bias = nn.Parameter(SPREAD * torch.randn((2 * self.window - 1) ** 2, self.heads))

    def forward(self, tokens: Tensor, shift: int) -> Tensor:
        """Tokens (N, Y, X, C) rolled by `shift`: what the roll alone brought together is kept apart."""
        count, rows, columns, width = tokens.shape
        edge, area = self.window, self.window**2
        windows = _windows(tokens, edge)
        query, key, value = (
            self.to_qkv(windows).reshape(-1, area, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        )
        bias = self.bias[_distances(edge, tokens.device)].permute(2, 0, 1)[None]
        if shift:
            apart = _apart(rows, columns, edge, shift, tokens.device)
            bias = torch.where(apart[:, None], -torch.inf, bias).repeat(count, 1, 1, 1)
        seen = F.scaled_dot_product_attention(query, key, value, attn_mask=bias.to(query.dtype))
        seen = self.project(seen.transpose(1, 2).reshape(-1, area, width))
        seen = seen.reshape(count, rows // edge, columns // edge, edge, edge, width)
        answer: Tensor = seen.transpose(2, 3).reshape(count, rows, columns, width)
        return answer


def _windows(tokens: Tensor, edge: int) -> Tensor:
    """(N, Y, X, C) as (windows, edge * edge, C)."""
    count, rows, columns, width = tokens.shape
    split = tokens.reshape(count, rows // edge, edge, columns // edge, edge, width)
    return split.transpose(2, 3).reshape(-1, edge * edge, width)


def _distances(edge: int, device: torch.device) -> Tensor:
    """(edge^2, edge^2) number of the distance between two tokens of a window."""
    axis = torch.arange(edge, device=device)
    places = torch.stack(torch.meshgrid(axis, axis, indexing="ij")).flatten(1)
    apart = places[:, :, None] - places[:, None] + edge - 1
    return apart[0] * (2 * edge - 1) + apart[1]


def _apart(rows: int, columns: int, edge: int, shift: int, device: torch.device) -> Tensor:
    """(windows, edge^2, edge^2) which tokens of a rolled field were not neighbours before."""

    def regions(size: int) -> Tensor:
        place = torch.arange(size, device=device)
        return (place >= size - edge).int() + (place >= size - shift).int()

    region = 3 * regions(rows)[:, None] + regions(columns)
    of_window = _windows(region[None, :, :, None], edge)[..., 0]
    return of_window[:, :, None] != of_window[:, None]


def _doubled(channels_in: int, channels_out: int) -> nn.Module:
    return nn.ConvTranspose2d(channels_in, channels_out, 3, stride=2, padding=1, output_padding=1)


def _out(width: int, channels_out: int, scale: int, output: str) -> nn.Sequential:
    values = channels_out * scale**2
    layers: list[nn.Module] = [
        nn.Conv2d(width, values, 1),
        nn.Conv2d(values, values, 1),
        nn.PixelShuffle(scale),
    ]
    if output == "relu":
        layers.append(nn.ReLU())
    return nn.Sequential(*layers)
