"""A recipe is complete, and says so as JSON."""

from typing import Any

import pytest

from sim_models.config import BadInput, parse
from sim_models.recipe import Recipe


def changed(recipe: Recipe, section: str, **changes: Any) -> dict[str, Any]:
    values = recipe.model_dump(mode="json")
    values[section] |= changes
    return values


def test_a_recipe_survives_json_with_the_kind_of_its_network_and_method(recipe: Recipe) -> None:
    again = Recipe.model_validate_json(recipe.model_dump_json())
    assert again == recipe
    assert type(again.network) is type(recipe.network)
    assert type(again.method) is type(recipe.method)


def test_another_network_is_another_name(recipe: Recipe) -> None:
    values = recipe.model_dump(mode="json")
    values["network"] = {"name": "rednet", "filters": 4, "pairs": 1, "output": "linear", "skips": "symmetric"}
    assert parse(Recipe, values, "here").network.build(9, 1, 2).stages()


@pytest.mark.parametrize(
    ("section", "changes", "told"),
    [
        ("network", {"name": "unnet"}, r"network: .*'unnet'.*'rednet'.*'unet'"),
        ("network", {"depht": 3}, r"network.depht: unknown key"),
        ("method", {"name": "magic"}, r"method: .*'magic'.*'blind_spot'.*'supervised'"),
        (
            "method",
            {"loss_terms": {"terms": {"l3": 1.0}}},
            r"method.loss_terms.terms: .*no loss term 'l3'.*mse",
        ),
        ("task", {"input": "photo"}, r"task.input: .*'raw'.*found 'photo'"),
        ("task", {"scale": 0}, r"task.scale: .*greater than 0"),
        ("normaliser", {"low_percent": 99.95}, r"normaliser: .*low_percent < high_percent"),
    ],
)
def test_mistakes_have_addresses(recipe: Recipe, section: str, changes: dict[str, Any], told: str) -> None:
    with pytest.raises(BadInput, match=told):
        parse(Recipe, changed(recipe, section, **changes), "here")
