"""Whether a stack holds stripes that were found in other frames: in a brighter stack, or in the mean of a series."""

import math

import torch
from scipy.stats import chi2

from sim_models.field import Microscope
from sim_models.optics.estimate.bands import Steps, take_apart
from sim_models.optics.estimate.refine import FrameFit, fit_frames, image, scatter
from sim_models.optics.estimate.result import Estimate, NoPattern
from sim_models.optics.estimate.scene import Scene, set_scene
from sim_models.optics.threads import threads_for

MOVED = 0.07
"""of an amplitude: how much stripes may move or fade from stack to stack beyond noise; as a phase, in rad"""

BY_CHANCE = 1e-4
"""probability of deviations of an angle by chance below which its stripes are others"""


def refuse_other_stripes(frames: torch.Tensor, microscope: Microscope, known: Estimate, whose: str) -> None:
    """Refuse a stack whose frames have their stripes elsewhere than known ones.

    What noise does not let one tell passes: a stack may be too dim to show any stripes.

    Args:
        frames: (A, P, Y, X) photo-electrons where `microscope` has a camera, else counts above the camera's offset.
        microscope: what decides cutoff and pixel size.
        known: stripes found elsewhere.
        whose: they are, for the message.

    Raises:
        NoPattern: with the first angle whose stripes are others.
    """
    with torch.no_grad(), threads_for(frames):
        scene, _ = set_scene(frames.float(), microscope, known.otf)
        phases = _at_the_centre(scene, known)
        for angle, fit in enumerate(_fits(scene, known, phases)):
            turned, noise = _turned_back(fit, angle, known, phases[angle])
            if _as_known(turned, noise):
                continue
            off = ", ".join(f"{float(each):+.1f}" for each in turned.angle())
            raise NoPattern(
                f"the frames of angle {angle + 1} of {len(scene.frames)} do not have their stripes where those of "
                f"{whose} are: they seem to be {off} rad off, frame by frame",
                angle,
            )


def _at_the_centre(scene: Scene, known: Estimate) -> torch.Tensor:
    """(A, P) phases at the centre of the field; an estimate tells those at pixel (0, 0)."""
    rows = []
    for angle, wave in zip(known.angles, _waves(scene, known), strict=True):
        to_centre = (
            2
            * math.pi
            * sum(part * (size - 1) / 2 for part, size in zip(wave.tolist(), scene.shape, strict=True))
        )
        rows.append(torch.tensor(angle.phase_rad, dtype=torch.float64) + to_centre)
    return torch.stack(rows)


def _waves(scene: Scene, known: Estimate) -> list[torch.Tensor]:
    """Wave vectors (2,) along y and x, cycles per pixel."""
    return [
        scene.pixel_um / angle.spacing_um
        * torch.tensor([math.sin(angle.angle_rad), math.cos(angle.angle_rad)], dtype=torch.float64)
        for angle in known.angles
    ]  # fmt: skip


def _fits(scene: Scene, known: Estimate, phases: torch.Tensor) -> list[FrameFit]:
    gain = torch.tensor([angle.gain for angle in known.angles], dtype=torch.float64)
    harmonics = len(known.angles[0].modulation)
    bands = take_apart(scene, Steps(phases, gain, (True,) * len(phases)), harmonics)
    images = image(scene, bands.guess, _waves(scene, known), harmonics)
    return fit_frames(scene, images, bands.widefield)


def _turned_back(
    fit: FrameFit, angle: int, known: Estimate, phases: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Amplitudes (P,) of the deeper harmonic, real and positive where stripes are where they should be; their noise."""
    found = known.angles[angle]
    order = max(range(1, len(found.modulation) + 1), key=lambda order: found.modulation[order - 1])
    expected = torch.exp(1j * (order * phases + found.lead_rad[order - 1]))
    return fit.amplitude[order - 1, angle] / expected, scatter(fit, angle, order)


def _as_known(turned: torch.Tensor, noise: torch.Tensor) -> bool:
    """Whether amplitudes (P,) are all one positive number, but for noise and what stripes may have moved."""
    common = turned.real.mean().clamp(min=0)
    strength = turned.abs().square().mean()
    squares = 2 * (turned - common).abs().square() / (noise + 2 * MOVED**2 * strength)
    return float(squares.sum()) < float(chi2.isf(BY_CHANCE, 2 * len(turned) - 1))
