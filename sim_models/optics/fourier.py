"""Frequency grids, filtering and sub-pixel resampling with the discrete Fourier transform.

Spectra are unnormalised and in the order of `torch.fft.fft2` (zero frequency first, not centred), and
every image is periodic: whoever needs open borders gives the image a margin first.
"""

import math

import torch


def frequencies_per_um(shape: tuple[int, int], pixel_um: float) -> tuple[torch.Tensor, torch.Tensor]:
    """The frequencies (Y, 1) along y and (1, X) along x of a spectrum, in cycles per um."""
    rows, columns = (torch.fft.fftfreq(size, pixel_um, dtype=torch.float64) for size in shape)
    return rows[:, None], columns[None, :]


def filtered(image: torch.Tensor, transfer: torch.Tensor) -> torch.Tensor:
    """Multiply the spectrum of a real image (..., Y, X) by a real, even transfer function (Y, X)."""
    columns = image.shape[-1]
    half = transfer[:, : columns // 2 + 1].to(image)
    passed: torch.Tensor = torch.fft.irfft2(torch.fft.rfft2(image) * half, s=image.shape[-2:])
    return passed


def shifted(image: torch.Tensor, down_px: float, right_px: float) -> torch.Tensor:
    """Move the content of (..., Y, X) by a fraction of a pixel; complex images stay complex."""
    rows, columns = frequencies_per_um((image.shape[-2], image.shape[-1]), 1.0)
    spectrum = torch.fft.fft2(image)
    ramp = torch.exp(-2j * math.pi * (rows * down_px + columns * right_px)).to(spectrum)
    moved: torch.Tensor = torch.fft.ifft2(spectrum * ramp)
    return moved if image.is_complex() else moved.real


def upsampled(image: torch.Tensor, factor: int) -> torch.Tensor:
    """Interpolate (..., Y, X) to (..., factor Y, factor X) without adding any new frequency.

    Pixel areas stay where they are, so fine pixel 0 is centred at (1 - factor) / (2 factor) of a
    coarse pixel. The Nyquist frequency of an even size has no sign and is dropped.
    """
    height, width = image.shape[-2:]
    spectrum = torch.fft.fftshift(torch.fft.fft2(image), dim=(-2, -1))
    if height % 2 == 0:
        spectrum[..., 0, :] = 0
    if width % 2 == 0:
        spectrum[..., :, 0] = 0
    fine = spectrum.new_zeros(*image.shape[:-2], factor * height, factor * width)
    top, left = (factor * height) // 2 - height // 2, (factor * width) // 2 - width // 2
    fine[..., top : top + height, left : left + width] = spectrum
    interpolated = torch.fft.ifft2(torch.fft.ifftshift(fine, dim=(-2, -1))) * factor**2
    aligned = shifted(interpolated, (factor - 1) / 2, (factor - 1) / 2)
    return aligned if image.is_complex() else aligned.real


def block_mean(image: torch.Tensor, size: int) -> torch.Tensor:
    """Average (..., Y, X) over blocks of size x size pixels: what larger pixels integrate."""
    height, width = image.shape[-2:]
    blocks = image.reshape(*image.shape[:-2], height // size, size, width // size, size)
    return blocks.mean(dim=(-3, -1))


def block_mean_adjoint(image: torch.Tensor, size: int) -> torch.Tensor:
    """The adjoint of `block_mean`: every pixel spread evenly over its block."""
    return image.repeat_interleave(size, dim=-2).repeat_interleave(size, dim=-1) / size**2
