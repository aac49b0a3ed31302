"""The catalogue: every recipe is complete, as large as published, and can be had corrected or as published."""

import math

import pytest
import torch

from sim_models import recipes
from sim_models.config import BadInput
from sim_models.recipes import count_parameters, find, laid_over, names
from sim_models.samples import Sample

PUBLISHED = {
    "rdl_sr": 1_935_361,
    "red_fairsim": 1_035_201,
    "scunet": 62_110_416,
    "sr_redsim": 1_560_257,
    "swint_fairsim": 3_319_155,
    "unet_fairsim": 7_862_113,
    "unet_sim15": 31_050_433,
    "unet_sim3": 31_043_521,
    "unet_sim4": 31_044_097,
}
"""trainable parameters, counted from the layers of the published code"""

SMALL = {
    "width": 16,
    "groups": 1,
    "blocks": 2,
    "heads": 2,
    "window": 4,
    "depth": 2,
    "filters": 4,
    "spectrum_px": 16,
}
"""changes that make a network small, where it has such a setting"""


def small(name: str, faithful: bool) -> recipes.NamedRecipe:
    network = find(name, faithful).recipe.network.model_dump()
    inner = {key: value for key, value in SMALL.items() if network.get(key) is not None}
    if "unet" in network:
        inner = {"unet": {"width": 4, "depth": 2}}
    return find(name, faithful, {"network": inner})


@pytest.mark.parametrize("name", names())
@pytest.mark.parametrize("faithful", [True, False])
def test_every_recipe_is_complete_and_as_large_as_it_says(name: str, faithful: bool) -> None:
    recipe = find(name, faithful)
    assert recipe.parameters == recipe.published.parameters
    assert recipe.parameters == PUBLISHED.get(name, recipe.parameters)
    assert len(recipe.summary) > 80
    assert recipe.training.crop_px % recipe.recipe.network.divisor == 0


def test_no_published_system_is_left_out() -> None:
    assert set(PUBLISHED) <= set(names())


@pytest.mark.parametrize("name", names())
@pytest.mark.parametrize("faithful", [True, False])
def test_every_recipe_learns_and_restores(name: str, faithful: bool) -> None:
    recipe = small(name, faithful).recipe
    channels = {"first_phase": 3, "first_phase_and_mean": 4}.get(
        recipe.task.frames, 9 if recipe.task.input == "raw" else 1
    )
    torch.manual_seed(0)
    network = recipe.network.build(channels, 1, recipe.task.scale)
    edge = 2 * recipe.network.divisor if recipe.network.divisor > 1 else 24
    frames, target = torch.rand(2, channels, edge, edge), torch.rand(2, 1, *[recipe.task.scale * edge] * 2)
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
    losses = []
    for _ in range(12):
        terms = recipe.method.loss(network, Sample(frames, target))
        loss = torch.stack(list(terms.values())).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    # As published, a rectifier or a sigmoid at the end may leave so small a network without a slope.
    assert losses[-1] < losses[0] or faithful
    assert all(map(math.isfinite, losses))
    assert recipe.method.restore(network.eval(), frames).shape == target.shape


def test_the_published_file_of_sr_redsim_has_half_the_filters_and_other_skips() -> None:
    changed = find("sr_redsim", True, {"network": {"filters": 32, "skips": "published_file"}})
    assert count_parameters(changed.recipe, 15, 1) == 393_057


def test_a_denoiser_of_frames_has_as_many_outputs() -> None:
    assert count_parameters(find("unet_sim15").recipe, 15, 15) == 31_051_343  # U-Net-SNR


def test_changes_are_laid_over() -> None:
    changed = find("sr_redsim", change={"network": {"filters": 8}}).recipe.network
    assert changed == find("sr_redsim").recipe.network.model_copy(update={"filters": 8})


def test_another_name_takes_the_place_of_the_whole() -> None:
    below = {"network": {"name": "unet", "depth": 3}, "seed": 1}
    assert laid_over(below, {"network": {"name": "rednet", "pairs": 2}}) == {
        "network": {"name": "rednet", "pairs": 2},
        "seed": 1,
    }


def test_an_unknown_name_is_refused_with_those_there_are() -> None:
    with pytest.raises(BadInput, match=r"no recipe 'sr_redsin'; there are .*sr_redsim"):
        find("sr_redsin")


def test_changes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(BadInput, match=r"recipe sr_redsim: recipe\.network\.depth: unknown key"):
        find("sr_redsim", change={"network": {"depth": 3}})
