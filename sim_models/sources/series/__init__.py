"""What is taken of a structure other than raw SIM stacks: one file per kind of series."""

from abc import abstractmethod

from sim_models.config import Settings
from sim_models.field import Field
from sim_models.sources.objects import ObjectSettings
from sim_models.sources.simulation import Acquisition


class SeriesSettings(Settings):
    """What every kind of series has in common: a name, which is its file's, and how a cell is taken."""

    name: str

    @abstractmethod
    def simulate(
        self, objects: ObjectSettings, acquisition: Acquisition, structure: str, cell: int, seed: int
    ) -> list[Field]:
        """One cell at every light level: the same scene, independent noise.

        Microscope, size of the field and levels are those of the acquisition; its stripes are not used.
        A level is the 99.9 percentile of the noise-free mean over all frames, in photo-electrons per raw
        pixel. Frames are uint16 counts, all other images float32 photons per raw pixel and frame.

        Raises:
            BadInput: if nothing of the object lies in the field.
        """

    def prepared(self, field: Field) -> Field:
        """What the stage `prepare` makes of such a field, its frames in photons and their mean added."""
        return field
