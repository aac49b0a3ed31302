"""Fields made up in the format of `prepare`: spots in noise-free dark, of no structure that could be learned."""

from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from sim_models.field import Field, Illumination, Microscope
from sim_models.sources import ome_fields
from sim_models.sources.prepared import Prepared
from sim_models.sources.split import Split

ANGLES, PHASES = 3, 3
SPOTS = 0.02
"""share of the pixels that are not dark; so few since packing noise would take longer than all that is measured"""
MICROSCOPE = Microscope(
    numerical_aperture=1.4, refractive_index=1.518, emission_um=0.525, pixel_um=0.065, camera=None
)
ILLUMINATION = Illumination(
    angle_rad=(0.1, 1.1, 2.1), spacing_um=(0.2,) * ANGLES, phase_rad=((0.0, 2.1, 4.2),) * ANGLES,
    modulation=((0.8,),) * ANGLES,
)  # fmt: skip
FEW = 50
"""fields that are written before other processes have started"""
HELD_BACK = ("val", "test")
"""cells beside those to learn from"""


def made(cell: str, seed: int, edge_px: int) -> Field:
    """One field with raw frames (A, P, Y, X) of that edge, and images twice as fine."""
    random = np.random.default_rng(seed)

    def spots(*shape: int) -> np.ndarray:
        dark = random.random(shape, dtype=np.float32)
        return np.where(dark < SPOTS, 1 + np.floor(1e4 * dark), 0).astype(np.float32)

    raw = spots(ANGLES, PHASES, edge_px, edge_px)
    fine = [spots(2 * edge_px, 2 * edge_px) for _ in range(2)]
    images = {
        "raw": raw, "widefield": raw.mean(axis=(0, 1)), "reconstruction": fine[0], "reference": fine[1]
    }  # fmt: skip
    return Field("made", "spots", cell, "only", images, MICROSCOPE, ILLUMINATION, unit="photons")


def cell_names(count: int) -> tuple[str, ...]:
    """Of the cells to learn from."""
    return tuple(f"cell_{index:06d}" for index in range(count))


def write(folder: Path, count: int, edge_px: int, processes: int = 1) -> None:
    """Write `count` fields to learn from, one to choose by and a sealed one, and their split."""
    cells = [*cell_names(count), *HELD_BACK]
    write_one = partial(_write_one, folder, edge_px)
    if processes == 1 or count < FEW:
        list(map(write_one, cells, range(len(cells))))
    else:
        with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
            list(pool.map(write_one, cells, range(len(cells)), chunksize=8))
    seal(folder, count)


def _write_one(folder: Path, edge_px: int, cell: str, seed: int) -> None:
    ome_fields.write(folder, made(cell, seed, edge_px))


def seal(folder: Path, count: int) -> None:
    """Let the first `count` fields be those to learn from."""
    Prepared.seal(folder, "spots", Split(train=cell_names(count), val=("val",), test=("test",)))
