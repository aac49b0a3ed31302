"""The gate of compression: what loses more than was allowed is not kept."""

import math
from typing import Any

import numpy as np
import pytest

from sim_models.compression.gate import Limits, judged, milliseconds
from sim_models.config import BadInput
from sim_models.field import Image

LIMITS = Limits(max_loss_db=0.2, min_fidelity_db=40.0)
RANDOM = np.random.default_rng(0)
IMAGES = [RANDOM.random((16, 16)) for _ in range(3)]


def psnr(image: Image, wanted: Image) -> float:
    with np.errstate(divide="ignore"):
        return float(-10 * np.log10(np.mean((image - wanted) ** 2)))


def changed(by: float, worst: float) -> list[Image]:
    return [IMAGES[0] + by, IMAGES[1] + worst, IMAGES[2] + by]


def judge(after: list[Image], references: list[Image] | None = None, **more: Any) -> Any:
    return judged(IMAGES, after, references, psnr, LIMITS.model_copy(update=more), held_out=True)


def test_without_references_the_worst_stack_decides() -> None:
    found = judge(changed(0.001, 0.005))
    assert (found.criterion, found.limit, found.stacks, found.held_out) == ("fidelity_db", 40.0, 3, True)
    assert found.value == pytest.approx(-20 * math.log10(0.005))
    with pytest.raises(
        BadInput,
        match=r"keeps 33.98 dB .* on the worst of 3 stacks, but at least 40 dB .*nothing is written",
    ):
        judge(changed(0.001, 0.02))


def test_with_references_it_is_what_is_lost_against_them() -> None:
    references = [image + 0.1 for image in IMAGES]
    found = judge([image - 0.001 for image in IMAGES], references)
    assert found.criterion == "loss_db"
    assert found.value == pytest.approx(20 * math.log10(0.101 / 0.1))
    with pytest.raises(BadInput, match=r"loses 1\.58 dB .* references .* at most 0\.2 dB may be lost"):
        judge([IMAGES[0], IMAGES[1], IMAGES[2] - 0.02], references)


def test_what_is_better_than_before_passes() -> None:
    found = judge([image + 0.05 for image in IMAGES], [image + 0.1 for image in IMAGES])
    assert found.value < 0


def test_equal_images_pass_any_limit() -> None:
    assert judge(IMAGES, min_fidelity_db=1e9).value is None
    assert judge(IMAGES, IMAGES, max_loss_db=0.0).value == 0


@pytest.mark.parametrize("references", [None, IMAGES])
def test_what_is_no_number_does_not_pass(references: list[Image] | None) -> None:
    with pytest.raises(BadInput, match="nan dB"):
        judge([IMAGES[0], np.full((16, 16), np.nan), IMAGES[2]], references)


def test_times_are_for_a_megapixel() -> None:
    before, after = milliseconds(
        lambda stack: stack, lambda stack: np.sort(stack, axis=None), np.ones((500, 500)), 3
    )
    assert 0 <= before < after
