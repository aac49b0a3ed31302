"""Whether a super-resolved image could have given the raw frames: it is degraded again and compared with them.

The image is taken for an ideal one (see `forward.ideal_reference`): undoing its transfer function gives the object
within the extended cutoff, which is put into the stripes, seen through the objective and laid on the camera's pixels.
What is left of the frames should be noise. Two numbers per place say whether it is:

* chi-squared over its expectation, in a neighbourhood of the size of a PSF: 1 for a perfect image;
* the score of a point of light there (Rao, Proc. Camb. Philos. Soc. 44 (1948) 50): how many standard deviations of
  light the frames miss (positive) or have too much of (negative) at that place. It gathers what a structure that is
  invented or lost leaves in all frames, and is far more sensitive.
"""

import math
from dataclasses import dataclass

import torch
from scipy.stats import norm

from sim_models.config import BadInput
from sim_models.field import Illumination, Microscope
from sim_models.optics.fourier import filtered, frequencies_per_um
from sim_models.optics.illumination import patterns, pixel_centres_um
from sim_models.optics.otf import Otf, circular_pupil_otf, extended_cutoff_per_um, pixel_transfer
from sim_models.optics.threads import threads_for

SCALE = 2
"""pixels of the image per raw pixel along an axis"""

MARGIN_PX = 8
"""raw pixels the image is mirrored into on every side"""

BORDER_PX = 4
"""raw pixels at the borders whose light came in part from outside; not judged"""

LOWEST_TRANSFER = 0.02
"""of an ideal image: frequencies with less are left out, since nothing of them reaches the camera either"""

LEAST_VARIANCE = 0.1
"""electrons squared, of a pixel; without it a dark pixel of a noise-free camera would decide alone"""

AROUND_PX = 7
"""raw pixels along the edge of a neighbourhood"""

PIXELS_PER_PLACE = 4
"""pixels of the image that are told apart about as well as one"""

FALSE_ALARMS = 0.01
"""probability that the score of a perfect image exceeds the limit anywhere"""


@dataclass(frozen=True)
class Consistency:
    """How well an image explains the raw frames."""

    chi2_reduced: float
    """over all pixels and frames"""
    chi2_map: torch.Tensor
    """(Y, X) the same in the neighbourhood of each raw pixel"""
    score_map: torch.Tensor
    """(2 Y, 2 X) standard deviations of light missing (positive) or too much (negative) in the image"""
    limit: float
    """|score| that a perfect image exceeds anywhere with the probability FALSE_ALARMS"""
    expected: torch.Tensor
    """(A, P, Y, X) the frames the image would have given, photo-electrons"""

    @property
    def flagged(self) -> torch.Tensor:
        """(2 Y, 2 X) where the image contradicts the frames."""
        return self.score_map.abs() > self.limit


def check_consistency(
    image: torch.Tensor,
    frames: torch.Tensor,
    microscope: Microscope,
    illumination: Illumination,
    otf: Otf | None = None,
    fit_scale: bool = False,
    hazy_per_um: float = 0.0,
) -> Consistency:
    """Compare an image (2 Y, 2 X) with the frames (A, P, Y, X) it is to explain, both in photo-electrons per raw pixel.

    Args:
        image: pixels are areas (see `reconstruct.AREAS`).
        frames: photo-electrons above the offset.
        microscope: with its camera, whose read noise counts.
        illumination: the stripes, as estimated or known.
        otf: the true one; None for an ideal objective.
        fit_scale: first bring the image to the frames by a gain and an offset, where it has a scale of its own.
        hazy_per_um: light without stripes below this frequency is not held against an image that leaves it out.

    Raises:
        BadInput: if image and frames do not fit.
    """
    _check(image, frames, illumination, microscope)
    with threads_for(frames):
        return _compared(image, frames, microscope, illumination, otf, fit_scale, hazy_per_um)


def _compared(
    image: torch.Tensor,
    frames: torch.Tensor,
    microscope: Microscope,
    illumination: Illumination,
    otf: Otf | None,
    fit_scale: bool,
    hazy_per_um: float,
) -> Consistency:
    assert microscope.camera is not None
    shape = frames.shape[-2], frames.shape[-1]
    degrade = Degradation(microscope, illumination, otf or Otf.ideal(microscope), shape, frames.device)
    expected = degrade(image)
    if fit_scale:
        expected = _scaled(expected, frames)
    if hazy_per_um:
        left = (frames - expected).mean(dim=1, keepdim=True)
        expected = expected + _smooth(left, hazy_per_um, microscope.pixel_um)
    variance = expected.clamp(min=0) + max(microscope.camera.read_noise**2, LEAST_VARIANCE)
    inside = torch.zeros(shape, device=frames.device)
    inside[BORDER_PX:-BORDER_PX, BORDER_PX:-BORDER_PX] = 1
    residual = (frames - expected) * inside
    squares = (residual.square() / variance).mean(dim=(0, 1))
    score = (
        degrade.light(residual / variance) / degrade.information(inside / variance).clamp(min=1e-12).sqrt()
    )
    return Consistency(
        float(squares.sum() / inside.sum()),
        _around(squares) / _around(inside).clamp(min=1e-3),
        score,
        float(norm.isf(FALSE_ALARMS / 2 / (score.numel() / PIXELS_PER_PLACE))),
        expected,
    )


class Degradation:
    """The linear way from an image to the frames it would have given, and back from frames to light in the object."""

    def __init__(
        self,
        microscope: Microscope,
        illumination: Illumination,
        otf: Otf,
        shape: tuple[int, int],
        device: torch.device,
    ) -> None:
        """For frames of `shape` (Y, X)."""
        self._shape = shape
        fine_um = microscope.pixel_um / SCALE
        wide = tuple(SCALE * (size + 2 * MARGIN_PX) for size in shape)
        rows, columns = (axis.float().to(device) for axis in frequencies_per_um((wide[0], wide[1]), fine_um))
        columns = columns[:, : wide[1] // 2 + 1].abs()
        cutoff = extended_cutoff_per_um(microscope, illumination)
        ideal = circular_pupil_otf(rows, columns, cutoff)
        if otf.pixel_um:
            ideal = ideal * pixel_transfer(rows, columns, otf.pixel_um / SCALE)
        self._undo = torch.where(ideal > LOWEST_TRANSFER, 1 / ideal.clamp(min=LOWEST_TRANSFER), 0.0)
        self._otf = otf(rows, columns)
        # A raw pixel's middle lies between finer ones, a quarter of it further on than the first of them.
        quarter = microscope.pixel_um / 4
        self._to_middle = torch.exp(2j * math.pi * quarter * (rows + columns)).to(torch.complex64)
        y_um, x_um = (
            pixel_centres_um(size, microscope.pixel_um, SCALE, -MARGIN_PX).float().to(device) for size in wide
        )
        self._patterns = patterns(illumination, y_um, x_um)

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        """Frames (A, P, Y, X) of an image (2 Y, 2 X)."""
        light = self._filtered(_mirrored(image, SCALE * MARGIN_PX), self._undo)
        return self.frames(light)

    def frames(self, light: torch.Tensor) -> torch.Tensor:
        """Frames (A, P, Y, X) of an object on the finer grid with its margin."""
        seen = self._filtered(light * self._patterns, self._otf * self._to_middle)
        margin = MARGIN_PX
        return seen[..., ::SCALE, ::SCALE][..., margin:-margin, margin:-margin]

    def light(self, frames: torch.Tensor) -> torch.Tensor:
        """The adjoint of `frames`, without the margin: (A, P, Y, X) to (2 Y, 2 X)."""
        return self._cut((self._spread(frames, self._otf) * self._patterns).sum(dim=(0, 1)))

    def information(self, weights: torch.Tensor) -> torch.Tensor:
        """(2 Y, 2 X) sum over frames and pixels of weights (A, P, Y, X) times the square of a point's image there."""
        psf = torch.fft.irfft2(self._otf, s=self._fine)
        squared = torch.fft.rfft2(psf.square())
        return self._cut((self._spread(weights, squared) * self._patterns.square()).sum(dim=(0, 1)))

    @property
    def _fine(self) -> tuple[int, int]:
        return self._patterns.shape[-2], self._patterns.shape[-1]

    def _filtered(self, images: torch.Tensor, transfer: torch.Tensor) -> torch.Tensor:
        passed: torch.Tensor = torch.fft.irfft2(torch.fft.rfft2(images) * transfer, s=self._fine)
        return passed

    def _spread(self, frames: torch.Tensor, transfer: torch.Tensor) -> torch.Tensor:
        """Raw pixels put on the finer grid, and each spread over what it can have come from."""
        fine = frames.new_zeros(*frames.shape[:-2], *self._fine)
        margin = SCALE * MARGIN_PX
        fine[..., margin:-margin:SCALE, margin:-margin:SCALE] = frames
        return self._filtered(fine, transfer * self._to_middle.conj())

    def _cut(self, wide: torch.Tensor) -> torch.Tensor:
        margin = SCALE * MARGIN_PX
        return wide[..., margin:-margin, margin:-margin]


def _check(
    image: torch.Tensor, frames: torch.Tensor, illumination: Illumination, microscope: Microscope
) -> None:
    if microscope.camera is None:
        raise BadInput("consistency needs the camera's gain, offset and read noise; state them")
    stripes = len(illumination.phase_rad), len(illumination.phase_rad[0])
    if frames.shape[:-2] != stripes:
        raise BadInput(f"frames of {tuple(frames.shape[:-2])} angles x phases, but stripes of {stripes}")
    if min(frames.shape[-2:]) <= max(2 * BORDER_PX, MARGIN_PX):
        raise BadInput(
            f"frames of {tuple(frames.shape[-2:])} pixels are too small to be compared with an image"
        )
    wanted = tuple(SCALE * size for size in frames.shape[-2:])
    if image.shape != wanted:
        raise BadInput(
            f"an image of {tuple(image.shape)} pixels cannot be compared with raw frames; {wanted} is needed"
        )


def _scaled(expected: torch.Tensor, frames: torch.Tensor) -> torch.Tensor:
    """Expected frames with the gain and offset that bring them closest to the real ones."""
    mean, wanted = expected.mean(), frames.mean()
    centred = expected - mean
    gain = (centred * (frames - wanted)).sum() / centred.square().sum().clamp(min=1e-30)
    return wanted + gain * centred


def _smooth(images: torch.Tensor, highest_per_um: float, pixel_um: float) -> torch.Tensor:
    """What images (..., Y, X) hold below a frequency; mirrored at the borders, so that they do not wrap around."""
    height, width = images.shape[-2:]
    wide = torch.cat([images, images.flip(-2)], dim=-2)
    wide = torch.cat([wide, wide.flip(-1)], dim=-1)
    rows, columns = frequencies_per_um((2 * height, 2 * width), pixel_um)
    low = (torch.hypot(rows, columns) < highest_per_um).to(images)
    return filtered(wide, low)[..., :height, :width]


def _mirrored(image: torch.Tensor, margin: int) -> torch.Tensor:
    return torch.nn.functional.pad(image[None, None], (margin,) * 4, mode="reflect")[0, 0]


def _around(image: torch.Tensor) -> torch.Tensor:
    """Mean over a neighbourhood."""
    return torch.nn.functional.avg_pool2d(image[None, None], AROUND_PX, stride=1, padding=AROUND_PX // 2)[
        0, 0
    ]
