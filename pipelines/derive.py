"""Stage `derive`: add to every field the raw frames that a first guess of its object would have given."""

import shutil

from pipelines.shared.params import read_params
from pipelines.shared.stage import DATA, MODELS, run, whole_folder
from sim_models.restorer import Restorer
from sim_models.sources import ome_fields
from sim_models.sources.prepared import UPSTREAM, Prepared
from sim_models.sources.reconstruction import stripes_of, synthetic


def main(key: str) -> None:
    """Write `data/fields/<key>`: the fields of a structure with the role `synthetic`, and the model that guessed."""
    settings = read_params().derived_fields(key)
    prepared = Prepared.open(DATA / "fields" / settings.structure)
    model = MODELS / settings.model
    restorer = Restorer.load(model)
    with whole_folder(DATA / "fields" / key) as folder:
        # Test cells too: nothing is learned or chosen here, and their targets are not looked at.
        for field in ome_fields.fields(prepared.folder):
            guess = restorer(field.images)
            illumination = stripes_of(field).illumination
            frames = synthetic(
                guess, field.microscope, illumination, restorer.recipe.task.scale, settings.full_modulation
            )
            ome_fields.write(folder, field.with_images({"synthetic": frames}))
        shutil.copytree(model, folder / UPSTREAM)
        Prepared.seal(folder, prepared.structure, prepared.split, settings.full_modulation)


if __name__ == "__main__":
    run(main)
