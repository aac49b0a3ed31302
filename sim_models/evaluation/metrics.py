"""Metrics of one restored image against its target, with the protocol in the name.

* `targetrange`: the data range is maximum minus minimum of the target (not of a data type).
  Of a volume it is that of all its frames together.
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

WINDOW_SIGMA_PX, K1, K2 = 1.5, 0.01, 0.03
"""window and constants of Wang et al. 2004, section III.C"""

SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""exponents of MS-SSIM from the finest to the coarsest scale: Wang, Simoncelli & Bovik 2003, section 3.2"""


@dataclass(frozen=True)
class Metric:
    """A number for a restored image and its target, and how to read it."""

    function: Callable[[Pixels, Pixels], float]
    unit: Literal["dB", "1"]
    higher_is_better: bool

    def __call__(self, prediction: Image, target: Image, border_px: int) -> float:
        """Compare a prediction (..., Y, X) with a target (..., Y, X), such as one image or a volume (T, Z, Y, X).

        `border_px` pixels are left out along every edge of Y and X, where a network has seen only half the context.
        PSNR and NRMSE are over all values together; SSIM and MS-SSIM are means over the frames (Y, X).

        Raises:
            BadInput: if the shapes differ, a predicted value is not finite, or what is left of the target is too small
                or constant.
        """
        if prediction.shape != target.shape:
            raise BadInput(
                f"a prediction of shape {prediction.shape} cannot be scored against a target of shape "
                f"{target.shape}; check the scale of the task"
            )
        if not np.isfinite(prediction).all():
            raise BadInput(
                f"a prediction of shape {prediction.shape} has values that are not finite and cannot be scored; "
                "train the model again with a lower learning rate"
            )
        predicted, wanted = (inside(image, border_px).astype(np.float64) for image in (prediction, target))
        _check(wanted, border_px)
        return self.function(predicted, wanted)


def inside(image: Image, border_px: int) -> Image:
    """An image (..., Y, X) without so many pixels along every edge; empty where the border leaves none."""
    if image.ndim < 2:
        return image
    height, width = image.shape[-2:]
    return image[..., border_px : height - border_px, border_px : width - border_px]


def _check(target: Pixels, border_px: int) -> None:
    if target.ndim < 2 or min(target.shape[-2:]) < SMALLEST_PX or target.size == 0:
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
    """Structural similarity with the Gaussian window and constants of Wang et al. 2004, section III.C.

    Of (..., Y, X) it is the mean over frames, with the data range of the whole target.
    """
    from skimage.metrics import structural_similarity

    data_range = np.ptp(target)
    return _mean_over_frames(
        lambda predicted, wanted: float(
            structural_similarity(
                wanted,
                predicted,
                data_range=data_range,
                gaussian_weights=True,
                sigma=WINDOW_SIGMA_PX,
                use_sample_covariance=False,
                K1=K1,
                K2=K2,
            )
        ),
        prediction,
        target,
    )


def ms_ssim(prediction: Pixels, target: Pixels) -> float:
    """Multi-scale structural similarity of Wang, Simoncelli & Bovik 2003, eq. 7.

    The product over scales of the mean contrast and structure term to the power of `SCALE_WEIGHTS`; at the coarsest
    scale luminance is in it too. From one scale to the next, pixels are averaged two by two (a last odd row or column
    is left out). Window, constants and data range are those of `ssim`.

    Images of fewer than 176 pixels have fewer scales: as many, up to five, as the window of 11 pixels fits into. Their
    weights are raised in proportion until they have the sum of all five. So numbers of images with different numbers of
    scales are not comparable. A mean below zero (structure of the opposite sign) has no real power and counts as zero.

    Of (..., Y, X) it is the mean over frames, with the data range of the whole target.
    """
    data_range = float(np.ptp(target))
    return _mean_over_frames(
        lambda predicted, wanted: _ms_ssim_of_frame(predicted, wanted, data_range), prediction, target
    )


def _ms_ssim_of_frame(prediction: Pixels, target: Pixels, data_range: float) -> float:
    fitting = int(np.log2(min(target.shape) / SMALLEST_PX)) + 1
    weights = np.array(SCALE_WEIGHTS[:fitting])
    weights *= sum(SCALE_WEIGHTS) / weights.sum()
    means = []
    for scale in range(len(weights)):
        if scale:
            prediction, target = _halved(prediction), _halved(target)
        similarity, structure = _similarity(prediction, target, data_range)
        means.append(similarity if scale == len(weights) - 1 else structure)
    return float(np.prod(np.maximum(means, 0) ** weights))


def _similarity(prediction: Pixels, target: Pixels, data_range: float) -> tuple[float, float]:
    """Mean SSIM and the mean of its contrast and structure term alone, where the window is inside the image."""
    from scipy.ndimage import gaussian_filter

    def smooth(image: Pixels) -> Pixels:
        half = SMALLEST_PX // 2
        return np.asarray(gaussian_filter(image, WINDOW_SIGMA_PX, radius=half)[half:-half, half:-half])

    constant_1, constant_2 = (K1 * data_range) ** 2, (K2 * data_range) ** 2
    mean_p, mean_t = smooth(prediction), smooth(target)
    variances = smooth(prediction**2 + target**2) - mean_p**2 - mean_t**2
    covariance = smooth(prediction * target) - mean_p * mean_t
    structure = (2 * covariance + constant_2) / (variances + constant_2)
    luminance = (2 * mean_p * mean_t + constant_1) / (mean_p**2 + mean_t**2 + constant_1)
    return float((luminance * structure).mean()), float(structure.mean())


def _halved(image: Pixels) -> Pixels:
    height, width = (length // 2 for length in image.shape)
    blocks = image[: 2 * height, : 2 * width].reshape(height, 2, width, 2)
    return np.asarray(blocks.mean(axis=(1, 3)))


def _mean_over_frames(
    function: Callable[[Pixels, Pixels], float], prediction: Pixels, target: Pixels
) -> float:
    shape = (-1, *target.shape[-2:])
    frames = zip(prediction.reshape(shape), target.reshape(shape), strict=True)
    return float(np.mean([function(predicted, wanted) for predicted, wanted in frames]))


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
    "ms_ssim_targetrange_noscale": Metric(ms_ssim, "1", higher_is_better=True),
    "ms_ssim_targetrange_affine": Metric(_after_fit(ms_ssim), "1", higher_is_better=True),
    "nrmse_std_noscale": Metric(nrmse, "1", higher_is_better=False),
    "nrmse_std_affine": Metric(_after_fit(nrmse), "1", higher_is_better=False),
}
