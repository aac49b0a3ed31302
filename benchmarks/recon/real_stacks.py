"""Real raw stacks of others: what is found in them blind, beside what their publishers and other programs say.

    python benchmarks/recon/real_stacks.py [FOLDER]    # writes docs/real_stacks.md, pictures into FOLDER

FOLDER is build/real_stacks unless given. The stacks are not shipped: they lie in SIM_MODELS_REAL_DATA, or in
shared/data beside the repository; tests use the same table.
"""

import json
import math
import os
import subprocess
import sys
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

REPOSITORY = Path(__file__).resolve().parents[2]
REAL_DATA = Path(os.environ.get("SIM_MODELS_REAL_DATA", REPOSITORY.parent / "shared" / "data"))

Waves = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Stack:
    """A stack, how it is reconstructed, and what is known of it."""

    source: str
    """repository it comes from"""
    path: str
    """in the folder of real data"""
    options: tuple[str, ...]
    """optics; a guess where the source does not tell them"""
    stated: bool
    """whether the source tells them"""
    waves: Waves
    """(cycles per pixel, degrees) of every angle, measured before by correlation of the bands"""
    tolerance: float
    """of a wave vector, cycles per pixel"""
    published: str | None = None
    """reconstruction that was published with it"""


def _options(na: float, emission_um: float, pixel_um: float, *others: str) -> tuple[str, ...]:
    return ("--na", str(na), "--emission-um", str(emission_um), "--pixel-um", str(pixel_um), *others)


ER_WAVES = ((0.3715, -177.5), (0.3715, 122.3), (0.3715, 62.4))
STACKS: dict[str, Stack] = {
    "mitochondria": Stack(
        "LabPresse/B-SIM", "bsim-mitochondria-hela/raw_images.tif",
        _options(1.3, 0.66, 0.065, "--gain", "2", "--offset", "100", "--read-noise", "2"), True,
        ((0.1817, -59.3), (0.1816, 58.2), (0.1955, 2.3)), 0.003,
    ),
    "microtubules, TIRF": Stack(
        "qc17-THU/rDL-SIM", "rdl-microtubules-tirf/MT.mrc", _options(1.3, 0.525, 0.0626), False,
        ((0.347, 84.8), (0.347, 145.0), (0.347, 205.0)), 0.002,
    ),
    "endoplasmic reticulum 1": Stack(
        "Timothiy/DL-SIM", "tsim-er/ER_1.tif", _options(1.49, 0.525, 0.065), False, ER_WAVES, 0.002,
        "tsim-er/gt/ER_1_gt.tif",
    ),
    "endoplasmic reticulum 2": Stack(
        "Timothiy/DL-SIM", "tsim-er/ER_2.tif", _options(1.49, 0.525, 0.065), False, ER_WAVES, 0.002,
        "tsim-er/gt/ER_2_gt.tif",
    ),
    "microtubules, three beams": Stack(
        "drbeiliu/DeepLearning", "dlsim-microtubules-low-high/HE_X2/Sample_1", _options(1.4, 0.525, 0.04), False,
        ((0.061, 13.9), (0.061, -45.5), (0.061, 74.3)), 0.001,
        "dlsim-microtubules-low-high/HER/Sample_1.tif",
    ),
    "particles": Stack(
        "Hao-Laboratory/shifting-phase-SIM-algorithm", "spsim-particles", _options(1.49, 0.515, 0.0867), True,
        ((0.4834, -95.0), (0.4761, -35.7), (0.4747, 25.3)), 0.003,
    ),
}  # fmt: skip


def off(record: dict[str, Any], waves: Waves) -> list[float]:
    """Distance of each wave vector from the known one, cycles per pixel; a pattern has no sense."""
    pixel_um, distances = record["microscope"]["pixel_um"], []
    for angle, (length, degrees) in zip(record["estimate"]["angles"], waves, strict=True):
        found = pixel_um / angle["spacing_um"] * np.exp(1j * angle["angle_rad"])
        known = length * np.exp(1j * math.radians(degrees))
        distances.append(float(min(abs(found - known), abs(found + known))))
    return distances


def first_image(path: Path) -> NDArray[np.float64]:
    """(Y, X) of a file."""
    images: NDArray[np.float64] = tifffile.imread(path).astype(float)
    return images.reshape(-1, *images.shape[-2:])[0]


def likeness(image: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Correlation of two images of the same field away from its borders; the finer one is averaged in blocks."""
    rows, columns = (min(sizes) for sizes in zip(image.shape, other.shape, strict=True))
    one, two = (
        each.reshape(rows, each.shape[0] // rows, columns, each.shape[1] // columns).mean(axis=(1, 3))
        for each in (image, other)
    )
    inside = slice(16, -16), slice(16, -16)
    return float(np.corrcoef(one[inside].ravel(), two[inside].ravel())[0, 1])


def row(name: str, stack: Stack, folder: Path) -> str:
    """Reconstruct a stack and tell what came out, as a row of the table."""
    out = folder / f"{name.replace(', ', '_').replace(' ', '_')}.ome.tif"
    command = [
        "sim-models",
        "reconstruct",
        str(REAL_DATA / stack.path),
        "-o",
        str(out),
        *stack.options,
        "--sheet",
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    print(done.stdout + done.stderr, end="", flush=True)
    if done.returncode:
        return f"| {name} | refused |  |  |  |  |  |"
    record = json.loads((folder / out.name.replace(".ome.tif", ".json")).read_text())
    angles, distances = record["estimate"]["angles"], off(record, stack.waves)
    alike = "-"
    if stack.published is not None:
        published = first_image(REAL_DATA / stack.published)
        alike = f"{likeness(first_image(out), published):.3f}"
    pixel_um = record["microscope"]["pixel_um"]
    cells = [
        f"{name} ({stack.source})",
        "; ".join(
            f"{pixel_um / angle['spacing_um']:.4f} at {math.degrees(angle['angle_rad']) % 180:.1f}"
            for angle in angles
        ),
        "; ".join(f"{length:.4f} at {degrees % 180:.1f}" for length, degrees in stack.waves),
        f"{max(distances):.4f}",
        "; ".join(", ".join(f"{depth:.2f}" for depth in angle["modulation"]) for angle in angles),
        f"{min(angle['score'] / angle['limit'] for angle in angles):.0f}",
        "not judged" if record["estimate"]["coloured"] else f"{record['consistency_chi2']:.2f}",
        alike,
    ]
    return f"| {' | '.join(cells)} |"


PAGE = """# Real raw stacks

Written by `python benchmarks/recon/real_stacks.py` on {day}; the stacks are those of the repositories named, and not
shipped. Every stack is reconstructed blind by `sim-models reconstruct` with the options in that file; numerical
aperture, wavelength and pixel are guesses for all but the mitochondria and the particles, whose sources tell them.

* *found*, *known*: wave vector of each angle in cycles per pixel and degrees (modulo 180). Known: measured before, by
  correlation of the bands, with other code. *off*: the largest distance between the two.
* *score*: of the weakest angle, over the limit that noise exceeds once in a thousand.
* *chi-squared*: of the image against its own frames; 1 is expected. Not judged where frames were interpolated before.
* *likeness*: correlation with the reconstruction that was published with the stack, which is no truth.

| stack | found | known | off | modulation | score / limit | chi-squared | likeness |
| --- | --- | --- | --- | --- | --- | --- | --- |
{rows}

## What the pictures show

Looked at beside the published reconstructions where there are any.

* Endoplasmic reticulum: the same network, as sharp; grain in the dark, where the published
  images have less.
* Microtubules, three beams: as sharp as the published image, with somewhat more grain; faint ripples in the dark.
* Mitochondria: bodies have a dark rim; one dim vesicle comes out as a hatched triplet whatever phases are assumed
  (it may have moved between frames), and the check of the image against its frames does not flag it.
* Microtubules in TIRF: filaments are sharper; the noise of about 22 camera levels of light is a honeycomb everywhere.
* Particles: pairs are told apart; chi-squared says that the model of the frames is not quite right. The values were
  rescaled by the publisher, so that gain and noise can only be guessed.
"""


def main() -> int:
    """Write the page."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else REPOSITORY / "build" / "real_stacks"
    if not REAL_DATA.is_dir():
        print(
            f"error: no real data at {REAL_DATA}; name their folder in SIM_MODELS_REAL_DATA", file=sys.stderr
        )
        return 2
    folder.mkdir(parents=True, exist_ok=True)
    rows = "\n".join(row(name, stack, folder) for name, stack in STACKS.items())
    (REPOSITORY / "docs" / "real_stacks.md").write_text(
        PAGE.format(day=date.today().strftime("%d %B %Y"), rows=rows)
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
