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
from sim_models.task import Task

TERA = 1e12


def channels(task: Task, angles: int, phases: int) -> int:
    """How many go in, of a stack of so many angles and phases."""
    if task.input != "raw":
        return 1
    return {"all": angles * phases, "first_phase": angles, "first_phase_and_mean": angles + 1}[task.frames]


def operations(params: Params, key: str) -> float:
    """Of one training step of a model."""
    model = params.model(key)
    recipe, training = model.recipe.in_full(), model.training
    channels_in = channels(recipe.task, params.acquisition.angles, params.acquisition.phases)
    edge, scale = training.crop_px, recipe.task.scale
    network = recipe.network.build(channels_in, 1, scale).train()
    sample = Sample(torch.rand(1, channels_in, edge, edge), torch.rand(1, 1, scale * edge, scale * edge))
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
