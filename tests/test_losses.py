import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from skimage.metrics import structural_similarity

from sim_models.losses import CHARBONNIER_EPSILON, LOSSES, LossSettings, dissimilarity

ZEROS = torch.zeros(2, 1, 4, 4)


@pytest.mark.parametrize(
    ("name", "value"),
    [("mse", 9.0), ("l1", 3.0), ("charbonnier", math.sqrt(9 + CHARBONNIER_EPSILON**2))],
)
def test_a_constant_error_of_three(name: str, value: float) -> None:
    assert LOSSES[name](ZEROS + 3, ZEROS).item() == pytest.approx(value)


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_are_finite_where_the_prediction_is_right(name: str) -> None:
    prediction = ZEROS.clone().requires_grad_()
    LOSSES[name](prediction, ZEROS).backward()
    assert prediction.grad is not None
    assert prediction.grad.isfinite().all()


def test_terms_are_weighted_and_named() -> None:
    terms = LossSettings(terms={"l1": 1.0, "mse": 5.0}).named_terms(ZEROS + 2, ZEROS)
    assert {name: term.item() for name, term in terms.items()} == {"l1": 2.0, "mse": 20.0}


@pytest.mark.parametrize(
    ("terms", "sentence"),
    [
        ({}, "at least 1 item"),
        ({"mse": 0.0}, "greater than 0"),
        ({"msee": 1.0}, "there is no loss term 'msee'; choose from mse, l1"),
    ],
)
def test_useless_terms_are_refused(terms: dict[str, float], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        LossSettings(terms=terms)


def test_dissimilarity_is_that_of_another_implementation() -> None:
    random = np.random.default_rng(0)
    one, other = random.random((2, 40, 48)).astype(np.float32)
    similarity = structural_similarity(
        one, other, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1.0, full=True
    )[1][5:-5, 5:-5].mean()
    found = dissimilarity(torch.tensor(one)[None, None], torch.tensor(other)[None, None])
    assert found.item() == pytest.approx(1 - similarity, abs=1e-5)
    assert dissimilarity(*[torch.tensor(one)[None, None]] * 2).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("name", ["scale_free_mse", "scale_free_dissimilarity"])
def test_scale_free_terms_do_not_see_brightness(name: str) -> None:
    prediction, target = torch.rand(2, 3, 1, 16, 16)
    term = LOSSES[name](prediction, target)
    torch.testing.assert_close(LOSSES[name](7 * prediction + 3, 0.2 * target - 1), term)
    assert LOSSES[name](5 * target + 2, target) < 1e-6 < term
