"""Stage `simulate`: image the objects of one structure with the microscope of `params.yaml`."""

from pipelines.shared.params import read_params
from pipelines.shared.stage import DATA, run, whole_folder
from sim_models.sources import ome_fields
from sim_models.sources.simulation import simulate


def main(structure: str) -> None:
    """Write raw stacks or series, references and truths to `data/raw/<structure>`."""
    params = read_params()
    settings = params.structure(structure)
    with whole_folder(DATA / "raw" / structure) as folder:
        for cell in range(settings.cells):
            take = settings.series.simulate if settings.series else simulate
            for field in take(settings.objects, params.acquisition, structure, cell, settings.seed):
                ome_fields.write(folder, field)


if __name__ == "__main__":
    run(main)
