"""`sim-models restore` with models of every kind, on the files that people have."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from pipelines.own_files.restoring import Options, Restoration, restore_file
from pipelines.own_files.stacks import Stated
from sim_models.config import BadInput
from sim_models.field import Field, FrameOrder, Image
from sim_models.images import read, write_ome
from sim_models.restorer import Restorer
from sim_models.sources import ome_fields

Make = Callable[..., Restorer]
Run = Callable[..., Any]
OPTICS = Stated(0.065, 1.4, 0.525, 100.0, 2.0, 1.5)
NOTHING = Stated(0.065, None, None, None, None, None)


@pytest.fixture
def stack(taken: Field, tmp_path: Path) -> Path:
    """Says its axes and its pixel size, and nothing else."""
    return file_of(taken.image("raw"), "APYX", tmp_path)


def file_of(data: Image, axes: str, folder: Path) -> Path:
    write_ome(folder / "given.ome.tif", data, axes, 0.065, {}, "given")
    return folder / "given.ome.tif"


@pytest.fixture
def restore(untrained: Make, tmp_path: Path) -> Callable[..., tuple[Restoration, Image]]:
    """Saves a model and restores a file with it."""

    def call(
        path: Path,
        model: str | Restorer,
        stated: Stated = OPTICS,
        reconstruct: bool = False,
        weights: float = 0.0,
    ) -> tuple[Restoration, Image]:
        restorer = untrained(model, weights) if isinstance(model, str) else model
        restorer.save(tmp_path / "model")
        done = restore_file(
            path, str(tmp_path / "model"), tmp_path / "restored.tif",
            Options(FrameOrder.ANGLE_MAJOR, stated, 512, reconstruct), lambda *_: None,
        )  # fmt: skip
        file = read(done.path)
        assert file.data.shape == done.shape
        assert file.axes == restorer.axes or reconstruct
        return done, np.asarray(file.data)

    return call


Restore = Callable[..., tuple[Restoration, Image]]


@pytest.fixture
def classical(run: Run, stack: Path, tmp_path: Path) -> Image:
    """What `sim-models reconstruct` makes of the stack."""
    done = run(
        "reconstruct", stack, "-o", tmp_path / "classical.tif", "--na", 1.4, "--emission-um", 0.525,
        "--offset", 100, "--gain", 2, "--read-noise", 1.5,
    )  # fmt: skip
    assert done.code == 0, done.err
    return np.asarray(read(tmp_path / "classical.tif").data)


def correlation(image: Image, other: Image) -> float:
    inner = (..., slice(8, -8), slice(8, -8))
    return float(np.corrcoef(image[inner].ravel(), other[inner].ravel())[0, 1])


# Raw stacks


def test_raw_frames_and_their_reconstruction(restore: Restore, stack: Path, classical: Image) -> None:
    done, restored = restore(stack, "wiener_nafnet")
    assert (done.shape, done.pixel_um) == ((128, 128), pytest.approx(0.0325))
    np.testing.assert_allclose(restored, classical, rtol=1e-3, atol=1e-3 * np.abs(classical).max())


def test_restored_frames_come_out_as_frames(restore: Restore, stack: Path, taken: Field) -> None:
    done, restored = restore(stack, "pre_red", NOTHING)
    assert (done.shape, done.pixel_um) == ((3, 3, 64, 64), pytest.approx(0.065))
    np.testing.assert_allclose(restored, taken.image("raw"), rtol=1e-4)
    assert read(done.path).metadata["gives"] == ["restored"]


def test_restored_frames_are_put_together_when_asked(restore: Restore, stack: Path, classical: Image) -> None:
    done, restored = restore(stack, "pre_red", reconstruct=True)
    assert (done.shape, done.pixel_um) == ((128, 128), pytest.approx(0.0325))
    assert correlation(restored, classical) > 0.99
    assert restored.mean() == pytest.approx(classical.mean(), rel=0.02)


def twice(_: Restorer, given: Any, *__: Any) -> Image:
    """Gives frames as they are, every pixel twice along each axis."""
    enlarged: Image = given["raw"].repeat(2, axis=-1).repeat(2, axis=-2)
    return enlarged


def test_frames_on_a_finer_grid_are_put_together_on_that_of_the_camera(
    restore: Restore, stack: Path, classical: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Restorer, "__call__", twice)
    done, restored = restore(stack, "unet_snr", reconstruct=True)
    assert (done.shape, done.pixel_um) == ((128, 128), pytest.approx(0.0325))
    assert correlation(restored, classical) > 0.99


@pytest.mark.parametrize("reconstruct", [False, True])
def test_frames_of_a_model_with_what_came_before(
    restore: Restore, untrained: Make, stack: Path, taken: Field, classical: Image, reconstruct: bool
) -> None:
    upstream = untrained("wiener_nafnet")
    model = replace(untrained("rdl_denoise"), upstream=upstream, full_modulation=False)
    _, restored = restore(stack, model, reconstruct=reconstruct)
    expected = classical if reconstruct else (taken.image("raw").astype(np.float32) - 100) / 2
    assert restored.shape == expected.shape
    assert correlation(restored, expected) > 0.99
    assert restored.mean() == pytest.approx(expected.mean(), rel=0.02)


def test_derived_frames_are_those_the_microscope_would_take(
    restore: Restore, untrained: Make, stack: Path, taken: Field, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the reconstruction, under the stripes that were found: nearly the frames themselves, and as bright."""
    monkeypatch.setattr(
        Restorer,
        "__call__",
        lambda self, given, *_: given["synthetic" if self.upstream else "reconstruction"],
    )
    model = replace(untrained("rdl_denoise"), upstream=untrained("wiener_nafnet"), full_modulation=False)
    _, restored = restore(stack, model)
    clean = taken.image("raw_clean")
    assert restored.shape == clean.shape
    assert correlation(restored, clean) > 0.95
    assert restored.mean() == pytest.approx(clean.mean(), rel=0.05)
    # Angle by angle and phase by phase: every frame is most like its own.
    for number, frame in enumerate(restored.reshape(9, 64, 64)):
        alike = [correlation(frame, other) for other in clean.reshape(9, 64, 64)]
        assert int(np.argmax(alike)) == number


def test_a_series_of_stacks_becomes_one_of_frames(restore: Restore, taken: Field, tmp_path: Path) -> None:
    series = np.stack([taken.image("raw"), taken.image("raw")[..., ::-1, :]])
    write_ome(tmp_path / "given.tif", series, "TAPYX", 0.065, {}, "given")
    model = "pre_red"
    with pytest.raises(AssertionError):
        restore(tmp_path / "given.tif", model, NOTHING)  # axes are those of one field, with T before them
    restored = read(tmp_path / "restored.tif")
    assert restored.axes == "TAPYX"
    np.testing.assert_allclose(restored.data, series, rtol=1e-4)


# Single images


@pytest.mark.parametrize("said", ["YX", "TYX"])
def test_plain_images_are_denoised(
    restore: Restore, untrained: Make, taken: Field, tmp_path: Path, said: str
) -> None:
    image = taken.image("raw").mean(axis=(0, 1)).astype(np.float32)
    given = image if said == "YX" else np.stack([image, image[::-1], 2 * image])
    path = tmp_path / "plain.tif"
    tifffile.imwrite(path, given, metadata={"axes": said}, imagej=True)
    model = untrained("deconoising", weights=0.1)
    model.save(tmp_path / "model")
    done = restore_file(
        path, str(tmp_path / "model"), tmp_path / "out.tif", Options(FrameOrder.ANGLE_MAJOR, OPTICS, 512),
        lambda *_: None,
    )  # fmt: skip
    written = read(done.path)
    assert written.axes == ("CYX" if said == "YX" else "TCYX")
    assert written.metadata["gives"] == ["denoised", "deconvolved"]
    photons = (given - 100) / 2  # since zero has to be no light
    for restored, each in zip(written.data.reshape(-1, 2, 64, 64), photons.reshape(-1, 64, 64), strict=True):
        np.testing.assert_allclose(restored, model(each), rtol=1e-3, atol=1e-3 * np.abs(restored).max())


def test_a_raw_stack_is_denoised_as_its_wide_field(
    restore: Restore, untrained: Make, stack: Path, taken: Field
) -> None:
    model = untrained("deconoising", weights=0.1)
    _, restored = restore(stack, model)
    photons = (taken.image("raw").mean(axis=(0, 1)) - 100) / 2
    np.testing.assert_allclose(restored, model(photons), rtol=1e-3, atol=1e-3 * np.abs(restored).max())


# Series


def volume(*shape: int) -> Image:
    return np.random.default_rng(0).integers(100, 400, shape).astype(np.uint16)


@pytest.mark.parametrize(
    ("name", "axes", "shape", "restored"),
    [
        ("tis_rdl", "TZYX", (5, 3, 32, 40), (5, 3, 32, 40)),
        ("tis_rdl", "TYX", (5, 32, 40), (5, 1, 32, 40)),
        ("tis_rdl", "ZYX", (5, 32, 40), None),
        ("sis_rdl", "TZYX", (2, 3, 32, 40), (2, 3, 32, 40)),
        ("sis_rdl", "ZYX", (3, 32, 40), (1, 3, 32, 40)),
        ("unet_srrf5", "TYX", (6, 32, 40), (160, 200)),
    ],
)
def test_series(
    restore: Restore, untrained: Make, tmp_path: Path, name: str, axes: str, shape: Any, restored: Any
) -> None:
    data = volume(*shape)
    model = untrained(name, weights=0.1)
    path = file_of(data, axes, tmp_path)
    if restored is None:
        with pytest.raises(BadInput, match="1 x 5 x 32 x 40 is given, but the model takes volume frames"):
            restore(path, model, NOTHING)
        return
    done, image = restore(path, model, NOTHING)
    assert done.shape == restored
    given = data if name == "unet_srrf5" else data.reshape(restored)
    np.testing.assert_allclose(image, model(given), rtol=1e-4, atol=1e-3)
    assert done.pixel_um == pytest.approx(0.065 / (5 if name == "unet_srrf5" else 1))


def test_pages_that_a_file_does_not_name_are_what_the_model_tells_apart(
    restore: Restore, untrained: Make, tmp_path: Path
) -> None:
    data = volume(6, 32, 40)
    path = tmp_path / "pages.tif"
    tifffile.imwrite(path, data, photometric="minisblack")
    for name, shape in (("tis_rdl", (6, 1, 32, 40)), ("sis_rdl", (1, 6, 32, 40))):
        model = untrained(name, weights=0.1)
        done, image = restore(path, model, NOTHING)
        assert done.shape == shape
        np.testing.assert_allclose(image, model(data.reshape(shape)), rtol=1e-4, atol=1e-3)


def test_a_volume_of_our_own_is_restored_in_photons(
    restore: Restore, untrained: Make, taken: Field, tmp_path: Path
) -> None:
    data = volume(4, 3, 32, 40)
    ome_fields.write(tmp_path / "fields", replace(taken, images={"volume": data}, illumination=None))
    (path,) = (tmp_path / "fields").rglob("volume.ome.tif")
    model = untrained("tis_rdl", weights=0.1)
    _, image = restore(path, model, NOTHING)
    np.testing.assert_allclose(image, model((data - np.float32(100)) / 2), rtol=1e-4, atol=1e-3)


# What does not fit


@pytest.mark.parametrize(
    ("name", "axes", "shape", "told"),
    [
        ("tis_rdl", "CZYX", (2, 3, 32, 40), None),
        ("tis_rdl", "TCZYX", (4, 2, 3, 32, 40), r"holds 4 x 2 x 3 x 32 x 40 \(TCZYX\).* takes axes TZYX"),
        ("unet_srrf5", "TZYX", (5, 2, 32, 40), r"holds 5 x 2 x 32 x 40 \(TZYX\).* takes axes TYX"),
        ("pre_red", "YX", (32, 40), r"holds a single image \(YX\)"),
        ("wiener_nafnet", "TYX", (8, 32, 40), r"holds 8 x 32 x 40 .*9 frames"),
        ("deconoising", "CYX", (3, 32, 40), r"holds 3 x 32 x 40 .*9 frames"),
    ],
)
def test_other_axes_are_refused(
    restore: Restore, tmp_path: Path, name: str, axes: str, shape: Any, told: Any
) -> None:
    path = file_of(volume(*shape), axes, tmp_path)
    with pytest.raises(
        BadInput, match=told or "takes volume frames with axes TZYX, at least 4 of T"
    ) as refusal:
        restore(path, name, OPTICS)
    assert "\n" not in str(refusal.value)
    assert not (tmp_path / "restored.tif").exists()


@pytest.mark.parametrize("name", ["wiener_nafnet", "deconoising", "tis_rdl"])
def test_what_is_an_image_cannot_be_reconstructed(
    restore: Restore, stack: Path, tmp_path: Path, name: str
) -> None:
    with pytest.raises(BadInput, match="--reconstruct is for models that restore raw frames"):
        restore(stack, name, reconstruct=True)
    assert not (tmp_path / "restored.tif").exists()


@pytest.mark.parametrize(
    ("name", "reconstruct"), [("wiener_nafnet", False), ("rdl_denoise", False), ("pre_red", True)]
)
def test_stripes_need_the_optics(
    restore: Restore, untrained: Make, stack: Path, name: str, reconstruct: bool
) -> None:
    model = replace(untrained(name), upstream=untrained("wiener_nafnet"))
    with pytest.raises(BadInput, match="does not say all of its optics; give --na"):
        restore(stack, model, NOTHING, reconstruct=reconstruct)


def test_frames_without_stripes_are_not_reconstructed(restore: Restore, tmp_path: Path) -> None:
    path = file_of(volume(3, 3, 64, 64), "APYX", tmp_path)
    with pytest.raises(BadInput, match=r"given\.ome\.tif: "):
        restore(path, "wiener_nafnet")


def test_the_command_line_reconstructs_restored_frames(
    run: Run, untrained: Make, stack: Path, tmp_path: Path
) -> None:
    untrained("pre_red").save(tmp_path / "model")
    given = ("restore", stack, "--model", tmp_path / "model", "-o", tmp_path / "out.tif")
    refused = run(*given, "--reconstruct")
    assert refused.code == 2
    assert "does not say all of its optics; give --na" in refused.err
    done = run(*given, "--reconstruct", "--na", 1.4, "--emission-um", 0.525, "--offset", 100)
    assert done.code == 0, done.err
    assert done.out.strip() == f"{tmp_path / 'out.tif'}: 128 x 128, 0.0325 um per pixel"


def test_an_image_is_held_against_its_frames(untrained: Make, stack: Path, tmp_path: Path) -> None:
    untrained("wiener_nafnet").save(tmp_path / "model")
    options = Options(FrameOrder.ANGLE_MAJOR, OPTICS, 512, check=True)
    done = restore_file(stack, str(tmp_path / "model"), tmp_path / "out.tif", options, lambda *_: None)
    # An untrained network of zeros leaves the reconstruction as it is, which the frames were put together to.
    (said,) = done.checked
    assert float(said.split("by ")[1].split(" times")[0]) < 1.5
    untrained("deconoising").save(tmp_path / "other")
    with pytest.raises(BadInput, match="--check holds super-resolved images against raw SIM frames"):
        restore_file(stack, str(tmp_path / "other"), tmp_path / "out.tif", options, lambda *_: None)
