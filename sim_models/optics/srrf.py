"""SRRF: one super-resolved image from frames of blinking fluorophores, by where their gradients converge.

Gustafsson et al., "Fast live-cell conventional fluorophore nanoscopy with ImageJ through super-resolution
radial fluctuations", Nat. Commun. 7:12471 (2016). Written from the mathematics of that paper.
"""

import math
from typing import Literal, Self

import torch
from pydantic import PositiveFloat, PositiveInt, model_validator
from torch import Tensor

from sim_models.config import BadInput, Settings

_FLAT = 2e-6
"""A gradient per pixel below this part of a frame's largest value is rounding and has no direction."""


class SrrfSettings(Settings):
    """How radiality is measured in every frame and how frames are put together."""

    magnification: PositiveInt
    """pixels of the result per raw pixel along an axis; about 5"""
    ring_radius_px: PositiveFloat
    """radius in raw pixels of the ring on which gradients are looked at; about 0.5"""
    axes: PositiveInt
    """lines through the middle of the ring, with a point at both ends of each; about 6"""
    weighted: bool
    """whether radiality, which knows no brightness, is multiplied by the intensity there"""
    temporal: Literal["trm", "tra", "trppm", "trac"]
    """of the radiality over time: its maximum, average, mean pairwise product, or auto-cumulant"""
    order: Literal[2, 3, 4] | None
    """of the auto-cumulant; None for the others"""

    @model_validator(mode="after")
    def _order_of_cumulants(self) -> Self:
        if self.temporal == "trac" and self.order is None:
            raise ValueError("order must be 2, 3 or 4 for the auto-cumulants of temporal 'trac'")
        if self.temporal != "trac" and self.order is not None:
            raise ValueError(
                f"order {self.order} is of auto-cumulants; set it to null for temporal '{self.temporal}'"
            )
        return self


def srrf(frames: Tensor, settings: SrrfSettings) -> Tensor:
    """One image (sY, sX), float32 and nowhere negative, from frames (T, Y, X); s is the magnification.

    Pixel areas stay where they are: a raw pixel is a block of s x s pixels of the result. Where the frames
    are a times brighter, a weighted result is a times brighter; with TRPPM a ** 2, with TRAC a ** order.
    Memory is that of a few results, however many frames there are. Frames without any structure give zero.

    Raises:
        BadInput: if there are no frames, or a single one where fluctuations are asked for.
    """
    needed = 1 if settings.temporal in ("trm", "tra") else 2
    if frames.ndim != 3 or len(frames) < needed:
        raise BadInput(
            f"frames are {' x '.join(map(str, frames.shape))}; SRRF with temporal '{settings.temporal}' needs "
            f"at least {needed} frames x rows x columns"
        )
    moments = _Moments(_radiality(frames[0], settings), settings.order or 2)
    for frame in frames:
        moments.add(_radiality(frame, settings))
    return _put_together(moments, settings).float()


def radiality(frame: Tensor, settings: SrrfSettings) -> Tensor:
    """Degree of convergence (sY, sX) of the gradients of a frame (Y, X), from 0 to 1; 1 for a point.

    On a ring of radius r around every pixel, the line along the gradient at each point passes the middle
    at a distance d. The mean over the ring of (1 - d / r) ** 2, negative where a gradient leads outwards
    (Gustafsson et al. 2016, Methods); negative means show no source and become 0.
    """
    frame = frame.float()
    flat = _FLAT * frame.abs().amax()
    total: Tensor = torch.zeros((), device=frame.device)
    points = 2 * settings.axes
    for point in range(points):
        angle = 2 * math.pi * point / points
        down, right = math.sin(angle), math.cos(angle)  # from the middle to the point, in units of r
        slope_down, slope_right = _gradient(
            frame, settings.magnification, settings.ring_radius_px * down, settings.ring_radius_px * right
        )
        steepness = torch.hypot(slope_down, slope_right)
        clear = steepness > flat
        steepness = torch.where(clear, steepness, 1.0)
        distance = (slope_right * down - slope_down * right).abs() / steepness  # in units of r, at most 1
        outwards = slope_down * down + slope_right * right > 0
        convergence = (1 - distance) ** 2 * clear
        total = total + torch.where(outwards, -convergence, convergence)
    return (total / points).clamp(min=0)


class _Moments:
    """Sums over frames of what the temporal analyses need, frame by frame.

    Powers are of the difference from the first frame, in float64: what does not change adds exactly nothing.
    """

    def __init__(self, first: Tensor, order: int) -> None:
        self.first = first.double()
        self.highest = self.first
        self.powers = [torch.zeros_like(self.first) for _ in range(order)]
        self.frames = 0

    def add(self, image: Tensor) -> None:
        change = image.double() - self.first
        self.highest = torch.maximum(self.highest, image.double())
        for power, total in enumerate(self.powers, start=1):
            total += change**power
        self.frames += 1

    def raw(self, power: int) -> Tensor:
        """Mean of a power of the difference from the first frame."""
        return self.powers[power - 1] / self.frames


def _radiality(frame: Tensor, settings: SrrfSettings) -> Tensor:
    """Radiality (sY, sX) of a frame, weighted by its light if so wished."""
    found = radiality(frame, settings)
    if settings.weighted:
        found = found * _interpolated(frame.float(), settings.magnification).clamp(min=0)
    return found


def _put_together(moments: _Moments, settings: SrrfSettings) -> Tensor:
    """The temporal analysis (Gustafsson et al. 2016, Methods) from sums over frames."""
    match settings.temporal:
        case "trm":
            return moments.highest
        case "tra":
            return moments.first + moments.raw(1)
        case "trppm":
            return _mean_product_of_pairs(moments)
        case "trac":
            return _cumulant(moments, settings.order or 2)


def _mean_product_of_pairs(moments: _Moments) -> Tensor:
    """Mean of R(t) R(t') over all pairs of different frames: noise of a single frame adds nothing to it."""
    num, first = moments.frames, moments.first
    total = num * (first + moments.raw(1))
    squares = num * (first**2 + 2 * first * moments.raw(1) + moments.raw(2))
    return ((total**2 - squares) / (num * (num - 1))).clamp(min=0)


def _cumulant(moments: _Moments, order: int) -> Tensor:
    """Size of the auto-cumulant at lag 0 (Dertinger et al., PNAS 106:22287, 2009).

    The second, third and fourth are m2, m3 and m4 - 3 m2 ** 2, with m the central moments. The sign of the
    latter two tells only which of on and off is the rarer state, so it is left out.
    """
    a, b = moments.raw(1), moments.raw(2)
    variance = b - a**2
    if order == 2:
        return variance.clamp(min=0)
    c = moments.raw(3)
    if order == 3:
        return (c - 3 * a * b + 2 * a**3).abs()
    fourth = moments.raw(4) - 4 * a * c + 6 * a**2 * b - 3 * a**4
    return (fourth - 3 * variance**2).abs()


def _gradient(frame: Tensor, factor: int, down_px: float, right_px: float) -> tuple[Tensor, Tensor]:
    """Slopes (sY, sX) along y and x, per raw pixel, at the middles of finer pixels moved by an offset."""
    return (
        _sampled(frame, factor, down_px, right_px, slope=(True, False)),
        _sampled(frame, factor, down_px, right_px, slope=(False, True)),
    )


def _interpolated(frame: Tensor, factor: int) -> Tensor:
    """Values (sY, sX) at the middles of finer pixels."""
    return _sampled(frame, factor, 0.0, 0.0, slope=(False, False))


def _sampled(frame: Tensor, factor: int, down_px: float, right_px: float, slope: tuple[bool, bool]) -> Tensor:
    """Values or slopes of the cubic through the pixels (Y, X) of a frame, which goes on flat beyond its border."""
    rows = _along(frame, 0, _taps(frame.shape[0], factor, down_px, slope[0], frame.device))
    return _along(rows, 1, _taps(frame.shape[1], factor, right_px, slope[1], frame.device))


def _along(image: Tensor, axis: int, taps: tuple[Tensor, Tensor]) -> Tensor:
    """Weighted sums of pixels along an axis of (Y, X)."""
    index, weight = taps
    shape = (-1, 1) if axis == 0 else (1, -1)
    total = image.index_select(axis, index[:, 0]) * weight[:, 0].reshape(shape)
    for tap in range(1, index.shape[1]):
        total.addcmul_(image.index_select(axis, index[:, tap]), weight[:, tap].reshape(shape))
    return total


def _taps(
    size: int, factor: int, offset_px: float, slope: bool, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Indices and weights (s size, 4) of the pixels around every place, by Catmull and Rom's cubic (1974).

    Also known as cubic convolution with a = -1/2: Keys, IEEE Trans. ASSP 29:1153 (1981), eq. 15.
    """
    place = (torch.arange(factor * size, dtype=torch.float64) + 0.5) / factor - 0.5 + offset_px
    corner = torch.floor(place)
    u = place - corner
    if slope:
        weights = [
            -0.5 + 2 * u - 1.5 * u**2, -5 * u + 4.5 * u**2, 0.5 + 4 * u - 4.5 * u**2, -u + 1.5 * u**2
        ]  # fmt: skip
    else:
        weights = [
            -0.5 * u + u**2 - 0.5 * u**3,
            1 - 2.5 * u**2 + 1.5 * u**3,
            0.5 * u + 2 * u**2 - 1.5 * u**3,
            -0.5 * u**2 + 0.5 * u**3,
        ]
    index = corner.long()[:, None] + torch.arange(-1, 3)
    return index.clamp(0, size - 1).to(device), torch.stack(weights, dim=1).float().to(device)
