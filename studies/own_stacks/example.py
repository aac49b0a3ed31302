"""A folder of made-up stacks as a microscope might leave them, for those who have none at hand.

    python studies/own_stacks/example.py acquisitions --cells 12

acquisitions/raw/cell_00.tif ...          9 frames, phase by phase, uint16 counts, ImageJ TIFF with its pixel size
acquisitions/reference/cell_00.tif ...    the good image of the same cell at twice the sampling
"""

import argparse
from pathlib import Path

import numpy as np
import tifffile

from pipelines.shared.params import read_params
from sim_models.sources.objects.vesicles import Settings
from sim_models.sources.simulation import simulate

VESICLES = Settings(
    name="vesicles",
    vesicles_per_um2=1.0,
    per_cluster=4.0,
    cluster_um=0.8,
    median_um=0.25,
    size_spread=0.4,
    filled_share=0.3,
    depth_um=0.2,
    background=0.2,
)
LEVEL, PHOTONS = "raw", 40.0


def main() -> None:
    """Write the folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cells", type=int, default=12)
    asked = parser.parse_args()
    acquisition = read_params(Path(__file__).parent / "params.yaml").acquisition
    dim = acquisition.model_copy(update={"levels": {LEVEL: PHOTONS}})
    for cell in range(asked.cells):
        (field,) = simulate(VESICLES, dim, "vesicles", cell, 5)
        frames = field.image("raw").swapaxes(0, 1)  # phase by phase, as some microscopes store them
        write(asked.folder / LEVEL / f"cell_{cell:02d}.tif", frames.reshape(-1, *frames.shape[2:]), 1)
        write(asked.folder / "reference" / f"cell_{cell:02d}.tif", field.image("reference"), 2)
    print(f"{asked.folder}: {asked.cells} stacks and references")


def write(path: Path, image: np.ndarray, finer: int) -> None:
    """An ImageJ TIFF."""
    path.parent.mkdir(parents=True, exist_ok=True)
    per_um = finer / 0.065
    axes = "ZYX" if image.ndim == 3 else "YX"
    tifffile.imwrite(
        path, image, imagej=True, resolution=(per_um, per_um), metadata={"unit": "um", "axes": axes}
    )


if __name__ == "__main__":
    main()
