"""Fourier transforms inside networks, written so that a network that uses them can also be exported to ONNX.

ONNX has a transform (DFT) but no complex numbers, so in an export they are a last axis of two. In use it is torch's own
transforms that compute, bit for bit as if they stood in the network.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def magnitudes(images: Tensor) -> Tensor:
    """|FFT| of images (N, C, Y, X), frequency zero first."""
    if not torch.onnx.is_in_onnx_export():
        magnitude: Tensor = torch.fft.fft2(images).abs()
        return magnitude
    return _transformed(_complex(images), inverse=False).square().sum(dim=-1).sqrt()


def centred(spectra: Tensor) -> Tensor:
    """Spectra (N, C, Y, X) with frequency zero in the middle."""
    if not torch.onnx.is_in_onnx_export():
        shifted: Tensor = torch.fft.fftshift(spectra, dim=(-2, -1))
        return shifted
    for axis in (-2, -1):
        size = spectra.shape[axis]
        half = (size + 1) // 2
        spectra = torch.cat(
            [spectra.narrow(axis, half, size - half), spectra.narrow(axis, 0, half)], dim=axis
        )
    return spectra


def filtered(images: Tensor, response: Callable[[Tensor], Tensor]) -> Tensor:
    """Images (..., Y, X) with each frequency weighed by what `response` says to its cycles per pixel."""
    if not torch.onnx.is_in_onnx_export():
        rows, columns = (torch.fft.fftfreq(size, device=images.device) for size in images.shape[-2:])
        columns = columns[: images.shape[-1] // 2 + 1].abs()
        kept = response(torch.hypot(rows[:, None], columns))
        passed: Tensor = torch.fft.irfft2(torch.fft.rfft2(images) * kept, s=images.shape[-2:])
        return passed
    rows, columns = (_frequencies(images.shape[axis]) for axis in (-2, -1))
    kept = response((rows[:, None].square() + columns.square()).sqrt())
    flat = images.reshape(-1, 1, *images.shape[-2:])  # slices of volumes pass as images
    spectrum = _transformed(_complex(flat), inverse=False)
    return _transformed(spectrum * kept[..., None], inverse=True)[..., 0].reshape(images.shape)


def low_passed(images: Tensor, cutoff: Tensor, steepness: Tensor) -> Tensor:
    """Images (..., Y, X), each with its frequencies k weighed by sigmoid((cutoff - |k|) * steepness).

    Half precision has neither the range nor the transform, so that all of it is single precision.

    Args:
        images: of any number of axes before the last two.
        cutoff: where half is left, in cycles per pixel; can learn.
        steepness: how fast it falls there, in pixels; can learn.
    """
    with torch.autocast(images.device.type, enabled=False):
        return filtered(images.float(), lambda cycles: torch.sigmoid((cutoff - cycles) * steepness))


def _complex(images: Tensor) -> Tensor:
    return torch.stack([images, torch.zeros_like(images)], dim=-1)


def _transformed(values: Tensor, inverse: bool) -> Tensor:
    answer: Tensor = _Transform.apply(values, inverse)  # type: ignore[no-untyped-call]
    return answer


def _frequencies(size: int) -> Tensor:
    """As `torch.fft.fftfreq`, which no export knows."""
    half = size // 2
    return (((torch.arange(size) + half) % size) - half).to(torch.float32) / size


class _Transform(torch.autograd.Function):
    """The transform over Y and X of values (N, C, Y, X, 2), or its inverse, as ONNX writes it."""

    @staticmethod
    def forward(_: Any, values: Tensor, inverse: bool) -> Tensor:
        transform = torch.fft.ifft2 if inverse else torch.fft.fft2
        return torch.view_as_real(transform(torch.view_as_complex(values.contiguous())))

    @staticmethod
    def symbolic(g: Any, values: Any, inverse: bool) -> Any:
        along_rows = g.op("DFT", values, axis_i=3, inverse_i=int(inverse))
        return g.op("DFT", along_rows, axis_i=2, inverse_i=int(inverse)).setType(values.type())
