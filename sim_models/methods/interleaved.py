"""Learn from noisy volumes alone: tell every other time, or every other slice, from those between.

Qiao et al., Nat. Biotechnol. 41:367 (2023), TiS- and SiS-rDL. Noise of two images of nearly the same thing is
independent, so that one can stand for the truth of the other (Lehtinen et al., ICML 2018); that what is told should not
depend on which half is taken, is asked for by a second term (Huang et al., CVPR 2021, eq. 8).
"""

from typing import Literal

import torch
from pydantic import NonNegativeFloat
from torch import Tensor, nn

from sim_models.methods import Method, psnr
from sim_models.samples import Sample


class Settings(Method):
    """Interleaved learning, of volumes (N, T, Z, Y, X)."""

    name: Literal["interleaved"]
    along: Literal["times", "slices"]
    """what is told: the network sees times as channels, or slices of one time"""
    consistency: NonNegativeFloat
    """weight of the second term"""

    @property
    def learns_from(self) -> str:
        """Times or slices."""
        return self.along

    @property
    def gives(self) -> tuple[str, ...]:
        """The denoised volume."""
        return ("denoised",)

    def channels(self, channels_in: int, channels_out: int) -> tuple[int, int]:  # noqa: ARG002
        """Half of all times; or one, where slices are told."""
        each = channels_in // 2 if self.along == "times" else 1
        return each, each

    def loss(self, network: nn.Module, sample: Sample) -> dict[str, Tensor]:
        """Mean square difference of what is told and what is there; and of what is told twice."""
        volume = self._samples(sample.input)
        even, odd = self._halves(volume)
        told = network(even)
        terms = {"other_half_mse": (odd - told).square().mean()}
        if self.consistency:
            with torch.no_grad():
                of_all = self._halves(self._whole(network, volume))
            difference = of_all[1] - of_all[0]
            terms["consistency"] = self.consistency * (odd - told - difference).square().mean()
        return terms

    def restore(self, network: nn.Module, stack: Tensor) -> Tensor:
        """Denoise volumes (N, T, Z, Y, X)."""
        restored = self._whole(network, self._samples(stack))
        return restored.reshape(stack.shape)

    def score(self, network: nn.Module, sample: Sample) -> Tensor:
        """How well one half is told from the other, in dB under the range of the volume; there is no other truth."""
        even, odd = self._halves(self._samples(sample.input))
        return psnr(network(even), odd)

    def _whole(self, network: nn.Module, volume: Tensor) -> Tensor:
        """What the network makes of all of a volume (N, C, Z, Y, X).

        Of slices at once, since it takes any number. Of times each half is told from the other, odd ones forwards and
        even ones backwards in time, so that all of them are what it has learned to tell.
        """
        if self.along == "slices":
            whole: Tensor = network(volume)
            return whole
        even, odd = self._halves(volume)
        later, earlier = network(even), network(odd.flip(1)).flip(1)
        return torch.stack([earlier, later], dim=2).flatten(1, 2)

    def _samples(self, volumes: Tensor) -> Tensor:
        """Volumes (N, T, Z, Y, X) as samples of the network: (N, T, Z, Y, X), or (N T, 1, Z, Y, X)."""
        return volumes if self.along == "times" else volumes.flatten(0, 1)[:, None]

    def _halves(self, volumes: Tensor) -> tuple[Tensor, Tensor]:
        """Even and odd times or slices; of an odd number the last one is left out."""
        axis = 1 if self.along == "times" else 2
        size = volumes.shape[axis] // 2 * 2
        even = torch.arange(0, size, 2, device=volumes.device)
        return volumes.index_select(axis, even), volumes.index_select(axis, even + 1)
