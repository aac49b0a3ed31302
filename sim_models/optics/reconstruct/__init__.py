"""Classical SIM reconstruction: bands in place, weighed by their noise, regularised by what the frames hold.

    Reconstructor(frames, microscope, illumination)(frames) -> image of doubled sampling

bands          wave vector, depth and noise of every band
geometry       where the bands go in the finer spectrum, and the shortest way there
filters        transfer functions and apodisation
wiener         the least mean square error filter
positive       the same among objects that are nowhere negative
fairsim        the look of fairSIM's images
reconstructor  the whole, made once and called for every stack
"""

from sim_models.optics.reconstruct.geometry import SCALE
from sim_models.optics.reconstruct.reconstructor import (
    AREAS,
    DEFAULT,
    POINTS,
    ReconstructionSettings,
    Reconstructor,
    Transfer,
)

__all__ = ["AREAS", "DEFAULT", "POINTS", "SCALE", "ReconstructionSettings", "Reconstructor", "Transfer"]
