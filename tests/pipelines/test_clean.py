"""Clean frames for dim ones: on their scale without bias, and refused for what moved, not for noise."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from pipelines.onboarding.clean import Moved, as_bright, shift_between
from sim_models.config import BadInput

EDGE, CUTOFF = 96, 0.35
"""pixels; cycles per pixel, which a Gaussian of 1.4 pixels hardly passes"""

Frames = NDArray[np.floating[Any]]


def expected(
    cell: int, phases: int = 3, depth: float = 0.8, turned: float = 0.0, right: float = 0.0
) -> Frames:
    """Frames (3, P, Y, X) of threads and dots under stripes, without noise, with 1 at the brightest."""
    random = np.random.default_rng(cell)
    y, x = np.indices((4 * EDGE, 4 * EDGE)) / 4
    scene = np.zeros((4 * EDGE, 4 * EDGE))
    for row, column, slope in random.uniform((10, 10, -1), (EDGE - 10, EDGE - 10, 1), (12, 3)):
        scene += np.exp(-((y - row - slope * (x - right - column)) ** 2) / 0.5)
        scene += 3 * np.exp(-((y - row) ** 2 + (x - right - column) ** 2) / 2)
    frames = np.empty((3, phases, EDGE, EDGE))
    for angle in range(3):
        direction = 0.3 + np.pi * angle / 3
        wave = (np.cos(direction) * x + np.sin(direction) * y) / 4.0
        for phase in range(phases):
            stripes = 1 + depth * np.cos(2 * np.pi * (wave + phase / phases) + turned)
            seen = gaussian_filter(scene * stripes, 4 * 1.2)
            frames[angle, phase] = seen.reshape(EDGE, 4, EDGE, 4).mean(axis=(1, 3))
    return frames / np.quantile(frames.mean(axis=(0, 1)), 0.999)


def taken(frames: Frames, photons: float, seed: int) -> Frames:
    random = np.random.default_rng(seed)
    return random.poisson(photons * frames) + random.normal(0, 1.5, frames.shape)


@pytest.mark.parametrize(("dim", "bright"), [(5.0, 10.0), (10.0, 20.0), (10.0, 60.0), (10.0, 1000.0)])
def test_the_gain_is_that_of_the_light(dim: float, bright: float) -> None:
    """However noisy the bright frames are, which would make it smaller."""
    found = []
    for cell in range(4):
        frames = expected(cell)
        clean = as_bright(taken(frames, bright, 1), taken(frames, dim, 2), CUTOFF)
        gain, offset = (float(word) for word in clean.how.split()[1::2])
        assert clean.frames.mean() == pytest.approx(dim * frames.mean(), abs=0.05)
        assert offset == pytest.approx(0, abs=0.1 * dim)
        found.append(gain * bright / dim)
    assert np.mean(found) == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("phases", [3, 5])
@pytest.mark.parametrize("photons", [1.0, 2.0, 5.0, 20.0])
def test_noise_alone_refuses_nothing(photons: float, phases: int) -> None:
    for cell in range(3):
        frames = expected(cell, phases)
        as_bright(taken(frames, 200.0, cell), taken(frames, photons, 10 + cell), CUTOFF)


def test_where_it_is_too_dim_to_tell_that_is_said() -> None:
    frames = expected(0, depth=0.2)
    clean = as_bright(taken(frames, 200.0, 1), taken(frames, 1.0, 2), CUTOFF)
    assert clean.doubt == "too dim to tell whether its stripes are where its clean frames have them"
    assert as_bright(taken(frames, 1000.0, 1), taken(frames, 300.0, 2), CUTOFF).doubt is None


@pytest.mark.parametrize("turned", [1.0, 2.1, 3.0])
@pytest.mark.parametrize("photons", [10.0, 100.0])
def test_stripes_that_moved_are_found(turned: float, photons: float) -> None:
    bright, dim = taken(expected(0), 500.0, 1), taken(expected(0, turned=turned), photons, 2)
    with pytest.raises(
        BadInput, match=r"the stripes of angle [123] lie \d+ degrees beside those of the frames"
    ):
        as_bright(bright, dim, CUTOFF)


@pytest.mark.parametrize("turned", [0.0, 1.0])
def test_frames_that_flicker_hide_nothing_and_feign_nothing(turned: float) -> None:
    flicker = 1 + 0.1 * np.random.default_rng(5).standard_normal((2, 3, 3, 1, 1))
    bright, dim = (
        taken(expected(0) * flicker[0], 1000.0, 1),
        taken(expected(0, turned=turned) * flicker[1], 100.0, 2),
    )
    if turned:
        with pytest.raises(BadInput, match="degrees beside"):
            as_bright(bright, dim, CUTOFF)
    else:
        assert as_bright(bright, dim, CUTOFF).doubt is None


def test_other_stripes_are_none() -> None:
    frames = expected(0)
    with pytest.raises(BadInput, match=r"angle [123] has other stripes than the frames with much light"):
        as_bright(taken(frames[[1, 0, 2]], 500.0, 1), taken(frames, 100.0, 2), CUTOFF)


@pytest.mark.parametrize("right", [1.0, 2.0])
@pytest.mark.parametrize("photons", [3.0, 20.0])
def test_a_cell_that_moved_is_found_also_beside_hot_pixels(right: float, photons: float) -> None:
    hot = 300.0 * (np.random.default_rng(9).random((EDGE, EDGE)) < 0.002)
    bright, dim = taken(expected(0), 500.0, 1) + hot, taken(expected(0, right=right), photons, 2) + hot
    with pytest.raises(Moved, match="the cell lies"):
        as_bright(bright, dim, CUTOFF)


@pytest.mark.parametrize("photons", [2.0, 10.0, 50.0])
def test_nothing_to_see_is_nothing_that_moved(photons: float) -> None:
    flat = np.ones((3, 3, EDGE, EDGE))
    clean = as_bright(taken(flat, 500.0, 1), taken(flat, photons, 2), CUTOFF)
    assert clean.frames.mean() == pytest.approx(photons, rel=0.1)
    assert shift_between(taken(flat, 500.0, 1)[0, 0], taken(flat, photons, 2)[0, 0], CUTOFF) is None


def test_copies_and_swapped_files_are_refused() -> None:
    bright, dim = taken(expected(0), 500.0, 1), taken(expected(0), 20.0, 2)
    with pytest.raises(BadInput, match="are these frames themselves"):
        as_bright(dim, dim.copy(), CUTOFF)
    with pytest.raises(BadInput, match=r"have 0\.0\d+ times the light of these; are they swapped\?"):
        as_bright(dim, bright, CUTOFF)
