"""Stage `prepare`: check every field, bring it to photons, add its wide-field and classical SIM, split by cell."""

from dataclasses import replace
from itertools import groupby

import numpy as np

from pipelines.params import read_params
from pipelines.stage import DATA, run, whole_folder
from sim_models.field import Field
from sim_models.sources.layouts import ome_fields
from sim_models.sources.prepared import Prepared
from sim_models.sources.reconstruction import with_reconstructions
from sim_models.sources.split import split_by_cell


def main(structure: str) -> None:
    """Read `data/raw/<structure>`, write `data/fields/<structure>` with its `split.json`."""
    params = read_params()
    params.structure(structure)
    cells = []
    with whole_folder(DATA / "fields" / structure) as folder:
        for cell, levels in groupby(ome_fields.fields(DATA / "raw" / structure), lambda field: field.cell):
            for field in with_reconstructions([prepared(level) for level in levels], params.reconstruction):
                ome_fields.write(folder, field)
            cells.append(cell)
        Prepared.seal(folder, structure, split_by_cell(cells, params.split, structure))


def prepared(field: Field) -> Field:
    """The field in photons where its camera is known, with the mean of its frames as `widefield`."""
    raw = field.image("raw").astype(np.float32)
    camera = field.microscope.camera
    if field.unit == "counts" and camera is not None:
        raw = (raw - camera.offset) / camera.gain
        field = replace(field, unit="photons")
    return field.with_images({"raw": raw, "widefield": raw.mean(axis=(0, 1))})


if __name__ == "__main__":
    run(main)
