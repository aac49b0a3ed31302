"""Stage `derive`: frames that a first guess would have given, and the model that guessed, for what learns from them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from pipelines import derive
from sim_models.config import BadInput
from sim_models.field import Field
from sim_models.freeze import FreezeRange
from sim_models.recipes import find
from sim_models.restorer import Restorer
from sim_models.sources import ome_fields
from sim_models.sources.prepared import Prepared
from sim_models.sources.reconstruction import synthetic
from sim_models.sources.split import Split
from sim_models.training.job import Job, lay_out
from sim_models.training.loop import TrainingSettings, train

SPLIT = Split(train=("cell_000", "cell_001"), val=("cell_002",), test=("cell_003",))


@pytest.fixture
def study(
    repository: Path,
    untrained: Callable[..., Restorer],
    make_field: Callable[..., Field],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Restorer:
    """Prepared fields of four cells at two levels, the model that guesses, and settings, in this folder."""
    monkeypatch.chdir(tmp_path)
    params = yaml.safe_load((repository / "params.yaml").read_text())
    params["derived"] = {
        f"guessed_{key}": {
            "structure": "microtubules", "model": "microtubules_nafnet", "full_modulation": key == "deep",
        }
        for key in ("deep", "found")
    }  # fmt: skip
    Path("params.yaml").write_text(yaml.safe_dump(params))
    folder = Path("data/fields/microtubules")
    for cell in range(4):
        for level, photons in {"low": 20.0, "high": 200.0}.items():
            field = make_field(cell, level, photons)
            ome_fields.write(folder, field.with_images({"raw_clean": field.image("raw") + np.float32(1)}))
    Prepared.seal(folder, "discs", SPLIT)
    model = untrained("unet_residual", weights=0.1)
    model.save(Path("models/microtubules_nafnet"))
    return model


@pytest.fixture
def prepared(study: Restorer) -> Prepared:
    derive.main("guessed_deep")
    return Prepared.open(Path("data/fields/guessed_deep"))


def test_every_field_gets_the_frames_of_its_guess(study: Restorer, prepared: Prepared) -> None:
    before = Prepared.open(Path("data/fields/microtubules"))
    assert prepared.split == before.split
    assert prepared.structure == "discs"
    for part in ("train", "val", "test"):
        for field, old in zip(prepared.fields(part), before.fields(part), strict=True):
            assert field.image("synthetic").shape == field.image("raw").shape
            assert set(field.images) == {*old.images, "synthetic"}
            assert all(np.array_equal(field.image(role), old.image(role)) for role in old.images)
            assert field.illumination is not None
            # Stripes of so small a field are not found, so that those of its metadata are taken.
            expected = synthetic(study(old.images), field.microscope, field.illumination, 2, True)
            np.testing.assert_allclose(field.image("synthetic"), expected, rtol=1e-4, atol=1e-4)


def test_stripes_are_as_deep_as_was_asked_for(prepared: Prepared) -> None:
    derive.main("guessed_found")
    found = Prepared.open(Path("data/fields/guessed_found"))
    assert (prepared.full_modulation, found.full_modulation) == (True, False)
    deep, plain = (each.fields("val")[0].image("synthetic") for each in (prepared, found))
    mean = plain.mean(axis=1, keepdims=True)
    # What stripes add to the mean of an angle is 0.8 as deep as it can be.
    np.testing.assert_allclose(0.8 * (deep - mean), plain - mean, rtol=1e-3, atol=1e-3 * np.ptp(plain))


def test_the_model_that_guessed_is_beside_them(study: Restorer, prepared: Prepared) -> None:
    assert prepared.upstream is not None
    assert Restorer.load(prepared.upstream).weights_sha256 == study.weights_sha256
    assert Prepared.open(Path("data/fields/microtubules")).upstream is None
    assert Prepared.open(Path("data/fields/microtubules")).full_modulation is None


def job_of(dataset: str, training: TrainingSettings, **task: Any) -> Job:
    network = {"width": 16, "blocks": 1, "pattern_groups": 1, "noisy_groups": 1, "joint_groups": 1}
    recipe = find("rdl_denoise", change={"network": network, "task": task}).recipe
    return Job(
        recipe=recipe,
        training=training.model_copy(update={"augment": "symmetries", "steps": 2}),
        dataset=dataset,
        source=None,
        frozen=FreezeRange(start=0, end=0),
    )


def test_what_learns_from_them_takes_the_model_along(
    study: Restorer, prepared: Prepared, training: TrainingSettings, tmp_path: Path
) -> None:
    job = job_of(str(prepared.folder), training)
    bench = lay_out(job)
    assert bench.channels == (6, 3)
    assert len(bench.samples.pairs) == 2 * 2 * 3  # cells, levels, angles
    state = train(
        bench.network, job.recipe.method, bench.samples, bench.validation, job.training, bench.start(), 2
    )
    restorer = bench.restorer(state)
    assert restorer.upstream is not None
    assert restorer.upstream.weights_sha256 == study.weights_sha256
    assert restorer.full_modulation is True
    restorer.save(tmp_path / "trained")
    field = prepared.fields("test")[0]
    assert np.array_equal(Restorer.load(tmp_path / "trained")(field.images), restorer(field.images))
    assert restorer(field.images).shape == field.image("raw").shape


@pytest.mark.parametrize(("light", "level"), [("brightest", "high"), ("dimmest", "low")])
def test_a_task_may_learn_at_one_light_level_alone(
    prepared: Prepared, training: TrainingSettings, light: str, level: str
) -> None:
    bench = lay_out(job_of(str(prepared.folder), training, light=light))
    assert len(bench.samples.pairs) == 2 * 3
    assert len(bench.validation.pairs) == 3
    assert list(bench.card.light) == [level]


def test_fields_without_derived_frames_are_refused(study: Restorer, training: TrainingSettings) -> None:
    with pytest.raises(BadInput, match="has no image of role 'synthetic'"):
        lay_out(job_of("data/fields/microtubules", training))


def test_nothing_is_left_behind_where_the_guess_fails(
    study: Restorer, make_field: Callable[..., Field]
) -> None:
    other = replace(study, card=study.card.model_copy(update={"phases": 5}))
    other.save(Path("models/microtubules_nafnet"))
    with pytest.raises(BadInput, match="has 9 frames but the model restores 15"):
        derive.main("guessed_deep")
    assert [folder.name for folder in Path("data/fields").iterdir()] == ["microtubules"]


def test_an_unknown_key_is_refused(study: Restorer) -> None:
    with pytest.raises(BadInput, match="derived has no 'nothing'; there are guessed_deep, guessed_found"):
        derive.main("nothing")


def test_frames_are_derived_from_images_alone(study: Restorer) -> None:
    params = yaml.safe_load(Path("params.yaml").read_text())
    params["models"]["microtubules_nafnet"]["recipe"] = {
        "named": "pre_red",
        "faithful": False,
        "network": {"name": "rednet"},
        "method": {"name": "supervised"},
    }
    Path("params.yaml").write_text(yaml.safe_dump(params))
    with pytest.raises(
        BadInput, match=r"derived\.guessed_deep\.model is 'microtubules_nafnet', which gives no image"
    ):
        derive.main("guessed_deep")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"structure": "golgi"}, "derived.guessed_deep.structure is 'golgi', but there are only "),
        ({"model": "nobody"}, "derived.guessed_deep.model is 'nobody', but there are only "),
    ],
)
def test_names_must_exist(study: Restorer, change: dict[str, str], told: str) -> None:
    params = yaml.safe_load(Path("params.yaml").read_text())
    params["derived"]["guessed_deep"] |= change
    Path("params.yaml").write_text(yaml.safe_dump(params))
    with pytest.raises(BadInput, match=told):
        derive.main("guessed_deep")
