"""Write the parameters of the benchmark of recipes: which models, how much smaller, for how many steps.

    python benchmarks/recipes/plan.py            # studies/recipes/params.yaml
    python benchmarks/recipes/plan.py --small    # studies/recipes_small/params.yaml, a few minutes for CI

One rule makes all of them small enough for two cores, and the plan says what is otherwise between two of them. A test
holds the files to what this writes, and so every model to the same compute.
"""

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from textwrap import fill
from typing import Any, NamedTuple

import yaml
from compute import TERA, Layout, operations

from sim_models.recipe import Recipe
from sim_models.recipes import find

ROOT = Path(__file__).resolve().parents[2]

SHRINK = 4
"""published feature maps for one of ours"""
CROP_PX = 48
"""edge of a crop in raw pixels"""
CROPS_PX = {"reconstruction": 2 * CROP_PX, "volume": 32, "blinking": 16}
"""edges of crops of other inputs, in their own pixels"""
BATCH = 4
FEWEST_STEPS = 20
LOOKS = 4
"""at the validation cells, in a training"""

UNPUBLISHED = ("unet_residual", "wiener_nafnet")
"""ours, with nothing to be faithful to"""

LIKE_A_SIBLING = ("pre_red", "rdl_denoise_nsm", "unet_sim15_low", "unet_snr")
"""as published, these differ from their corrected selves in nothing that a sibling does not show"""

SUPERVISED = (
    "unet_fairsim", "red_fairsim", "swint_fairsim", "sr_redsim", "pre_red", "rdl_sr", "rdl_denoise",
    "rdl_denoise_nsm", "unet_sim15", "unet_sim15_low", "unet_sim3", "unet_sim4", "unet_snr", "scunet",
    *UNPUBLISHED,
)  # fmt: skip
"""recipes that learn from pairs and give an image of a raw stack, by themselves or after a reconstruction"""

DERIVED_FROM = "rdl_sr"
"""whose images the frames are derived from that other recipes take beside raw ones"""

LAPSE = Layout(angles=3, phases=3, times=8, slices=4)
BLINKING = Layout(angles=3, phases=3, times=5)
RAW = Layout(angles=3, phases=3)


class Trained(NamedTuple):
    """One model of the benchmark."""

    structure: str
    recipe: str
    faithful: bool = False

    @property
    def key(self) -> str:
        """Its name in the study."""
        return f"{self.structure}_{self.recipe}{'_faithful' if self.faithful else ''}"

    @property
    def derived(self) -> str | None:
        """Name of the fields with derived frames that it takes, if it does."""
        takes = find(self.recipe).recipe.task.input == "raw_and_synthetic"
        return f"{self.structure}_rdl{'_faithful' if self.faithful else ''}" if takes else None


@dataclass(frozen=True)
class Plan:
    """One study."""

    name: str
    """of its folder, and of its experiment in MLflow"""
    register_as: str
    command: str
    about: str
    budget_tflop: float
    field_px: int
    cells: int
    test_share: float
    structures: tuple[str, ...]
    models: tuple[Trained, ...]

    @property
    def path(self) -> Path:
        """Where its parameters stand."""
        return ROOT / "studies" / self.name / "params.yaml"


def of_pairs(structure: str, faithful: bool) -> Iterator[Trained]:
    """Every supervised recipe, corrected and, if asked for, most of them as published too."""
    for recipe in SUPERVISED:
        yield Trained(structure, recipe)
        if faithful and recipe not in (*UNPUBLISHED, *LIKE_A_SIBLING):
            yield Trained(structure, recipe, faithful=True)


FULL = Plan(
    name="recipes",
    register_as="recipe",
    command="make benchmark",
    about="Every recipe beside the others: same cells, same light, same metrics, equal compute.",
    budget_tflop=1.0,
    field_px=96,
    cells=18,
    test_share=0.35,
    structures=("microtubules", "er", "vesicles_lapse", "microtubules_blinking"),
    models=(
        *of_pairs("microtubules", faithful=True),
        *of_pairs("er", faithful=False),
        Trained("microtubules", "deconoising"),
        Trained("er", "deconoising"),
        Trained("vesicles_lapse", "tis_rdl"),
        Trained("vesicles_lapse", "sis_rdl"),
        Trained("microtubules_blinking", "unet_srrf5"),
    ),
)

SMALL = Plan(
    name="recipes_small",
    register_as="recipe-small",
    command="make benchmark-small",
    about="A few recipes, hardly trained: it shows that the benchmark runs, and nothing else.",
    budget_tflop=0.01,
    field_px=64,
    cells=6,
    test_share=0.5,
    structures=("microtubules",),
    models=tuple(Trained("microtubules", recipe) for recipe in ("wiener_nafnet", "pre_red")),
)

PLANS = (FULL, SMALL)

STRUCTURES = {
    "microtubules": """\
    seed: 11
    objects: &microtubules
      name: microtubules
      density_um_per_um2: 2.0
      persistence_um: 20.0
      width_um: 0.05
      stray_share: 0.3
      labels_per_um: 400.0
""",
    "er": """\
    seed: 13
    objects:
      name: er
      mesh_um: 0.9
      tubule_um: 0.08
      open_share: 0.1
      sheet_share: 0.2
      sheet_brightness: 0.55
""",
    "vesicles_lapse": f"""\
    seed: 17
    objects:
      name: vesicles
      vesicles_per_um2: 1.2
      per_cluster: 4.0
      cluster_um: 0.8
      median_um: 0.25
      size_spread: 0.4
      filled_share: 0.5
      depth_um: 0.3
      background: 0.1
    series: {{name: lapse, times: {LAPSE.times}, slices: {LAPSE.slices}, slice_um: 0.1, axial_um: 0.25, speed_um: 0.03}}
""",
    "microtubules_blinking": f"""\
    seed: 19
    objects: *microtubules
    series:
      name: blinking
      frames: 100
      kept: {BLINKING.times}
      labels_per_um2: 60.0
      on_share: 0.1
      on_frames: 2.0
      srrf: {{magnification: 5, ring_radius_px: 0.5, axes: 6, weighted: true, temporal: tra, order: null}}
""",
}
OBJECTS = {"vesicles_lapse": "vesicles", "microtubules_blinking": "microtubules"}
"""of structures that have another name than theirs"""
LAYOUTS = {"vesicles_lapse": LAPSE, "microtubules_blinking": BLINKING}


def text(plan: Plan) -> str:
    """The parameters of a study."""
    return "\n".join([_head(plan), _structures(plan), _derived(plan), _models(plan), _foot(plan)])


def smaller(recipe: Recipe) -> dict[str, Any]:
    """What is changed in the network: a fraction of its feature maps, whatever it calls them."""
    network = recipe.network.model_dump()
    if "unet" in network:
        return {"unet": {"width": network["unet"]["width"] // SHRINK}}
    name = next(name for name in ("width", "filters") if name in network)
    return {name: network[name] // SHRINK}


def crop_px(recipe: Recipe, field_px: int) -> int:
    """Edge of the crops, as far as the check of the parameters lets them be large."""
    return min(CROPS_PX.get(recipe.task.input, CROP_PX), field_px)


@cache
def steps(name: str, faithful: bool, layout: Layout, budget_tflop: float, field_px: int) -> int:
    """As many as the budget allows."""
    network = smaller(find(name, faithful).recipe)
    recipe = find(name, faithful, {"network": network}).recipe
    each = operations(recipe, layout, crop_px(recipe, field_px), BATCH)
    return max(FEWEST_STEPS, round(budget_tflop * TERA / each))


def rule(field_px: int, budget_tflop: float) -> str:
    """How all models were made smaller, in words."""
    fine_px = min(CROPS_PX["reconstruction"], field_px)
    return (
        f"One rule for all: 1/{SHRINK} of the published feature maps; crops of {CROP_PX} raw pixels ({fine_px} on the "
        f"grid of reconstructions, {CROPS_PX['volume']} of volumes, {CROPS_PX['blinking']} of blinking frames); "
        f"batches of {BATCH}; one learning rate and one schedule; as many steps as {budget_tflop:g} TFLOP allow, at "
        f"least {FEWEST_STEPS}. Corrected recipes turn, mirror and reorder what they learn from, those as published do "
        "not."
    )


def _head(plan: Plan) -> str:
    script = "python benchmarks/recipes/plan.py" + (" --small" if plan is SMALL else "")
    told = fill(rule(plan.field_px, plan.budget_tflop), 118, initial_indent="# ", subsequent_indent="# ")
    return f"""\
# {plan.about}
# Written by `{script}`: change that, not this.
#
{told}
#
#     {plan.command}
house: ../..
study: {plan.name}
register_as: {plan.register_as}

acquisition:
  microscope:
    numerical_aperture: 1.4
    refractive_index: 1.518
    emission_um: 0.525
    pixel_um: 0.065
    camera: {{gain: 2.0, offset: 100.0, read_noise: 1.5}}
  angles: {RAW.angles}
  phases: {RAW.phases}
  spacing_um: 0.2
  modulation: [0.8]
  first_angle_rad: 0.2
  angle_error_rad: 0.01
  phase_error_rad: 0.05
  modulation_error: 0.05
  field_px: {plan.field_px}
  scale: 2
  oversampling: 4
  levels: {{low: 10.0, high: 60.0}}   # photo-electrons per pixel and frame, 99.9 percentile of the wide-field

datasets: {{}}

split: {{val: 0.2, test: {plan.test_share}, seed: 1}}

reconstruction: {{look: wiener, strength: 1.0, apodisation: ideal, positive: false}}

evaluation: {{border_px: 8, bootstrap: {{confidence: 0.95, resamples: 5000, seed: 7}}}}
"""


def _structures(plan: Plan) -> str:
    lines = ["structures:\n"]
    for name in plan.structures:
        drawn_from = f"../../sim_models/sources/objects/{OBJECTS.get(name, name)}.py"
        lines.append(f"  {name}:\n    drawn_from: {drawn_from}\n    cells: {plan.cells}\n{STRUCTURES[name]}")
    return "".join(lines)


def _derived(plan: Plan) -> str:
    entries = {
        model.derived: Trained(model.structure, DERIVED_FROM, model.faithful)
        for model in plan.models
        if model.derived
    }
    if not entries:
        return "derived: {}\n"
    lines = [
        f"  {name}: {_flow({'structure': source.structure, 'model': source.key, 'full_modulation': source.faithful})}\n"
        for name, source in entries.items()
    ]
    return "".join(["derived:\n", *lines])


def _models(plan: Plan) -> str:
    lines = ["models:\n"]
    for model in plan.models:
        usual = find(model.recipe, model.faithful).recipe
        choice = {
            "named": model.recipe,
            "faithful": model.faithful,
            "network": {"name": usual.network.name, **smaller(usual)},
            "method": {"name": usual.method.name},
        }
        layout = LAYOUTS.get(model.structure, RAW)
        num = steps(model.recipe, model.faithful, layout, plan.budget_tflop, plan.field_px)
        own = {
            "steps": num,
            "validate_every": num // LOOKS,
            "crop_px": crop_px(usual, plan.field_px),
            "augment": "none" if model.faithful else "symmetries",
        }
        lines.append(
            f"  {model.key}:\n    structure: {model.derived or model.structure}\n    recipe: {_flow(choice)}\n"
        )
        lines.append(_training(own, first=model is plan.models[0]))
    return "".join(lines)


def _training(own: Mapping[str, Any], first: bool) -> str:
    """The first one in full, the others by what is otherwise."""
    if not first:
        return f"    training: {{<<: *training, {_flow(own)[1:]}\n"
    shared = {
        "batch": BATCH,
        "learning_rate": 0.004,
        "weight_decay": 0.0001,
        "schedule": "cosine",
        "warmup_steps": 20,
        "clip_norm": 1.0,
        "patience": 100,
        "precision": "bfloat16",
        "seed": 3,
    }
    lines = [f"      {name}: {value}\n" for name, value in {**own, **shared}.items()]
    return "".join(["    training: &training\n", *lines])


def _foot(plan: Plan) -> str:  # noqa: ARG001 - as its siblings
    return """\
matrix: {sources: [], targets: [], finetune: null, frozen: {start: 0, end: 0}}

transfers: {}

gate:
  metric: psnr_targetrange_noscale
  above_baseline: {bicubic: 1.0}
  below_champion: 0.1
  absolute: {ssim_targetrange_noscale: 0.65}
  contradicted_percent: 5.0
"""


def _flow(values: Mapping[str, Any]) -> str:
    """One line of YAML."""
    written: str = yaml.safe_dump(dict(values), default_flow_style=True, sort_keys=False, width=1000)
    return written.strip()


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--small", action="store_true", help="the study for CI")
    plan = SMALL if parser.parse_args().small else FULL
    plan.path.parent.mkdir(parents=True, exist_ok=True)
    plan.path.write_text(text(plan))
    print(plan.path.relative_to(ROOT))


if __name__ == "__main__":
    main()
