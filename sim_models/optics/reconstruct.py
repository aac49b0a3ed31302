"""Classical SIM reconstruction with given stripes: separate the bands, put them in place, Wiener filter.

Gustafsson, J. Microsc. 198 (2000) 82, with the generalised Wiener filter of Gustafsson et al.,
Biophys. J. 94 (2008) 4957, and each band weighted by the inverse of its noise variance.

Borders: the frames are mirrored into a margin, which is cut off at the end. Mirrored stripes run the
wrong way, so within about a PSF of the border the sideband information is poorer, never wrapped around.
"""

import math

import torch

from sim_models.config import BadInput
from sim_models.field import Illumination, Microscope
from sim_models.optics.fourier import frequencies_per_um, upsampled
from sim_models.optics.illumination import pixel_centres_um, wave_vectors_per_um
from sim_models.optics.otf import circular_pupil_otf, extended_cutoff_per_um, pixel_transfer

SCALE = 2
"""Pixels of a reconstruction per raw pixel along an axis: room for the doubled resolution."""

_MARGIN_PX = 16


def reconstruct(
    frames: torch.Tensor, microscope: Microscope, illumination: Illumination, wiener: float
) -> torch.Tensor:
    """Reconstruct frames (A, P, Y, X) in photons to (2Y, 2X) in photons per raw pixel.

    `wiener` is the regularisation relative to the signal transfer at zero frequency: larger is smoother,
    0.001 suits bright data and 0.1 dim data. The result is apodised to the ideal OTF of the extended
    cutoff and to its own pixels: noise-free data approach `ideal_reference`, and a flat specimen keeps
    its value.

    Raises:
        BadInput: if the frames do not fit the illumination, or there are too few phases to tell the
            2 H + 1 bands of H harmonics apart.
    """
    _check(frames, illumination)
    margin = min(_MARGIN_PX, min(frames.shape[-2:]) - 1)
    open_frames = _mirrored(frames, margin)
    signal, power = _recombined(open_frames, microscope, illumination, margin)
    rows, columns = _fine_frequencies(power, microscope)
    ideal = circular_pupil_otf(rows, columns, extended_cutoff_per_um(microscope, illumination))
    apodisation = ideal * pixel_transfer(rows, columns, microscope.pixel_um / SCALE)
    flat_gain = (1 + wiener) / power[0, 0]
    response = flat_gain * apodisation.to(power) / (power / power[0, 0] + wiener)
    image: torch.Tensor = torch.fft.ifft2(signal * response).real
    border = SCALE * margin
    return image[border : image.shape[0] - border, border : image.shape[1] - border]


def _check(frames: torch.Tensor, illumination: Illumination) -> None:
    angles, phases = len(illumination.phase_rad), len(illumination.phase_rad[0])
    if frames.shape[:2] != (angles, phases):
        raise BadInput(
            f"the raw stack has {frames.shape[0]} angles x {frames.shape[1]} phases but its illumination "
            f"describes {angles} x {phases}; correct the frame layout or the illumination"
        )
    bands = 2 * len(illumination.modulation[0]) + 1
    if phases < bands:
        raise BadInput(
            f"{phases} phases per angle cannot separate the {bands} bands of "
            f"{len(illumination.modulation[0])} harmonics; give at least {bands} phases or fewer harmonics"
        )


def _mirrored(frames: torch.Tensor, margin: int) -> torch.Tensor:
    down, right = (
        (size - 1 - (size - 1 - torch.arange(-margin, size + margin).abs()).abs()).to(frames.device)
        for size in frames.shape[-2:]
    )
    return frames[..., down[:, None], right]


def _recombined(
    frames: torch.Tensor, microscope: Microscope, illumination: Illumination, margin: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Sum over all bands in place of transfer x spectrum / variance and of transfer^2 / variance."""
    y_um, x_um = (
        pixel_centres_um(SCALE * size, microscope.pixel_um, SCALE, -margin) for size in frames.shape[-2:]
    )
    power = torch.zeros(len(y_um), len(x_um), device=frames.device)
    signal = torch.zeros_like(power, dtype=torch.complex64)
    rows, columns = _fine_frequencies(power, microscope)
    for angle, (k_y, k_x) in enumerate(wave_vectors_per_um(illumination).tolist()):
        depths = illumination.modulation[angle]
        orders = range(-len(depths), len(depths) + 1)
        unmixing = _unmixing(illumination.phase_rad[angle], orders)
        for order, weights in zip(orders, unmixing, strict=True):
            band = torch.einsum("p,pyx->yx", weights.to(frames.device), frames[angle].to(torch.complex64))
            carrier = torch.exp(-2j * math.pi * order * (k_y * y_um[:, None] + k_x * x_um)).to(signal)
            spectrum = torch.fft.fft2(upsampled(band, SCALE) * carrier)
            strength = depths[abs(order) - 1] / 2 if order else 1.0
            passed = _raw_transfer(rows + order * k_y, columns + order * k_x, microscope)
            transfer = strength * passed.to(power)
            variance = float(weights.abs().square().sum())
            signal += transfer / variance * spectrum
            power += transfer**2 / variance
    return signal, power


def _unmixing(phase_rad: tuple[float, ...], orders: range) -> torch.Tensor:
    """(bands, P) least-squares weights that take the bands of these orders out of one angle's frames."""
    phase = torch.tensor(phase_rad, dtype=torch.float64)
    mixing = torch.exp(1j * phase[:, None] * torch.tensor(orders))
    weights: torch.Tensor = torch.linalg.pinv(mixing)
    return weights.to(torch.complex64)


def _fine_frequencies(image: torch.Tensor, microscope: Microscope) -> tuple[torch.Tensor, torch.Tensor]:
    return frequencies_per_um((image.shape[0], image.shape[1]), microscope.pixel_um / SCALE)


def _raw_transfer(rows: torch.Tensor, columns: torch.Tensor, microscope: Microscope) -> torch.Tensor:
    """What objective and raw pixels leave of each frequency, and nothing beyond the raw grid's Nyquist."""
    pixel_um = microscope.pixel_um
    sampled = (rows.abs() < 0.5 / pixel_um) & (columns.abs() < 0.5 / pixel_um)
    otf = circular_pupil_otf(rows, columns, microscope.cutoff_per_um)
    return otf * pixel_transfer(rows, columns, pixel_um) * sampled
