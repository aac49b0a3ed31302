"""Many small stacks that all differ, cheaply: few are simulated, the others are these turned over, with other noise."""

import sys
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipelines.shared.params import read_params
from sim_models.sources.simulation import simulate

STUDY = Path(__file__).resolve().parents[2] / "studies" / "own_stacks"
sys.path.insert(0, str(STUDY))  # its example is a script, no package

from example import LEVEL, VESICLES, write  # noqa: E402

EDGE_PX = 64
PHOTONS = 2000.0
"""of what is simulated; bright and dense, or the doctor would find too few stripes in so small an image"""
OBJECTS = VESICLES.model_copy(update={"vesicles_per_um2": 8.0})
SYMMETRIES = 8
"""ways to turn a square over"""
KEPT = 0.5
"""chance of each photo-electron to be kept: what is left has noise of its own, as of half the light"""
GAIN, OFFSET = 2, 100
"""of the camera of the study"""


def name_of(cell: int) -> str:
    """For a file."""
    return f"cell_{cell:05d}"


def make(folder: Path, cells: range) -> None:
    """Write `raw/cell_00000.tif` and `reference/cell_00000.tif` of each."""
    for cell in cells:
        raw, reference = images(cell)
        write(folder / LEVEL / f"{name_of(cell)}.tif", raw, 1)
        write(folder / "reference" / f"{name_of(cell)}.tif", reference, 2)


def images(cell: int) -> tuple[NDArray[np.uint16], NDArray[np.float32]]:
    """Frames (9, Y, X), phase by phase, and the good image (2 Y, 2 X)."""
    raw, reference = (_turned(image, cell % SYMMETRIES) for image in _simulated(cell // SYMMETRIES))
    electrons = np.clip((raw.astype(int) - OFFSET) // GAIN, 0, None)
    seen = np.random.default_rng(cell).binomial(electrons, KEPT)
    return (GAIN * seen + OFFSET).astype(np.uint16), np.ascontiguousarray(reference)


def patches(cell: int, across: int) -> Iterator[bytes]:
    """The same values cut into across x across crops, frames and good image of each together."""
    raw, reference = images(cell)
    edges = np.linspace(0, EDGE_PX, across + 1).round().astype(int)
    spans = [slice(first, last) for first, last in pairwise(edges)]
    for rows in spans:
        for columns in spans:
            fine = (slice(2 * span.start, 2 * span.stop) for span in (rows, columns))
            yield raw[:, rows, columns].tobytes() + reference[tuple(fine)].tobytes()


@lru_cache(maxsize=2)
def _simulated(number: int) -> tuple[NDArray[np.uint16], NDArray[np.float32]]:
    acquisition = read_params(STUDY / "params.yaml").acquisition
    bright = acquisition.model_copy(update={"levels": {LEVEL: PHOTONS}, "field_px": EDGE_PX})
    (field,) = simulate(OBJECTS, bright, "vesicles", number, 5)
    frames = field.image("raw").swapaxes(0, 1)
    return frames.reshape(-1, EDGE_PX, EDGE_PX), field.image("reference").astype(np.float32)


def _turned(image: NDArray, which: int) -> NDArray:
    """One of the eight ways."""
    image = image[..., ::-1] if which & 1 else image
    image = image[..., ::-1, :] if which & 2 else image
    return image.swapaxes(-1, -2) if which & 4 else image
