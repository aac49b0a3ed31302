"""Whether the bands agree for the stated OTF, or for another: a wider, a narrower or a softer one.

Where two bands show the same object frequency, their ratio is that of two values of the OTF, whatever the object.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.optimize import minimize_scalar

from sim_models.optics.estimate.overlap import Overlap, Profile, Table, depths, profile
from sim_models.optics.estimate.scene import Scene

WIDTHS = np.linspace(0.6, 1.5, 10)
"""of the true OTF relative to the stated one: what a wrong pixel size, aperture or wavelength looks like"""

DAMPINGS = np.linspace(-0.5, 4.0, 10)
"""minus the logarithm of an attenuation (see `Otf`): what aberrations look like"""

FEWEST_BINS = 30

BELIEVED = 150.0
"""gain in chi-squared, scaled by what is left of it, from which another OTF than the stated one is believed"""


@dataclass(frozen=True)
class OtfFit:
    """How the bands would agree best: by another width of the OTF, or by another attenuation."""

    width: float
    width_sigma: float | None
    """None where the overlap does not tell; also below"""
    attenuation: float
    attenuation_sigma: float | None
    believed: Literal["stated", "width", "attenuation"]


def fit_otf(scene: Scene, sums: Overlap) -> OtfFit:
    """Bands agree in their overlap only for the true ratio of OTF values, whatever the object."""
    stated = profile(scene)

    def misfit(true: Profile) -> tuple[float, int]:
        bins = depths(sums, stated, true).misfit
        return (float(bins.mean()) if len(bins) >= FEWEST_BINS else math.inf), len(bins)

    as_stated, counts = misfit(stated)
    width = _lowest(lambda width: misfit(profile(scene, width=width))[0], WIDTHS, 1.0, counts)
    damping = _lowest(lambda damping: misfit(profile(scene, damping=damping))[0], DAMPINGS, 0.0, counts)
    best = min(width.misfit, damping.misfit)
    believed: Literal["stated", "width", "attenuation"] = "stated"
    if math.isfinite(best) and (as_stated / best - 1) * counts > BELIEVED:
        believed = "width" if width.misfit < damping.misfit else "attenuation"
    attenuation = math.exp(-damping.place)
    damping_sigma = None if damping.sigma is None else attenuation * damping.sigma
    return OtfFit(width.place, width.sigma, attenuation, damping_sigma, believed)


@dataclass(frozen=True)
class _Lowest:
    place: float
    sigma: float | None
    misfit: float


def _lowest(misfit: Callable[[float], float], places: Table, stated: float, counts: int) -> _Lowest:
    """The lowest point of a curve, looked for around the best of some places; the stated one where nothing tells."""
    values = [misfit(float(place)) for place in places]
    best = int(np.argmin(values))
    if math.isinf(values[best]):
        return _Lowest(stated, None, math.inf)
    step = float(places[1] - places[0])
    around = float(places[best]) - step, float(places[best]) + step
    found = minimize_scalar(misfit, bounds=around, method="bounded", options={"xatol": step / 50})
    place, height = float(found.x), float(found.fun)
    near = step / 10
    bend = (misfit(place - near) - 2 * height + misfit(place + near)) / near**2
    # At the lowest point the chi-squared over its mean rises by one within one standard deviation.
    sigma = math.sqrt(2 * height / bend / counts) if math.isfinite(bend) and bend > 0 else None
    return _Lowest(place, sigma, height)
