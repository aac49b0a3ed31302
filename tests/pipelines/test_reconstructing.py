"""`sim-models reconstruct`: an image with its record, or one sentence that says what is wrong and no output at all."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch

from pipelines.own_files import reconstructing
from pipelines.own_files.records import Record, read_record
from sim_models.config import BadInput, parse
from sim_models.evaluation.sheets import Sheet
from sim_models.field import Field, Illumination, Image
from sim_models.images import read, write_ome
from sim_models.optics.estimate import estimate
from sim_models.restorer import Restorer
from sim_models.sources import ome_fields
from sim_models.sources.objects import microtubules
from sim_models.sources.simulation import Acquisition, simulate

Run = Callable[..., Any]

OPTICS = ("--na", 1.4, "--emission-um", 0.525)
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
    "angle_error_rad": 0.02,
    "phase_error_rad": 0.05,
    "modulation_error": 0.05,
    "field_px": 96,
    "scale": 2,
    "oversampling": 4,
    "levels": {"bright": 200.0, "dim": 40.0, "dark": 1.0},
}
OBJECTS = {
    "name": "microtubules",
    "density_um_per_um2": 2.0,
    "persistence_um": 20.0,
    "width_um": 0.05,
    "stray_share": 0.3,
    "labels_per_um": 400.0,
}


def simulated(cell: int, **changed: Any) -> dict[str, Field]:
    """One cell at every light level; each cell has its own faults of the stripes."""
    acquisition = parse(Acquisition, {**ACQUISITION, **changed}, "acquisition")
    objects = parse(microtubules.Settings, OBJECTS, "objects")
    return {field.level: field for field in simulate(objects, acquisition, "microtubules", cell, 11)}


@pytest.fixture(scope="session")
def cells() -> list[dict[str, Field]]:
    return [simulated(0), simulated(1)]


@pytest.fixture
def bright(cells: list[dict[str, Field]]) -> Field:
    return cells[0]["bright"]


@pytest.fixture
def stack(bright: Field, tmp_path: Path) -> Path:
    return file_of(bright.image("raw"), tmp_path / "stack.tif")


def file_of(frames: Image, path: Path, axes: str = "APYX", pixel_um: float = 0.065) -> Path:
    """An OME-TIFF that says its axes and its pixel size, and nothing else."""
    write_ome(path, frames, axes, pixel_um, {}, "stack")
    return path


def true_stripes(field: Field) -> Illumination:
    assert field.illumination is not None
    return field.illumination


def degrees_from(record: Record, truth: Illumination) -> float:
    """The largest error of a direction; stripes have no front."""
    found = [angle.angle_rad for angle in record.estimate.angles]
    return float(np.degrees(np.abs(np.arcsin(np.sin(np.subtract(found, truth.angle_rad)))).max()))


def agreement(image: Image, field: Field) -> float:
    """Correlation with the reference, away from the borders."""
    inner = (slice(8, -8),) * 2
    return float(np.corrcoef(image[inner].ravel(), field.image("reference")[inner].ravel())[0, 1])


def names(folder: Path) -> set[str]:
    """Everything in a folder and below, hidden or not."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def refusal(done: Any) -> str:
    """Exit code 2, one line on stderr without a traceback, and nothing else said."""
    assert (done.code, done.out) == (2, ""), done
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1
    return str(done.err)


# What comes out


def test_an_image_of_doubled_sampling_that_is_close_to_the_reference(
    run: Run, stack: Path, bright: Field, tmp_path: Path
) -> None:
    done = run("reconstruct", stack, "-o", "out.ome.tif", *OPTICS)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("out.ome.tif: 192 x 192, 0.0325 um per pixel; stripes 20")
    assert done.out.count("\n") == 1
    written = read(tmp_path / "out.ome.tif")
    assert (written.axes, written.pixel_um, written.format) == ("YX", 0.0325, "OME-TIFF")
    assert (written.data.shape, written.data.dtype) == ((192, 192), np.float32)
    assert written.metadata == {"reconstructed_from": ["stack.tif"], "record": "out.json"}
    widefield = bright.image("raw").mean(axis=(0, 1)).repeat(2, axis=0).repeat(2, axis=1)
    assert agreement(written.data, bright) > 0.98 > agreement(widefield, bright)


def test_nothing_but_image_and_record_is_written_unless_a_sheet_is_asked_for(
    run: Run, stack: Path, tmp_path: Path
) -> None:
    before = names(tmp_path)
    run("reconstruct", stack, "-o", "out.tif", *OPTICS)
    assert names(tmp_path) - before == {"out.tif", "out.json"}
    run("reconstruct", stack, "-o", "shown.tif", *OPTICS, "--sheet")
    assert names(tmp_path) - before == {"out.tif", "out.json", "shown.tif", "shown.json", "shown.png"}
    assert (tmp_path / "shown.png").read_bytes().startswith(b"\x89PNG")


def test_the_same_frames_give_the_same_bytes(run: Run, stack: Path, tmp_path: Path) -> None:
    for folder in ("first", "second"):
        run("reconstruct", stack, "-o", f"{folder}/out.tif", *OPTICS, "--sheet")
    for name in ("out.tif", "out.json", "out.png"):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


def test_the_record_holds_the_stripes_within_their_uncertainties(
    run: Run, stack: Path, bright: Field, tmp_path: Path
) -> None:
    run("reconstruct", stack, "-o", "out.tif", *OPTICS, "--offset", 100)
    record, truth = read_record(tmp_path / "out.json"), true_stripes(bright)
    assert (record.angles, record.phases, record.order.value) == (3, 3, "angle-major")
    for angle, found in enumerate(record.estimate.angles):
        assert 0 < found.spacing_sigma_um < 0.001
        assert abs(found.spacing_um - truth.spacing_um[angle]) < 5 * found.spacing_sigma_um + 1e-4
        assert 0 < found.angle_sigma_rad < 0.01
        assert 0 < found.modulation_sigma[0] < 0.1
        assert found.modulation[0] == pytest.approx(truth.modulation[angle][0], abs=0.15)
        assert len(found.phase_rad) == len(found.phase_sigma_rad) == 3
        assert found.score > found.limit
    assert degrees_from(record, truth) < 0.5


def test_the_record_says_what_was_done_with_what(
    run: Run, stack: Path, bright: Field, tmp_path: Path
) -> None:
    run("reconstruct", stack, "-o", "out.tif", *OPTICS, "--offset", 100)
    record = read_record(tmp_path / "out.json")
    assert record.made_by.startswith("sim-models ")
    assert record.files == ("stack.tif",)
    assert record.data_sha256 == hashlib.sha256(bright.image("raw").tobytes()).hexdigest()
    assert record.offset_counts == (100, 100, 100)
    assert record.microscope == bright.microscope.model_copy(update={"camera": None})
    assert record.stripes_of == "these frames"
    assert record.later == record.warnings == ()
    transfer = np.array(record.transfer.value)
    beyond = np.array(record.transfer.frequency_per_um) > record.microscope.cutoff_per_um
    assert transfer[0] > 0.9
    assert transfer[beyond].max() > 0.1


def test_frames_do_not_contradict_their_own_reconstruction(run: Run, stack: Path, tmp_path: Path) -> None:
    """Whether gain and read noise are stated or have to be measured."""
    for stated in ((), ("--offset", 100), ("--offset", 100, "--gain", 2)):
        done = run("reconstruct", stack, "-o", "out.tif", *OPTICS, *stated)
        record = read_record(tmp_path / "out.json")
        assert record.consistency_flagged_percent < 0.1
        assert 0.7 < record.consistency_chi2 < 1.2
        assert done.out.endswith(" % of the image\n")


def test_a_record_survives_being_read(run: Run, stack: Path, tmp_path: Path) -> None:
    run("reconstruct", stack, "-o", "out.tif", *OPTICS, "--gain", 2, "--offset", 100, "--read-noise", 1.5)
    text = (tmp_path / "out.json").read_text()
    record = read_record(tmp_path / "out.json")
    assert json.loads(record.model_dump_json()) == json.loads(text)
    assert Record.model_validate_json(record.model_dump_json()) == record


# Several files


def test_several_stacks_go_into_a_folder(
    run: Run, cells: list[dict[str, Field]], stack: Path, tmp_path: Path
) -> None:
    other = file_of(cells[1]["bright"].image("raw"), tmp_path / "2026.11.25 b.ome.tif")
    done = run("reconstruct", stack, other, "-o", "new/folder", *OPTICS)
    assert (done.code, done.err) == (0, "")
    assert [line.split(":")[0] for line in done.out.splitlines()] == [
        "new/folder/stack_sim.ome.tif",
        "new/folder/2026.11.25 b_sim.ome.tif",
    ]
    assert names(tmp_path / "new" / "folder") == {
        "stack_sim.ome.tif", "stack_sim.json", "2026.11.25 b_sim.ome.tif", "2026.11.25 b_sim.json",
    }  # fmt: skip
    for cell, name in enumerate(("stack_sim", "2026.11.25 b_sim")):
        assert agreement(read(tmp_path / f"new/folder/{name}.ome.tif").data, cells[cell]["bright"]) > 0.98


def test_what_can_be_done_of_several_is_done_and_the_rest_is_told(
    run: Run, stack: Path, tmp_path: Path
) -> None:
    (tmp_path / "notes.tif").write_text("these are my notes")
    done = run("reconstruct", "nowhere.tif", stack, "notes.tif", "-o", "out", *OPTICS)
    assert done.code == 2
    assert done.out.startswith("out/stack_sim.ome.tif: ")
    first, second = done.err.splitlines()
    assert first.startswith("error: nowhere.tif: does not exist")
    assert second.startswith("error: notes.tif: is no TIFF")
    assert names(tmp_path / "out") == {"stack_sim.ome.tif", "stack_sim.json"}


def test_a_folder_of_frames_is_a_stack(run: Run, stack: Path, bright: Field, tmp_path: Path) -> None:
    folder = tmp_path / "cell 1.5"
    folder.mkdir()
    for number, frame in enumerate(bright.image("raw").reshape(9, 96, 96)):
        tifffile.imwrite(folder / f"frame_{number}.tif", frame)
    done = run("reconstruct", folder, "-o", "out", *OPTICS, "--pixel-um", 0.065)
    assert done.code == 0, done.err
    run("reconstruct", stack, "-o", "out.tif", *OPTICS)
    assert np.array_equal(read(tmp_path / "out/cell 1.5_sim.ome.tif").data, read(tmp_path / "out.tif").data)
    assert read_record(tmp_path / "out/cell 1.5_sim.json").files[8] == "frame_8.tif"


# A series


@pytest.mark.parametrize("axes", ["TAPYX", "TCYX"])
def test_a_series_has_one_image_for_each_stack(
    run: Run, cells: list[dict[str, Field]], tmp_path: Path, axes: str
) -> None:
    levels = [cells[0]["bright"], cells[0]["dim"]]
    series = np.stack([field.image("raw") for field in levels])
    frames = series if axes == "TAPYX" else series.reshape(2, 9, 96, 96)
    done = run("reconstruct", file_of(frames, tmp_path / "series.tif", axes), "-o", "out.tif", *OPTICS)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("out.tif: 2 x 192 x 192, 0.0325 um per pixel; ")
    assert done.out.endswith(" % of the first image\n")
    written = read(tmp_path / "out.tif")
    assert (written.axes, written.pixel_um) == ("TYX", 0.0325)
    assert agreement(written.data[0], levels[0]) > 0.98
    assert agreement(written.data[1], levels[1]) > 0.95
    assert read_record(tmp_path / "out.json").later == ()


def test_stripes_that_move_are_estimated_for_each_stack(
    run: Run, cells: list[dict[str, Field]], tmp_path: Path
) -> None:
    fields = [cell["bright"] for cell in cells]
    file = file_of(np.stack([field.image("raw") for field in fields]), tmp_path / "series.tif", "TAPYX")
    assert run("reconstruct", file, "-o", "out.tif", *OPTICS, "--each").code == 0
    record, written = read_record(tmp_path / "out.json"), read(tmp_path / "out.tif").data
    estimates = [record.estimate, *record.later]
    assert len(estimates) == 2
    for field, image, found in zip(fields, written, estimates, strict=True):
        assert degrees_from(record.model_copy(update={"estimate": found}), true_stripes(field)) < 0.5
        assert agreement(image, field) > 0.98


def test_the_stack_of_a_series_that_has_no_stripes_is_named(
    run: Run, cells: list[dict[str, Field]], tmp_path: Path
) -> None:
    series = np.stack([cells[0][level].image("raw") for level in ("bright", "dark")])
    file = file_of(series, tmp_path / "series.tif", "TAPYX")
    told = refusal(run("reconstruct", file, "-o", "out.tif", *OPTICS, "--each"))
    assert "series.tif: stack 2 of 2: no stripes found in angle" in told


def test_a_series_without_stripes_is_told_how_else_they_may_be_found(
    run: Run, cells: list[dict[str, Field]], tmp_path: Path
) -> None:
    dark = [cell["dark"].image("raw") for cell in cells]
    file = file_of(np.stack(dark), tmp_path / "series.tif", "TAPYX")
    told = refusal(run("reconstruct", file, "-o", "out.tif", *OPTICS))
    assert "in the mean of 2 stacks: no stripes found" in told
    assert told.endswith("if stripes move from stack to stack, try --each\n")


# Stripes of another stack


def test_a_dark_stack_can_be_put_together_with_the_stripes_of_a_brighter_one(
    run: Run, cells: list[dict[str, Field]], stack: Path, tmp_path: Path
) -> None:
    dark = file_of(cells[0]["dark"].image("raw"), tmp_path / "dark.tif")
    assert "no stripes found" in refusal(run("reconstruct", dark, "-o", "alone.tif", *OPTICS))
    run("reconstruct", stack, "-o", "bright.tif", *OPTICS)
    done = run("reconstruct", dark, "-o", "dark_sim.tif", *OPTICS, "--stripes", "bright.json")
    assert done.code == 0, done.err
    bright, record = read_record(tmp_path / "bright.json"), read_record(tmp_path / "dark_sim.json")
    assert record.estimate.angles == bright.estimate.angles
    assert (bright.stripes_of, record.stripes_of) == ("these frames", "bright.json")
    assert record.data_sha256 != bright.data_sha256
    assert run("reconstruct", dark, "-o", "dark_sim.tif", "--stripes", "bright.json").code == 0  # optics too
    assert record.consistency_flagged_percent < 0.5


@pytest.fixture
def starts(monkeypatch: pytest.MonkeyPatch) -> list[Sequence[tuple[float, float]] | None]:
    """Where the estimate was to look, from one call to the next."""
    asked: list[Sequence[tuple[float, float]] | None] = []

    def look(frames: torch.Tensor, microscope: Any, harmonics: int, start: Any = None) -> Any:
        asked.append(start)
        return estimate(frames, microscope, harmonics, start=start)

    monkeypatch.setattr(reconstructing, "estimate", look)
    return asked


def test_stripes_can_be_looked_for_near_those_of_a_record(
    run: Run, stack: Path, tmp_path: Path, starts: list[Sequence[tuple[float, float]] | None]
) -> None:
    run("reconstruct", stack, "-o", "first.tif", *OPTICS)
    assert run("reconstruct", stack, "-o", "again.tif", *OPTICS, "--start", "first.json").code == 0
    first, again = (read_record(tmp_path / f"{name}.json") for name in ("first", "again"))
    assert starts == [None, [(angle.angle_rad, angle.spacing_um) for angle in first.estimate.angles]]
    assert {angle.found for angle in again.estimate.angles} == {"given"}
    assert again.stripes_of == "these frames"
    for one, other in zip(first.estimate.angles, again.estimate.angles, strict=True):
        assert one.spacing_um == pytest.approx(other.spacing_um, rel=1e-3)


def test_every_stack_of_a_series_starts_from_the_record(
    run: Run,
    cells: list[dict[str, Field]],
    stack: Path,
    tmp_path: Path,
    starts: list[Sequence[tuple[float, float]] | None],
) -> None:
    run("reconstruct", stack, "-o", "first.tif", *OPTICS)
    series = np.stack([cells[0][level].image("raw") for level in ("bright", "dim")])
    file = file_of(series, tmp_path / "series.tif", "TAPYX")
    assert run("reconstruct", file, "-o", "out.tif", *OPTICS, "--each", "--start", "first.json").code == 0
    assert len(starts) == 3
    assert starts[1] == starts[2]
    assert starts[1] is not None


def test_a_start_where_no_stripes_are_is_refused(run: Run, stack: Path, tmp_path: Path) -> None:
    run("reconstruct", stack, "-o", "first.tif", *OPTICS)
    turned = json.loads((tmp_path / "first.json").read_text())
    for angle in turned["estimate"]["angles"]:
        angle["angle_rad"] += 0.5
    (tmp_path / "turned.json").write_text(json.dumps(turned))
    told = refusal(run("reconstruct", stack, "-o", "out.tif", *OPTICS, "--start", "turned.json"))
    assert "no stripes found in angles 1, 2 and 3 of 3" in told


@pytest.mark.parametrize(
    ("frames", "pixel_um", "told"),
    [
        (lambda raw: raw, 0.08, "holds stripes of other optics (pixel_um 0.065 instead of 0.08)"),
        (lambda raw: np.concatenate([raw, raw[:, 1:] + 1], axis=1), 0.065, "3 phases, but the stack has 3 x 5"),
    ],
    ids=["pixel", "layout"],
)  # fmt: skip
def test_stripes_of_a_stack_of_another_kind_are_refused(
    run: Run,
    stack: Path,
    bright: Field,
    tmp_path: Path,
    frames: Callable[[Image], Image],
    pixel_um: float,
    told: str,
) -> None:
    run("reconstruct", stack, "-o", "first.tif", *OPTICS)
    other = file_of(frames(bright.image("raw")), tmp_path / "other.tif", pixel_um=pixel_um)
    before = names(tmp_path)
    assert told in refusal(run("reconstruct", other, "-o", "out.tif", *OPTICS, "--stripes", "first.json"))
    assert names(tmp_path) == before


# How frames are read


def test_the_order_of_frames_can_be_told(run: Run, stack: Path, bright: Field, tmp_path: Path) -> None:
    run("reconstruct", stack, "-o", "right.tif", *OPTICS)
    swapped = bright.image("raw").swapaxes(0, 1).reshape(9, 96, 96)
    file = file_of(swapped, tmp_path / "swapped.tif", "TYX")
    assert "phase-major" in refusal(run("reconstruct", file, "-o", "wrong.tif", *OPTICS))
    assert run("reconstruct", file, "-o", "told.tif", *OPTICS, "--order", "phase-major").code == 0
    assert np.array_equal(read(tmp_path / "told.tif").data, read(tmp_path / "right.tif").data)
    assert read_record(tmp_path / "told.json").order.value == "phase-major"


def test_harmonics_are_usual_for_the_phases_unless_they_are_told(run: Run, tmp_path: Path) -> None:
    field = simulated(0, phases=5, levels={"bright": 200.0})["bright"]
    file = file_of(field.image("raw").reshape(15, 96, 96), tmp_path / "five.tif", "TYX")
    assert run("reconstruct", file, "-o", "one.tif", *OPTICS, "--harmonics", 1).code == 0
    record = read_record(tmp_path / "one.json")
    assert (record.angles, record.phases) == (3, 5)
    assert {len(angle.modulation) for angle in record.estimate.angles} == {1}
    assert agreement(read(tmp_path / "one.tif").data, field) > 0.98
    # The three beams that five phases are taken for have stripes of half the frequency, and here there are none.
    assert "no stripes found" in refusal(run("reconstruct", file, "-o", "two.tif", *OPTICS))


def test_one_angle_is_enough(run: Run, bright: Field, tmp_path: Path) -> None:
    file = file_of(bright.image("raw")[0], tmp_path / "one.tif", "TYX")
    assert run("reconstruct", file, "-o", "out.tif", *OPTICS, "--angles", 1).code == 0
    record = read_record(tmp_path / "out.json")
    assert (record.angles, record.phases, len(record.estimate.angles)) == (1, 3, 1)


def test_values_are_counts_above_the_offset_or_photo_electrons_where_the_gain_is_stated(
    run: Run, stack: Path, bright: Field, tmp_path: Path
) -> None:
    run("reconstruct", stack, "-o", "counts.tif", *OPTICS, "--offset", 100)
    run(
        "reconstruct",
        stack,
        "-o",
        "electrons.tif",
        *OPTICS,
        "--offset",
        100,
        "--gain",
        2,
        "--read-noise",
        1.5,
    )
    counts, electrons = (read(tmp_path / f"{name}.tif").data for name in ("counts", "electrons"))
    np.testing.assert_allclose(counts, 2 * electrons, atol=0.02 * counts.max())
    assert counts.mean() == pytest.approx(bright.image("raw").mean() - 100, rel=0.02)
    assert read_record(tmp_path / "electrons.json").microscope == bright.microscope


def test_an_unknown_offset_is_taken_from_the_darkest_places(run: Run, stack: Path, tmp_path: Path) -> None:
    run("reconstruct", stack, "-o", "out.tif", *OPTICS)
    assert read_record(tmp_path / "out.json").offset_counts == pytest.approx((100, 100, 100), abs=4)


@pytest.mark.parametrize("unit", ["counts", "photons"])
def test_a_field_of_our_own_says_all_of_its_optics(
    run: Run, bright: Field, tmp_path: Path, unit: str
) -> None:
    """Prepared fields are in photons already: their camera's offset is not taken off twice."""
    electrons = (bright.image("raw").astype(np.float32) - 100) / 2
    field = bright if unit == "counts" else replace(bright.with_images({"raw": electrons}), unit="photons")
    ome_fields.write(tmp_path / "fields", field)
    (raw,) = (tmp_path / "fields").rglob("raw.ome.tif")
    done = run("reconstruct", raw, "-o", "out.tif")
    assert (done.code, done.err) == (0, "")
    image = read(tmp_path / "out.tif").data
    assert image.mean() == pytest.approx(electrons.mean(), rel=0.02)
    camera = read_record(tmp_path / "out.json").microscope.camera
    assert camera is not None
    assert (camera.gain, camera.offset) == ((2, 100) if unit == "counts" else (1, 0))


# Settings


@pytest.mark.parametrize(
    ("options", "recorded"),
    [
        (("--strength", 5), {"strength": 5.0}),
        (("--positive",), {"positive": True}),
        (("--apodisation", "support"), {"apodisation": "support"}),
        (("--look", "fairsim_like"), {"look": "fairsim_like"}),
    ],
)
def test_settings_change_the_image_and_are_recorded(
    run: Run, stack: Path, tmp_path: Path, options: tuple[object, ...], recorded: dict[str, object]
) -> None:
    usual = {"look": "wiener", "strength": 1.0, "apodisation": "ideal", "positive": False}
    run("reconstruct", stack, "-o", "usual.tif", *OPTICS)
    run("reconstruct", stack, "-o", "other.tif", *OPTICS, *options)
    assert read_record(tmp_path / "usual.json").settings.model_dump() == usual
    assert read_record(tmp_path / "other.json").settings.model_dump() == usual | recorded
    images = [read(tmp_path / f"{name}.tif").data for name in ("usual", "other")]
    assert np.abs(images[1] - images[0]).max() > 0.01 * images[0].max()


def test_the_look_of_fairsim_is_not_taken_for_invented_structure(
    run: Run, stack: Path, tmp_path: Path
) -> None:
    done = run("reconstruct", stack, "-o", "out.tif", *OPTICS, "--look", "fairsim_like")
    assert done.code == 0
    assert "that says nothing about its structures" in done.err
    assert any("fairSIM" in warning for warning in read_record(tmp_path / "out.json").warnings)


def test_doubts_are_told_and_do_not_stop(run: Run, stack: Path, tmp_path: Path) -> None:
    done = run("reconstruct", stack, "-o", "out.tif", "--na", 1.4, "--emission-um", 0.4)
    assert done.code == 0
    assert done.err.startswith(f"warning: {stack}: the bands agree for an OTF 0.")
    assert read_record(tmp_path / "out.json").warnings[0].startswith("the bands agree for an OTF 0.")


# Refusals


def text(folder: Path, raw: Image) -> Path:
    (folder / "notes.tif").write_text("these are my notes")
    return folder / "notes.tif"


def not_a_number(folder: Path, raw: Image) -> Path:
    frames = raw.astype(np.float32)
    frames[1, 1, 5] = np.nan
    return file_of(frames, folder / "nan.tif")


def saturated(folder: Path, raw: Image) -> Path:
    frames = raw.copy()
    frames[0, 0, :20] = 65535
    return file_of(frames, folder / "saturated.tif")


def colour(folder: Path, raw: Image) -> Path:
    tifffile.imwrite(folder / "rgb.tif", np.zeros((9, 96, 96, 3), np.uint8), photometric="rgb")
    return folder / "rgb.tif"


def without_pixel_size(folder: Path, raw: Image) -> Path:
    tifffile.imwrite(folder / "plain.tif", raw.reshape(9, 96, 96))
    return folder / "plain.tif"


def flat(folder: Path, raw: Image) -> Path:
    """Camera noise on a uniform specimen, brighter than any cell."""
    noise = np.random.default_rng(0).poisson(200, raw.shape)
    return file_of((100 + 2 * noise).astype(np.uint16), folder / "flat.tif")


def camera_noise(folder: Path, raw: Image) -> Path:
    noise = np.random.default_rng(0).normal(100, 3, raw.shape)
    return file_of(noise.round().astype(np.uint16), folder / "lid_on.tif")


def repeated(folder: Path, raw: Image) -> Path:
    frames = raw.copy()
    frames[1, 1] = frames[1, 0]
    return file_of(frames, folder / "repeated.tif")


def in_a_row(count: int) -> Callable[[Path, Image], Path]:
    """So many frames along an axis without a meaning."""
    return lambda folder, raw: file_of(
        np.concatenate([raw, raw]).reshape(18, 96, 96)[:count], folder / "frames.tif", "TYX"
    )


NO_STRIPES = "no stripes found in angles 1, 2 and 3 of 3: score "
BAD_STACKS: dict[str, tuple[Callable[[Path, Image], Path], str]] = {
    "missing": (lambda folder, raw: folder / "nowhere.tif", "nowhere.tif: does not exist"),
    "text": (text, "notes.tif: is no TIFF"),
    "no frames in it": (lambda folder, raw: folder, "holds no image"),
    "eight frames": (in_a_row(8), "holds 8 frames, which fits no usual layout"),
    "two stacks in a row": (in_a_row(18), "holds 18 frames, which fits no usual layout"),
    "seven frames": (in_a_row(7), "holds 7 frames, as in hexagonal SIM"),
    "two phases": (
        lambda folder, raw: file_of(raw[:, :2], folder / "two.tif"),
        "2 phases per angle cannot tell the 3 bands",
    ),
    "single image": (
        lambda folder, raw: file_of(raw[0, 0], folder / "one.tif", "YX"),
        "holds a single image (YX)",
    ),
    "colour": (colour, "holds colour images"),
    "camera noise": (camera_noise, NO_STRIPES),
    "flat": (flat, NO_STRIPES),
    "constant": (
        lambda folder, raw: file_of(np.full_like(raw, 100), folder / "constant.tif"),
        "the frames of angle 1, phase 1 and angle 1, phase 2 are identical",
    ),
    "repeated": (repeated, "the frames of angle 2, phase 1 and angle 2, phase 2 are identical"),
    "nan": (not_a_number, "96 pixels are NaN or infinite"),
    "saturated": (saturated, "is saturated: 20.8% of the pixels of a frame are at 65535"),
    "small": (
        lambda folder, raw: file_of(raw[..., :24, :24], folder / "small.tif"),
        "frames of 24 x 24 pixels are too small",
    ),
    "no pixel size": (without_pixel_size, "does not say all of its optics; give --pixel-um"),
}


@pytest.mark.parametrize("fault", BAD_STACKS)
def test_a_stack_that_cannot_be_reconstructed(run: Run, bright: Field, tmp_path: Path, fault: str) -> None:
    spoil, told = BAD_STACKS[fault]
    file = spoil(tmp_path, bright.image("raw"))
    before = names(tmp_path)
    assert told in refusal(run("reconstruct", file, "-o", "new/out.tif", *OPTICS, "--sheet"))
    assert names(tmp_path) == before


def test_missing_optics_are_asked_for_all_at_once(run: Run, stack: Path, tmp_path: Path) -> None:
    told = refusal(run("reconstruct", stack, "-o", "out.tif"))
    assert "give --na, as in --na 1.4; --emission-um, as in --emission-um 0.525" in told
    assert not (tmp_path / "out.tif").exists()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--angles", 5), "has 3 angles x 3 phases, but these options ask for stacks of 15 frames (5 angles x 3"),
        (("--angles", 9, "--phases", 3), "but these options ask for stacks of 27 frames (9 angles x 3 phases)"),
        (("--phases", 2), "--phases 2 must be above 2"),
        (("--harmonics", 2), "3 phases per angle cannot tell the 5 bands of 2 harmonics apart"),
        (("--harmonics", 3), "--harmonics 3 must be above 0 and below 3"),
        (("--pixel-um", 65), "pixels of 65 um do not go with an objective that passes detail of 0.188 um"),
        (("--pixel-um", 0.0001), "pixels of 0.0001 um do not go with an objective"),
        (("--na", 0.01), "pixels of 0.065 um do not go with an objective that passes detail of 26.3 um"),
        (("--pixel-um", "nan"), "--pixel-um nan must be above 0"),
        (("--na", 2.5), "--na 2.5 must be above 0 and below 2"),
        (("--emission-um", 525), "--emission-um 525 must be above 0.1 and below 3"),
        (("--gain", 2), "--gain (counts per photo-electron) needs --offset"),
        (("--read-noise", 2), "says something only together with --gain"),
        (("--gain", 2, "--offset", 100, "--read-noise", -1), "camera.read_noise: Input should be greater than"),
        (("--offset", 1000), "no brighter than the offset, 1000; check the offset"),
        (("--offset", "nan"), "--offset nan must be above"),
        (("--strength", 0), "strength: Input should be greater than 0"),
        (("--strength", "inf"), "--strength inf must be above 0 and below"),
        (("--look", "fairsim"), "look: Input should be 'wiener' or 'fairsim_like'"),
        (("--apodisation", "none"), "apodisation: Input should be 'ideal' or 'support'"),
        (("--start", "nowhere.json"), "nowhere.json: does not exist"),
        (("--stripes", "stack.tif"), "stack.tif: is no record of a reconstruction"),
        (("--stripes", "package.json"), "package.json: is no record of a reconstruction"),
        (("--stripes", "half.json"), "half.json: files: Field required"),
        (("--start", "half.json", "--stripes", "half.json"), "--start and --stripes exclude each other"),
        (("--each", "--stripes", "half.json"), "--each and --stripes exclude each other"),
        (("--harmonics", 1, "--stripes", "half.json"), "--harmonics and --stripes exclude each other"),
    ],
)  # fmt: skip
def test_options_that_make_no_sense(
    run: Run, stack: Path, tmp_path: Path, options: tuple[object, ...], told: str
) -> None:
    (tmp_path / "package.json").write_text('{"name": "something else"}')
    (tmp_path / "half.json").write_text('{"made_by": "sim-models 0.1.0"}')
    before = names(tmp_path)
    assert told in refusal(run("reconstruct", stack, "-o", "out.tif", *OPTICS, *options))
    assert names(tmp_path) == before


@pytest.mark.parametrize("options", [("--angles", 4), ("--phases", 4)])
def test_frames_that_cannot_be_as_stated(
    run: Run, bright: Field, tmp_path: Path, options: tuple[object, ...]
) -> None:
    """A usual number of frames does not make up for what a person says of them."""
    file = file_of(bright.image("raw").reshape(9, 96, 96), tmp_path / "nine.tif", "TYX")
    told = refusal(run("reconstruct", file, "-o", "out.tif", *OPTICS, *options))
    assert f"holds 9 frames, which cannot be 4 {options[0].removeprefix('--')}; " in told  # type: ignore[attr-defined]


# Where it goes


@pytest.mark.parametrize(
    ("out", "told"),
    [
        ("notes", "notes: is no folder you may write to"),
        ("notes/out.tif", "notes: is no folder you may write to"),
        ("stack.tif", "stack.tif: is a raw stack itself"),
        ("picture.png", "picture.png: the output is an OME-TIFF; give it a name that ends in .tif, or name a folder"),
        ("taken.tif", "taken.tif: exists, and no earlier reconstruction has written it"),
        ("data.tif", "data.json: exists, and no earlier reconstruction has written it"),
        ("logo.tif", "logo.png: exists, and no earlier reconstruction has written it"),
        ("folder.tif", "folder.tif: exists, and no earlier reconstruction has written it"),
    ],
)  # fmt: skip
def test_an_output_that_cannot_be_written_or_would_cost_something(
    run: Run, stack: Path, tmp_path: Path, out: str, told: str
) -> None:
    for name in ("notes", "taken.tif", "data.json", "logo.png"):
        (tmp_path / name).write_text("mine")
    (tmp_path / "folder.tif").mkdir()
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert told in refusal(run("reconstruct", stack, "-o", out, *OPTICS, "--sheet"))
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_an_earlier_reconstruction_may_be_replaced(run: Run, stack: Path, tmp_path: Path) -> None:
    run("reconstruct", stack, "-o", "out.tif", *OPTICS)
    before = (tmp_path / "out.tif").read_bytes()
    assert run("reconstruct", stack, "-o", "out.tif", *OPTICS, "--strength", 5).code == 0
    assert (tmp_path / "out.tif").read_bytes() != before
    assert read_record(tmp_path / "out.json").settings.strength == 5


def test_but_not_the_one_whose_stripes_are_asked_for(run: Run, stack: Path, tmp_path: Path) -> None:
    run("reconstruct", stack, "-o", "out.tif", *OPTICS)
    before = (tmp_path / "out.json").read_bytes()
    told = refusal(run("reconstruct", stack, "-o", "out.tif", *OPTICS, "--stripes", "out.json"))
    assert "out.json: its stripes are asked for, and it would be replaced" in told
    assert (tmp_path / "out.json").read_bytes() == before


def test_raw_frames_are_kept_apart_from_images(run: Run, bright: Field, tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    for number, frame in enumerate(bright.image("raw").reshape(9, 96, 96)):
        tifffile.imwrite(folder / f"{number}.tif", frame)
    before = names(folder)
    for out in ("frames", "frames/out.tif"):
        told = refusal(run("reconstruct", folder, "-o", out, *OPTICS, "--pixel-um", 0.065))
        assert "lies among the raw frames and would pass for one" in told
    assert names(folder) == before


def test_several_stacks_need_a_folder_and_different_names(run: Run, stack: Path, tmp_path: Path) -> None:
    twin = file_of(read(stack).data, tmp_path / "elsewhere" / "stack.ome.tif")
    told = refusal(run("reconstruct", stack, twin, "-o", "out.tif", *OPTICS))
    assert "out.tif: is one image, but 2 stacks are given; name a folder" in told
    told = refusal(run("reconstruct", stack, twin, "-o", "out", *OPTICS))
    assert "out/stack_sim.ome.tif: would be written by several stacks of the same name" in told


@pytest.mark.parametrize("step", ["write_ome", "save_sheet"])
def test_nothing_is_half_written(
    run: Run, stack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """When the disk is full, what was there before is whole."""
    run("reconstruct", stack, "-o", "out.tif", *OPTICS, "--sheet")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*")}

    def fail(about: Sheet | Path, *rest: object) -> None:
        raise BadInput("no space left")

    monkeypatch.setattr(reconstructing, step, fail)
    refusal(run("reconstruct", stack, "-o", "out.tif", *OPTICS, "--sheet", "--strength", 5))
    assert {path: path.read_bytes() for path in tmp_path.rglob("*")} == before


# Frames in other places than their neighbours


def test_a_stack_of_a_series_with_its_phases_elsewhere_is_told(
    run: Run, cells: list[dict[str, Field]], tmp_path: Path
) -> None:
    """The mean of all would hide it; every image but the one that is told would be right."""
    counts = cells[0]["bright"].image("raw")
    series = np.stack([counts, counts, counts[:, [1, 2, 0]]])
    file = file_of(series, tmp_path / "series.tif", "TAPYX")
    told = refusal(run("reconstruct", file, "-o", "out.tif", *OPTICS))
    assert " of 3: the frames of angle " in told
    assert "try --each" in told


def test_known_stripes_that_are_not_those_of_the_stack_are_told(
    run: Run, stack: Path, tmp_path: Path
) -> None:
    run("reconstruct", stack, "-o", "first.tif", *OPTICS)
    swapped = file_of(read(stack).data[:, [0, 2, 1]], tmp_path / "swapped.tif")
    told = refusal(run("reconstruct", swapped, "-o", "out.tif", *OPTICS, "--stripes", "first.json"))
    assert "do not have their stripes where those of first.json are" in told
    assert "look near them with --start" in told


@pytest.mark.parametrize(
    ("order", "told"),
    [
        ("angle-major", "have to be swapped: give --order phase-major"),
        ("phase-major", "have to be swapped: they run angle by angle, so leave out --order phase-major"),
    ],
)
def test_the_other_order_is_named(run: Run, stack: Path, tmp_path: Path, order: str, told: str) -> None:
    frames = read(stack).data
    if order == "angle-major":
        frames = frames.swapaxes(0, 1)
    file = tmp_path / "plain.tif"
    tifffile.imwrite(file, np.ascontiguousarray(frames).reshape(9, 96, 96))
    done = run("reconstruct", file, "-o", "out.tif", *OPTICS, "--pixel-um", 0.065, "--order", order)
    assert told in refusal(done)


def test_what_frames_contradict_is_warned_of(run: Run, stack: Path, tmp_path: Path) -> None:
    """A camera that would give a third of the photo-electrons it gave."""
    plain = file_of(read(stack).data, tmp_path / "plain.tif")
    camera = ("--gain", 0.5, "--offset", 100, "--read-noise", 0.1)
    done = run("reconstruct", plain, "-o", "out.tif", *OPTICS, *camera)
    assert done.code == 0
    assert "warning: " in done.err
    assert "times what noise allows" in done.err
    assert read_record(tmp_path / "out.json").consistency_camera.read_noise == 0.1


# For models whose input is made of the frames


@pytest.mark.parametrize("role", ["reconstruction", "widefield"])
def test_a_model_of_another_input_makes_it_of_the_frames(
    run: Run, restorer: Restorer, stack: Path, bright: Field, tmp_path: Path, role: str
) -> None:
    """An untrained network adds nothing to what it is given."""
    scale = 1 if role == "reconstruction" else 2
    task = restorer.recipe.task.model_copy(update={"input": role, "scale": scale})
    network = restorer.recipe.network.build(1, 1, scale).eval()
    recipe = restorer.recipe.model_copy(update={"task": task})
    Restorer(recipe, network, restorer.normaliser, restorer.card, (1, 1)).save(tmp_path / "model")
    done = run("restore", stack, "--model", tmp_path / "model", "-o", "restored.tif", *OPTICS)
    assert done.code == 0, done.err
    restored = read(tmp_path / "restored.tif")
    assert restored.pixel_um == pytest.approx(0.0325)
    if role == "reconstruction":
        run("reconstruct", stack, "-o", "sim.tif", *OPTICS)
        np.testing.assert_allclose(restored.data, read(tmp_path / "sim.tif").data, rtol=1e-4, atol=1e-3)
    else:
        blocks = restored.data.reshape(96, 2, 96, 2).mean(axis=(1, 3))
        np.testing.assert_allclose(blocks, bright.image("raw").mean(axis=(0, 1)), rtol=0.1, atol=3)
    if role == "reconstruction":
        plain = file_of(read(stack).data, tmp_path / "plain.tif")
        told = refusal(run("restore", plain, "--model", "model", "-o", "no.tif", "--pixel-um", 0.065))
        assert "does not say all of its optics; give --na" in told
