"""Raw frames with much light as what dim ones of the same cell should have been: the role `raw_clean`.

Levels are taken one after the other. Where the cell or the stripes moved in between, the bright frames are no answer to
the dim ones, however clean they are; a network would learn to move stripes.
"""

import math

import numpy as np
from numpy.typing import NDArray

from sim_models.config import BadInput
from sim_models.field import Image

MOVED_RAD = 0.5
"""of the phase of the stripes, which changes frames by an eighth of their modulation: 1 - cos(0.5)"""
MOVED_PX = 0.5
"""raw pixels of the cell"""
FINEST = 20
"""steps in a pixel in which a shift is looked for"""


class Moved(BadInput):
    """The cell itself."""


def as_bright(clean: Image, raw: Image) -> tuple[NDArray[np.float32], str]:
    """Clean frames (A, P, Y, X) on the scale of noisy ones, and how that was done.

    Gain and offset are those of least squares over all frames, whose noise is in `raw` and cancels.

    Raises:
        Moved: if the cell lies elsewhere in one.
        BadInput: if they do not show the same otherwise.
    """
    if clean.shape != raw.shape:
        raise BadInput(f"the frames with much light are {clean.shape}, these {raw.shape}")
    bright, dim = clean.astype(np.float64), raw.astype(np.float64)
    gain = float(((bright - bright.mean()) * (dim - dim.mean())).mean() / bright.var())
    if gain <= 0:
        raise BadInput("the frames with much light do not show what these show")
    if (moved_px := shift_px(bright.mean(axis=(0, 1)), dim.mean(axis=(0, 1)))) > MOVED_PX:
        raise Moved(f"the cell moved by {moved_px:.1f} pixels between them and the frames with much light")
    _refuse_moved_stripes(bright, dim)
    offset = float(dim.mean() - gain * bright.mean())
    return (gain * bright + offset).astype(np.float32), f"times {gain:.4g} plus {offset:.4g}"


def shift_px(one: Image, other: Image) -> float:
    """By how much an image (Y, X) lies beside another of the same scene, in pixels."""
    from skimage.registration import phase_cross_correlation  # slow to import

    # Not normalised: in a dim image most frequencies hold noise alone, which would weigh as much as the cell.
    shift, _, _ = phase_cross_correlation(one, other, upsample_factor=FINEST, normalization=None)
    return math.hypot(*shift)


def _refuse_moved_stripes(bright: Image, dim: Image) -> None:
    """By the first harmonic over the phases of each angle, pixel by pixel: its mean product has the phase between both.

    The noise of one is independent of that of the other, so it does not turn this phase.
    """
    phases = bright.shape[1]
    if phases < 3:
        return  # the first harmonic is real and has no phase
    one, other = (np.fft.fft(each, axis=1)[:, 1] for each in (bright, dim))
    turned = np.angle((other * one.conj()).mean(axis=(-2, -1)))
    worst = int(np.abs(turned).argmax())
    if abs(turned[worst]) > MOVED_RAD:
        raise BadInput(
            f"the stripes of angle {worst + 1} moved by {math.degrees(abs(turned[worst])):.0f} degrees between them "
            "and the frames with much light"
        )
