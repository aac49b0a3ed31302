"""The normaliser: one offset and one scale, computed from the input alone.

Input and target are both mapped by x -> (x - offset) / scale and the output is mapped back. So
restored images keep photons or counts, and a brighter stack gives a restoration as much brighter.
Statistics are taken of the mean over frames, which at low light is far less noisy than one frame.
"""

from collections.abc import Iterable
from typing import Literal, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveFloat, model_validator
from torch import Tensor

from sim_models.config import BadInput, Settings
from sim_models.field import Image

Values = TypeVar("Values", NDArray[np.float32], Tensor)


class Affine(Settings):
    """Offset and scale, in the unit of the images."""

    offset: float
    scale: PositiveFloat

    def normalise(self, values: Values) -> Values:
        """From photons or counts to normalised units."""
        return (values - self.offset) / self.scale

    def restore(self, values: Values) -> Values:
        """From normalised units back to photons or counts."""
        return values * self.scale + self.offset


class NormaliserSettings(Settings):
    """What offset and scale are taken from."""

    scope: Literal["stack", "dataset"]
    """`stack`: each stack by its own statistics; `dataset`: all by those of the training stacks"""
    kind: Literal["percentile", "minmax", "standardise"]
    """offset and offset + scale are: two percentiles; minimum and maximum; mean and one deviation above"""
    low_percent: float | None = Field(ge=0, le=100)
    """None unless `kind` is `percentile`"""
    high_percent: float | None = Field(ge=0, le=100)
    """None unless `kind` is `percentile`"""

    @model_validator(mode="after")
    def _percentiles_fit_kind(self) -> Self:
        low, high = self.low_percent, self.high_percent
        if self.kind != "percentile":
            if (low, high) != (None, None):
                raise ValueError(f"low_percent and high_percent must be null for kind '{self.kind}'")
        elif low is None or high is None or low >= high:
            raise ValueError(f"kind 'percentile' needs low_percent < high_percent (found {low} and {high})")
        return self


class Normaliser(Settings):
    """Settings and fitted state; travels with the weights as JSON."""

    settings: NormaliserSettings
    fitted: Affine | None
    """None for scope `stack`, where there is nothing to remember"""

    @model_validator(mode="after")
    def _fitted_fits_scope(self) -> Self:
        if (self.fitted is None) != (self.settings.scope == "stack"):
            raise ValueError("fitted must be present for scope 'dataset' and null for scope 'stack'")
        return self

    @classmethod
    def fit(cls, settings: NormaliserSettings, stacks: Iterable[Image]) -> Self:
        """Make a normaliser from the input stacks (..., Y, X) of the training fields.

        Raises:
            BadInput: if their mean over frames is constant (scope `dataset` only).
        """
        if settings.scope == "stack":
            return cls(settings=settings, fitted=None)
        pixels = np.concatenate([_widefield(stack).ravel() for stack in stacks])
        return cls(settings=settings, fitted=_affine(settings, pixels))

    def of(self, stack: Image) -> Affine:
        """Offset and scale for one input stack (..., Y, X).

        Raises:
            BadInput: if its mean over frames is constant.
        """
        return self.fitted or _affine(self.settings, _widefield(stack))


def _widefield(stack: Image) -> NDArray[np.float64]:
    frames = stack.reshape(-1, *stack.shape[-2:])
    return np.asarray(frames.mean(axis=0, dtype=np.float64))


def _affine(settings: NormaliserSettings, pixels: NDArray[np.float64]) -> Affine:
    offset, scale = _offset_and_scale(settings, pixels)
    # Rounding alone leaves the standard deviation of a constant image slightly above zero.
    if not scale > 1e-9 * abs(offset):
        raise BadInput(
            f"the mean over frames is constant (about {offset:g}) where the normaliser needs contrast; "
            "leave this stack out, or check that it holds frames of a specimen"
        )
    return Affine(offset=offset, scale=scale)


def _offset_and_scale(settings: NormaliserSettings, pixels: NDArray[np.float64]) -> tuple[float, float]:
    if settings.kind == "standardise":
        return float(pixels.mean()), float(pixels.std())
    if settings.kind == "minmax":
        low, high = pixels.min(), pixels.max()
    else:
        low, high = np.percentile(pixels, [settings.low_percent, settings.high_percent])
    return float(low), float(high - low)
