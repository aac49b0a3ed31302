"""What `prepare` makes of every kind of field: photons, wide-field, and what its frames allow."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from pipelines import prepare, simulate
from pipelines.prepare import prepared
from sim_models.config import BadInput
from sim_models.field import Camera, Field, Microscope, Role
from sim_models.sources import ome_fields
from sim_models.sources.prepared import Prepared

MICROSCOPE = Microscope(
    numerical_aperture=1.4,
    refractive_index=1.518,
    emission_um=0.525,
    pixel_um=0.065,
    camera=Camera(gain=2.0, offset=100.0, read_noise=1.5),
)
LAPSE = {"name": "lapse", "times": 2, "slices": 3, "slice_um": 0.1, "axial_um": 0.2, "speed_um": 0.1}
BLINKING = {
    "name": "blinking", "frames": 12, "kept": 4, "labels_per_um2": 100.0, "on_share": 0.2, "on_frames": 2.0,
    "srrf": {
        "magnification": 2, "ring_radius_px": 0.5, "axes": 4, "weighted": True, "temporal": "trac", "order": 2
    },
}  # fmt: skip


def field_of(images: dict[Role, np.ndarray], **changed: Any) -> Field:
    field = Field("d", "s", "cell_000", "low", images, MICROSCOPE)
    return replace(field, **changed)


@pytest.mark.parametrize(
    ("role", "shape"), [("raw", (3, 3, 8, 8)), ("volume", (2, 4, 8, 8)), ("blinking", (5, 8, 8))]
)
def test_frames_become_photons_and_their_mean_the_widefield(role: Role, shape: tuple[int, ...]) -> None:
    counts = np.random.default_rng(1).integers(100, 300, shape).astype(np.uint16)
    field = prepared(field_of({role: counts}))
    assert field.unit == "photons"
    np.testing.assert_allclose(field.image(role), (counts.astype(float) - 100) / 2, rtol=1e-6)
    assert field.image("widefield").shape == (8, 8)
    mean = field.image(role).reshape(-1, 8, 8).mean(axis=0)
    np.testing.assert_allclose(field.image("widefield"), mean, rtol=1e-5)


@pytest.mark.parametrize(("role", "clean"), [("raw", "raw_clean"), ("volume", "volume_clean")])
def test_clean_frames_are_photons_already_unless_they_are_counts(role: Role, clean: Role) -> None:
    counts = np.random.default_rng(1).integers(100, 300, (2, 3, 8, 8)).astype(np.uint16)
    expected = counts.astype(np.float32)
    simulated = prepared(field_of({role: counts, clean: expected}))
    np.testing.assert_array_equal(simulated.image(clean), expected)
    measured = prepared(field_of({role: counts, clean: counts}))
    np.testing.assert_allclose(measured.image(clean), (expected - 100) / 2)
    assert measured.image(clean).dtype == np.float32
    unknown = MICROSCOPE.model_copy(update={"camera": None})
    left = prepared(field_of({role: counts, clean: counts}, microscope=unknown))
    assert left.unit == "counts"
    np.testing.assert_array_equal(left.image(clean), expected)


def test_a_field_without_frames_is_refused() -> None:
    with pytest.raises(
        BadInput, match=r"s/cell_000/low: has none of the roles raw, volume, blinking \(it has "
    ):
        prepared(field_of({"truth": np.ones((8, 8), np.float32)}))


@pytest.mark.parametrize(
    ("series", "expected"),
    [
        (LAPSE, {"volume": (2, 3, 32, 32), "volume_clean": (2, 3, 32, 32), "widefield": (32, 32)}),
        (
            BLINKING,
            {
                "blinking": (4, 32, 32), "reference": (64, 64), "truth": (64, 64), "srrf": (64, 64),
                "widefield": (32, 32),
            },
        ),
        (
            None,
            {
                "raw": (3, 3, 32, 32), "raw_clean": (3, 3, 32, 32), "reconstruction": (64, 64),
                "reference": (64, 64), "truth": (64, 64), "widefield": (32, 32),
            },
        ),
    ],
    ids=["lapse", "blinking", "raw"],
)  # fmt: skip
def test_a_series_goes_from_objects_to_prepared_fields(
    repository: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    series: dict[str, Any] | None,
    expected: dict[str, tuple[int, ...]],
) -> None:
    values = yaml.safe_load((repository / "params.yaml").read_text())
    values["acquisition"] |= {"field_px": 32, "levels": {"low": 30.0, "high": 300.0}}
    values |= {"models": {}, "transfers": {}}
    values["matrix"] |= {"sources": [], "targets": []}
    values["structures"] = {"ccps": values["structures"]["ccps"] | {"cells": 3, "series": series}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values))
    monkeypatch.chdir(tmp_path)
    simulate.main("ccps")
    prepare.main("ccps")
    folder = tmp_path / "data" / "fields" / "ccps"
    assert Prepared.open(folder).structure == "ccps"
    fields = list(ome_fields.fields(folder))
    assert len(fields) == 6
    for field in fields:
        assert field.unit == "photons"
        assert {role: image.shape for role, image in field.images.items()} == expected
        assert all(image.dtype == np.float32 for image in field.images.values())
        level = {"low": 30.0, "high": 300.0}[field.level]
        assert np.percentile(field.image("widefield"), 99.9) == pytest.approx(level, rel=0.25)
