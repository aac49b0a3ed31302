"""What it costs to restore one raw megapixel: parameters, operations, seconds."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from statistics import median

import torch
from compute import Layout, layout_of, per_stack, sample_of, untrained
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from pipelines.prepare import prepared
from pipelines.shared.params import Params
from sim_models.recipe import Recipe
from sim_models.sources.reconstruction import reconstructed, stripes_of
from sim_models.sources.simulation import simulate

EDGE_PX = 128
"""raw pixels along an edge of what is restored for this"""
REPEATS = 5
MEGA = 1e6


@dataclass(frozen=True)
class Cost:
    """Of one model, with all that has to be computed before and after it."""

    parameters: int
    gflop: float
    """of networks, for one raw megapixel; Fourier transforms are not counted"""
    seconds: float
    """for one raw megapixel"""


def costs(params: Params) -> dict[str, Cost]:
    """Of every model of a study, and of classical SIM."""
    classical_s = classical_seconds(params)
    found = {"reconstruction": Cost(0, 0.0, classical_s)}
    for key, model in params.models.items():
        recipe, layout = model.recipe.in_full(), layout_of(params, model.structure)
        parts = [network_cost(recipe.model_dump_json(), layout)]
        if model.structure in params.derived:
            guess = params.models[params.derived[model.structure].model]
            parts.append(network_cost(guess.recipe.in_full().model_dump_json(), layout))
        seconds = sum(part.seconds for part in parts) + (classical_s if needs_classical(recipe) else 0)
        found[key] = Cost(parts[0].parameters, sum(part.gflop for part in parts), seconds)
    return found


def needs_classical(recipe: Recipe) -> bool:
    """Whether a classical reconstruction comes before or after the network."""
    return "reconstruction" in recipe.task.input or recipe.task.gives == "frames"


@cache
def network_cost(recipe_json: str, layout: Layout) -> Cost:
    """Of the network of a recipe alone; what its weights are does not matter."""
    recipe = Recipe.model_validate_json(recipe_json)
    edge = EDGE_PX * (2 if recipe.task.input == "reconstruction" else 1)
    with FakeTensorMode(), torch.inference_mode(), FlopCounterMode(display=False) as counter:
        recipe.method.restore(untrained(recipe, layout).eval(), sample_of(recipe, layout, edge).input)
    network, given = untrained(recipe, layout).eval(), sample_of(recipe, layout, edge).input
    with torch.inference_mode():
        seconds = _median_seconds(lambda: recipe.method.restore(network, given))
    planes = given.shape[1] * given.shape[2] if recipe.task.input == "volume" else 1
    share = per_stack(recipe, layout) * MEGA / (EDGE_PX**2 * planes)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return Cost(parameters, share * counter.get_total_flops() / 1e9, share * seconds)


def classical_seconds(params: Params) -> float:
    """To find stripes and reconstruct one raw megapixel."""
    name, structure = next((name, each) for name, each in params.structures.items() if each.series is None)
    acquisition = params.acquisition.model_copy(update={"field_px": EDGE_PX})
    brightest = max(acquisition.levels, key=lambda level: acquisition.levels[level])
    fields = simulate(structure.objects, acquisition, name, 0, structure.seed)
    field = prepared(next(each for each in fields if each.level == brightest))
    seconds = _median_seconds(
        lambda: reconstructed(field.image("raw"), field, stripes_of(field), params.reconstruction)
    )
    return seconds * MEGA / EDGE_PX**2


def _median_seconds(call: Callable[[], object]) -> float:
    """After one call that nobody counts."""
    call()
    taken = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        call()
        taken.append(time.perf_counter() - started)
    return median(taken)
