"""The frames taken apart: with even phase steps at first, with measured ones where the data insist."""

from dataclasses import dataclass

import torch

from sim_models.optics.estimate.scene import Guess, Scene, guess_object
from sim_models.optics.separation import as_complex, equal_phases, separated, unmixing

ITERATIONS = 10
"""of the guess of the object; stripes score best with about as many in any light"""

UNEQUAL = 0.03
"""frames whose means differ by more than this share are brought to the same brightness from the start"""


@dataclass(frozen=True)
class Steps:
    """Relative phases and brightness of the frames, as they are believed so far."""

    phase_rad: torch.Tensor
    """(A, P), zero for the first frame of an angle with even steps"""
    gain: torch.Tensor
    """(A, P), 1 on average"""
    uneven: tuple[bool, ...]
    """(A,) whether the phases are those that were measured"""


@dataclass(frozen=True)
class Bands:
    """The frames taken apart with some `Steps`, and the object guessed from them."""

    all: torch.Tensor
    """(A, 2 H + 1, Y, X)"""
    variance: torch.Tensor
    """(A, H + 1) noise of a pixel of D_0 ... D_H"""
    widefield: torch.Tensor
    """(Y, X) mean of D_0 over the angles"""
    guess: Guess

    def of(self, angle: int) -> torch.Tensor:
        """(H, Y, X) complex D_1 ... D_H."""
        return as_complex(self.all[angle])


def even_steps(scene: Scene) -> Steps:
    """Equal phase steps, and equal brightness unless the frames' means say otherwise outright."""
    angles, phases = scene.frames.shape[:2]
    gain = scene.frames.mean(dim=(2, 3)).double().cpu()
    gain = gain / gain.mean()
    if bool((gain <= 0).any()) or float((gain - 1).abs().max()) < UNEQUAL:
        gain = torch.ones_like(gain)
    return Steps(equal_phases(phases).expand(angles, phases), gain, (False,) * angles)


def take_apart(scene: Scene, steps: Steps, harmonics: int) -> Bands:
    """Separate the frames of every angle, and guess the object from their mean."""
    weights = torch.stack(
        [unmixing(phase, gain, harmonics) for phase, gain in zip(steps.phase_rad, steps.gain, strict=True)]
    )
    bands = separated(scene.frames, weights)
    squares = weights.square().sum(dim=2) * scene.variance[:, None]
    variance = torch.cat([squares[:, :1], squares[:, 1::2] + squares[:, 2::2]], dim=1)
    widefield = bands[:, 0].mean(dim=0)
    return Bands(bands, variance, widefield, guess_object(scene, widefield, ITERATIONS))
