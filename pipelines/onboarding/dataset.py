"""A dataset with a definition as prepared fields: what the stage `bring_in` and `sim-models data` share."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from pipelines.onboarding.bringing import bring_in
from pipelines.onboarding.cells import Survey, survey
from pipelines.onboarding.reading import Reading
from pipelines.own_files.stacks import Stated
from pipelines.shared.brought import Brought
from sim_models.config import BadInput
from sim_models.datasets.definition import Definition, Storage
from sim_models.field import FrameOrder
from sim_models.images import read
from sim_models.optics.reconstruct import ReconstructionSettings
from sim_models.sources.raw import Declared
from sim_models.sources.split import Split, SplitSettings, split_by_cell

AS_STORED = Storage(rows="top-down", transposed=False, time="one")
"""how frames are read where a definition does not say how they lie in their files"""


OWN = "one's own data"
"""what a model card says of data that belong to whoever trained the model"""


@dataclass(frozen=True)
class Dataset:
    """One structure of a dataset, and where it lies."""

    definition: Definition
    folder: Path
    structure: str

    def survey(self) -> Survey:
        """Its cells.

        Raises:
            BadInput: if the definition knows no such structure, or the folder is not as it says.
        """
        if self.structure not in self.definition.structures:
            raise BadInput(
                f"{self.definition.name}: its definition knows no structure '{self.structure}'; there are "
                f"{', '.join(self.definition.structures)}"
            )
        several = len(self.definition.structures) > 1
        return survey(self.definition.layout_in(self.folder), self.structure if several else None)

    def declared(self) -> Declared:
        """How its frames lie in their files.

        Raises:
            BadInput: if its definition does not know that.
        """
        raw = self.definition.raw
        # Where there is one angle or one phase, both orders are the same.
        order = FrameOrder.ANGLE_MAJOR if 1 in (raw.angles, raw.phases) else raw.order
        if raw.angles is None or raw.phases is None or order is None:
            raise BadInput(_missing(self.definition, ("raw.angles", "raw.phases", "raw.order")))
        storage = storage_of(self.definition).model_dump()
        return Declared(angles=raw.angles, phases=raw.phases, order=order, **storage)

    def reading(self, reconstruction: ReconstructionSettings) -> Reading:
        """How its files are read.

        Raises:
            BadInput: if its definition does not know enough.
        """
        optics = self.definition.optics
        if optics.numerical_aperture is None or optics.emission_um is None:
            raise BadInput(_missing(self.definition, ("optics.numerical_aperture", "optics.emission_um")))
        return Reading(self.declared(), stated_of(self.definition), reconstruction)

    def bring_in(
        self,
        reconstruction: ReconstructionSettings,
        split: SplitSettings,
        into: Path,
        told: Callable[[int, int], None],
    ) -> Brought:
        """Write its prepared fields to a folder; see `bringing.bring_in`."""
        files = self.survey()
        deal = partial(self._deal, files, split)
        reading = self.reading(reconstruction)
        self._refuse_unknown_pixel(files)
        return bring_in(files, self.structure, reading, deal, into, told, licence_of(self.definition))

    def _refuse_unknown_pixel(self, files: Survey) -> None:
        """Files say how large their pixels are, or the definition has to."""
        if self.definition.optics.pixel_um is not None:
            return
        for cell in files.cells:
            try:
                told = read(next(iter(cell.raw.values())).paths[0]).pixel_um
            except BadInput:
                continue
            if told is None:
                raise BadInput(_missing(self.definition, ("optics.pixel_um",)))
            return

    def _deal(self, files: Survey, split: SplitSettings, cells: Sequence[str]) -> Split:
        """As the definition says which cell is for what; else as its publisher; else by the study's shares."""
        if (parts := self.definition.parts) is not None:
            return _known(parts, cells, self.definition.name)
        apart = {cell.name: cell.part for cell in files.cells if cell.name in cells}
        if not apart or None in apart.values() or "test" not in apart.values():
            return split_by_cell(cells, split, str(self.folder))
        return _beside_a_given_test(apart, split, str(self.folder))


def storage_of(definition: Definition) -> Storage:
    """How frames lie in their files, as it says or as is usual."""
    if definition.storage is not None:
        return definition.storage
    many = definition.raw.time_points not in (None, 1)
    return AS_STORED.model_copy(update={"time": "slowest"}) if many else AS_STORED


def stated_of(definition: Definition) -> Stated:
    """What it says of the microscope."""
    optics, camera = definition.optics, definition.optics.camera
    return Stated(
        optics.pixel_um,
        optics.numerical_aperture,
        optics.emission_um,
        camera.offset if camera else None,
        camera.gain if camera else None,
        camera.read_noise if camera else None,
    )


def licence_of(definition: Definition) -> str | None:
    """What a model card may say of the licence of a dataset; None: nobody has said."""
    return definition.licence or (OWN if definition.origin == "own" else None)


def _known(parts: Split, cells: Sequence[str], name: str) -> Split:
    """A split that was written down, of the cells that can be used."""
    every = {*parts.train, *parts.val, *parts.test}
    if twice := sorted(
        cell for cell in every if sum(cell in parts.cells(part) for part in ("train", "val", "test")) > 1
    ):
        raise BadInput(
            f"{name}: its definition has {', '.join(twice[:5])} in two of its `parts`; a cell is to learn from, to "
            "choose by or sealed, so take it out of all but one"
        )
    if strangers := sorted(set(cells) - every):
        raise BadInput(
            f"{name}: its definition does not say what {', '.join(strangers[:5])} are for; add them to `parts`, or add "
            "stacks by `sim-models data add`, which does"
        )
    there = {
        part: tuple(cell for cell in parts.cells(part) if cell in cells) for part in ("train", "val", "test")
    }
    if empty := [part for part, names in there.items() if not names]:
        raise BadInput(f"{name}: of its cells for {', '.join(empty)} none can be used; add some")
    return Split(**there)


def _beside_a_given_test(apart: Mapping[str, str | None], split: SplitSettings, name: str) -> Split:
    """The publisher's test cells stay the test; the others are dealt out."""
    test = tuple(sorted(cell for cell, part in apart.items() if part == "test"))
    others = sorted(cell for cell, part in apart.items() if part != "test")
    num_val = max(1, round(split.val * len(others)))
    if len(others) <= num_val:
        raise BadInput(
            f"{name}: beside the test that its publisher set apart it has {len(others)} cells, of which {num_val} are "
            f"to choose by (split.val {split.val:g}), so none is left to learn from; add cells or lower split.val"
        )
    shuffled = [str(cell) for cell in np.random.default_rng(split.seed).permutation(others)]
    train, val = shuffled[num_val:], shuffled[:num_val]
    return Split(train=tuple(sorted(train)), val=tuple(sorted(val)), test=test)


def _missing(definition: Definition, names: tuple[str, ...]) -> str:
    unknown = [name for name in names if name in definition.unknown()]
    return (
        f"{definition.name}: its definition does not say {', '.join(unknown)}; ask who took the data, or "
        f"see what sim-models data check finds, and write it into a copy of it (sim-models data show "
        f"{definition.name} --yaml)"
    )
