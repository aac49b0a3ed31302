import math

import numpy as np
import pytest

from sim_models.config import BadInput
from sim_models.evaluation.metrics import METRICS, SMALLEST_PX


def image(seed: int = 0, edge: int = 32) -> np.ndarray:
    """Values between exactly 0 and 100."""
    values = np.random.default_rng(seed).random((edge, edge))
    return np.asarray(100 * (values - values.min()) / np.ptp(values))


def test_a_constant_error_has_the_analytic_values() -> None:
    target = image()
    scores = {name: metric(target + 10, target, border_px=0) for name, metric in METRICS.items()}
    assert scores["psnr_targetrange_noscale"] == pytest.approx(20)  # 20 log10(100 / 10)
    assert scores["nrmse_std_noscale"] == pytest.approx(10 / target.std())
    assert scores["ssim_targetrange_affine"] == pytest.approx(1)
    assert scores["nrmse_std_affine"] == pytest.approx(0, abs=1e-12)


def test_ssim_of_two_flat_images_is_its_luminance_term() -> None:
    """Wang et al. 2004, eq. 6; the single bright pixel only sets the range of 1 and lies out of reach."""
    target = np.full((41, 41), 0.5)
    target[0, 0], target[0, 1] = 0.0, 1.0
    prediction = np.where(target == 0.5, 0.6, target)
    ssim = METRICS["ssim_targetrange_noscale"](prediction, target, border_px=0)
    luminance = (2 * 0.5 * 0.6 + 0.01**2) / (0.5**2 + 0.6**2 + 0.01**2)
    assert luminance < 1
    assert ssim == pytest.approx(luminance, abs=2e-3)


@pytest.mark.parametrize("kind", ["psnr_targetrange", "ssim_targetrange", "nrmse_std"])
def test_a_gain_error_shows_without_scaling_and_vanishes_with_it(kind: str) -> None:
    target, best = image(), METRICS[f"{kind}_noscale"]
    perfect = best(target, target, 0)
    assert abs(best(2 * target + 5, target, 0) - perfect) > 0.1
    fitted = METRICS[f"{kind}_affine"](2 * target + 5, target, 0)
    assert fitted > 200 if math.isinf(perfect) else fitted == pytest.approx(perfect)


def test_psnr_of_equal_images_is_infinite() -> None:
    assert METRICS["psnr_targetrange_noscale"](image(), image(), 0) == math.inf


@pytest.mark.parametrize("name", METRICS)
def test_more_noise_is_worse(name: str) -> None:
    metric, target, noise = METRICS[name], image(0), image(1) - 50
    little, much = metric(target + 0.1 * noise, target, 0), metric(target + 0.5 * noise, target, 0)
    assert (little > much) == metric.higher_is_better


@pytest.mark.parametrize("name", METRICS)
def test_the_border_is_left_out(name: str) -> None:
    metric, target = METRICS[name], image()
    prediction = target + 0.1 * image(1)
    spoilt = prediction.copy()
    spoilt[:4], spoilt[:, -4:] = 1e4, -1e4
    assert metric(spoilt, target, 4) == metric(prediction, target, 4)
    assert metric(spoilt, target, 3) != metric(prediction, target, 3)


def test_a_constant_prediction_is_scored() -> None:
    target = image()
    assert METRICS["nrmse_std_affine"](np.zeros_like(target), target, 0) == pytest.approx(1)


def test_what_cannot_be_scored_is_refused() -> None:
    metric = METRICS["ssim_targetrange_noscale"]
    with pytest.raises(BadInput, match=r"\(16, 16\) cannot be scored against a target of shape \(32, 32\)"):
        metric(image(edge=16), image(), 0)
    with pytest.raises(BadInput, match=r"leaves a target of shape \(10, 10\)"):
        metric(image(edge=30), image(edge=30), 10)
    with pytest.raises(BadInput, match=r"target is constant \(3\)"):
        metric(image(), np.full((32, 32), 3.0), 4)
    metric(image(edge=SMALLEST_PX), image(1, edge=SMALLEST_PX), 0)
