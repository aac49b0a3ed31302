"""An object, blurred, is its own wide-field; whatever is added to it stands in the error map."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from sim_models.config import BadInput
from sim_models.evaluation.squirrel import Squirrel, squirrel, whole_scale

EDGE_PX = 96


@pytest.fixture
def fine() -> np.ndarray:
    """Soft points of different brightness (EDGE_PX, EDGE_PX), down to the edges."""
    random = np.random.default_rng(0)
    specimen = np.zeros((EDGE_PX, EDGE_PX))
    specimen[tuple(random.integers(0, EDGE_PX, (2, 60)))] = random.uniform(5, 50, 60)
    return np.asarray(gaussian_filter(specimen, 1.0))


def widefield_of(fine: np.ndarray, sigma_px: float, scale: int) -> np.ndarray:
    blurred = gaussian_filter(fine, sigma_px, mode="reflect", truncate=8)
    blocks = blurred.reshape(EDGE_PX // scale, scale, EDGE_PX // scale, scale)
    return np.asarray(blocks.mean(axis=(1, 3)))


@pytest.mark.parametrize("scale", [1, 2, 3])
@pytest.mark.parametrize("sigma_px", [1.5, 2.7])
def test_the_object_itself_has_no_error_and_the_blur_is_found(
    fine: np.ndarray, sigma_px: float, scale: int
) -> None:
    found = squirrel(fine, widefield_of(3 * fine + 10, sigma_px, scale))
    assert found.rsp == pytest.approx(1, abs=1e-6)
    assert found.rse == pytest.approx(0, abs=1e-3)
    assert found.sigma_px == pytest.approx(sigma_px, rel=0.01)
    assert (found.gain, found.offset) == pytest.approx((3, 10), rel=1e-3)
    assert found.error_map.shape == (EDGE_PX // scale, EDGE_PX // scale)


def test_an_image_as_blurred_as_the_wide_field_needs_no_more(fine: np.ndarray) -> None:
    widefield = widefield_of(fine, 2.0, 2)
    found = squirrel(widefield.repeat(2, axis=0).repeat(2, axis=1), widefield)
    assert (found.sigma_px, found.rse) == (0, pytest.approx(0, abs=1e-12))


def test_light_that_was_invented_stands_in_the_map(fine: np.ndarray) -> None:
    widefield = widefield_of(fine, 2.5, 2)
    spoilt = fine.copy()
    spoilt[60:63, 20:23] += 20
    clean, found = squirrel(fine, widefield), squirrel(spoilt, widefield)
    peak = np.unravel_index(found.error_map.argmax(), found.error_map.shape)
    assert np.abs(np.subtract(peak, (30, 10))).max() <= 1
    assert found.rse == pytest.approx(np.sqrt((found.error_map**2).mean()))
    assert found.rse > 10 * clean.rse
    assert found.rsp < clean.rsp


def test_gain_and_offset_of_the_image_do_not_matter(fine: np.ndarray) -> None:
    widefield = widefield_of(fine, 2.5, 2) + np.random.default_rng(1).normal(0, 0.1, (48, 48))
    as_is, changed = squirrel(fine, widefield), squirrel(0.2 * fine + 77, widefield)
    assert as_is.rse > 0.09
    assert (changed.rse, changed.rsp) == pytest.approx((as_is.rse, as_is.rsp), rel=1e-4)
    assert changed.gain == pytest.approx(5 * as_is.gain, rel=1e-3)


def test_the_unit_of_the_error_is_that_of_the_wide_field(fine: np.ndarray) -> None:
    widefield = widefield_of(fine, 2.5, 2) + np.random.default_rng(1).normal(0, 0.1, (48, 48))
    assert squirrel(fine, 4 * widefield).rse == pytest.approx(4 * squirrel(fine, widefield).rse, rel=1e-3)


def test_a_negative_of_the_object_is_not_turned_back(fine: np.ndarray) -> None:
    widefield = widefield_of(fine, 2.5, 2)
    found = squirrel(-fine, widefield)
    assert found.gain == 0
    assert found.rse == pytest.approx(widefield.std())
    assert found.rsp < 0


def test_a_constant_image_explains_nothing(fine: np.ndarray) -> None:
    widefield = widefield_of(fine, 2.5, 2)
    found: Squirrel = squirrel(np.full_like(fine, 3.3), widefield)
    assert (found.rsp, found.gain) == (0, 0)
    assert found.rse == pytest.approx(widefield.std())


def test_the_border_is_not_judged(fine: np.ndarray) -> None:
    widefield = widefield_of(fine, 2.5, 2)
    widefield[:3], widefield[:, -3:] = 1e3, -1e3
    found = squirrel(fine, widefield, border_px=5)  # half a pixel of the wide-field is a whole one
    assert found.error_map.shape == (42, 42)
    assert found.rse == pytest.approx(0, abs=1e-3)
    assert squirrel(fine, widefield, border_px=4).rse > 1


def test_what_cannot_be_compared_is_refused(fine: np.ndarray) -> None:
    widefield = widefield_of(fine, 2.5, 2)
    with pytest.raises(BadInput, match=r"\(95, 96\) cannot be held against a wide-field of shape \(48, 48\)"):
        squirrel(fine[1:], widefield)
    with pytest.raises(BadInput, match="constant or empty within a border of 2"):
        squirrel(fine, np.ones((48, 48)), 3)
    with pytest.raises(BadInput, match="constant or empty within a border of 24"):
        squirrel(fine, widefield, 48)
    with pytest.raises(BadInput, match="not finite"):
        squirrel(np.where(fine == fine.max(), np.inf, fine), widefield)


@pytest.mark.parametrize(
    ("image", "coarse", "scale"),
    [
        ((8, 12), (4, 6), 2),
        ((4, 6), (4, 6), 1),
        ((8, 12), (4, 4), None),
        ((4, 6), (8, 12), None),
        ((2, 8, 8), (4, 4), None),
    ],
)
def test_scales_are_whole_and_alike_in_both_directions(
    image: tuple[int, ...], coarse: tuple[int, ...], scale: int | None
) -> None:
    assert whole_scale(image, coarse) == scale
