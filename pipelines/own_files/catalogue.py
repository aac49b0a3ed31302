"""The named recipes in words: what `sim-models recipes` prints."""

import json
import textwrap
from typing import Any

from sim_models.recipes import NamedRecipe, find

COLUMNS = (16, 42, 40, 11, 6, 13)
"""widths of the table: name, system, input, target, scale, parameters; the paper takes what is left"""


def facts(recipe: NamedRecipe) -> dict[str, Any]:
    """Everything about a recipe, ready for JSON."""
    faithful = find(recipe.name, faithful=True)
    return {
        "name": recipe.name,
        "system": recipe.system,
        "summary": recipe.summary,
        "paper": recipe.paper,
        "input": recipe.recipe.task.input,
        "frames": recipe.recipe.task.frames,
        "published_frames": recipe.published.frames,
        "light": recipe.recipe.task.light,
        "per": recipe.recipe.task.per,
        "target": recipe.recipe.task.target,
        "learns_from": recipe.recipe.method.learns_from,
        "gives": list(recipe.recipe.method.gives),
        "scale": recipe.recipe.task.scale,
        "parameters": recipe.parameters,
        "recipe": recipe.recipe.model_dump(mode="json"),
        "training": recipe.training.model_dump(mode="json"),
        "faithful": {
            "why": recipe.why_faithful,
            "parameters": faithful.parameters,
            "recipe": faithful.recipe.model_dump(mode="json"),
            "training": faithful.training.model_dump(mode="json"),
        },
    }


def line(recipe: NamedRecipe | None) -> str:
    """A line of the table; the heading for None."""
    if recipe is None:
        cells = ["recipe", "system", "input", "target", "scale", "parameters", "paper"]
    else:
        task = recipe.recipe.task
        cells = [
            recipe.name, recipe.system, f"{recipe.takes} ({_channels(recipe)})", task.target,
            str(task.scale), f"{recipe.parameters:,}", recipe.paper,
        ]  # fmt: skip
    return "  ".join([*(cell.ljust(width) for cell, width in zip(cells, COLUMNS, strict=False)), cells[-1]])


def page(recipe: NamedRecipe) -> str:
    """A recipe in full, and what to write into `params.yaml` for it."""
    network, method = recipe.recipe.network.name, recipe.recipe.method.name
    return "\n".join(
        [
            f"{recipe.name}: {recipe.system}",
            "",
            textwrap.fill(recipe.summary, 110),
            "",
            f"paper:       {recipe.paper}",
            f"input:       {recipe.takes}",
            f"target:      {_target(recipe)}",
            f"parameters:  {recipe.parameters:,} with {_channels(recipe)}",
            "",
            textwrap.fill(f"faithful: true instead gives what was published. {recipe.why_faithful}", 110),
            "",
            "In params.yaml (what is otherwise than in the recipe stands beside the names, as in",
            f"network: {{name: {network}, ...}}):",
            "",
            "models:",
            f"  my_{recipe.name}:",
            "    structure: microtubules",
            "    recipe:",
            f"      named: {recipe.name}",
            "      faithful: false",
            f"      network: {{name: {network}}}",
            f"      method: {{name: {method}}}",
            f"    training: {_flow(recipe.training.model_dump(mode='json'))}",
        ]
    )


def _channels(recipe: NamedRecipe) -> str:
    number = recipe.published.frames
    return "1 channel" if number == 1 else f"{number} channels"


def _target(recipe: NamedRecipe) -> str:
    """What should come out, and how much finer; or what is learned from instead."""
    task, method = recipe.recipe.task, recipe.recipe.method
    if task.target == "none":
        return f"none; it learns from noisy {method.learns_from} alone and gives {' and '.join(method.gives)}"
    return f"{task.target}, {task.scale} times as fine" if task.scale > 1 else task.target


def _flow(values: dict[str, Any]) -> str:
    inner = ", ".join(f"{key}: {json.dumps(value).strip(chr(34))}" for key, value in values.items())
    return f"{{{inner}}}"
