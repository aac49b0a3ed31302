"""Where training runs, and how the machine there is used: says nothing about what comes out, but for rounding."""

import os
from dataclasses import dataclass

import torch
from torch import nn

from sim_models.config import BadInput

LAYOUTS = {4: torch.channels_last, 5: torch.channels_last_3d}
"""by the number of axes of a kernel"""


@dataclass(frozen=True)
class Place:
    """Where training runs: says nothing about what comes out."""

    workers: int
    threads: int
    channels_last: bool = False
    """GPUs only: feature maps with their channels side by side in memory, as their matrix units read them"""
    compiled: bool = False
    """GPUs only: the network through `torch.compile`, which takes a minute or more before it pays"""

    @staticmethod
    def from_environment() -> "Place":
        """Read what the environment says.

        `SIM_MODELS_WORKERS` (1), `SIM_MODELS_THREADS` (2, CPU threads of each worker), and `SIM_MODELS_CHANNELS_LAST`
        and `SIM_MODELS_COMPILE` (0 or 1; 0).

        Raises:
            BadInput: if a number is no positive whole number, or a switch neither 0 nor 1.
        """
        return Place(
            _positive("SIM_MODELS_WORKERS", 1),
            _positive("SIM_MODELS_THREADS", 2),
            _switch("SIM_MODELS_CHANNELS_LAST"),
            _switch("SIM_MODELS_COMPILE"),
        )

    def arranged(self, network: nn.Module) -> nn.Module:
        """A network the way its device computes it fastest; before it is wrapped for several workers.

        A network on a CPU stays as it is, since its results are promised to the bit. Names of weights stay, too.
        """
        if next(network.parameters()).device.type == "cpu":
            return network
        return laid_out_for_speed(network, self.channels_last, self.compiled)


def laid_out_for_speed(network: nn.Module, channels_last: bool, compiled: bool) -> nn.Module:
    """A network with its memory laid out, and compiled, on any device; both in place."""
    if channels_last:
        # Not `network.to`, which refuses kernels of volumes. What they give is laid out as they are.
        for parameter in network.parameters():
            if parameter.ndim in LAYOUTS:
                parameter.data = parameter.data.contiguous(memory_format=LAYOUTS[parameter.ndim])
    if compiled:
        network.compile()
    return network


def _positive(variable: str, otherwise: int) -> int:
    text = os.environ.get(variable, str(otherwise))
    if not text.isdecimal() or int(text) < 1:
        raise BadInput(f"environment variable {variable} is {text!r}; give a whole number of at least 1")
    return int(text)


def _switch(variable: str) -> bool:
    text = os.environ.get(variable, "0")
    if text not in ("0", "1"):
        raise BadInput(f"environment variable {variable} is {text!r}; give 0 or 1")
    return text == "1"
