"""SRRF against scenes of which the answer is known."""

from typing import Any

import numpy as np
import pytest
import torch

from sim_models.config import BadInput, parse
from sim_models.optics.srrf import SrrfSettings, radiality, srrf

VALUES: dict[str, Any] = {
    "magnification": 5, "ring_radius_px": 0.5, "axes": 6, "weighted": True, "temporal": "trac", "order": 2
}  # fmt: skip
ANALYSES: list[dict[str, Any]] = [
    {"temporal": "trm", "order": None},
    {"temporal": "tra", "order": None},
    {"temporal": "trppm", "order": None},
    {"temporal": "trac", "order": 2},
    {"temporal": "trac", "order": 3},
    {"temporal": "trac", "order": 4},
]
SIGMA_PX = 1.35
"""of a Gaussian spot: that of an objective of NA 1.4 at 525 nm and 65 nm pixels, 0.21 wavelength / NA"""


def settings(**changed: Any) -> SrrfSettings:
    return parse(SrrfSettings, {**VALUES, **changed}, "srrf")


def spot(y_px: float, x_px: float, size: int = 24) -> torch.Tensor:
    y, x = np.indices((size, size))
    return torch.from_numpy(
        np.exp(-((y - y_px) ** 2 + (x - x_px) ** 2) / (2 * SIGMA_PX**2)).astype(np.float32)
    )


def blinking(*spots: torch.Tensor, frames: int = 60, seed: int = 1) -> torch.Tensor:
    on = np.random.default_rng(seed).random((frames, len(spots))) < 0.3
    return torch.einsum("ts,syx->tyx", torch.from_numpy(on.astype(np.float32)), torch.stack(spots))


def noisy(seed: int = 2, frames: int = 8) -> torch.Tensor:
    clean = 50 * blinking(spot(9.2, 11.7), spot(14.1, 12.3), frames=frames)
    return torch.poisson(clean + 5, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("place", [(12.0, 12.0), (10.1, 13.9)])
@pytest.mark.parametrize("analysis", ANALYSES, ids=str)
def test_a_point_is_found_where_it_is_between_pixels(
    place: tuple[float, float], analysis: dict[str, Any]
) -> None:
    image = srrf(blinking(100 * spot(*place)), settings(**analysis))
    assert image.shape == (120, 120)
    assert image.dtype == torch.float32
    row, column = divmod(int(image.argmax()), 120)
    found = [(index + 0.5) / 5 - 0.5 for index in (row, column)]
    assert np.abs(np.subtract(found, place)).max() <= 0.5 / 5 + 0.1


def test_the_radiality_of_a_point_is_nearly_one_and_falls_off_fast() -> None:
    found = radiality(spot(12.0, 12.0), settings())
    assert 0.9 < found.max() <= 1
    narrow = (found > found.max() / 2)[62].sum() / 5
    assert narrow < 2.355 * SIGMA_PX / 2


def test_two_points_too_near_for_the_objective_are_told_apart() -> None:
    """2.2 pixels are 0.143 um: below the 0.19 um of lambda / 2 NA, and Gaussian spots merge below 2 sigma."""
    frames = blinking(100 * spot(12.0, 10.9), 100 * spot(12.0, 13.1), frames=150)
    across = frames.mean(dim=0)[12]
    assert across[12] >= across[11] * 0.99  # one hill
    image = srrf(frames, settings())
    line = image[62]
    left, middle, right = line[55:62].max(), line[62], line[63:70].max()
    assert middle < 0.6 * min(left, right)


@pytest.mark.parametrize("analysis", ANALYSES, ids=str)
def test_turning_or_mirroring_frames_does_so_with_the_image(analysis: dict[str, Any]) -> None:
    frames, chosen = noisy(), settings(**analysis)
    image = srrf(frames, chosen)
    tolerance = 1e-4 * float(image.max())
    turned = srrf(torch.rot90(frames, 1, (1, 2)), chosen)
    mirrored = srrf(frames.flip(2), chosen)
    np.testing.assert_allclose(turned, torch.rot90(image, 1, (0, 1)), atol=tolerance)
    np.testing.assert_allclose(mirrored, image.flip(1), atol=tolerance)


@pytest.mark.parametrize("order", [2, 3, 4])
def test_a_still_scene_has_no_cumulants(order: int) -> None:
    still = (100 * spot(12.3, 11.8)).expand(10, -1, -1)
    assert srrf(still, settings(order=order)).max() == 0


def test_what_blinks_outshines_what_does_not() -> None:
    frames = 100 * (spot(7.0, 7.0) + blinking(spot(16.0, 16.0)))
    image = srrf(frames, settings())
    assert image[:60, :60].max() < 0.01 * image[60:, 60:].max()


@pytest.mark.parametrize("analysis", ANALYSES, ids=str)
def test_frames_without_structure_give_nothing(analysis: dict[str, Any]) -> None:
    levels = torch.tensor([3.3, 70.1, 1234.5])
    assert srrf(levels[:, None, None].expand(3, 12, 12), settings(**analysis)).max() == 0


@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("analysis", ANALYSES, ids=str)
def test_how_the_image_grows_with_the_light(analysis: dict[str, Any], weighted: bool) -> None:
    chosen = settings(**analysis, weighted=weighted)
    power = {"trm": 1, "tra": 1, "trppm": 2, "trac": analysis["order"]}[analysis["temporal"]]
    image, brighter = srrf(noisy(), chosen), srrf(4 * noisy(), chosen)
    expected = image * (4**power if weighted else 1)
    np.testing.assert_allclose(brighter, expected, rtol=1e-4, atol=1e-6 * float(expected.max()))


@pytest.mark.parametrize("analysis", ANALYSES, ids=str)
def test_temporal_analyses_are_what_their_formulas_say(analysis: dict[str, Any]) -> None:
    """Against the plain sums over a stack of radialities, pairs as a double loop."""
    frames, chosen = noisy(), settings(**analysis, weighted=False)
    stack = torch.stack([radiality(frame, chosen) for frame in frames]).double()
    centred = stack - stack.mean(dim=0)
    m2, m3, m4 = ((centred**power).mean(dim=0) for power in (2, 3, 4))
    pairs = [stack[i] * stack[j] for i in range(len(stack)) for j in range(len(stack)) if i != j]
    expected = {
        ("trm", None): stack.amax(dim=0), ("tra", None): stack.mean(dim=0),
        ("trppm", None): torch.stack(pairs).mean(dim=0),
        ("trac", 2): m2, ("trac", 3): m3.abs(), ("trac", 4): (m4 - 3 * m2**2).abs(),
    }[analysis["temporal"], analysis["order"]]  # fmt: skip
    np.testing.assert_allclose(srrf(frames, chosen), expected, rtol=1e-5, atol=1e-9)


def test_dark_counts_below_zero_make_nothing_negative() -> None:
    frames = noisy() - 7
    for analysis in ANALYSES:
        assert srrf(frames, settings(**analysis)).min() >= 0


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"order": None}, "order must be 2, 3 or 4"),
        ({"temporal": "tra"}, "order 2 is of auto-cumulants; set it to null"),
        ({"order": 5}, "order"),
        ({"magnification": 0}, "magnification"),
        ({"ring_radius_px": 0.0}, "ring_radius_px"),
        ({"axes": 0}, "axes"),
    ],
)
def test_settings_that_cannot_be_are_refused(changed: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        settings(**changed)


def test_one_frame_does_not_fluctuate() -> None:
    with pytest.raises(BadInput, match=r"frames are 1 x 24 x 24; .* at least 2 frames"):
        srrf(noisy(frames=1), settings())
    with pytest.raises(BadInput, match="at least 1 frames x rows x columns"):
        srrf(noisy()[0], settings(temporal="tra", order=None))
