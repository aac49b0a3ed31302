"""Whether the bands agree for the stated OTF, or for another: a wider, a narrower or a softer one.

Where two bands show the same object frequency, their ratio is that of two values of the OTF, whatever the object.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from sim_models.optics.estimate.overlap import Overlap, Profile, Table, depths, profile
from sim_models.optics.estimate.scene import Scene

WIDTHS = np.linspace(0.6, 1.5, 10)
"""of the true OTF relative to the stated one: what a wrong pixel size, aperture or wavelength looks like"""

DAMPINGS = np.linspace(-0.5, 4.0, 10)
"""minus the logarithm of an attenuation (see `Otf`): what aberrations look like"""

FEWEST_BINS, LEAST_SHARE = 30, 0.25
"""that an OTF must keep, and as a share of those of the stated one: a few agree for any OTF by chance"""

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
    as_stated = depths(sums, stated, stated).misfit

    def misfit(true: Profile) -> Table:
        return depths(sums, stated, true).misfit

    width = _lowest(lambda width: misfit(profile(scene, width=width)), WIDTHS, 1.0, as_stated)
    damping = _lowest(lambda damping: misfit(profile(scene, damping=damping)), DAMPINGS, 0.0, as_stated)
    believed: Literal["stated", "width", "attenuation"] = "stated"
    if max(width.gain, damping.gain) > BELIEVED:
        believed = "width" if width.misfit < damping.misfit else "attenuation"
    attenuation = math.exp(-damping.place)
    damping_sigma = None if damping.sigma is None else attenuation * damping.sigma
    return OtfFit(width.place, width.sigma, attenuation, damping_sigma, believed)


@dataclass(frozen=True)
class _Lowest:
    place: float
    sigma: float | None
    misfit: float
    gain: float
    """in chi-squared over the stated OTF, scaled by what is left of it; none where nothing tells"""


def _lowest(misfit: Callable[[float], Table], places: Table, stated: float, as_stated: Table) -> _Lowest:
    """Where bands agree best, looked for around the best of some places; the stated one where nothing tells.

    The narrower an OTF, the fewer bins it has light in. Few among which it does well by chance would pass for a better
    OTF, so a share of the bins must be left, and what is gained is told in the bins of both.
    """
    fewest = max(FEWEST_BINS, LEAST_SHARE * np.isfinite(as_stated).sum())

    def height(place: float) -> float:
        values = misfit(place)
        return float(np.nanmean(values)) if np.isfinite(values).sum() >= fewest else math.inf

    heights = [height(float(place)) for place in places]
    best = int(np.argmin(heights))
    if math.isinf(heights[best]):
        return _Lowest(stated, None, math.inf, 0.0)
    step = float(places[1] - places[0])
    around = float(places[best]) - step, float(places[best]) + step
    ceiling = 10 * max(
        each for each in heights if math.isfinite(each)
    )  # the search cannot reckon with infinity
    found = minimize_scalar(
        lambda place: min(height(place), ceiling),
        bounds=around,
        method="bounded",
        options={"xatol": step / 50},
    )
    place, near = float(found.x), step / 10
    # In the same bins, for the curve would jump where one drops out.
    three = [misfit(each) for each in (place - near, place, place + near)]
    bins: NDArray[np.bool_] = np.all(np.isfinite(np.stack(three)), axis=0)
    low, here, high = (_log_ratio(each, as_stated, bins) for each in three)
    bend = (low - 2 * here + high) / near**2
    # At the lowest point the chi-squared over its mean rises by one within one standard deviation.
    sigma = math.sqrt(2 / bend) if math.isfinite(bend) and bend > 0 else None
    return _Lowest(place, sigma, height(place), _gain(misfit(place), as_stated))


def _log_ratio(misfit: Table, as_stated: Table, bins: NDArray[np.bool_]) -> float:
    """K ln(chi-squared / that of the stated OTF) over the K of these bins that the stated OTF has as well."""
    both = np.isfinite(as_stated) & bins
    if both.sum() < FEWEST_BINS:
        return math.inf
    return float(both.sum() * np.log(misfit[both].mean() / as_stated[both].mean()))


def _gain(misfit: Table, as_stated: Table) -> float:
    """Chi-squared of the stated OTF less this one's, over this one's mean: in the bins of both, or, if less, all."""
    own, stated = np.isfinite(misfit), np.isfinite(as_stated)
    both = own & stated
    if both.sum() < FEWEST_BINS:
        return 0.0
    shared = both.sum() * (as_stated[both].mean() / misfit[both].mean() - 1)
    every = stated.sum() * (as_stated[stated].mean() / misfit[own].mean() - 1)
    return float(min(shared, every))
