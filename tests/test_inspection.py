"""The data doctor against stacks whose faults, light and frame order are known."""

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import tifffile
from scipy.ndimage import zoom

from sim_models.config import BadInput
from sim_models.images import read, write_ome
from sim_models.inspection import Known, examine, inspect
from sim_models.inspection.sheet import save_sheet

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
    report = inspect(save(tmp_path / "a.ome.tif", camera(expected_stack(3, 3, 200))))
    assert (report.angles, report.phases, report.order) == (3, 3, "angle-major")
    assert report.pixel_um == 0.065
    assert report.problems == ()
    assert report.usable_for == "restoration, reconstruction and training"
    assert json.loads(json.dumps(report.as_dict()))["angles"] == 3
    assert any("3 angles x 3 phases, angle-major" in line for line in report.lines())


@pytest.mark.parametrize("photons", [30, 200])
def test_gain_and_light(tmp_path: Path, photons: float) -> None:
    report = inspect(save(tmp_path / "a.ome.tif", camera(expected_stack(3, 3, photons))))
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
        report = inspect(path)
        assert (report.angles, report.phases, report.order) == (angles, phases, order)


def test_order_is_left_open_without_stripes(tmp_path: Path) -> None:
    flat = camera(expected_stack(3, 3, 200, modulation=0))
    report = inspect(save(tmp_path / "a.ome.tif", flat))
    assert report.order is None
    assert "only with known illumination" in report.usable_for


def test_swapped_counts(tmp_path: Path) -> None:
    frames = camera(expected_stack(3, 5, 200)).reshape(15, 96, 96)
    (problem,) = inspect(save(tmp_path / "a.ome.tif", frames, "CYX"), Known(angles=5, phases=3)).problems
    assert problem == "stated are 5 angles x 3 phases, but the frames say 3 x 5 angle-major"
    swapped = save(tmp_path / "b.ome.tif", camera(expected_stack(3, 3, 200)).swapaxes(0, 1))
    (problem,) = inspect(swapped).problems
    assert problem == "stated are 3 angles x 3 phases, but the frames say 3 x 3 phase-major"


def in_frame_4(value: float) -> np.ndarray:
    return np.where(np.arange(9) == 4, value, 1.0)[:, None, None]


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda f: np.stack([f[0]] * 9), "36 pairs of frames are identical"),
        (lambda f: (f * in_frame_4(0)).astype(f.dtype), "frame 5 of 9 is constant"),
        (lambda f: (f * in_frame_4(0.01)).astype(f.dtype), "frame 5 of 9 is dark"),
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
    report = inspect(save(tmp_path / "a.ome.tif", frames, "CYX"))
    assert any(problem in found for found in report.problems), report.problems
    assert report.usable_for == "nothing before its problems are solved"


def test_wrong_number_of_frames(tmp_path: Path) -> None:
    path = save(tmp_path / "a.ome.tif", camera(expected_stack(3, 3, 200)).reshape(9, 96, 96), "CYX")
    assert inspect(path, Known(angles=3, phases=5)).problems == ("9 frames, but 3 angles x 5 phases need 15",)


def test_folder_of_frames_with_their_mean(tmp_path: Path) -> None:
    """Natural order: frame 2 comes before frame 10; the mean at the end is no frame."""
    frames = camera(expected_stack(3, 5, 200)).reshape(15, 96, 96)
    for index, frame in enumerate([*frames, frames.mean(axis=0).astype(np.uint16)]):
        tifffile.imwrite(tmp_path / f"HE_{index}.tif", frame)
    report = inspect(tmp_path)
    assert (report.angles, report.phases, report.order) == (3, 5, "angle-major")
    assert any("mean of the others" in told for told in report.warnings)


def test_stack_that_ends_with_its_mean(tmp_path: Path) -> None:
    frames = camera(expected_stack(3, 3, 200)).reshape(9, 96, 96)
    with_mean = np.stack([*frames, frames.mean(axis=0).astype(np.uint16)])
    report = inspect(save(tmp_path / "a.ome.tif", with_mean, "CYX"))
    assert (report.angles, report.phases, report.order) == (3, 3, "angle-major")
    assert any("mean of the others" in told for told in report.evidence)


def test_bleaching_is_told(tmp_path: Path) -> None:
    fading = expected_stack(3, 3, 200) * np.array([1.0, 0.6, 0.4])[:, None, None, None]
    report = inspect(save(tmp_path / "a.ome.tif", camera(fading)))
    assert report.angle_brightness == pytest.approx((1.0, 0.6, 0.4), abs=0.15)
    assert any("bleaching" in told for told in report.evidence)


def test_interpolated_frames_have_no_gain(tmp_path: Path) -> None:
    enlarged = zoom(camera(expected_stack(3, 3, 200)).astype(np.float32), (1, 1, 2, 2), order=3)
    report = inspect(save(tmp_path / "a.ome.tif", enlarged))
    assert report.gain is None
    assert any("interpolation" in told for told in report.evidence)


def test_stripes_and_their_depth(tmp_path: Path) -> None:
    """Without optics the depth is right as well: the bands say how wide the OTF is."""
    report = inspect(save(tmp_path / "a.ome.tif", camera(expected_stack(3, 3, 300, modulation=0.6))))
    assert report.pattern is not None
    assert not report.pattern.optics_stated
    for number, stripes in enumerate(report.pattern.angles):
        assert stripes.cycles_per_px == pytest.approx(0.2, abs=5e-4)
        assert stripes.spacing_um == pytest.approx(0.325, abs=1e-3)
        assert degrees_apart(math.degrees(stripes.direction_rad), math.degrees(0.2) + 60 * number) < 0.3
        assert stripes.modulation[0] == pytest.approx(0.6, abs=0.1)


def test_optics_that_are_stated_are_used(tmp_path: Path) -> None:
    path = save(tmp_path / "a.ome.tif", camera(expected_stack(3, 3, 200)))
    report = inspect(path, Known(numerical_aperture=1.4, emission_um=0.52))
    assert report.pattern is not None
    assert report.pattern.optics_stated


def test_drift_between_angles(tmp_path: Path) -> None:
    stack = expected_stack(3, 3, 300)
    stack[1] = np.roll(stack[1], (3, -2), axis=(-2, -1))
    report = inspect(save(tmp_path / "a.ome.tif", camera(stack)))
    assert report.drift_px[1] == pytest.approx((3, -2), abs=0.3)
    assert report.drift_px[2] == pytest.approx((0, 0), abs=0.3)
    assert report.furthest_px == pytest.approx(math.hypot(3, 2), abs=0.3)
    assert any("the specimen moved by" in told for told in report.evidence)


def test_patterns_without_a_specimen_have_no_drift(tmp_path: Path) -> None:
    y, x = np.indices((96, 96))
    stack = np.empty((3, 3, 96, 96))
    for a in range(3):
        position = 2 * np.pi * 0.11 * (np.cos(0.2 + a) * x + np.sin(0.2 + a) * y)
        stack[a] = [100 + 80 * np.cos(position + 2 * np.pi * p / 3) for p in range(3)]
    report = inspect(save(tmp_path / "a.ome.tif", stack.astype(np.float32)))
    assert (report.drift_px, report.furthest_px) == ((), 0.0)
    assert any("drift cannot be measured" in told for told in report.evidence)


def test_why_there_are_no_stripes_is_said_once(tmp_path: Path) -> None:
    """Without advice on optics that nobody has stated."""
    report = inspect(save(tmp_path / "a.ome.tif", camera(expected_stack(3, 3, 200, modulation=0))))
    (reason,) = (told for told in report.evidence if "no stripes found" in told)
    assert reason.startswith("read in either order, nearest as 3 x 3 ")
    assert reason.endswith(" needed")


def test_many_frames_of_a_kind_are_not_all_named(tmp_path: Path) -> None:
    frames = camera(expected_stack(5, 5, 200)).reshape(25, 96, 96)
    frames[3:20] = 100
    problems = inspect(save(tmp_path / "a.ome.tif", frames, "CYX")).problems
    assert any("frames 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, ... of 25 are constant" in each for each in problems)


def test_for_people(tmp_path: Path) -> None:
    """Directions from 0 to 180 degrees, and no exponents."""
    report = inspect(save(tmp_path / "a.ome.tif", 40 * camera(expected_stack(3, 3, 200)).astype(np.float32)))
    told = "\n".join(report.lines())
    degrees = [float(match) for match in re.findall(r"cycles/px at (\S+) deg", told)]
    assert len(degrees) == 3
    assert all(0 <= each < 180 for each in degrees)
    assert "e+" not in told


def test_steady_fading_is_told(tmp_path: Path) -> None:
    fading = np.exp(-0.05 * np.arange(9)).reshape(3, 3, 1, 1)
    report = inspect(save(tmp_path / "a.ome.tif", camera(expected_stack(3, 3, 300) * fading)))
    assert report.frame_brightness == pytest.approx(fading.ravel() / fading.mean(), rel=0.05)
    assert any("light fades by 3" in told for told in report.evidence)


@pytest.mark.parametrize("axes", ["AZP", "ZAP", "APZ", "ZPA"])
def test_stacks_in_a_longer_list_of_frames(tmp_path: Path, axes: str) -> None:
    """As of a volume or over time; the specimen is another in every section."""
    sections = [np.roll(expected_stack(3, 5, 300), 9 * z, axis=-1) * (1 - 0.1 * z) for z in range(4)]
    cube = camera(np.stack(sections, axis=2))  # A P Z
    order = tuple("APZ".index(axis) for axis in axes)
    frames = cube.transpose(*order, 3, 4).reshape(60, 96, 96)
    report = inspect(save(tmp_path / "a.ome.tif", frames, "CYX"))
    assert report.layout == "4 stacks of 3 angles x 5 phases, angle-major"
    assert report.problems == ()


def test_a_gain_no_camera_has_is_told(tmp_path: Path) -> None:
    stretched = (camera(expected_stack(3, 3, 30)).astype(np.float64) - OFFSET).clip(0) * 400
    report = inspect(save(tmp_path / "a.ome.tif", stretched.astype(np.float32)))
    assert any("are those of no camera" in told for told in report.evidence)


def test_nonsense_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "a.ome.tif", camera(expected_stack(3, 3, 200)))
    for known in (Known(pixel_um=-1), Known(angles=0), Known(numerical_aperture=0.0), Known(offset=math.nan)):
        with pytest.raises(BadInput, match="must be"):
            inspect(path, known)


def test_the_same_twice(tmp_path: Path) -> None:
    path = save(tmp_path / "a.ome.tif", camera(expected_stack(3, 3, 50)))
    assert inspect(path).as_dict() == inspect(path).as_dict()


@pytest.mark.parametrize("frames", [9, 1, 8])
def test_a_sheet_of_anything(tmp_path: Path, frames: int) -> None:
    """Of a stack, of a single image and of what has no layout; equal input gives equal bytes."""
    stack = camera(expected_stack(3, 3, 200)).reshape(9, 96, 96)[:frames]
    path = save(tmp_path / "cost $5 $.ome.tif", stack, "CYX")
    for name in ("one.png", "two.png"):
        save_sheet(examine(path, Known()), tmp_path / name)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    assert read(tmp_path / "one.png").data.shape[1] > 1000


def test_single_image(tmp_path: Path) -> None:
    path = save(tmp_path / "a.ome.tif", camera(expected_stack(3, 3, 200))[0, 0], "YX")
    assert "it has no raw frames" in inspect(path).usable_for
    assert inspect(path).layout == "a single image"


def degrees_apart(first: float, second: float) -> float:
    """Directions are those of lines: modulo 180 degrees."""
    return abs((first - second + 90) % 180 - 90)


@dataclass(frozen=True)
class Truth:
    """What SOURCES.md says of a real set."""

    layout: str
    waves: tuple[tuple[float, float], ...] = ()
    """(cycles/px, degrees) of each angle's first harmonic"""
    usable_for: str = "restoration, reconstruction and training"


NO_STRIPES = "restoration; reconstruction only with known illumination"
BALL = ((0.1975, 46.2), (0.1975, 106.4), (0.1975, -13.8))
TUBULES = ((0.061, 13.9), (0.061, -45.5), (0.061, 74.3))
ER = ((0.3715, -177.5), (0.3715, 122.3), (0.3715, 62.4))
REAL = {
    "bsim-mitochondria-hela/raw_images.tif": Truth(
        "3 angles x 3 phases, angle-major", ((0.1817, -59.3), (0.1816, 58.2), (0.1955, 2.3))
    ),
    "bsim-linepairs-simulated/raw_images.tif": Truth("3 angles x 3 phases, angle-major", (), NO_STRIPES),
    "rdl-microtubules-tirf/MT.mrc": Truth(
        "3 angles x 3 phases, angle-major", ((0.347, 84.8), (0.347, 145.0), (0.347, 205.0))
    ),
    "dlsim-microtubules-low-high/HE_X2/Sample_1": Truth("3 angles x 5 phases, angle-major", TUBULES),
    "dlsim-microtubules-low-high/LE_X2/Sample_1": Truth("3 angles x 5 phases, angle-major", TUBULES),
    "tsim-er/ER_1.tif": Truth("3 stacks of 3 angles x 3 phases, angle-major", ER),
    "tsim-er/ER_2.tif": Truth("3 stacks of 3 angles x 3 phases, angle-major", ER),
    "spsim-particles": Truth(
        "3 angles x 3 phases, angle-major", ((0.4834, -95.0), (0.4761, -35.7), (0.4747, 25.3))
    ),
    "d2sim-beads-lattice/sample_bead.tif": Truth(
        "5 angles x 5 phases by their number; order not decided", (), NO_STRIPES
    ),
    "hexsim-cell/SIMdata_2019-11-05_15-21-42.tiff": Truth(
        "no known layout of angles and phases", (), "nothing before its problems are solved"
    ),
    "cudasirecon-3dsim/raw.tif": Truth("9 stacks of 3 angles x 5 phases, angle-major", BALL),
    "cudasirecon-3dsim/raw.dv": Truth(
        "9 stacks of 3 angles x 5 phases, angle-major", tuple((k, -angle) for k, angle in BALL)
    ),
}


@pytest.mark.parametrize("name", REAL)
def test_real_stacks(real_data: Path, name: str) -> None:
    """No optics are given: all of it is told by the frames."""
    truth, report = REAL[name], inspect(real_data / name)
    assert report.layout == truth.layout
    assert report.usable_for.startswith(truth.usable_for)
    found = report.pattern.angles if report.pattern else ()
    assert len(found) == len(truth.waves)
    for stripes, (cycles, degrees) in zip(found, truth.waves, strict=True):
        assert stripes.cycles_per_px == pytest.approx(cycles, abs=0.001)
        assert degrees_apart(math.degrees(stripes.direction_rad), degrees) < 0.7
        assert stripes.score > stripes.limit
    assert report.furthest_px < 0.5


def test_gain_of_a_calibrated_camera(real_data: Path) -> None:
    report = inspect(real_data / "bsim-mitochondria-hela" / "raw_images.tif")
    # The supplied gain map averages 1.96; the noise of this stack is a fifth above what it implies.
    assert report.gain == pytest.approx(1.96, rel=0.25)
