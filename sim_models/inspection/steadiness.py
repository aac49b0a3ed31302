"""What changed while the frames were taken: brightness and place of the specimen."""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.signal.windows import tukey
from skimage.registration import phase_cross_correlation

FINEST_PX, COARSEST_PX = 1.5, 12.0
"""standard deviations; noise is finer, background and uneven light are coarser than what drift is measured by"""

PARTS = 20
"""of a pixel, to which drift is measured"""

ALIKE = 0.2
"""correlation with the first angle, below which an angle does not show the same specimen, or none"""


def brightness(frames: NDArray[np.float32]) -> NDArray[np.float64]:
    """Mean of each frame (F,) of (F, Y, X) above the darkest percent of their mean, over the mean of all."""
    means = frames.mean(axis=(1, 2), dtype=np.float64) - np.percentile(frames.mean(axis=0), 1)
    return np.asarray(means / means.mean()) if means.mean() > 0 else np.ones(len(frames))


def fading(relative: NDArray[np.float64]) -> float:
    """Share of the light lost from the first to the last frame, by a line through the logarithm; negative: gained."""
    if len(relative) < 3 or relative.min() <= 0:
        return 0.0
    slope = float(np.polyfit(np.arange(len(relative)), np.log(relative), 1)[0])
    return 1 - float(np.exp(slope * (len(relative) - 1)))


def drift_px(stack: NDArray[np.float32]) -> tuple[tuple[float, float], ...]:
    """How far the specimen of each angle lies off that of the first, (y, x); none where they have nothing in common.

    The mean over phases has no stripes. The peak of the cross-correlation, upsampled by a matrix product around it
    (Guizar-Sicairos, Thurman and Fienup 2008, Opt. Lett. 33:156), is the drift.

    Args:
        stack: (A, P, Y, X).
    """
    rows, columns = stack.shape[-2:]
    window = np.outer(tukey(rows, 0.3), tukey(columns, 0.3))
    images = [_structure(angle.mean(axis=0)) * window for angle in stack]
    if not all(image.any() for image in images):
        return ()
    shifts = [(0.0, 0.0)]
    for image in images[1:]:
        shift, error, _ = phase_cross_correlation(images[0], image, upsample_factor=PARTS, normalization=None)
        # The error is the root of what one image leaves unexplained of the other's power.
        if 1 - error**2 < ALIKE**2:
            return ()
        shifts.append((-float(shift[0]) + 0.0, -float(shift[1]) + 0.0))
    return tuple(shifts)


def _structure(image: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(gaussian_filter(image, FINEST_PX) - gaussian_filter(image, COARSEST_PX))
