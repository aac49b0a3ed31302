"""The same least squares as the Wiener filter, among objects that are nowhere negative.

Alternating direction method of multipliers (Boyd et al., Found. Trends Mach. Learn. 3 (2011) 1, section 5): the
quadratic part is solved in Fourier space, the constraint in real space, and a running sum of their differences makes
them agree.
"""

import torch

from sim_models.optics.reconstruct.geometry import Geometry

ROUNDS = 10
"""later ones change the image by less than a hundredth of a decibel"""

PENALTY = 5.0
"""of the difference between the two, in units of the median denominator; from a third to six times of it ten rounds end
at much the same image"""


def nonnegative(
    geometry: Geometry, gathered: torch.Tensor, information: torch.Tensor, doubt: torch.Tensor
) -> torch.Tensor:
    """Half a spectrum (..., R, C/2) of the object that is nowhere negative.

    Args:
        geometry: of the reconstruction.
        gathered: sum of the weighted bands, half a spectrum (..., R, C/2).
        information: (R, C) the quadratic term.
        doubt: (R, C) one over the object's power, in the same units.
    """
    middle = geometry.half[1]
    denominator = geometry.unfolded((information + doubt)[:, middle:], fill=float(doubt.max()))
    seen = geometry.unfolded(gathered, fill=0.0)
    penalty = PENALTY * float(denominator.median())
    shape = geometry.fine
    free = torch.fft.irfft2(seen / denominator, s=shape)
    positive = free.clamp(min=0)
    difference = free - positive
    for _ in range(ROUNDS):
        pulled = seen + penalty * torch.fft.rfft2(positive - difference)
        free = torch.fft.irfft2(pulled / (denominator + penalty), s=shape)
        positive = (free + difference).clamp(min=0)
        difference = difference + free - positive
    return geometry.folded(torch.fft.rfft2(positive))
