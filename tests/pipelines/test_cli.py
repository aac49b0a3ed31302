"""The command line: a restored image, or one sentence that says what is wrong and no output at all."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import tifffile

from sim_models.field import Field, Image
from sim_models.images import read, write_ome
from sim_models.restorer import Card, Restorer
from sim_models.sources import ome_fields

Run = Callable[..., Any]


@pytest.fixture
def model(restorer: Restorer, tmp_path: Path) -> Path:
    restorer.save(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def counts(make_field: Callable[..., Field]) -> Image:
    """(3, 3, 32, 32) counts of the camera the toy fields name."""
    return (2 * make_field(4).image("raw") + 100).clip(0).astype(np.uint16)


@pytest.fixture
def stack(make_field: Callable[..., Field], counts: Image, tmp_path: Path) -> Path:
    """A raw stack as our own layout writes it."""
    ome_fields.write(tmp_path / "fields", replace(make_field(4), unit="counts").with_images({"raw": counts}))
    (raw,) = (tmp_path / "fields").rglob("raw.ome.tif")
    return raw


def with_layout(restorer: Restorer, angles: int, phases: int, folder: Path) -> Path:
    """An untrained restorer for other stacks."""
    network = restorer.recipe.network.build(angles * phases, 1, 2).eval()
    card: Card = restorer.card.model_copy(update={"angles": angles, "phases": phases})
    Restorer(restorer.recipe, network, restorer.normaliser, card, (angles * phases, 1)).save(folder)
    return folder


def test_restore(run: Run, model: Path, stack: Path, counts: Image, tmp_path: Path) -> None:
    done = run("restore", stack, "--model", model, "-o", tmp_path / "out.tif")
    assert done.code == 0, done.err
    assert done.out.strip() == f"{tmp_path / 'out.tif'}: 64 x 64, 0.0325 um per pixel"
    written = read(tmp_path / "out.tif")
    assert (written.axes, written.pixel_um, written.format) == ("YX", 0.0325, "OME-TIFF")
    restorer = Restorer.load(model)
    assert np.array_equal(written.data, restorer(counts))
    assert written.metadata["weights_sha256"] == restorer.weights_sha256


def test_restore_in_tiles(run: Run, model: Path, stack: Path, counts: Image, tmp_path: Path) -> None:
    done = run("restore", stack, "--model", model, "-o", tmp_path / "out.tif", "--tile", 16)
    assert done.code == 0, done.err
    np.testing.assert_allclose(
        read(tmp_path / "out.tif").data, Restorer.load(model)(counts), rtol=1e-4, atol=1e-2
    )


def test_restore_a_series(run: Run, model: Path, counts: Image, tmp_path: Path) -> None:
    series = np.stack([counts, counts[..., ::-1, :]])
    write_ome(tmp_path / "series.ome.tif", series, "TAPYX", 0.065, {}, "series")
    assert run("restore", tmp_path / "series.ome.tif", "--model", model, "-o", tmp_path / "out.tif").code == 0
    written = read(tmp_path / "out.tif")
    assert (written.axes, written.data.shape) == ("TYX", (2, 64, 64))
    restorer = Restorer.load(model)
    assert np.array_equal(written.data, np.stack([restorer(stack) for stack in series]))


def test_the_order_of_frames_can_be_told(run: Run, restorer: Restorer, counts: Image, tmp_path: Path) -> None:
    model = with_layout(restorer, 3, 2, tmp_path / "model32")
    angle_major = counts[:, :2]
    tifffile.imwrite(tmp_path / "phase_major.tif", angle_major.swapaxes(0, 1).reshape(6, 32, 32))
    arguments = ("restore", tmp_path / "phase_major.tif", "--model", model, "--pixel-um", 0.065, "-o")
    assert run(*arguments, tmp_path / "right.tif", "--order", "phase-major").code == 0
    assert run(*arguments, tmp_path / "wrong.tif").code == 0
    expected = Restorer.load(model)(angle_major)
    assert np.array_equal(read(tmp_path / "right.tif").data, expected)
    assert not np.array_equal(read(tmp_path / "wrong.tif").data, expected)


def test_doubts_are_told_and_do_not_stop(run: Run, model: Path, stack: Path, tmp_path: Path) -> None:
    done = run("restore", stack, "--model", model, "-o", tmp_path / "out.tif", "--pixel-um", 0.1)
    assert done.code == 0
    assert done.err.startswith("warning: pixels are 0.1000 um, the model was trained on 0.0650 um")
    assert (tmp_path / "out.tif").exists()


@pytest.mark.parametrize("unit", ["photons", "counts"])
def test_light_is_told_in_photons_whatever_the_unit_of_the_file(
    run: Run,
    model: Path,
    make_field: Callable[..., Field],
    tmp_path: Path,
    unit: Literal["photons", "counts"],
) -> None:
    field = make_field(4)
    raw = 10 * field.image("raw")
    frames = raw if unit == "photons" else 2 * raw + 100
    ome_fields.write(tmp_path / "fields", replace(field, unit=unit).with_images({"raw": frames}))
    (stack,) = (tmp_path / "fields").rglob("raw.ome.tif")
    done = run("restore", stack, "--model", model, "-o", tmp_path / "out.tif")
    photons = np.percentile(raw.mean(axis=(0, 1)), 99.9)
    assert done.err.startswith(f"warning: about {photons:.0f} photons, the model was trained on")


def test_from_the_registry(
    run: Run, model: Path, stack: Path, counts: Image, mlflow_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sim_models.evaluation.gate import Check, Verdict
    from sim_models.tracking.champions import Champions
    from sim_models.tracking.registry import Registry
    from sim_models.tracking.runs import Tracker

    with Tracker.open("test", mlflow_root).run("train", "key", {}, {}) as trained:
        pass
    registry = Registry.open(mlflow_root)
    version = registry.register(model, "sim-discs", trained.id, {}, "", {"raw": counts})
    good = Verdict(checks=(Check(rule="good", found="good", passed=True),))
    Champions(registry, "sim-discs").promote(version, lambda _: good, "tester", "first")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    done = run("restore", stack, "--model", "models:/sim-discs@champion", "-o", "out.tif")
    assert (done.code, done.err) == (0, "")
    assert np.array_equal(read(Path("out.tif")).data, Restorer.load(model)(counts))
    unknown = run("restore", stack, "--model", "models:/sim-er@champion", "-o", "none.tif")
    assert unknown.code == 2
    assert unknown.err.startswith("error: models:/sim-er@champion: not found in the registry")
    assert unknown.err.endswith("registered are: models:/sim-discs@champion\n")
    assert not Path("none.tif").exists()


Spoil = Callable[[Path, Image], Path | str]


def file_of(frames: Image, path: Path, pixel_um: float = 0.065, axes: str = "APYX") -> Path:
    write_ome(path, frames, axes, pixel_um, {}, "spoilt")
    return path


def truncated(folder: Path, counts: Image) -> Path:
    whole = file_of(counts, folder / "truncated.ome.tif")
    whole.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    return whole


def not_a_number(folder: Path, counts: Image) -> Path:
    frames = counts.astype(np.float32)
    frames[1, 1, 5] = np.nan
    return file_of(frames, folder / "nan.ome.tif")


def no_pixel_size(folder: Path, counts: Image) -> Path:
    tifffile.imwrite(folder / "plain.tif", counts.reshape(9, 32, 32))
    return folder / "plain.tif"


def text(folder: Path, counts: Image) -> Path:
    (folder / "notes.tif").write_text("these are my notes")
    return folder / "notes.tif"


BAD_STACKS: dict[str, tuple[Spoil, str]] = {
    "missing": (lambda folder, counts: folder / "nowhere.tif", "does not exist"),
    "text": (text, "is no TIFF"),
    "truncated": (truncated, "truncated"),
    "too few frames": (
        lambda folder, counts: file_of(counts[:, :2], folder / "few.tif"),
        "3 angles x 2 phases",
    ),
    "single image": (
        lambda folder, counts: file_of(counts[0, 0], folder / "one.tif", axes="YX"),
        "single image",
    ),
    "other number": (
        lambda folder, counts: file_of(counts.reshape(9, 32, 32)[:8], folder / "eight.tif", axes="TYX"),
        "8 x 32 x 32",
    ),
    "nan": (not_a_number, "32 pixels are NaN or infinite"),
    "constant": (
        lambda folder, counts: file_of(np.full_like(counts, 100), folder / "flat.tif"),
        "is constant",
    ),
    "no pixel size": (no_pixel_size, "does not say its pixel size; give it with --pixel-um"),
}


@pytest.mark.parametrize("fault", BAD_STACKS)
def test_a_stack_that_cannot_be_restored(
    run: Run, model: Path, counts: Image, tmp_path: Path, fault: str
) -> None:
    spoil, told = BAD_STACKS[fault]
    done = run("restore", spoil(tmp_path, counts), "--model", model, "-o", tmp_path / "out.tif")
    assert_refused(done, told, tmp_path / "out.tif")


def test_swapped_angles_and_phases(run: Run, restorer: Restorer, counts: Image, tmp_path: Path) -> None:
    """Six frames either way, so counting them would not do."""
    model = with_layout(restorer, 3, 2, tmp_path / "model32")
    stack = file_of(counts[:2], tmp_path / "swapped.tif")
    done = run("restore", stack, "--model", model, "-o", tmp_path / "out.tif")
    assert_refused(
        done, "has 2 angles x 3 phases, but the model restores stacks of 6 frames (3 angles x 2 phases)", None
    )


@pytest.mark.parametrize(
    ("out", "told"),
    [
        ("nowhere/out.tif", "is no folder you may write to"),
        ("out.png", "give it a name that ends in .tif"),
        ("fields/discs.tif/out.tif", "is no folder you may write to"),
    ],
)
def test_an_output_that_cannot_be_written(
    run: Run, model: Path, stack: Path, tmp_path: Path, out: str, told: str
) -> None:
    assert_refused(run("restore", stack, "--model", model, "-o", tmp_path / out), told, tmp_path / out)


def test_the_raw_stack_is_never_overwritten(run: Run, model: Path, stack: Path) -> None:
    before = stack.read_bytes()
    assert_refused(run("restore", stack, "--model", model, "-o", stack), "is the raw stack itself", None)
    assert stack.read_bytes() == before


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--model", "nowhere"), "nowhere: is no folder of a restorer"),
        (("--model", "model", "--tile", 8), "--tile must be at least 16"),
        (("--model", "model", "--pixel-um", 0), "--pixel-um above 0"),
    ],
)
def test_options_that_make_no_sense(
    run: Run, model: Path, stack: Path, tmp_path: Path, options: tuple[object, ...], told: str
) -> None:
    assert_refused(run("restore", stack, *options, "-o", tmp_path / "out.tif"), told, tmp_path / "out.tif")


def test_tampered_weights(run: Run, model: Path, stack: Path, tmp_path: Path) -> None:
    weights = bytearray((model / "weights.safetensors").read_bytes())
    weights[-1] ^= 1
    (model / "weights.safetensors").write_bytes(weights)
    done = run("restore", stack, "--model", model, "-o", tmp_path / "out.tif")
    assert_refused(done, "the file was changed, fetch it again", tmp_path / "out.tif")


def assert_refused(done: Any, told: str, out: Path | None) -> None:
    """Exit code 2, one line on stderr without a traceback, and no output."""
    assert done.code == 2, done
    assert told in done.err
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1
    assert done.out == ""
    assert out is None or not out.exists()


def test_inspect(run: Run, stack: Path) -> None:
    done = run("inspect", stack)
    assert done.code == 0
    assert "3 angles x 3 phases" in done.out
    assert "0.065 um" in done.out


def test_inspect_for_machines(run: Run, stack: Path) -> None:
    report = json.loads(run("inspect", stack, "--json", "--angles", 3, "--phases", 3).out)
    assert (report["angles"], report["phases"], report["pixel_um"]) == (3, 3, 0.065)


def test_inspect_what_is_not_there(run: Run, tmp_path: Path) -> None:
    assert_refused(run("inspect", tmp_path / "nowhere.tif"), "does not exist", None)


def test_the_console_script(tmp_path: Path, model: Path) -> None:
    """As a process of its own: the exit code, and not a word more than the sentence."""
    command = [
        sys.executable,
        "-m",
        "pipelines.cli",
        "restore",
        "nowhere.tif",
        "--model",
        "model",
        "-o",
        "out.tif",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: nowhere.tif: does not exist; check the spelling of the path\n"


@pytest.mark.parametrize(
    ("name", "angles", "phases", "order"),
    [("rdl-microtubules-tirf/MT.mrc", 3, 3, "angle-major"), ("tsim-er/ER_1.tif", 3, 3, "angle-major")],
)
def test_real_stacks(
    run: Run,
    restorer: Restorer,
    real_data: Path,
    tmp_path: Path,
    name: str,
    angles: int,
    phases: int,
    order: str,
) -> None:
    model = with_layout(restorer, angles, phases, tmp_path / "model_for_it")
    raw = read(real_data / name)
    pixel = () if raw.pixel_um else ("--pixel-um", 0.06)
    done = run(
        "restore", real_data / name, "--model", model, "-o", tmp_path / "out.tif", "--order", order, *pixel
    )
    assert done.code == 0, done.err
    written = read(tmp_path / "out.tif")
    assert written.data.shape[-2:] == tuple(2 * edge for edge in raw.data.shape[-2:])
    assert written.pixel_um == pytest.approx((raw.pixel_um or 0.06) / 2)
    assert np.isfinite(written.data).all()
