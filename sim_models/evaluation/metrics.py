"""Metrics of one restored image against its target, with the protocol in the name.

* `targetrange`: the data range is maximum minus minimum of the target (not of a data type).
* `std`: the error is divided by the standard deviation of the target.
* `noscale`: prediction and target are compared as they are, so a wrong gain or offset counts.
* `affine`: the prediction is first mapped to the target by the gain and offset of least squares, so only
  structure counts. It suits methods that give no physical unit.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sim_models.config import BadInput
from sim_models.field import Image

Pixels = NDArray[np.float64]

SMALLEST_PX = 11
"""width of the SSIM window: 3.5 standard deviations to each side"""


@dataclass(frozen=True)
class Metric:
    """A number for a restored image and its target, and how to read it."""

    function: Callable[[Pixels, Pixels], float]
    unit: Literal["dB", "1"]
    higher_is_better: bool

    def __call__(self, prediction: Image, target: Image, border_px: int) -> float:
        """Compare a prediction (Y, X) with a target (Y, X).

        `border_px` pixels are left out on every side, where a network has seen only half the context.

        Raises:
            BadInput: if the shapes differ, or what is left of the target is too small or constant.
        """
        if prediction.shape != target.shape:
            raise BadInput(
                f"a prediction of shape {prediction.shape} cannot be scored against a target of shape "
                f"{target.shape}; check the scale of the task"
            )
        inner = tuple(slice(border_px, length - border_px) for length in target.shape)
        predicted, wanted = prediction[inner].astype(np.float64), target[inner].astype(np.float64)
        _check(wanted, border_px)
        return self.function(predicted, wanted)


def _check(target: Pixels, border_px: int) -> None:
    if min(target.shape) < SMALLEST_PX:
        raise BadInput(
            f"a border of {border_px} pixels leaves a target of shape {target.shape}, smaller than the SSIM "
            f"window of {SMALLEST_PX} pixels; choose a narrower border or larger fields"
        )
    if np.ptp(target) == 0:
        raise BadInput(
            f"the target is constant ({target.flat[0]:g}) within a border of {border_px} pixels, so no "
            "metric is defined; leave this field out of the evaluation"
        )


def psnr(prediction: Pixels, target: Pixels) -> float:
    """Peak signal-to-noise ratio in dB; infinite for equal images."""
    from skimage.metrics import peak_signal_noise_ratio  # slow to import, here and below

    with np.errstate(divide="ignore"):
        return float(peak_signal_noise_ratio(target, prediction, data_range=np.ptp(target)))


def ssim(prediction: Pixels, target: Pixels) -> float:
    """Structural similarity with the Gaussian window and constants of Wang et al. 2004, section III.C."""
    from skimage.metrics import structural_similarity

    return float(
        structural_similarity(
            target,
            prediction,
            data_range=np.ptp(target),
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            K1=0.01,
            K2=0.03,
        )
    )


def nrmse(prediction: Pixels, target: Pixels) -> float:
    """Root mean square error in standard deviations of the target."""
    from skimage.metrics import mean_squared_error

    return float(np.sqrt(mean_squared_error(target, prediction)) / target.std())


def fitted_to_target(prediction: Pixels, target: Pixels) -> Pixels:
    """The prediction with the gain and offset that bring it closest to the target (least squares)."""
    columns = np.stack([prediction.ravel(), np.ones(prediction.size)], axis=1)
    gain, offset = np.linalg.lstsq(columns, target.ravel())[0]
    return np.asarray(gain * prediction + offset)


def _after_fit(function: Callable[[Pixels, Pixels], float]) -> Callable[[Pixels, Pixels], float]:
    return lambda prediction, target: function(fitted_to_target(prediction, target), target)


METRICS: dict[str, Metric] = {
    "psnr_targetrange_noscale": Metric(psnr, "dB", higher_is_better=True),
    "psnr_targetrange_affine": Metric(_after_fit(psnr), "dB", higher_is_better=True),
    "ssim_targetrange_noscale": Metric(ssim, "1", higher_is_better=True),
    "ssim_targetrange_affine": Metric(_after_fit(ssim), "1", higher_is_better=True),
    "nrmse_std_noscale": Metric(nrmse, "1", higher_is_better=False),
    "nrmse_std_affine": Metric(_after_fit(nrmse), "1", higher_is_better=False),
}
