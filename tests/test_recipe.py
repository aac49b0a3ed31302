"""A recipe is complete, and says so as JSON."""

from typing import Any

import pytest

from sim_models.config import BadInput, parse
from sim_models.recipe import Recipe
from sim_models.recipes import find


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


@pytest.mark.parametrize(
    ("name", "task", "told"),
    [
        (
            "unet_fairsim",
            {"target": "none"},
            "'supervised' learns from pairs, but the target of the task is 'none'",
        ),
        (
            "deconoising",
            {"target": "reference"},
            "'blind_spot' learns from images, but the target of the task is",
        ),
        ("deconoising", {"input": "raw"}, "'blind_spot' learns from single images, but the input is 'raw'"),
        ("deconoising", {"input": "volume"}, "'blind_spot' learns from images, but the input is 'volume'"),
        ("tis_rdl", {"input": "widefield"}, "'interleaved' learns from times, but the input is 'widefield'"),
        ("sis_rdl", {"input": "widefield"}, "'interleaved' learns from slices, but the input is 'widefield'"),
        ("unet_fairsim", {"input": "volume"}, "'supervised' learns from pairs, but the input is 'volume'"),
    ],
)
def test_a_method_that_cannot_learn_what_the_task_says_is_refused(
    name: str, task: dict[str, str], told: str
) -> None:
    with pytest.raises(BadInput, match=told):
        find(name, change={"task": task})


def test_a_network_that_goes_up_as_often_as_down(recipe: Recipe) -> None:
    with pytest.raises(BadInput, match="encoder has 2 levels and decoder 3; give as many"):
        find("wiener_nafnet", change={"network": {"decoder": [1, 1, 1]}})
