"""Where training runs, and how the machine there is used: says nothing about what comes out, but for rounding."""

import os
from dataclasses import dataclass
from typing import Literal, cast, get_args

import torch
from torch import nn

from sim_models.config import BadInput

LAYOUTS = {4: torch.channels_last, 5: torch.channels_last_3d}
"""by the number of axes of a kernel"""
Device = Literal["auto", "cpu", "gpu"]
RANGE = ", or a range as 2-8"


@dataclass(frozen=True)
class Place:
    """Where training runs: says nothing about what comes out, but for rounding."""

    workers: int
    threads: int
    fewest: int | None = None
    """workers with which training goes on while there is no room for all; None waits for all"""
    device: Device = "auto"
    """`auto`: a GPU for each worker where there are any; `gpu` waits for them, as for nodes that come when asked"""
    channels_last: bool = False
    """GPUs only: feature maps with their channels side by side in memory, as their matrix units read them"""
    compiled: bool = False
    """GPUs only: the network through `torch.compile`, which takes a minute or more before it pays"""

    @staticmethod
    def from_environment() -> "Place":
        """Read what the environment says.

        `SIM_MODELS_WORKERS` (1, or 2-8: at least two, at most eight), `SIM_MODELS_THREADS` (2, CPU threads of each),
        `SIM_MODELS_DEVICE` (auto, cpu or gpu; auto), `SIM_MODELS_CHANNELS_LAST` and `SIM_MODELS_COMPILE` (0 or 1; 0).

        Raises:
            BadInput: if a number is no positive whole number, a range ends below its beginning, or a word is another.
        """
        fewest, workers = _range("SIM_MODELS_WORKERS", "1")
        threads = os.environ.get("SIM_MODELS_THREADS", "2")
        return Place(
            workers,
            _positive("SIM_MODELS_THREADS", threads, threads),
            fewest,
            _device("SIM_MODELS_DEVICE"),
            _switch("SIM_MODELS_CHANNELS_LAST"),
            _switch("SIM_MODELS_COMPILE"),
        )

    def __str__(self) -> str:
        """The workers, as the environment names them."""
        return str(self.workers) if self.fewest is None else f"{self.fewest}-{self.workers}"

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


def _range(variable: str, otherwise: str) -> tuple[int | None, int]:
    """The fewest, where a range is given, and the most."""
    text = os.environ.get(variable, otherwise)
    numbers = [_positive(variable, text, number, RANGE) for number in text.split("-")]
    if len(numbers) > 2 or numbers != sorted(numbers):
        raise _no_number(variable, text, RANGE)
    return (numbers[0] if len(numbers) == 2 else None), numbers[-1]


def _positive(variable: str, text: str, number: str, otherwise: str = "") -> int:
    if not number.isdecimal() or int(number) < 1:
        raise _no_number(variable, text, otherwise)
    return int(number)


def _no_number(variable: str, text: str, otherwise: str) -> BadInput:
    return BadInput(
        f"environment variable {variable} is {text!r}; give a whole number of at least 1{otherwise}"
    )


def _device(variable: str) -> Device:
    text = os.environ.get(variable, "auto")
    found = next((device for device in get_args(Device) if device == text), None)
    if found is None:
        raise BadInput(f"environment variable {variable} is {text!r}; give auto, cpu or gpu")
    return cast(Device, found)


def _switch(variable: str) -> bool:
    text = os.environ.get(variable, "0")
    if text not in ("0", "1"):
        raise BadInput(f"environment variable {variable} is {text!r}; give 0 or 1")
    return text == "1"
