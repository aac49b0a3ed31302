"""`sim-models reconstruct` on real raw stacks, held against what their publishers and other programs say of them.

None is shipped here; where they come from, and where they are looked for, is told in the README.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from pipelines.reconstructing import Record, read_record
from sim_models.images import read

Run = Callable[..., Any]


def options(na: float, emission_um: float, pixel_um: float, *others: Any) -> tuple[Any, ...]:
    return "--na", na, "--emission-um", emission_um, "--pixel-um", pixel_um, *others


ER = options(1.49, 0.525, 0.065)
STACKS: dict[str, tuple[str, tuple[Any, ...], float, tuple[tuple[float, float], ...]]] = {
    "mitochondria": (
        "bsim-mitochondria-hela/raw_images.tif",
        options(1.3, 0.66, 0.065, "--gain", 2, "--offset", 100, "--read-noise", 2),
        0.003,
        ((0.1817, -59.3), (0.1816, 58.2), (0.1955, 2.3)),
    ),
    "microtubules in TIRF": (
        "rdl-microtubules-tirf/MT.mrc",
        options(1.3, 0.525, 0.0626),
        0.002,
        ((0.347, 84.8), (0.347, 145.0), (0.347, 205.0)),
    ),
    "endoplasmic reticulum 1": (
        "tsim-er/ER_1.tif",
        ER,
        0.002,
        ((0.3715, -177.5), (0.3715, 122.3), (0.3715, 62.4)),
    ),
    "endoplasmic reticulum 2": (
        "tsim-er/ER_2.tif",
        ER,
        0.002,
        ((0.3715, -177.5), (0.3715, 122.3), (0.3715, 62.4)),
    ),
    "microtubules, three beams": (
        "dlsim-microtubules-low-high/HE_X2/Sample_1",
        options(1.4, 0.525, 0.04),
        0.001,
        ((0.061, 13.9), (0.061, -45.5), (0.061, 74.3)),
    ),
    "particles": (
        "spsim-particles",
        options(1.49, 0.515, 0.0867),
        0.003,
        ((0.4834, -95.0), (0.4761, -35.7), (0.4747, 25.3)),
    ),
}
"""file, options, tolerance and wave vectors (cycles per pixel, degrees) as told in the list of sources of the data"""


def off(record: Record, wanted: tuple[tuple[float, float], ...]) -> float:
    """Largest distance of a wave vector from the wanted one, cycles per pixel; a pattern has no sense."""
    pixel_um, worst = record.microscope.pixel_um, 0.0
    for angle, (length, degrees) in zip(record.estimate.angles, wanted, strict=True):
        found = pixel_um / angle.spacing_um * np.exp(1j * angle.angle_rad)
        true = length * np.exp(1j * math.radians(degrees))
        worst = max(worst, min(abs(found - true), abs(found + true)))
    return worst


def likeness(one: np.ndarray, other: np.ndarray) -> float:
    """Correlation of two images, away from their borders."""
    inside = (slice(16, -16), slice(16, -16))
    return float(np.corrcoef(one[inside].ravel(), other[inside].ravel())[0, 1])


def published(real_data: Path) -> np.ndarray:
    """The published reconstruction of the first time point of ER_1, which is none of ours and no truth."""
    image: np.ndarray = tifffile.imread(real_data / "tsim-er/gt/ER_1_gt.tif").astype(float)
    return image.reshape(-1, *image.shape[-2:])[0]


@pytest.mark.parametrize("name", STACKS)
def test_stripes_are_found_without_being_told_where(
    name: str, run: Run, real_data: Path, tmp_path: Path
) -> None:
    file, stated, tolerance, wanted = STACKS[name]
    done = run("reconstruct", real_data / file, "-o", "out.tif", *stated)
    assert done.code == 0, done.err
    record, image = read_record(tmp_path / "out.json"), read(tmp_path / "out.tif")
    assert off(record, wanted) < tolerance
    assert np.isfinite(image.data).all()
    assert record.transfer.value[0] == pytest.approx(1, abs=0.05)  # nothing of the light is lost


@pytest.mark.parametrize("pixel_um", [0.065, 0.08])
def test_an_image_is_like_the_published_one_whatever_pixel_is_stated(
    pixel_um: float, run: Run, real_data: Path, tmp_path: Path
) -> None:
    """The second pixel is wrong; that is told, and the OTF that the frames show is used."""
    done = run("reconstruct", real_data / "tsim-er/ER_1.tif", "-o", "er.tif", *options(1.49, 0.525, pixel_um))
    assert done.code == 0
    assert ("check pixel size" in done.err) == (pixel_um == 0.08)
    image, reference = read(tmp_path / "er.tif").data[0], published(real_data)
    raw = tifffile.imread(real_data / "tsim-er/ER_1.tif").astype(float)
    widefield = raw.reshape(-1, 9, *raw.shape[-2:])[0].mean(axis=0).repeat(2, axis=0).repeat(2, axis=1)
    assert likeness(image, reference) > likeness(widefield, reference) + 0.05


def test_a_dim_stack_takes_the_stripes_of_the_bright_one_of_its_field(
    run: Run, real_data: Path, tmp_path: Path
) -> None:
    """Three beams, interpolated frames: their noise, told by the frames, decides how smooth the image has to be."""
    folder, stated = real_data / "dlsim-microtubules-low-high", STACKS["microtubules, three beams"][1]
    assert run("reconstruct", folder / "HE_X2/Sample_1", "-o", "high.tif", *stated).code == 0
    done = run(
        "reconstruct",
        folder / "LE_X2/Sample_1",
        "-o",
        "low.tif",
        "--stripes",
        "high.json",
        "--pixel-um",
        0.04,
    )
    assert done.code == 0, done.err
    low, high = (read(tmp_path / f"{name}.tif").data for name in ("low", "high"))
    frames = [tifffile.imread(file) for file in sorted((folder / "LE_X2/Sample_1").glob("*.tif"))[:15]]
    widefield = np.mean(frames, axis=0).repeat(2, axis=0).repeat(2, axis=1)
    assert likeness(low, high) > likeness(widefield, high)


@pytest.mark.parametrize(
    ("folder", "told"),
    [
        ("hexsim-cell/*.tiff", "holds 7 frames, as in hexagonal SIM"),
        ("d2sim-beads-lattice/sample_bead.tif", "no stripes found in angles 1, 2, 3, 4 and 5 of 5"),
        ("cudasirecon-3dsim/raw.dv", "fits no usual layout"),
        ("bsim-mitochondria-hela/gain_map.tif", "a single image"),
    ],
)
def test_what_holds_no_stripes_is_refused(
    folder: str, told: str, run: Run, real_data: Path, tmp_path: Path
) -> None:
    (file,) = real_data.glob(folder)
    done = run("reconstruct", file, "-o", "out.tif", *options(1.4, 0.525, 0.065))
    assert done.code == 2
    assert told in done.err
    assert not list(tmp_path.iterdir())
