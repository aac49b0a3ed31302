"""The bands of an acquisition as the filters see them: wave vector, depth and noise of each."""

from dataclasses import dataclass

import torch

from sim_models.field import Illumination, Microscope
from sim_models.optics.illumination import wave_vectors_per_um
from sim_models.optics.separation import unmixing


@dataclass(frozen=True)
class Bands:
    """All bands: the wide-field of all angles first, then every harmonic of every angle."""

    angles: int
    separation: torch.Tensor
    """(2 B, A P) real: takes the bands out of the frames, as pairs of real and imaginary part"""
    waves: torch.Tensor
    """(B, 2) along y and x, cycles per raw pixel"""
    depth: torch.Tensor
    """(B,) 1 for the wide-field, half the modulation for the others"""
    variance: torch.Tensor
    """(B,) noise of a pixel of the band"""


def bands_of(microscope: Microscope, illumination: Illumination, frame_variance: torch.Tensor) -> Bands:
    """Bands of frames with these stripes; `frame_variance` (A,) is the noise of a pixel of a frame.

    Wide-fields of the angles are averaged by the inverse of their variance; the lead of a harmonic is taken out.
    """
    phases = torch.tensor(illumination.phase_rad, dtype=torch.float64)
    angles, num_phases = phases.shape
    depths = torch.tensor(illumination.modulation, dtype=torch.float64)
    harmonics = depths.shape[1]
    gains = torch.tensor(illumination.brightness or torch.ones_like(phases).tolist(), dtype=torch.float64)
    leads = torch.tensor(illumination.lead_rad or torch.zeros_like(depths).tolist(), dtype=torch.float64)
    weights = torch.stack(
        [unmixing(phase, gain, harmonics) for phase, gain in zip(phases, gains, strict=True)]
    )
    noise = frame_variance.double().cpu()
    wide_variance = weights[:, 0].square().sum(1) * noise
    share = wide_variance.reciprocal() / wide_variance.reciprocal().sum()
    rows = [(share[:, None] * weights[:, 0]).flatten(), torch.zeros(angles * num_phases, dtype=torch.float64)]
    variance = [1 / wide_variance.reciprocal().sum()]
    for angle in range(angles):
        for order in range(1, harmonics + 1):
            pair = torch.complex(weights[angle, 2 * order - 1], weights[angle, 2 * order])
            turned = pair * torch.exp(-1j * leads[angle, order - 1])
            for part in (turned.real, turned.imag):
                row = torch.zeros(angles, num_phases, dtype=torch.float64)
                row[angle] = part
                rows.append(row.flatten())
            variance.append(pair.abs().square().sum() * noise[angle])
    waves = wave_vectors_per_um(illumination) * microscope.pixel_um
    orders = torch.arange(1, harmonics + 1, dtype=torch.float64)
    side_waves = (waves[:, None] * orders[:, None]).flatten(0, 1)
    return Bands(
        angles,
        torch.stack(rows),
        torch.cat([torch.zeros(1, 2, dtype=torch.float64), side_waves]),
        torch.cat([torch.ones(1, dtype=torch.float64), depths.flatten() / 2]),
        torch.stack(variance),
    )
