"""`sim-models recipes`: a table, a page for each, JSON for machines, and what to write into `params.yaml`."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.shared.params import Model, read_params
from sim_models.config import parse
from sim_models.recipes import find, names

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks" / "recipes"))  # scripts, no package

from compute import TERA, operations_of
from plan import FULL, LIKE_A_SIBLING, SMALL, SUPERVISED, UNPUBLISHED, Plan, text

Run = Callable[..., Any]


def test_all_are_listed(run: Run) -> None:
    done = run("recipes")
    lines = done.out.splitlines()
    assert lines[0].split()[:2] == ["recipe", "system"]
    assert [line.split()[0] for line in lines[1:]] == names()
    assert "1,560,257" in next(line for line in lines if line.startswith("sr_redsim"))


def test_machines_get_everything(run: Run) -> None:
    told = json.loads(run("recipes", "--json").out)
    assert [each["name"] for each in told] == names()
    assert all(each["faithful"]["parameters"] == each["parameters"] for each in told)
    (one,) = json.loads(run("recipes", "scunet", "--json").out)
    assert one["recipe"] == find("scunet").recipe.model_dump(mode="json")


@pytest.mark.parametrize("name", names())
def test_what_a_page_says_to_write_is_right(name: str, run: Run) -> None:
    page = run("recipes", name).out
    written = yaml.safe_load(page[page.index("models:") :])
    model = parse(Model, written["models"][f"my_{name}"], name)
    assert model.recipe.in_full() == find(name).recipe
    assert model.training == find(name).training


def test_an_unknown_one_is_refused(run: Run) -> None:
    done = run("recipes", "sr_redsin")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error: there is no recipe 'sr_redsin'; there are ")


@pytest.mark.parametrize(
    "plan", [pytest.param(FULL, marks=pytest.mark.faults), SMALL], ids=lambda plan: plan.name
)
def test_the_benchmark_is_as_planned(plan: Plan) -> None:
    """Equal compute is held by this: the plan counts the steps of every model."""
    assert plan.path.read_text() == text(plan), "run benchmarks/recipes/plan.py"


def test_the_benchmark_leaves_no_recipe_out(repository: Any) -> None:
    params = read_params(repository / "studies" / "recipes" / "params.yaml")
    trained = {(model.recipe.named, model.recipe.faithful) for model in params.models.values()}
    assert {name for name, _ in trained} == set(names())
    assert {name for name, faithful in trained if faithful} == set(SUPERVISED) - {
        *UNPUBLISHED,
        *LIKE_A_SIBLING,
    }


def test_models_spend_the_same(repository: Any) -> None:
    params = read_params(repository / "studies" / "recipes" / "params.yaml")
    some = [f"microtubules_{name}" for name in ("unet_fairsim", "unet_sim3", "wiener_nafnet", "pre_red")]
    spent = [params.models[key].training.steps * operations_of(params, key) / TERA for key in some]
    assert all(0.98 * FULL.budget_tflop < each < 1.02 * FULL.budget_tflop for each in spent)
