"""How many steps each model of a study trains for equal compute: floating-point operations, not seconds.

    python benchmarks/recipes/compute.py studies/recipes/params.yaml 1.0    # prints steps for 1.0 TFLOP each

Counted are the convolutions, matrix products and attentions of a step, forward and backward, on crops and batch of the
study; Fourier transforms and activations are not. So seconds differ: large networks use a processor better.
"""

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from pipelines.shared.params import Params, read_params
from sim_models.networks import Network
from sim_models.recipe import Recipe
from sim_models.samples import Sample

TERA = 1e12


class Layout(NamedTuple):
    """What is taken of a field."""

    angles: int
    phases: int
    times: int = 1
    """of a series; frames that are kept, where it blinks"""
    slices: int = 0
    """of a volume; 0 for planes"""


def layout_of(params: Params, structure: str) -> Layout:
    """Of a structure, or of the one that fields are derived from."""
    if structure in params.derived:
        structure = params.derived[structure].structure
    series = params.structure(structure).series
    times = int(getattr(series, "times", 0) or getattr(series, "kept", 1))
    return Layout(params.acquisition.angles, params.acquisition.phases, times, getattr(series, "slices", 0))


def sample_of(recipe: Recipe, layout: Layout, edge: int) -> Sample:
    """Input and target of one square crop."""
    channels_in, channels_out = recipe.task.channels(layout.angles, layout.phases, layout.times)
    slices = (layout.slices,) if recipe.task.input == "volume" else ()
    fine = recipe.task.scale * edge
    given = torch.rand(1, channels_in, *slices, edge, edge)
    wanted = torch.rand(1, channels_out, *slices, fine, fine)
    return Sample(given, wanted, torch.tensor([1]))


def untrained(recipe: Recipe, layout: Layout) -> Network:
    """The network of a recipe."""
    channels = recipe.method.channels(*recipe.task.channels(layout.angles, layout.phases, layout.times))
    return recipe.network.build(*channels, recipe.task.scale)


def per_stack(recipe: Recipe, layout: Layout) -> int:
    """Samples of one field."""
    return layout.angles if recipe.task.per == "angle" else 1


def operations(recipe: Recipe, layout: Layout, crop_px: int, batch: int) -> float:
    """Of one training step, counted without computing it where nothing but the values decides."""
    draws = recipe.method.learns_from == "images"
    with nullcontext() if draws else FakeTensorMode(), FlopCounterMode(display=False) as counter:
        network, sample = untrained(recipe, layout).train(), sample_of(recipe, layout, crop_px)
        torch.stack(list(recipe.method.loss(network, sample).values())).sum().backward()  # type: ignore[no-untyped-call]
    return float(batch * counter.get_total_flops())


def operations_of(params: Params, key: str) -> float:
    """Of one training step of a model of a study."""
    model = params.model(key)
    layout = layout_of(params, model.structure)
    return operations(model.recipe.in_full(), layout, model.training.crop_px, model.training.batch)


def main() -> None:
    """Print the steps."""
    params, budget = read_params(Path(sys.argv[1])), float(sys.argv[2]) * TERA
    for key in params.models:
        each = operations_of(params, key)
        print(f"{key:40s} {each / 1e9:8.2f} GFLOP a step  {round(budget / each):6d} steps")


if __name__ == "__main__":
    main()
