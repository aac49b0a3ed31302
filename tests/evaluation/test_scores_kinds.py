"""What models of every kind are judged by: images, reconstructed frames, and what has learned without a target."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sim_models.config import BadInput, parse
from sim_models.evaluation.metrics import METRICS
from sim_models.evaluation.panels import plane, save_panel
from sim_models.evaluation.scores import first_frame, restore, score, truth_of
from sim_models.field import Field, Image
from sim_models.optics.reconstruct import DEFAULT
from sim_models.recipes import find
from sim_models.restorer import Restorer
from sim_models.sources.objects import microtubules
from sim_models.sources.reconstruction import with_reconstructions
from sim_models.sources.simulation import Acquisition, simulate

Make = Callable[..., Restorer]
ACQUISITION: dict[str, Any] = {
    "microscope": {
        "numerical_aperture": 1.4,
        "refractive_index": 1.518,
        "emission_um": 0.525,
        "pixel_um": 0.065,
        "camera": {"gain": 2.0, "offset": 100.0, "read_noise": 1.5},
    },
    "angles": 3,
    "phases": 3,
    "spacing_um": 0.2,
    "modulation": [0.8],
    "first_angle_rad": 0.2,
    "angle_error_rad": 0.0,
    "phase_error_rad": 0.0,
    "modulation_error": 0.0,
    "field_px": 64,
    "scale": 2,
    "oversampling": 4,
    "levels": {"high": 400.0},
}
OBJECTS = {
    "name": "microtubules", "density_um_per_um2": 2.0, "persistence_um": 20.0, "width_um": 0.05,
    "stray_share": 0.3, "labels_per_um": 400.0,
}  # fmt: skip


@pytest.fixture(scope="module")
def field() -> Field:
    """A bright cell in photons, with all that `prepare` adds."""
    objects = parse(microtubules.Settings, OBJECTS, "objects")
    (taken,) = simulate(objects, parse(Acquisition, ACQUISITION, "acquisition"), "microtubules", 3, 11)
    raw = (taken.image("raw").astype(np.float32) - 100) / 2
    made = replace(taken.with_images({"raw": raw, "widefield": raw.mean(axis=(0, 1))}), unit="photons")
    (whole,) = with_reconstructions([made], DEFAULT)
    return whole


@pytest.fixture
def lapse(field: Field) -> Field:
    """A time-lapse of volumes of four times and five slices."""
    random = np.random.default_rng(0)
    rows, columns = np.indices((48, 40))
    clean = np.stack([np.exp(-((rows - 20 - z) ** 2 + (columns - 18) ** 2) / 40) for z in range(5)])
    clean = (100 * clean[None]).repeat(4, axis=0).astype(np.float32)
    noisy = random.poisson(clean).astype(np.float32)
    images: dict[Any, Image] = {
        "volume": noisy, "volume_clean": clean, "widefield": noisy.mean(axis=(0, 1)),
    }  # fmt: skip
    return replace(field, images=images, illumination=None)


def correlation(image: Image, other: Image) -> float:
    inner = (slice(8, -8),) * 2
    return float(np.corrcoef(image[inner].ravel(), other[inner].ravel())[0, 1])


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("wiener_nafnet", "reference"),
        ("unet_fairsim", "reference"),
        ("pre_red", "reference"),
        ("rdl_denoise", "reference"),
        ("unet_srrf5", "srrf"),
        ("tis_rdl", "volume_clean"),
        ("sis_rdl", "volume_clean"),
    ],
)
def test_the_target_is_the_best_there_is(field: Field, lapse: Field, name: str, role: Any) -> None:
    srrf = np.zeros((320, 320), np.float32)
    every = field.with_images({**lapse.images, "srrf": srrf})
    task = find(name).recipe.task
    assert truth_of(every, task) is every.images[role]
    lacking = {other: image for other, image in every.images.items() if other != role}
    with pytest.raises(BadInput, match=f"has no image of role '{role}'"):
        truth_of(replace(field, images=lacking), task)


def test_a_denoised_wide_field_is_held_against_the_mean_of_clean_frames(field: Field) -> None:
    truth = truth_of(field, find("deconoising").recipe.task)
    np.testing.assert_allclose(truth, field.image("raw_clean").mean(axis=(0, 1)), rtol=1e-5)
    assert truth.dtype == np.float32


def test_a_denoised_reconstruction_is_held_against_the_reference(field: Field) -> None:
    task = find("deconoising", change={"task": {"input": "reconstruction"}}).recipe.task
    assert truth_of(field, task) is field.image("reference")


@pytest.mark.parametrize(("name", "near"), [("pre_red", 0.9), ("unet_snr", 0.8)])
def test_restored_frames_are_judged_by_their_reconstruction(
    untrained: Make, field: Field, name: str, near: float
) -> None:
    """Of a model that gives the frames as they are: on the grid and in the unit of the reference."""
    changes = {"method": {"residual": "noisy"}} if name == "pre_red" else {}
    restorer = Enlarging(untrained(name)) if name == "unet_snr" else untrained(name, **changes)
    (restored,) = restore([field], {"scratch": restorer})  # type: ignore[dict-item]
    judged, reference = restored.images["scratch"], field.image("reference")
    assert judged.shape == reference.shape
    assert correlation(judged, reference) > near
    assert correlation(judged, field.image("reconstruction")) > 0.98
    assert judged.mean() == pytest.approx(reference.mean(), rel=0.1)
    table = score(restored, border_px=8).set_index(["arm", "metric"])["value"]
    metric = "psnr_targetrange_noscale"
    assert table["scratch", metric] > table["widefield", metric]


class Enlarging:
    """Gives frames as they are, every pixel twice along each axis."""

    def __init__(self, restorer: Restorer) -> None:
        self.recipe = restorer.recipe

    def __call__(self, images: Any) -> Image:
        enlarged: Image = images["raw"].repeat(2, axis=-1).repeat(2, axis=-2)
        return enlarged


def test_a_model_of_two_images_is_judged_by_the_first(untrained: Make, field: Field) -> None:
    restorer = untrained("deconoising", weights=0.1)
    (restored,) = restore([field], {"scratch": restorer})
    assert np.array_equal(restored.images["scratch"], restorer(field.images)[0])
    assert restored.images["widefield"].shape == restored.target.shape == (64, 64)
    assert set(restored.images) == {"scratch", "widefield", "bicubic"}


@pytest.mark.parametrize("name", ["tis_rdl", "sis_rdl"])
def test_volumes_are_restored_scored_and_shown(
    untrained: Make, lapse: Field, tmp_path: Path, name: str
) -> None:
    (restored,) = restore([lapse], {"scratch": untrained(name, weights=0.1)})
    assert set(restored.images) == {"scratch", "widefield", "bicubic"}
    assert {image.shape for image in restored.images.values()} == {(4, 5, 48, 40)}
    assert np.array_equal(restored.images["widefield"], lapse.image("volume"))
    assert restored.consistency == {}
    table = score(restored, border_px=4)
    assert set(table["metric"]) == set(METRICS)
    assert np.isfinite(table["value"]).all()
    save_panel(restored, table, tmp_path / "panel.png")
    assert (tmp_path / "panel.png").read_bytes().startswith(b"\x89PNG")
    assert np.array_equal(plane(restored.target), lapse.image("volume_clean")[2, 2])
    assert np.array_equal(first_frame(lapse), lapse.image("volume")[0, 0])


def test_two_dimensional_images_are_shown_as_they_are(field: Field) -> None:
    assert plane(field.image("reference")) is field.image("reference")
    assert np.array_equal(first_frame(field), field.image("raw")[0, 0])
