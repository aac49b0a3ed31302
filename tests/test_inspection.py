"""The data doctor against stacks whose faults, light and frame order are known."""

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from scipy.ndimage import zoom

from sim_models.images import write_ome
from sim_models.inspection import inspect

GAIN, OFFSET = 2.0, 100.0


def expected_stack(angles: int, phases: int, photons: float, modulation: float = 0.8) -> np.ndarray:
    """Blurred filaments under stripes, (A, P, 96, 96) photons per pixel; support ends at 0.35 cycles/px."""
    frequency = np.hypot(np.fft.fftfreq(96)[:, None], np.fft.fftfreq(96))
    transfer = np.clip(1 - frequency / 0.35, 0, None)
    specimen = np.random.default_rng(4).random((96, 96)) ** 20
    y, x = np.indices((96, 96))
    frames = np.empty((angles, phases, 96, 96))
    for a in range(angles):
        direction = 0.2 + np.pi * a / angles
        position = 2 * np.pi * 0.2 * (np.cos(direction) * x + np.sin(direction) * y)
        for p in range(phases):
            stripes = 1 + modulation * np.cos(position + 2 * np.pi * p / phases)
            frames[a, p] = np.fft.ifft2(np.fft.fft2(specimen * stripes) * transfer).real
    return frames.clip(0) * photons / np.percentile(frames.mean(axis=(0, 1)), 99.9)


def camera(expected: np.ndarray) -> np.ndarray:
    generator = np.random.default_rng(5)
    counts = GAIN * generator.poisson(expected) + OFFSET + generator.normal(0, 3, expected.shape)
    return counts.round().clip(0, 65535).astype(np.uint16)


def save(path: Path, frames: np.ndarray, axes: str = "APYX") -> Path:
    write_ome(path, frames, axes, 0.065, {}, "n")
    return path


def test_a_healthy_stack(tmp_path: Path) -> None:
    report = inspect(save(tmp_path / "a.ome.tif", camera(expected_stack(3, 3, 200))), None, None)
    assert (report.angles, report.phases, report.order) == (3, 3, "angle-major")
    assert report.pixel_um == 0.065
    assert report.problems == ()
    assert report.usable_for == "restoration, reconstruction and training"
    assert json.loads(json.dumps(report.as_dict()))["angles"] == 3
    assert any("3 angles x 3 phases, angle-major" in line for line in report.lines())


@pytest.mark.parametrize("photons", [30, 200])
def test_gain_and_light(tmp_path: Path, photons: float) -> None:
    report = inspect(save(tmp_path / "a.ome.tif", camera(expected_stack(3, 3, photons))), None, None)
    assert report.gain == pytest.approx(GAIN, rel=0.15)
    assert report.offset_counts is not None
    assert report.offset_counts >= OFFSET - 2
    # The specimen's own background passes for offset, so the estimate is low.
    assert report.light_photons == pytest.approx(photons, rel=0.35)


@pytest.mark.parametrize(("angles", "phases"), [(3, 3), (3, 5), (5, 5)])
def test_order_of_frames(tmp_path: Path, angles: int, phases: int) -> None:
    stack = camera(expected_stack(angles, phases, 200))
    for order, frames in {"angle-major": stack, "phase-major": stack.swapaxes(0, 1)}.items():
        path = save(tmp_path / f"{order}.ome.tif", frames.reshape(-1, 96, 96), "CYX")
        report = inspect(path, None, None)
        assert (report.angles, report.phases, report.order) == (angles, phases, order)


def test_order_is_left_open_without_stripes(tmp_path: Path) -> None:
    flat = camera(expected_stack(3, 3, 200, modulation=0))
    report = inspect(save(tmp_path / "a.ome.tif", flat), None, None)
    assert report.order is None
    assert "only with known illumination" in report.usable_for


def test_swapped_counts(tmp_path: Path) -> None:
    frames = camera(expected_stack(3, 5, 200)).reshape(15, 96, 96)
    (problem,) = inspect(save(tmp_path / "a.ome.tif", frames, "CYX"), 5, 3).problems
    assert problem == "stated are 5 angles x 3 phases, but the frames say 3 x 5 angle-major"
    swapped = save(tmp_path / "b.ome.tif", camera(expected_stack(3, 3, 200)).swapaxes(0, 1))
    (problem,) = inspect(swapped, None, None).problems
    assert problem == "stated are 3 angles x 3 phases, but the frames say 3 x 3 phase-major"


def in_frame_4(value: float) -> np.ndarray:
    return np.where(np.arange(9) == 4, value, 1.0)[:, None, None]


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda f: np.stack([f[0]] * 9), "36 pairs of frames are identical"),
        (lambda f: (f * in_frame_4(0)).astype(f.dtype), "frames [4] are constant"),
        (lambda f: (f * in_frame_4(0.01)).astype(f.dtype), "frames [4] are dark"),
        (lambda f: np.where(f > np.percentile(f, 95), 65535, f).astype(f.dtype), "saturated"),
        (lambda f: np.where(f == f.max(), np.nan, f).astype(np.float32), "NaN"),
        (lambda f: np.zeros_like(f), "every pixel is 0"),
        (lambda f: f[:7], "hexagonal"),
        (lambda f: f[:8], "8 frames fit no usual layout"),
        (lambda f: f[:, :16], "too small"),
    ],
)
def test_problems(tmp_path: Path, spoil, problem: str) -> None:  # type: ignore[no-untyped-def]
    frames = spoil(camera(expected_stack(3, 3, 200)).reshape(9, 96, 96))
    report = inspect(save(tmp_path / "a.ome.tif", frames, "CYX"), None, None)
    assert any(problem in found for found in report.problems), report.problems
    assert report.usable_for == "nothing before its problems are solved"


def test_wrong_number_of_frames(tmp_path: Path) -> None:
    path = save(tmp_path / "a.ome.tif", camera(expected_stack(3, 3, 200)).reshape(9, 96, 96), "CYX")
    assert inspect(path, 3, 5).problems == ("9 frames, but 3 angles x 5 phases need 15",)


def test_folder_of_frames_with_their_mean(tmp_path: Path) -> None:
    """Natural order: frame 2 comes before frame 10; the mean at the end is no frame."""
    frames = camera(expected_stack(3, 5, 200)).reshape(15, 96, 96)
    for index, frame in enumerate([*frames, frames.mean(axis=0).astype(np.uint16)]):
        tifffile.imwrite(tmp_path / f"HE_{index}.tif", frame)
    report = inspect(tmp_path, None, None)
    assert (report.angles, report.phases, report.order) == (3, 5, "angle-major")
    assert any("mean of the others" in told for told in report.warnings)


def test_stack_that_ends_with_its_mean(tmp_path: Path) -> None:
    frames = camera(expected_stack(3, 3, 200)).reshape(9, 96, 96)
    with_mean = np.stack([*frames, frames.mean(axis=0).astype(np.uint16)])
    report = inspect(save(tmp_path / "a.ome.tif", with_mean, "CYX"), None, None)
    assert (report.angles, report.phases, report.order) == (3, 3, "angle-major")
    assert any("mean of the others" in told for told in report.evidence)


def test_bleaching_is_told(tmp_path: Path) -> None:
    fading = expected_stack(3, 3, 200) * np.array([1.0, 0.6, 0.4])[:, None, None, None]
    report = inspect(save(tmp_path / "a.ome.tif", camera(fading)), None, None)
    assert report.angle_brightness == pytest.approx((1.0, 0.6, 0.4), abs=0.15)
    assert any("bleaching" in told for told in report.evidence)


def test_interpolated_frames_have_no_gain(tmp_path: Path) -> None:
    enlarged = zoom(camera(expected_stack(3, 3, 200)).astype(np.float32), (1, 1, 2, 2), order=3)
    report = inspect(save(tmp_path / "a.ome.tif", enlarged), None, None)
    assert report.gain is None
    assert any("interpolation" in told for told in report.evidence)


def test_single_image(tmp_path: Path) -> None:
    path = save(tmp_path / "a.ome.tif", camera(expected_stack(3, 3, 200))[0, 0], "YX")
    assert "it has no raw frames" in inspect(path, None, None).usable_for


@pytest.mark.parametrize(
    ("name", "layout", "order"),
    [
        ("bsim-mitochondria-hela/raw_images.tif", (3, 3), "angle-major"),
        ("bsim-linepairs-simulated/raw_images.tif", (3, 3), "angle-major"),
        ("rdl-microtubules-tirf/MT.mrc", (3, 3), "angle-major"),
        ("dlsim-microtubules-low-high/HE_X2/Sample_1", (3, 5), "angle-major"),
        ("dlsim-microtubules-low-high/LE_X2/Sample_1", (3, 5), None),
        ("tsim-er/ER_1.tif", (3, 3), "angle-major"),
        ("tsim-er/ER_2.tif", (3, 3), "angle-major"),
        ("spsim-particles", (3, 3), "angle-major"),
        ("d2sim-beads-lattice/sample_bead.tif", (5, 5), None),
        ("hexsim-cell/SIMdata_2019-11-05_15-21-42.tiff", (None, None), None),
        ("cudasirecon-3dsim/raw.dv", (None, None), None),
    ],
)
def test_real_stacks(real_data: Path, name: str, layout: tuple[object, object], order: str | None) -> None:
    report = inspect(real_data / name, None, None)
    assert (report.angles, report.phases, report.order) == (*layout, order)


def test_gain_of_a_calibrated_camera(real_data: Path) -> None:
    report = inspect(real_data / "bsim-mitochondria-hela" / "raw_images.tif", None, None)
    # The supplied gain map averages 1.96; the noise of this stack is a fifth above what it implies.
    assert report.gain == pytest.approx(1.96, rel=0.25)
