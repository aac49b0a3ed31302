"""How many steps each model of a study trains for equal compute: floating-point operations, not seconds.

    python benchmarks/recipes/compute.py studies/recipes/params.yaml 2.0    # prints steps for 2.0 TFLOP each

Counted are the convolutions, matrix products and attentions of a step, forward and backward, on crops and batch of the
study; Fourier transforms and activations are not. So seconds differ: large networks use a processor better.
"""

import sys
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from pipelines.params import Params, read_params
from sim_models.samples import Sample

TERA = 1e12


EXAMPLE = {"volume": (2, 8), "blinking": (5,)}
"""times, and slices, of series where the network takes any number"""


def operations(params: Params, key: str) -> float:
    """Of one training step of a model."""
    model = params.model(key)
    recipe, training = model.recipe.in_full(), model.training
    task, taken = recipe.task, params.acquisition
    times, *slices = EXAMPLE.get(task.input, (1,))
    channels_in, channels_out = task.channels(taken.angles, taken.phases, times)
    edge, scale = training.crop_px, task.scale
    network = recipe.network.build(*recipe.method.channels(channels_in, channels_out), scale).train()
    given = torch.rand(1, channels_in, *slices, edge, edge)
    target = given if task.target == "none" else torch.rand(1, channels_out, scale * edge, scale * edge)
    sample = Sample(given, target, torch.zeros(1, dtype=torch.int64))
    with FlopCounterMode(display=False) as counter:
        torch.stack(list(recipe.method.loss(network, sample).values())).sum().backward()
    return float(training.batch * counter.get_total_flops())


def main() -> None:
    """Print the steps."""
    params, budget = read_params(Path(sys.argv[1])), float(sys.argv[2]) * TERA
    for key in params.models:
        each = operations(params, key)
        print(f"{key:24s} {each / 1e9:8.2f} GFLOP a step  {round(budget / each):6d} steps")


if __name__ == "__main__":
    main()
