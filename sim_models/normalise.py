"""The normaliser: one offset and one scale, computed from the input alone.

Input and target are both mapped by x -> (x - offset) / scale and the output is mapped back. So
restored images keep photons or counts, and a brighter stack gives a restoration as much brighter.
Statistics are best taken of the mean over frames, which at low light is far less noisy than one frame.

Published systems map targets by statistics of their own; what is restored then has no unit but where these are
those of the whole dataset.
"""

from collections.abc import Sequence
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


ZERO_IS_DARK = ("maximum", "deviation")
"""kinds that keep zero, for which it matters how bright nothing is"""


class NormaliserSettings(Settings):
    """What offset and scale are taken from."""

    scope: Literal["stack", "dataset"]
    """`stack`: each stack by its own statistics; `dataset`: all by those of the training stacks"""
    kind: Literal["percentile", "minmax", "standardise", "maximum", "deviation"]
    """offset and offset + scale are: two percentiles; minimum and maximum; mean and one deviation above; zero and the
    maximum; zero and one deviation"""
    of: Literal["mean", "frames"]
    """what statistics are taken of: the mean over frames, or all frames"""
    target: Literal["as_input", "own"]
    """by which numbers targets are mapped: those of their input, or their own"""
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
    fitted_target: Affine | None
    """None unless targets of scope `dataset` have numbers of their own"""

    @model_validator(mode="after")
    def _fitted_fits_scope(self) -> Self:
        dataset = self.settings.scope == "dataset"
        if (self.fitted is not None) != dataset:
            raise ValueError("fitted must be present for scope 'dataset' and null for scope 'stack'")
        if (self.fitted_target is not None) != (dataset and self.settings.target == "own"):
            raise ValueError("fitted_target must be present for scope 'dataset' and target 'own', else null")
        return self

    @classmethod
    def fit(cls, settings: NormaliserSettings, stacks: Sequence[Image], targets: Sequence[Image]) -> Self:
        """Make a normaliser from inputs (..., Y, X) and targets of the training fields.

        Raises:
            BadInput: if what statistics are taken of is constant (scope `dataset` only).
        """
        if settings.scope == "stack":
            return cls(settings=settings, fitted=None, fitted_target=None)
        own = settings.target == "own"
        return cls(
            settings=settings,
            fitted=_affine(settings, _joined(stacks, settings.of)),
            fitted_target=_affine(settings, _joined(targets, "frames")) if own else None,
        )

    def of(self, stack: Image) -> Affine:
        """Offset and scale for one input stack (..., Y, X).

        Raises:
            BadInput: if what statistics are taken of is constant.
        """
        return self.fitted or _affine(self.settings, _pixels(stack, self.settings.of))

    def of_target(self, stack: Image, target: Image) -> Affine:
        """Offset and scale for the target of a stack.

        Raises:
            BadInput: if what statistics are taken of is constant.
        """
        if self.settings.target == "as_input":
            return self.of(stack)
        return self.fitted_target or _affine(self.settings, _pixels(target, "frames"))

    def of_restored(self, stack: Image) -> Affine:
        """Offset and scale by which what is restored from a stack goes back to a unit.

        Where every target had numbers of its own nobody knows them: those of the stack have to do.
        """
        return self.fitted_target or self.of(stack)


def _pixels(stack: Image, of: str) -> NDArray[np.float64]:
    frames = stack.reshape(-1, *stack.shape[-2:])
    return np.asarray(frames.mean(axis=0, dtype=np.float64) if of == "mean" else frames, dtype=np.float64)


def _joined(stacks: Sequence[Image], of: str) -> NDArray[np.float64]:
    return np.concatenate([_pixels(stack, of).ravel() for stack in stacks])


def _affine(settings: NormaliserSettings, pixels: NDArray[np.float64]) -> Affine:
    offset, scale = _offset_and_scale(settings, pixels)
    # Rounding alone leaves the standard deviation of a constant image slightly above zero.
    if not scale > 1e-9 * abs(offset):
        raise BadInput(
            f"{'the mean over frames' if settings.of == 'mean' else 'what is to be normalised'} is constant (about "
            f"{offset:g}) where the normaliser needs contrast; "
            "leave this stack out, or check that it holds frames of a specimen"
        )
    return Affine(offset=offset, scale=scale)


def _offset_and_scale(settings: NormaliserSettings, pixels: NDArray[np.float64]) -> tuple[float, float]:
    if settings.kind == "standardise":
        return float(pixels.mean()), float(pixels.std())
    if settings.kind == "deviation":
        return 0.0, float(pixels.std())
    if settings.kind == "maximum":
        return 0.0, float(pixels.max())
    if settings.kind == "minmax":
        low, high = pixels.min(), pixels.max()
    else:
        low, high = np.percentile(pixels, [settings.low_percent, settings.high_percent])
    return float(low), float(high - low)
