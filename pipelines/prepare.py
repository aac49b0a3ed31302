"""Stage `prepare`: check every field, bring it to photons, add its wide-field and super-resolution, split by cell."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby

import numpy as np

from pipelines.shared.params import Params, Structure, read_params
from pipelines.shared.stage import DATA, run, whole_folder
from sim_models.config import BadInput
from sim_models.field import AXES, Field, Role
from sim_models.sources import ome_fields
from sim_models.sources.prepared import Prepared
from sim_models.sources.reconstruction import with_reconstructions
from sim_models.sources.split import split_by_cell

TAKEN: tuple[Role, ...] = ("raw", "volume", "blinking")
"""what a camera took; a field has one of these"""
CLEAN: tuple[Role, ...] = ("raw_clean", "volume_clean")
"""the same with little or no noise: counts where it was taken, of an integer type, and photons where simulated"""


def main(structure: str) -> None:
    """Read `data/raw/<structure>`, write `data/fields/<structure>` with its `split.json`."""
    params = read_params()
    settings = params.structure(structure)
    cells = []
    with whole_folder(DATA / "fields" / structure) as folder:
        for cell, levels in groupby(ome_fields.fields(DATA / "raw" / structure), lambda field: field.cell):
            for field in super_resolved([prepared(level) for level in levels], settings, params):
                ome_fields.write(folder, field)
            cells.append(cell)
        Prepared.seal(folder, structure, split_by_cell(cells, params.split, structure))


def prepared(field: Field) -> Field:
    """The field in photons where its camera is known, with the mean of its frames as `widefield`."""
    taken = next((role for role in TAKEN if role in field.images), None)
    if taken is None:
        raise BadInput(
            f"{field.name}: has none of the roles {', '.join(TAKEN)} (it has {', '.join(field.images)}); "
            "add what the camera took"
        )
    images = {taken: field.images[taken].astype(np.float32)}
    clean = {role: field.images[role] for role in CLEAN if role in field.images}
    images |= {role: image.astype(np.float32) for role, image in clean.items()}
    camera = field.microscope.camera
    if field.unit == "counts" and camera is not None:
        for role in images:
            if role == taken or np.issubdtype(clean[role].dtype, np.integer):
                images[role] = (images[role] - camera.offset) / camera.gain
        field = replace(field, unit="photons")
    frames = tuple(range(len(AXES[taken]) - 2))
    return field.with_images({**images, "widefield": images[taken].mean(axis=frames)})


def super_resolved(levels: Sequence[Field], settings: Structure, params: Params) -> Sequence[Field]:
    """The fields of a cell with what is made of their frames: classical SIM of stacks, SRRF of blinking."""
    if all("raw" in field.images for field in levels):
        return with_reconstructions(levels, params.reconstruction)
    return [settings.series.prepared(field) for field in levels] if settings.series else levels


if __name__ == "__main__":
    run(main)
