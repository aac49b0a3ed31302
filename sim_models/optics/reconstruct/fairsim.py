"""The look of fairSIM's images, so that networks trained on them can be compared fairly.

What that program does, as measured against it: every band divided by its depth and weighted by the OTF alone, whatever
its noise; a constant in the denominator; the wide-field counted twice there, so that low frequencies come out at about
half of what its apodisation asks for; an ideal OTF of twice the cutoff to the power 0.9 as apodisation; and negative
values cut off. Mueller et al., Nat. Commun. 7 (2016) 10980, describes the program.
"""

from sim_models.optics.otf import circular_pupil_otf
from sim_models.optics.reconstruct.filters import Filters, Optics, band_otfs, finished, summed

WIENER_CONSTANT = 0.05
APODISATION_CUTOFF, APODISATION_BEND = 2.0, 0.9


def fairsim_like(optics: Optics, strength: float) -> Filters:
    """The filter, with the Wiener constant `strength` times its usual value."""
    geometry, otfs = optics.geometry, band_otfs(optics)
    angles = optics.bands.angles
    depths = optics.bands.depth.clamp(min=1e-3)
    terms = [angles * otfs[0], *(otf / float(depth) for otf, depth in zip(otfs[1:], depths[1:], strict=True))]
    squares = [otf.square() for otf in otfs]
    twice = summed(geometry, [2 * angles * squares[0], *squares[1:]])
    rows, columns = geometry.rows.float()[:, None], geometry.columns.float()
    apodisation = circular_pupil_otf(rows, columns, APODISATION_CUTOFF * optics.cutoff) ** APODISATION_BEND
    response = apodisation / (twice + (strength * WIENER_CONSTANT) ** 2)
    once = summed(geometry, [angles * squares[0], *squares[1:]])
    return finished(optics, terms, response, once * response)
