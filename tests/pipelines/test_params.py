"""`params.yaml` as a whole: the shipped one is right, and rules that span sections are kept."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.shared.params import Params, read_params
from sim_models.config import BadInput, parse
from sim_models.recipes import find


@pytest.fixture
def params(repository: Path) -> Params:
    return read_params(repository / "params.yaml")


@pytest.fixture
def values(repository: Path) -> Any:
    return yaml.safe_load((repository / "params.yaml").read_text())


def refused(values: object) -> str:
    with pytest.raises(BadInput) as refusal:
        parse(Params, values, "params.yaml")
    assert "\n" not in str(refusal.value)
    return str(refusal.value)


def test_the_shipped_file_survives_json(params: Params) -> None:
    again = Params.model_validate_json(params.model_dump_json())
    assert again == params
    assert json.loads(again.model_dump_json()) == json.loads(params.model_dump_json())


def test_nothing_the_shipped_file_says_is_lost(params: Params, values: Any) -> None:
    """Every key a person wrote is in the typed tree; else DVC would re-run stages for nothing."""

    def compare(written: Any, typed: Any, where: str) -> None:
        if isinstance(written, dict):
            assert written.keys() <= typed.keys(), where
            for key in written:
                compare(written[key], typed[key], f"{where}.{key}")
        elif isinstance(written, list):
            for number, (one, other) in enumerate(zip(written, typed, strict=True)):
                compare(one, other, f"{where}.{number}")
        else:
            assert written == typed, where

    compare(values, params.model_dump(mode="json"), "params")


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (
            lambda values: next(iter(values["models"].values())).update(structure="golgi"),
            r"models\.\w+\.structure is 'golgi', but there are only ",
        ),
        (
            lambda values: next(iter(values["transfers"].values())).update(structure="golgi"),
            r"transfers\.\w+\.structure is 'golgi', but there are only ",
        ),
        (
            lambda values: next(iter(values["transfers"].values())).update(source="nobody"),
            r"transfers\.\w+\.source is 'nobody', but there are only ",
        ),
    ],
    ids=["model", "structure", "source"],
)
def test_names_must_exist(values: Any, spoil: Callable[[Any], None], told: str) -> None:
    spoil(values)
    with pytest.raises(BadInput, match=told):
        parse(Params, values, "params.yaml")


def test_all_wrong_names_are_told_at_once(values: Any) -> None:
    next(iter(values["models"].values()))["structure"] = "golgi"
    next(iter(values["transfers"].values())).update(structure="nowhere", source="nobody")
    told = refused(values)
    assert "'golgi'" in told
    assert "'nowhere'" in told
    assert "'nobody'" in told


@pytest.fixture
def uneven_px(params: Params) -> int:
    """A crop that the first model's network cannot halve as often as it does."""
    divisor: int = next(iter(params.models.values())).recipe.in_full().network.divisor
    assert divisor > 1
    return divisor + 1


def test_crops_must_be_multiples_of_what_the_network_halves(values: Any, uneven_px: int) -> None:
    next(iter(values["models"].values()))["training"] |= {"crop_px": uneven_px}
    assert f"training.crop_px is {uneven_px}, but the network 'nafnet' needs a multiple of " in refused(
        values
    )


def test_crops_of_a_study_are_checked_with_the_network_of_its_source(values: Any, uneven_px: int) -> None:
    for arm in ("scratch", "finetune"):
        next(iter(values["transfers"].values()))["study"][arm]["crop_px"] = uneven_px
    told = refused(values)
    assert f"study.scratch.crop_px is {uneven_px}" in told
    assert f"study.finetune.crop_px is {uneven_px}" in told


def test_crops_must_lie_within_the_field(values: Any) -> None:
    field_px = values["acquisition"]["field_px"]
    next(iter(values["models"].values()))["training"]["crop_px"] = 2 * field_px
    assert f"but acquisition.field_px gives fields of {field_px}" in refused(values)


def test_dvc_must_watch_what_objects_are_drawn_from(values: Any) -> None:
    key = next(iter(values["structures"]))
    values["structures"][key]["drawn_from"] = "README.md"
    assert f"structures.{key}.drawn_from is 'README.md', but its objects come from 'sim_models/" in refused(
        values
    )


LAPSE = {"name": "lapse", "times": 3, "slices": 4, "slice_um": 0.1, "axial_um": 0.2, "speed_um": 0.1}


def test_a_structure_is_taken_as_raw_stacks_unless_a_series_is_chosen(values: Any) -> None:
    key = next(iter(values["structures"]))
    assert parse(Params, values, "params.yaml").structure(key).series is None
    values["structures"][key]["series"] = LAPSE
    chosen = parse(Params, values, "params.yaml").structure(key).series
    assert chosen is not None
    assert chosen.model_dump() == LAPSE


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"times": 0}, "times: Input should be greater than 0 (found 0)"),
        ({"frames": 7}, "frames: unknown key"),
        ({"name": "film"}, "does not match any of the expected tags: 'blinking', 'lapse'"),
    ],
)
def test_mistakes_in_a_series_are_told_by_their_address(
    values: Any, change: dict[str, Any], told: str
) -> None:
    key = next(iter(values["structures"]))
    values["structures"][key]["series"] = LAPSE | change
    found = refused(values)
    assert f"structures.{key}.series" in found
    assert told in found


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"named": "unett"}, "there is no recipe 'unett'; there are "),
        ({"faithful": None}, "faithful: Input should be a valid boolean"),
        ({"network": {"name": "rednet"}}, "network.name must be 'nafnet', that of recipe 'wiener_nafnet'"),
        ({"network": {"name": "nafnet", "widht": 3}}, "recipe.network.widht: unknown key"),
        ({"task": {"scale": 0}}, "recipe.task.scale: Input should be greater than 0 (found 0)"),
        ({"shrink": 2}, "shrink: unknown key"),
    ],
)
def test_mistakes_in_the_choice_of_a_recipe_are_told_by_their_address(
    values: Any, change: dict[str, Any], told: str
) -> None:
    key = next(iter(values["models"]))
    values["models"][key]["recipe"] |= change
    found = refused(values)
    assert f"models.{key}.recipe" in found
    assert told in found


def test_what_stands_in_a_choice_is_laid_over_the_recipe(values: Any) -> None:
    key = next(iter(values["models"]))
    values["models"][key]["recipe"] |= {
        "network": {"name": "nafnet", "width": 5},
        "normaliser": {"high_percent": 99.0},
    }
    recipe = parse(Params, values, "params.yaml").model(key).recipe.in_full()
    usual = find("wiener_nafnet").recipe
    assert recipe.network == usual.network.model_copy(update={"width": 5})
    assert recipe.normaliser.high_percent == 99.0
    assert recipe.method == usual.method


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda section: section.pop("strength"), "reconstruction.strength: Field required"),
        (lambda section: section.update(wiener=0.3), "reconstruction.wiener: unknown key"),
        (lambda section: section.update(look="fairsim"), "reconstruction.look: Input should be 'wiener' or "),
        (lambda section: section.update(apodisation="none"), "reconstruction.apodisation: Input should be 'ideal' or "),
        (lambda section: section.update(strength=0.0), "reconstruction.strength: Input should be greater than 0"),
        (lambda section: section.update(strength="1"), "reconstruction.strength: Input should be a valid number"),
        (lambda section: section.update(positive=1), "reconstruction.positive: Input should be a valid boolean"),
    ],
)  # fmt: skip
def test_a_reconstruction_is_told_whole_and_right(
    values: Any, spoil: Callable[[Any], None], told: str
) -> None:
    spoil(values["reconstruction"])
    assert told in refused(values)


def test_every_study_says_how_it_reconstructs(values: Any) -> None:
    del values["reconstruction"]
    assert refused(values) == "params.yaml: reconstruction: Field required"


def test_what_was_once_the_wiener_parameter_is_no_longer_passed_over(values: Any) -> None:
    values["evaluation"]["wiener"] = 0.3
    assert "evaluation.wiener: unknown key" in refused(values)


def test_an_unknown_key_is_told_what_there_is(params: Params) -> None:
    for entry, section in (
        (params.structure, "structures"),
        (params.derived_fields, "derived"),
        (params.model, "models"),
        (params.transfer, "transfers"),
    ):
        with pytest.raises(BadInput, match=f"params.yaml: {section} has no 'golgi'; there are "):
            entry("golgi")


def test_a_folder_without_params_says_where_to_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInput, match=r"params.yaml: cannot be read .*beside its params.yaml"):
        read_params()


def test_every_shipped_study_is_right(repository: Path) -> None:
    for study in sorted(repository.glob("studies/*/params.yaml")):
        assert read_params(study).models
