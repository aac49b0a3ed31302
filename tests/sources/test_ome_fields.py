"""Our own layout comes back as it was written, and refuses what no method could learn from."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sim_models.config import BadInput
from sim_models.field import Field, Role
from sim_models.images import read, write_ome
from sim_models.sources import ome_fields
from sim_models.sources.checks import check


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    ome_fields.write_toy(tmp_path)
    return tmp_path


@pytest.fixture
def field(toy: Path) -> Field:
    return next(ome_fields.fields(toy))


def test_round_trip(field: Field, tmp_path: Path) -> None:
    ome_fields.write(tmp_path / "copy", field)
    (copy,) = ome_fields.fields(tmp_path / "copy")
    for role, image in field.images.items():
        np.testing.assert_array_equal(copy.image(role), image)
    assert replace(copy, images={}) == replace(field, images={})


def test_pixel_size_of_each_role(toy: Path) -> None:
    home = toy / "cell_000" / "high"
    assert read(home / "raw.ome.tif").pixel_um == 0.065
    assert read(home / "reference.ome.tif").pixel_um == 0.0325


def test_fields_are_read_when_asked_for(toy: Path) -> None:
    (toy / "cell_001" / "low" / "raw.ome.tif").write_bytes(b"damaged")
    found = ome_fields.fields(toy)
    assert [next(found).name for _ in range(3)] == [
        "blobs/cell_000/high", "blobs/cell_000/low", "blobs/cell_001/high"
    ]  # fmt: skip
    with pytest.raises(BadInput, match=r"cell_001/low/raw\.ome\.tif"):
        next(found)


def test_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="holds no field; expected files <cell>/<level>/<role>"):
        next(ome_fields.fields(tmp_path))


@pytest.mark.parametrize(
    ("key", "address"),
    [
        (("structure",), "structure: Field required"),
        (("microscope", "pixel_um"), "microscope.pixel_um: Field required"),
        (("microscope", "numerical_aperture"), "microscope.numerical_aperture: Field required"),
        (("microscope", "emission_um"), "microscope.emission_um: Field required"),
    ],
)
def test_missing_metadata_is_named(toy: Path, key: tuple[str, ...], address: str) -> None:
    path = toy / "cell_000" / "high" / "raw.ome.tif"

    def forget(metadata: dict[str, Any]) -> None:
        branch = metadata
        for step in key[:-1]:
            branch = branch[step]
        del branch[key[-1]]

    rewrite(path, forget)
    with pytest.raises(BadInput) as refusal:
        next(ome_fields.fields(toy))
    assert str(path) in str(refusal.value)
    assert address in str(refusal.value)


def test_foreign_file(toy: Path) -> None:
    path = toy / "cell_000" / "high" / "raw.ome.tif"
    rewrite(path, dict.clear)
    with pytest.raises(BadInput, match="carries no acquisition metadata"):
        next(ome_fields.fields(toy))


def test_renamed_cell(toy: Path) -> None:
    (toy / "cell_000").rename(toy / "cell_007")
    with pytest.raises(BadInput, match=r"metadata says it is cell_000/high/.*counts twice"):
        list(ome_fields.fields(toy))


def test_images_of_two_microscopes(toy: Path) -> None:
    reference = toy / "cell_000" / "high" / "reference.ome.tif"
    rewrite(reference, lambda metadata: metadata["microscope"].update(emission_um=0.6))
    with pytest.raises(BadInput, match="metadata differ"):
        next(ome_fields.fields(toy))


def test_frames_in_one_row(toy: Path) -> None:
    path = toy / "cell_000" / "high" / "raw.ome.tif"
    file = read(path)
    write_ome(path, file.data.reshape(9, 24, 24), "CYX", 0.065, file.metadata, "n")
    with pytest.raises(BadInput, match="has axes CYX; role 'raw' needs APYX"):
        next(ome_fields.fields(toy))


Change = Callable[[np.ndarray], np.ndarray]


def spoil(index: Any, value: float) -> Change:
    def spoiled(image: np.ndarray) -> np.ndarray:
        image = image.astype(np.float32) if np.isnan(value) else image.copy()
        image[index] = value
        return image

    return spoiled


@pytest.mark.parametrize(
    ("role", "change", "sentence"),
    [
        ("raw", spoil((0, 0, 0, 0), np.nan), "1 NaN or infinite"),
        ("raw", spoil(..., 7), "constant"),
        ("raw", spoil((0, 0, slice(5)), 65535), "saturated: 20.8%"),
        ("raw", lambda raw: np.broadcast_to(raw[:1, :1], raw.shape), "frames 1 and 2 are identical"),
        ("raw", lambda raw: np.concatenate([raw, raw[:, :1] + 1], axis=1), "describes 3 x 3.*swapped"),
        ("raw", lambda raw: raw[0], "expected angles x phases"),
        ("reference", lambda image: image[:47], "no whole multiple"),
        ("reference", lambda image: image[:24], "no whole multiple"),
        ("reference", lambda image: image[None], "expected rows x columns"),
    ],
)
def test_unusable_fields(field: Field, role: Role, change: Change, sentence: str) -> None:
    check(field, "here")
    with pytest.raises(BadInput, match=rf"here: image '{role}' .*{sentence}"):
        check(field.with_images({role: change(field.images[role])}), "here")


def test_volumes_and_blinking_frames_come_back_and_may_not_be_saturated(field: Field, tmp_path: Path) -> None:
    raw = field.image("raw")
    bright = np.full((24, 24), 65535, np.uint16)
    frames: dict[Role, np.ndarray] = {"volume": raw, "blinking": raw[0]}
    for role, image in frames.items():
        series = replace(field, images={role: image}, illumination=None)
        ome_fields.write(tmp_path / role, series)
        (copy,) = ome_fields.fields(tmp_path / role)
        np.testing.assert_array_equal(copy.image(role), image)
        with pytest.raises(BadInput, match=f"image '{role}' is saturated"):
            check(
                series.with_images({role: np.concatenate([image, np.broadcast_to(bright, image.shape)])}),
                "here",
            )


def rewrite(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    file = read(path)
    metadata = json.loads(json.dumps(file.metadata))
    change(metadata)
    write_ome(path, file.data, file.axes, 0.065, metadata, "n")
