"""Named recipes: one YAML file for each, with what it does, where it was published and how it is trained at full size.

`faithful` in a file is what the published code does otherwise: quirks, and errors too. It is laid over `recipe` and
`training`; left out, a recipe is the corrected one.
"""

from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from pydantic import PositiveInt

from sim_models.config import BadInput, Settings, parse, read_yaml
from sim_models.field import Role
from sim_models.recipe import Recipe
from sim_models.training.loop import TrainingSettings


class Faithful(Settings):
    """What the published code does otherwise."""

    recipe: dict[str, Any]
    training: dict[str, Any]
    why: str
    """what that is, in words"""


class Published(Settings):
    """The size of the published model, which the faithful recipe must have."""

    frames: PositiveInt
    """input channels"""
    outputs: PositiveInt
    """output channels"""
    parameters: PositiveInt


class _File(Settings):
    """A file of this room."""

    system: str
    summary: str
    paper: str
    published: Published
    recipe: dict[str, Any]
    training: dict[str, Any]
    faithful: Faithful


class NamedRecipe(Settings):
    """A recipe with its name, its origin and its training at full size."""

    name: str
    system: str
    summary: str
    paper: str
    published: Published
    why_faithful: str
    recipe: Recipe
    training: TrainingSettings

    @property
    def parameters(self) -> int:
        """Of the network, for as many frames as the published one takes."""
        return count_parameters(self.recipe, self.published.frames, self.published.outputs)

    @property
    def takes(self) -> str:
        """What goes in, in words."""
        task = self.recipe.task
        frames = "" if task.frames == "all" else f", {task.frames.replace('_', ' ')}"
        light = "" if task.light == "all" else f", {task.light}"
        return f"{task.input}{frames}{light}"


def names() -> list[str]:
    """All recipes there are."""
    return sorted(
        entry.name.removesuffix(".yaml")
        for entry in files(__name__).iterdir()
        if entry.name.endswith(".yaml")
    )


def find(name: str, faithful: bool = False, change: Mapping[str, Any] | None = None) -> NamedRecipe:
    """A recipe by its name.

    Args:
        name: one of `names`.
        faithful: as published, rather than corrected.
        change: laid over the recipe, as `{network: {width: 8}}`.

    Raises:
        BadInput: if there is none of that name, or if the changes do not fit.
    """
    if name not in names():
        raise BadInput(f"there is no recipe '{name}'; there are {', '.join(names())}")
    path = Path(str(files(__name__))) / f"{name}.yaml"
    file = parse(_File, read_yaml(path), str(path))
    recipe, training = file.recipe, file.training
    if faithful:
        recipe, training = (
            laid_over(recipe, file.faithful.recipe),
            laid_over(training, file.faithful.training),
        )
    return parse(
        NamedRecipe,
        {
            "name": name,
            "system": file.system,
            "summary": file.summary.strip(),
            "paper": file.paper.strip(),
            "published": file.published.model_dump(),
            "why_faithful": file.faithful.why.strip(),
            "recipe": laid_over(recipe, change or {}),
            "training": training,
        },
        f"recipe {name}",
    )


def fitting(roles: Iterable[Role]) -> list[str]:
    """The recipes that can learn from fields with images of these roles, and be judged."""
    there = set(roles)
    return [name for name in names() if not find(name).recipe.task.missing_to_judge(there)]


def without_stripes() -> list[str]:
    """The recipes that learn from noisy images alone, of which nobody asks for raw SIM frames."""
    tasks = {name: find(name).recipe.task for name in names()}
    return [name for name, task in tasks.items() if task.target == "none" and "raw" not in task.roles]


def laid_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """A tree with entries of another laid over it; a choice of another `name` takes the place of the whole."""
    if "name" in above and above["name"] != below.get("name"):
        return dict(above)
    merged = dict(below)
    for key, value in above.items():
        old = below.get(key)
        merged[key] = (
            laid_over(old, value) if isinstance(value, Mapping) and isinstance(old, Mapping) else value
        )
    return merged


def count_parameters(recipe: Recipe, channels_in: int, channels_out: int) -> int:
    """Of the network of a recipe, without making it."""
    scale = recipe.task.scale
    with torch.device("meta"):
        network = recipe.network.build(channels_in, channels_out, scale)
    return sum(parameter.numel() for parameter in network.parameters())
