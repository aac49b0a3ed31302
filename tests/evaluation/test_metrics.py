import math

import numpy as np
import pytest
from scipy.signal import convolve2d

from sim_models.config import BadInput
from sim_models.evaluation.metrics import METRICS, SCALE_WEIGHTS, SMALLEST_PX


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


@pytest.mark.parametrize("kind", ["psnr_targetrange", "ssim_targetrange", "ms_ssim_targetrange", "nrmse_std"])
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
    with pytest.raises(BadInput, match="not finite"):
        metric(np.where(image() == 100, np.nan, image()), image(), 0)
    metric(image(edge=SMALLEST_PX), image(1, edge=SMALLEST_PX), 0)


def test_targets_without_planes_or_frames_are_refused() -> None:
    for empty in (np.arange(32.0), np.zeros((0, 32, 32))):
        with pytest.raises(BadInput, match="leaves a target of shape"):
            METRICS["psnr_targetrange_noscale"](empty, empty, 0)


def smooth_and_noisy(edge: int, noise: float) -> tuple[np.ndarray, np.ndarray]:
    """A target (edge, edge) with structure at many scales, and a prediction."""
    random = np.random.default_rng(4)
    rows, columns = np.indices((edge, edge))
    target = 50 + 20 * np.sin(rows / 3) * np.cos(columns / 5) + 10 * np.sin((rows + columns) / 11)
    return target + noise * random.standard_normal(target.shape), target


def written_out_ms_ssim(prediction: np.ndarray, target: np.ndarray, weights: tuple[float, ...]) -> float:
    """Wang, Simoncelli & Bovik 2003, eq. 7, one scale after the other, with the window as a matrix."""
    axis = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    window = np.outer(axis, axis) / np.outer(axis, axis).sum()
    c1, c2 = (0.01 * np.ptp(target)) ** 2, (0.03 * np.ptp(target)) ** 2
    product = 1.0
    for scale, weight in enumerate(weights, 1):
        p, t = (convolve2d(each, window, "valid") for each in (prediction, target))
        pp, tt, pt = (
            convolve2d(one * other, window, "valid") - m * n
            for one, other, m, n in (
                (prediction, prediction, p, p),
                (target, target, t, t),
                (prediction, target, p, t),
            )
        )
        term = (2 * pt + c2) / (pp + tt + c2)
        if scale == len(weights):
            term = term * (2 * p * t + c1) / (p**2 + t**2 + c1)
        product *= term.mean() ** weight
        prediction, target = (
            convolve2d(each, np.full((2, 2), 0.25), "valid")[::2, ::2] for each in (prediction, target)
        )
    return product


@pytest.mark.parametrize("noise", [1.0, 10.0, 40.0])
def test_ms_ssim_is_that_of_the_paper(noise: float) -> None:
    prediction, target = smooth_and_noisy(192, noise)
    found = METRICS["ms_ssim_targetrange_noscale"](prediction, target, 0)
    assert found == pytest.approx(written_out_ms_ssim(prediction, target, SCALE_WEIGHTS), rel=1e-9)


def test_ms_ssim_agrees_with_another_implementation() -> None:
    """The number is that of pytorch-msssim 1.0.0 with the same data range; its window is in single precision."""
    found = METRICS["ms_ssim_targetrange_noscale"](*smooth_and_noisy(192, 10.0), 0)
    assert found == pytest.approx(0.90628, abs=1e-5)


@pytest.mark.parametrize(("edge", "scales"), [(88, 4), (48, 3), (40, 2)])
def test_small_images_have_fewer_scales(edge: int, scales: int) -> None:
    prediction, target = smooth_and_noisy(edge, 10.0)
    weights = np.array(SCALE_WEIGHTS[:scales])
    weights *= sum(SCALE_WEIGHTS) / weights.sum()
    found = METRICS["ms_ssim_targetrange_noscale"](prediction, target, 0)
    assert found == pytest.approx(written_out_ms_ssim(prediction, target, tuple(weights)), rel=1e-9)


def test_ms_ssim_of_one_scale_is_ssim() -> None:
    prediction, target = smooth_and_noisy(21, 10.0)
    ms_ssim, ssim = (
        METRICS[f"{name}_targetrange_noscale"](prediction, target, 0) for name in ("ms_ssim", "ssim")
    )
    assert ms_ssim == pytest.approx(ssim ** sum(SCALE_WEIGHTS), rel=1e-9)


def test_structure_of_the_opposite_sign_has_no_ms_ssim() -> None:
    _, target = smooth_and_noisy(192, 0.0)
    assert METRICS["ms_ssim_targetrange_noscale"](100 - target, target, 0) == 0


def volume() -> tuple[np.ndarray, np.ndarray]:
    """A prediction and a target (T, Z, Y, X) of frames that differ much in brightness."""
    random = np.random.default_rng(7)
    target = random.random((2, 3, 30, 40)) * np.arange(1, 7).reshape(2, 3, 1, 1)
    return target + 0.2 * random.standard_normal(target.shape), target


def test_volumes_have_the_error_and_range_of_all_their_values() -> None:
    prediction, target = volume()
    inner = (..., slice(4, -4), slice(4, -4))
    rms = np.sqrt(np.mean((prediction[inner] - target[inner]) ** 2))
    expected = {
        "psnr_targetrange_noscale": 20 * np.log10(np.ptp(target[inner]) / rms),
        "nrmse_std_noscale": rms / target[inner].std(),
    }
    for name, value in expected.items():
        assert METRICS[name](prediction, target, 4) == pytest.approx(value)


@pytest.mark.parametrize("kind", ["ssim", "ms_ssim"])
def test_similarity_of_volumes_is_the_mean_over_frames_with_the_range_of_all(kind: str) -> None:
    prediction, target = volume()
    metric = METRICS[f"{kind}_targetrange_noscale"]
    lone = np.stack([target[1, 2]] * 3)  # the brightest frame has nearly the range of all
    assert metric(lone + 0.1, lone, 4) == pytest.approx(metric(lone[0] + 0.1, lone[0], 4))
    brightest = metric(prediction[1, 2], target[1, 2], 4)
    pair_p, pair_t = prediction[:, 2], target[:, 2]
    alone = metric(pair_p[0], pair_t[0], 4)
    assert metric(pair_p, pair_t, 4) > (alone + brightest) / 2  # dim frames are judged more kindly than alone


@pytest.mark.parametrize("name", METRICS)
def test_one_frame_is_scored_alike_as_plane_and_as_volume(name: str) -> None:
    prediction, target = image(1), image()
    assert METRICS[name](prediction[None, None], target[None, None], 2) == METRICS[name](
        prediction, target, 2
    )


def test_frames_that_are_constant_do_not_spoil_a_volume() -> None:
    prediction, target = volume()
    target[0, 0] = 1.0
    assert all(np.isfinite(metric(prediction, target, 0)) for metric in METRICS.values())
