"""Blind estimation of the stripes: wave vectors, phases, depths and brightness, each with its uncertainty.

    estimate(frames, microscope, harmonics) -> Estimate, or NoPattern with a reason

scene    frames on their grid, their noise, and a guess of the object
bands    the frames taken apart
search   a likelihood map over all wave vectors, and the score that noise alone would reach
refine   the maximum between grid points; phases and gains of the frames
overlap  depth of the stripes, true OTF and haze, from what two bands both see
refuse   the reasons to say no
summary  what all steps found, put together
blind    the order of all this
held     whether another stack holds the same stripes
"""

from sim_models.optics.estimate.blind import estimate, usual_harmonics
from sim_models.optics.estimate.held import refuse_other_stripes
from sim_models.optics.estimate.result import AngleEstimate, Estimate, NoPattern

__all__ = [
    "AngleEstimate",
    "Estimate",
    "NoPattern",
    "estimate",
    "refuse_other_stripes",
    "usual_harmonics",
]
