"""`sim-models reconstruct` on real raw stacks, held against what their publishers and other programs say of them.

None is shipped here; where they come from, and where they are looked for, is told in the README.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from pipelines.own_files.records import read_record
from sim_models.images import read

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks" / "recon"))  # scripts, no package

from real_stacks import STACKS, first_image, likeness, off

Run = Callable[..., Any]


ER, THREE_BEAMS = STACKS["endoplasmic reticulum 1"], STACKS["microtubules, three beams"]


@pytest.mark.parametrize("name", STACKS)
def test_stripes_are_found_without_being_told_where(
    name: str, run: Run, real_data: Path, tmp_path: Path
) -> None:
    known = STACKS[name]
    done = run("reconstruct", real_data / known.path, "-o", "out.tif", *known.options)
    assert done.code == 0, done.err
    record, image = read_record(tmp_path / "out.json"), read(tmp_path / "out.tif")
    assert max(off(record.model_dump(), known.waves)) < known.tolerance
    assert np.isfinite(image.data).all()
    assert record.transfer.value[0] == pytest.approx(1, abs=0.05)  # nothing of the light is lost


@pytest.mark.parametrize("pixel_um", [0.065, 0.08])
def test_an_image_is_like_the_published_one_whatever_pixel_is_stated(
    pixel_um: float, run: Run, real_data: Path, tmp_path: Path
) -> None:
    """The second pixel is wrong; that is told, and the OTF that the frames show is used."""
    done = run(
        "reconstruct", real_data / "tsim-er/ER_1.tif", "-o", "er.tif", *ER.options, "--pixel-um", pixel_um
    )
    assert done.code == 0
    assert ("check pixel size" in done.err) == (pixel_um == 0.08)
    assert ER.published is not None
    image, reference = read(tmp_path / "er.tif").data[0], first_image(real_data / ER.published)
    raw = tifffile.imread(real_data / "tsim-er/ER_1.tif").astype(float)
    widefield = raw.reshape(-1, 9, *raw.shape[-2:])[0].mean(axis=0).repeat(2, axis=0).repeat(2, axis=1)
    assert likeness(image, reference) > likeness(widefield, reference) + 0.05


def test_a_dim_stack_takes_the_stripes_of_the_bright_one_of_its_field(
    run: Run, real_data: Path, tmp_path: Path
) -> None:
    """Three beams, interpolated frames: their noise, told by the frames, decides how smooth the image has to be."""
    folder, stated = real_data / "dlsim-microtubules-low-high", THREE_BEAMS.options
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
    done = run("reconstruct", file, "-o", "out.tif", "--na", 1.4, "--emission-um", 0.525, "--pixel-um", 0.065)
    assert done.code == 2
    assert told in done.err
    assert not list(tmp_path.iterdir())
