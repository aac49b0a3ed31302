"""Frames to bands and back: what the phase steps of one angle tell apart.

A frame with the gain g and the phase phi is, by the formula of `Illumination`,

    frame = g * (D_0 + sum_h 2 Re(D_h exp(i h phi)))

where band D_0 is the wide-field and D_h = otf * (object x (m_h / 2) exp(2 pi i h k . r)) carries the
object's frequencies around the wave vector of harmonic h (Gustafsson, J. Microsc. 198 (2000) 82). Bands
are kept as 2 H + 1 real images: D_0, Re D_1, Im D_1, Re D_2, ...
"""

import math

import torch


def num_bands(harmonics: int) -> int:
    """Real images per angle: the wide-field, and two for each harmonic."""
    return 2 * harmonics + 1


def equal_phases(phases: int) -> torch.Tensor:
    """(P,) evenly spread over a turn, from zero."""
    return 2 * math.pi * torch.arange(phases, dtype=torch.float64) / phases


def mixing(phase_rad: torch.Tensor, gain: torch.Tensor, harmonics: int) -> torch.Tensor:
    """(P, 2 H + 1) real: how the bands of an angle add up to its frames (phases and gains (P,))."""
    columns = [torch.ones_like(phase_rad)]
    for order in range(1, harmonics + 1):
        columns += [2 * torch.cos(order * phase_rad), -2 * torch.sin(order * phase_rad)]
    return torch.stack(columns, dim=1) * gain[:, None]


def unmixing(phase_rad: torch.Tensor, gain: torch.Tensor, harmonics: int) -> torch.Tensor:
    """(2 H + 1, P) real: least-squares weights that take the bands out of the frames."""
    weights: torch.Tensor = torch.linalg.pinv(mixing(phase_rad, gain, harmonics))
    return weights


def separated(frames: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Bands (..., A, 2 H + 1, Y, X) of frames (..., A, P, Y, X) with weights (A, 2 H + 1, P)."""
    flat = frames.flatten(-2)
    bands: torch.Tensor = weights.to(flat) @ flat
    return bands.reshape(*bands.shape[:-1], *frames.shape[-2:])


def as_complex(bands: torch.Tensor) -> torch.Tensor:
    """The bands D_1 ... D_H (..., H, Y, X), complex, out of real ones (..., 2 H + 1, Y, X)."""
    return torch.complex(bands[..., 1::2, :, :], bands[..., 2::2, :, :])
