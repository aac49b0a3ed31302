"""RED-Net, the residual encoder-decoder (Mao, Shen & Yang 2016), as used for SIM by Shah et al. 2021."""

from typing import Literal, Self

from pydantic import Field, model_validator
from torch import Tensor, nn

from sim_models.networks import Network, NetworkSettings, start_as_keras

LATE = 3
"""blocks that take their skip from elsewhere in the published file"""


class Settings(NetworkSettings):
    """Settings of a RED-Net: full resolution throughout, nothing is pooled."""

    name: Literal["rednet"]
    filters: int = Field(ge=1, le=1024)
    """feature maps of every layer"""
    pairs: int = Field(ge=1, le=64)
    """the encoder has 2 * pairs + 1 convolutions, and the decoder one block for each pair"""
    output: Literal["linear", "relu"]
    """`relu` cannot give values below the offset of the normaliser"""
    skips: Literal["symmetric", "published_file"]
    """what a decoder block adds: what its own pair of the encoder saw; or, in the last three, what the pairs three
    below saw, as in the file that was published for SR-REDSIM"""

    @model_validator(mode="after")
    def _pairs_to_take_from(self) -> Self:
        if self.skips == "published_file" and self.pairs < 2 * LATE:
            raise ValueError(f"skips 'published_file' need at least {2 * LATE} pairs")
        return self

    @property
    def divisor(self) -> int:
        """Any size fits, for nothing is pooled."""
        return 1

    def build(self, channels_in: int, channels_out: int, scale: int) -> "REDNet":
        """Make the untrained network."""
        return REDNet(self, channels_in, channels_out, scale)


class REDNet(Network):
    """Stages enc1 .. encP, bottleneck, decP .. dec1, head; each decoder block adds what its pair saw."""

    def __init__(self, settings: Settings, channels_in: int, channels_out: int, scale: int) -> None:
        # Every 3 x 3 layer reaches one pixel: encoder and blocks 4 * pairs + 1, the head at most three.
        super().__init__(scale, settings.divisor, halo_px=4 * settings.pairs + 4)
        self.pairs, self.late = settings.pairs, LATE if settings.skips == "published_file" else 0
        filters = settings.filters
        for level in range(1, self.pairs + 1):
            above = channels_in if level == 1 else filters
            pair = nn.Sequential(*_encode(above, filters), *_encode(filters, filters))
            self.add_module(f"enc{level}", pair)
        self.bottleneck = nn.Sequential(*_encode(filters, filters))
        for level in range(self.pairs, 0, -1):
            self.add_module(f"dec{level}", _Block(filters))
        self.head = _head(filters, channels_out, scale, settings.output)
        start_as_keras(self)

    def published_layers(self) -> tuple[str, ...]:
        """As Keras lists those of RED-fairSIM and SR-REDSIM: input, convolutions, (transposed convolution, addition,
        rectifier, transposed convolution), ..., and one or, where it enlarges, three transposed convolutions."""
        down = [f"enc{level}" for level in range(1, self.pairs + 1) for _ in range(2)]
        up = [name for level in range(self.pairs, 0, -1) for name in (f"dec{level}", "", "", f"dec{level}")]
        return ("", *down, "bottleneck", *up, *["head"] * (1 if self.scale == 1 else 3))

    def compute(self, frames: Tensor) -> Tensor:
        """Encode with what each pair saw kept, then decode adding it."""
        seen = []
        features = frames
        for level in range(1, self.pairs + 1):
            features = self.get_submodule(f"enc{level}")(features)
            seen.append(features)
        features = self.bottleneck(features)
        for level in range(self.pairs, 0, -1):
            pair = level + LATE if level <= self.late else level
            features = self.get_submodule(f"dec{level}")(features, seen[pair - 1])
        restored: Tensor = self.head(features)
        return restored


class _Block(nn.Module):
    """Transposed convolution, sum with what the encoder saw, transposed convolution."""

    def __init__(self, filters: int) -> None:
        super().__init__()
        self.before = nn.Sequential(*_decode(filters))
        self.after = nn.Sequential(nn.ReLU(), *_decode(filters))

    def forward(self, features: Tensor, seen: Tensor) -> Tensor:
        decoded: Tensor = self.after(self.before(features) + seen)
        return decoded


def _encode(channels_in: int, filters: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(channels_in, filters, 3, padding=1), nn.ReLU()


def _decode(filters: int) -> tuple[nn.Module, ...]:
    return nn.ConvTranspose2d(filters, filters, 3, padding=1), nn.ReLU()


def _head(filters: int, channels_out: int, scale: int, output: str) -> nn.Sequential:
    layers: list[nn.Module] = []
    if scale > 1:
        layers += [*_decode(filters), _enlarge(filters, scale), nn.ReLU()]
    layers.append(nn.ConvTranspose2d(filters, channels_out, 3, padding=1))
    if output == "relu":
        layers.append(nn.ReLU())
    return nn.Sequential(*layers)


def _enlarge(filters: int, scale: int) -> nn.Module:
    """A transposed 3 x 3 convolution of this stride, padded to make every axis `scale` times as long."""
    padding = 1 if scale == 2 else 0
    return nn.ConvTranspose2d(
        filters, filters, 3, stride=scale, padding=padding, output_padding=scale - 3 + 2 * padding
    )
