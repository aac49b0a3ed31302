"""Whether a super-resolved image, blurred again, is the wide-field image of the same field (SQUIRREL).

Culley et al., Nat. Methods 15 (2018) 263. It needs no target, and cannot see anything finer than the wide-field: an
image that is merely blurred passes it. It tells light that is missing or invented.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim_models.config import BadInput
from sim_models.evaluation.metrics import inside
from sim_models.field import Image

Pixels = NDArray[np.float64]

WIDEST_SIGMA = 5.0
"""pixels of the wide-field; the Gaussian of an objective has about one where it is sampled just well enough"""

TOLERANCE = 1e-3
"""to which the width is found, in pixels of the wide-field"""


@dataclass(frozen=True)
class Squirrel:
    """What is left between a wide-field image and the super-resolved one, brought to its blur and brightness."""

    rse: float
    """resolution-scaled error: root mean square of the difference, in the unit of the wide-field"""
    rsp: float
    """resolution-scaled Pearson coefficient, -1 to 1; 0 for a constant image, which explains nothing"""
    error_map: Pixels
    """(Y, X) absolute difference in the unit of the wide-field; less the border"""
    sigma_px: float
    """width of the fitted Gaussian in pixels of the super-resolved image"""
    gain: float
    """a, not below zero: light adds up"""
    offset: float
    """b, in the unit of the wide-field"""


def squirrel(image: Image, widefield: Image, border_px: int = 0) -> Squirrel:
    """Fit an image (s Y, s X) to the wide-field (Y, X) of the same field and tell what is left.

    Culley et al. 2018, Online Methods, with the blocks of s x s pixels that a pixel of the wide-field covers:

        (a, b, sigma) = argmin sum (widefield - blockmean(a * image + b, convolved with a Gaussian of sigma))^2

    a and b are those of least squares for each sigma between 0 and `WIDEST_SIGMA`; sigma is searched by Brent's method.
    Images go on beyond their edges like in a mirror.

    `border_px` pixels of the image along every edge are not judged, rounded up to whole pixels of the wide-field. Their
    light still reaches what is, as it does under the microscope.

    Raises:
        BadInput: if one size is no whole multiple of the other, the border leaves nothing, the wide-field is constant,
            or a value is not finite.
    """
    from scipy.optimize import minimize_scalar  # slow to import

    scale = whole_scale(image.shape, widefield.shape)
    if scale is None:
        raise BadInput(
            f"an image of shape {image.shape} cannot be held against a wide-field of shape {widefield.shape}; "
            "its size must be a whole multiple"
        )
    border = rounded_up(border_px, scale)
    wanted = inside(widefield, border).astype(np.float64)
    if wanted.size == 0 or np.ptp(wanted) == 0:
        raise BadInput(
            f"a wide-field of shape {widefield.shape} is constant or empty within a border of {border} of its pixels, "
            "so nothing can be held against it; choose a narrower border or leave this field out"
        )
    if not (np.isfinite(image).all() and np.isfinite(widefield).all()):
        raise BadInput("an image or its wide-field has values that are not finite; restore it again")
    blurred = _Blurred(image.astype(np.float64), scale)

    def left(sigma: float) -> float:
        return _fit(blurred(sigma, border), wanted)[2]

    found = minimize_scalar(left, bounds=(0, WIDEST_SIGMA), method="bounded", options={"xatol": TOLERANCE})
    sigma = float(found.x) if found.fun < left(0) else 0.0  # the search never tries its ends
    fine = blurred(sigma, border)
    gain, offset, error = _fit(fine, wanted)
    return Squirrel(
        rse=float(np.sqrt(error)),
        rsp=_pearson(fine, wanted),
        error_map=np.abs(gain * fine + offset - wanted),
        sigma_px=scale * sigma,
        gain=gain,
        offset=offset,
    )


class _Blurred:
    """An image under Gaussians of any width, on the pixels of the wide-field.

    With mirrored edges convolution is a product of cosine transforms, of which that of the image is taken once.
    """

    def __init__(self, image: Pixels, scale: int) -> None:
        from scipy.fft import dctn  # slow to import

        self._spectrum = dctn(image)
        self._scale = scale
        rows, columns = (scale * np.arange(length) / (2 * length) for length in image.shape)
        self._exponent = -2 * np.pi**2 * (rows[:, None] ** 2 + columns**2)

    def __call__(self, sigma: float, border: int) -> Pixels:
        """(Y, X) less the border, for a width; both in pixels of the wide-field."""
        from scipy.fft import idctn

        image = idctn(self._spectrum * np.exp(self._exponent * sigma**2))
        height, width = (length // self._scale for length in image.shape)
        blocks = image.reshape(height, self._scale, width, self._scale).mean(axis=(1, 3))
        return np.asarray(inside(blocks, border))


def _fit(image: Pixels, wanted: Pixels) -> tuple[float, float, float]:
    """Gain and offset of least squares, and the mean square of what is left; no gain below zero."""
    about, wanted_about = image - image.mean(), wanted - wanted.mean()
    energy = float((about**2).sum())
    gain = max(float((about * wanted_about).sum()) / energy, 0.0) if _varies(image) else 0.0
    offset = float(wanted.mean() - gain * image.mean())
    return gain, offset, float(((wanted_about - gain * about) ** 2).mean())


def rounded_up(border_px: int, scale: int) -> int:
    """A border in pixels of the wide-field, none of which lies partly within it."""
    return -(-border_px // scale)


def _pearson(image: Pixels, wanted: Pixels) -> float:
    return float(np.corrcoef(image.ravel(), wanted.ravel())[0, 1]) if _varies(image) else 0.0


def _varies(image: Pixels) -> bool:
    """Whether by more than rounding: a constant image comes out of two transforms as almost constant."""
    return float(np.ptp(image)) > 1e-10 * float(np.abs(image).max())


def whole_scale(image: tuple[int, ...], coarse: tuple[int, ...]) -> int | None:
    """How many times larger a shape (s Y, s X) is than (Y, X); None if not a whole number or unlike by direction."""
    if not len(image) == len(coarse) == 2 or min(coarse) == 0:
        return None
    scale = image[0] // coarse[0]
    return scale if scale and image == tuple(scale * length for length in coarse) else None
