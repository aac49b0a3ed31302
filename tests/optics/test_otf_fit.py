"""Which OTF the bands agree on: never one that has only lost the bins in which it would do badly."""

import numpy as np
import pytest

from sim_models.optics.estimate.otf_fit import BELIEVED, _lowest
from sim_models.optics.estimate.overlap import Table

BINS = 400
PLACES = np.linspace(0.0, 4.0, 9)


def test_few_bins_that_fit_by_chance_are_no_better_otf() -> None:
    """The last 36 bins have little scatter for any OTF; a narrow one keeps only these."""
    as_stated = np.full(BINS, 1.3)
    as_stated[-36:] = 0.8

    def misfit(place: float) -> Table:
        values = as_stated * (1 + 0.2 * abs(place))
        if place > 2.5:
            values = np.where(np.arange(BINS) < BINS - 36, np.nan, as_stated)
        return values

    found = _lowest(misfit, PLACES, 0.0, as_stated)
    assert found.gain == pytest.approx(0.0, abs=5.0)
    assert found.gain < BELIEVED


def test_an_otf_that_fits_better_in_the_bins_of_both_is_believed() -> None:
    as_stated = np.full(BINS, 2.0)

    def misfit(place: float) -> Table:
        values = np.full(BINS, 1.0 + (place - 1.2) ** 2)
        values[: int(40 * place)] = np.nan
        return values

    found = _lowest(misfit, PLACES, 0.0, as_stated)
    assert found.place == pytest.approx(1.2, abs=0.1)
    assert found.gain > BELIEVED
    # chi-squared n (1 + x^2) rises by one at x = 1 / sqrt(n)
    assert found.sigma == pytest.approx(1 / np.sqrt(BINS - 48), rel=0.1)


def test_without_bins_the_stated_one_stays() -> None:
    found = _lowest(lambda _place: np.full(BINS, np.nan), PLACES, 1.0, np.full(BINS, 1.0))
    assert (found.place, found.sigma, found.gain) == (1.0, None, 0.0)
