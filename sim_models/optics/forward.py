"""The forward model: specimen x stripes -> objective -> camera pixels, a linear operator with its adjoint.

The specimen stands on a fine grid, `oversampling` fine pixels along a raw pixel, in photons per raw
pixel. Images are periodic (see `fourier`); a real field is simulated with a margin that is cut off.
"""

import torch

from sim_models.field import Illumination, Microscope
from sim_models.optics.fourier import block_mean, block_mean_adjoint, filtered, frequencies_per_um
from sim_models.optics.illumination import patterns, pixel_centres_um
from sim_models.optics.otf import circular_pupil_otf, extended_cutoff_per_um


def widefield(specimen: torch.Tensor, microscope: Microscope, oversampling: int) -> torch.Tensor:
    """Expected photons per raw pixel (..., Y, X) of a specimen (..., sY, sX) under flat light."""
    fine_um = microscope.pixel_um / oversampling
    return block_mean(_blurred(specimen, fine_um, microscope.cutoff_per_um), oversampling)


def acquire(
    specimen: torch.Tensor, stripes: torch.Tensor, microscope: Microscope, oversampling: int
) -> torch.Tensor:
    """Expected photons per raw pixel and frame (..., A, P, Y, X).

    `specimen` is (..., sY, sX) with s = oversampling, `stripes` (A, P, sY, sX) relative intensities on
    the same grid. Linear and differentiable in both.
    """
    lit = specimen[..., None, None, :, :] * stripes.to(specimen)
    return widefield(lit, microscope, oversampling)


def acquire_adjoint(
    frames: torch.Tensor, stripes: torch.Tensor, microscope: Microscope, oversampling: int
) -> torch.Tensor:
    """The adjoint of `acquire` in the specimen: frames (..., A, P, Y, X) to (..., sY, sX)."""
    spread = block_mean_adjoint(frames, oversampling)
    lit = _blurred(spread, microscope.pixel_um / oversampling, microscope.cutoff_per_um)
    return (lit * stripes.to(frames)).sum(dim=(-4, -3))


def frames_of(
    image: torch.Tensor, microscope: Microscope, illumination: Illumination, scale: int
) -> torch.Tensor:
    """The raw frames (A, P, Y, X) that an object would give of which `image` (scale Y, scale X) is a guess.

    In its unit. Pixel (0, 0) of the frames is the block of scale x scale pixels in the corner of the image.
    """
    rows, columns = (
        pixel_centres_um(length, microscope.pixel_um, scale).to(image) for length in image.shape[-2:]
    )
    return acquire(image, patterns(illumination, rows, columns), microscope, scale)


def ideal_reference(
    specimen: torch.Tensor,
    microscope: Microscope,
    illumination: Illumination,
    oversampling: int,
    scale: int,
) -> torch.Tensor:
    """What a perfect, noise-free SIM shows of a specimen (..., sY, sX): (..., scale Y, scale X).

    The specimen through an ideal OTF whose cutoff is extended by the finest stripes, on pixels `scale`
    times finer than raw ones (`scale` divides `oversampling`), in photons per raw pixel: its block mean
    compares with the wide-field.
    """
    cutoff = extended_cutoff_per_um(microscope, illumination)
    return block_mean(_blurred(specimen, microscope.pixel_um / oversampling, cutoff), oversampling // scale)


def _blurred(image: torch.Tensor, pixel_um: float, cutoff_per_um: float) -> torch.Tensor:
    """An image through an ideal objective; the OTF is even, so this is its own adjoint."""
    frequencies = frequencies_per_um((image.shape[-2], image.shape[-1]), pixel_um)
    return filtered(image, circular_pupil_otf(*frequencies, cutoff_per_um))
