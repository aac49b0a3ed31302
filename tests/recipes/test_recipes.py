"""The catalogue: every recipe is complete, as large as published, and can be had corrected or as published."""

import math

import pytest
import torch

from sim_models import recipes
from sim_models.config import BadInput
from sim_models.recipe import Recipe
from sim_models.recipes import count_parameters, find, laid_over, names
from sim_models.samples import Sample

PUBLISHED = {
    "deconoising": 1_677_377,
    "rdl_denoise": 4_743_619,
    "rdl_denoise_nsm": 4_780_549,
    "rdl_sr": 1_935_361,
    "red_fairsim": 1_035_201,
    "scunet": 62_110_416,
    "sis_rdl": 3_781_503,
    "sr_redsim": 1_560_257,
    "swint_fairsim": 3_319_155,
    "tis_rdl": 3_812_610,
    "unet_fairsim": 7_862_113,
    "unet_sim15": 31_050_433,
    "unet_sim15_low": 31_050_433,
    "unet_sim3": 31_043_521,
    "unet_sim4": 31_044_097,
    "unet_snr": 31_051_343,
    "unet_srrf5": 31_044_673,
}
"""trainable parameters, counted from the layers of the published code"""

SMALL = {
    "width": 16,
    "groups": 1,
    "pattern_groups": 1,
    "noisy_groups": 1,
    "joint_groups": 1,
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


def sample_of(recipe: Recipe) -> Sample:
    """Two random samples as the task gives them: of 3 x 3 frames, or of volumes of four times and five slices."""
    torch.manual_seed(0)
    channels = recipe.task.channels(3, 3, times=4)
    edge = max(2 * recipe.network.divisor, 16)
    fine = recipe.task.scale * edge
    slices = (5,) if recipe.task.input == "volume" else ()
    given = torch.rand(2, channels[0], *slices, edge, edge)
    target = given if recipe.task.target == "none" else torch.rand(2, channels[1], fine, fine)
    return Sample(given, target, torch.arange(2))


@pytest.mark.parametrize("name", names())
@pytest.mark.parametrize("faithful", [True, False])
def test_every_recipe_learns_and_restores(name: str, faithful: bool) -> None:
    recipe = small(name, faithful).recipe
    sample = sample_of(recipe)
    channels = recipe.method.channels(*recipe.task.channels(3, 3, times=4))
    network = recipe.network.build(*channels, recipe.task.scale)
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
    losses = []
    for _ in range(12):
        terms = recipe.method.loss(network, sample)
        loss = torch.stack(list(terms.values())).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    # As published, a rectifier or a sigmoid at the end may leave so small a network without a slope.
    assert losses[-1] < losses[0] or faithful
    assert all(map(math.isfinite, losses))
    with torch.inference_mode():
        restored = recipe.method.restore(network.eval(), sample.input)
        assert math.isfinite(recipe.method.score(network, sample))
    images = len(recipe.method.gives)
    assert restored.shape[1:] == (images * sample.target.shape[1], *sample.target.shape[2:])


@pytest.mark.parametrize("name", names())
@pytest.mark.parametrize("faithful", [True, False])
def test_a_full_recipe_has_the_channels_of_the_published_model(name: str, faithful: bool) -> None:
    """Of as many frames, angles or times as its paper says."""
    recipe, published = find(name, faithful).recipe, find(name, faithful).published
    angles, phases = {9: (3, 3), 13: (3, 3)}.get(published.frames, (3, 5))
    if recipe.task.per == "angle":
        angles, phases = 3, 3
    channels = recipe.task.channels(angles, phases, times=2 * published.frames)
    assert recipe.method.channels(*channels) == (published.frames, published.outputs)


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
