"""`params.yaml` as one typed tree, with every rule that spans two of its sections."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from pydantic import NonNegativeInt, PositiveInt, model_validator

from sim_models.config import BadInput, Settings, choice_of, parse, read_yaml
from sim_models.evaluation.gate import GateSettings
from sim_models.evaluation.intervals import Bootstrap
from sim_models.freeze import FreezeRange
from sim_models.optics.reconstruct import ReconstructionSettings
from sim_models.recipe import AnyNetwork, Recipe
from sim_models.recipes import find
from sim_models.sources import objects, series
from sim_models.sources.simulation import Acquisition
from sim_models.sources.split import SplitSettings
from sim_models.training.loop import TrainingSettings
from sim_models.transfer.study import StudySettings

if TYPE_CHECKING:
    from sim_models.sources.objects import ObjectSettings as AnyObject
    from sim_models.sources.series import SeriesSettings as AnySeries
else:
    AnyObject = choice_of(objects)
    AnySeries = choice_of(series)

T = TypeVar("T")


class Structure(Settings):
    """One biological structure: what its objects are, how many cells are imaged and in which way."""

    drawn_from: str
    """what DVC watches: the folder of `images`, or the code file that draws simulated objects"""
    objects: AnyObject
    cells: PositiveInt
    seed: NonNegativeInt
    series: AnySeries | None = None
    """what is taken of a cell; None: raw SIM stacks"""
    licence: str | None = None
    """of the images it is drawn from, for model cards, as `CC BY 4.0`; None: not stated"""

    @property
    def licence_of_data(self) -> str | None:
        """What a card may say: what is simulated by our own code needs none."""
        simulated = getattr(self.objects, "folder", None) is None
        return self.licence or ("simulated, no licence needed" if simulated else None)


class Dataset(Settings):
    """Stacks that were taken, and the file that says what they are."""

    definition: Path
    """as `sim-models data add` writes it, or filled in after `sim-models data show --yaml`"""
    folder: Path
    """where they lie"""
    structure: str
    """one of its structures"""


class RecipeChoice(Settings):
    """A recipe by its name, as it stands in `params.yaml`, and what is to be otherwise than there."""

    named: str
    """one of `sim-models recipes`"""
    faithful: bool
    """as published, rather than corrected"""
    network: dict[str, Any]
    """its `name`, which decides what DVC watches, and what else is to be otherwise, as `width: 8`"""
    method: dict[str, Any]
    """its `name`, likewise"""
    task: dict[str, Any] | None = None
    normaliser: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _can_be_had(self) -> Self:
        usual = find(self.named, self.faithful).recipe
        wrong = []
        for part, given in (("network", self.network), ("method", self.method)):
            own = getattr(usual, part).name
            if given.get("name") != own:
                wrong.append(f"{part}.name must be '{own}', that of recipe '{self.named}'")
        if wrong:
            raise ValueError("; ".join(wrong))
        self.in_full()
        return self

    def in_full(self) -> Recipe:
        """The recipe with what is otherwise laid over it."""
        changed = ("network", "method", "task", "normaliser")
        return find(self.named, self.faithful, {part: getattr(self, part) or {} for part in changed}).recipe


class Derived(Settings):
    """Fields of a structure with frames derived from what a model makes of them."""

    structure: str
    model: str
    """a key of `models`, whose images the frames are derived from"""
    full_modulation: bool
    """whether the stripes of these frames are as deep as can be, rather than as found"""


class Model(Settings):
    """A model trained from scratch."""

    structure: str
    """a key of `structures` or of `derived`"""
    recipe: RecipeChoice
    training: TrainingSettings


class Transfer(Settings):
    """A model carried from the structure of `source`, a key of `models`, to another."""

    source: str
    structure: str
    study: StudySettings


class Matrix(Settings):
    """The transfer matrix: every source carried to every target with little effort."""

    sources: tuple[str, ...]
    """keys of `models`"""
    targets: tuple[str, ...]
    """keys of `structures` or `derived`"""
    finetune: TrainingSettings | None
    """None only where there is no source"""
    frozen: FreezeRange
    """of every fine-tune; which range is best is the question of `transfers`"""

    @model_validator(mode="after")
    def _can_be_trained(self) -> Self:
        if self.sources and self.finetune is None:
            raise ValueError("finetune must say how sources are trained; leave sources empty for no matrix")
        return self


class Evaluation(Settings):
    """How restored test fields are scored."""

    border_px: NonNegativeInt
    """pixels of the restored image left out along every edge"""
    bootstrap: Bootstrap


class Params(Settings):
    """The whole file."""

    house: str
    """where the code is, from the folder of this file; the pipeline depends on it"""
    study: str
    """name of the MLflow experiment"""
    register_as: str
    """first part of the names of registered models; the second is the structure"""
    acquisition: Acquisition
    structures: dict[str, Structure]
    """simulated"""
    datasets: dict[str, Dataset]
    """taken"""
    split: SplitSettings
    reconstruction: ReconstructionSettings
    """of the classical SIM that every study compares with"""
    derived: dict[str, Derived]
    models: dict[str, Model]
    matrix: Matrix
    transfers: dict[str, Transfer]
    evaluation: Evaluation
    gate: GateSettings

    @model_validator(mode="after")
    def _objects_are_watched(self) -> Self:
        wrong = []
        for key, structure in self.structures.items():
            objects = structure.objects
            folder = getattr(objects, "folder", None)
            expected = (
                folder or Path(self.house) / "sim_models" / "sources" / "objects" / f"{objects.name}.py"
            )
            if Path(structure.drawn_from) != expected:
                wrong.append(
                    f"structures.{key}.drawn_from is '{structure.drawn_from}', but its objects come from '{expected}'"
                )
        return self._unless(wrong)

    @model_validator(mode="after")
    def _names_exist(self) -> Self:
        fields, models = (*self.structures, *self.datasets, *self.derived), tuple(self.models)
        named = [(f"models.{key}.structure", each.structure, fields) for key, each in self.models.items()]
        for key, derived in self.derived.items():
            named.append((f"derived.{key}.structure", derived.structure, (*self.structures, *self.datasets)))
            named.append((f"derived.{key}.model", derived.model, models))
        for key, transfer in self.transfers.items():
            named.append((f"transfers.{key}.structure", transfer.structure, fields))
            named.append((f"transfers.{key}.source", transfer.source, models))
        named += [("matrix.sources", name, models) for name in self.matrix.sources]
        named += [("matrix.targets", name, fields) for name in self.matrix.targets]
        wrong = [
            f"{where} is '{name}', but there are only {', '.join(known)}"
            for where, name, known in named
            if name not in known
        ]
        wrong += [
            f"derived.{key} has the name of a structure or dataset"
            for key in self.derived
            if key in self.structures or key in self.datasets
        ]
        wrong += [
            f"datasets.{key} has the name of a structure" for key in self.datasets if key in self.structures
        ]
        wrong += [
            f"derived.{key}.model is '{derived.model}', which gives no image that frames could be derived from"
            for key, derived in self.derived.items()
            if derived.model in self.models
            and self.models[derived.model].recipe.in_full().task.gives != "image"
        ]
        return self._unless(wrong)

    @model_validator(mode="after")
    def _crops_fit(self) -> Self:
        wrong = []
        for where, crop_px, network, taken in self._crops():
            if crop_px % network.divisor:
                wrong.append(
                    f"{where}.crop_px is {crop_px}, but the network '{network.name}' needs a multiple of "
                    f"{network.divisor}"
                )
            if not taken and crop_px > self.acquisition.field_px:
                wrong.append(
                    f"{where}.crop_px is {crop_px}, but acquisition.field_px gives fields of "
                    f"{self.acquisition.field_px}"
                )
        return self._unless(wrong)

    def _crops(self) -> Iterator[tuple[str, int, AnyNetwork, bool]]:
        """Address, crop and network of every training, and whether its fields were taken: they tell their size."""
        for key, model in self.models.items():
            taken = model.structure in self.datasets
            yield f"models.{key}.training", model.training.crop_px, model.recipe.in_full().network, taken
        for source in self.matrix.sources:
            if source in self.models and self.matrix.finetune:
                network = self.models[source].recipe.in_full().network
                taken = not set(self.matrix.targets) & set(self.structures)
                yield "matrix.finetune", self.matrix.finetune.crop_px, network, taken
        for key, each in self.transfers.items():
            if each.source in self.models:
                network = self.models[each.source].recipe.in_full().network
                taken = each.structure in self.datasets
                yield f"transfers.{key}.study.scratch", each.study.scratch.crop_px, network, taken
                yield f"transfers.{key}.study.finetune", each.study.finetune.crop_px, network, taken

    def _unless(self, wrong: list[str]) -> Self:
        if wrong:
            raise ValueError("; ".join(wrong))
        return self

    def structure(self, key: str) -> Structure:
        """A structure by its key."""
        return _entry(self.structures, key, "structures")

    def licence_of(self, key: str) -> str | None:
        """Licence of the data of a simulated structure, or of what fields are derived from."""
        return self.structure(self.under(key)).licence_of_data

    def under(self, key: str) -> str:
        """The structure or dataset that fields are of, or are derived from."""
        return self.derived[key].structure if key in self.derived else key

    def dataset(self, key: str) -> Dataset:
        """A dataset by its key."""
        return _entry(self.datasets, key, "datasets")

    def derived_fields(self, key: str) -> Derived:
        """Derived fields by their key."""
        return _entry(self.derived, key, "derived")

    def model(self, key: str) -> Model:
        """A model by its key."""
        return _entry(self.models, key, "models")

    def transfer(self, key: str) -> Transfer:
        """A transfer by its key."""
        return _entry(self.transfers, key, "transfers")


def read_params(path: Path = Path("params.yaml")) -> Params:
    """Read and check `params.yaml`.

    Raises:
        BadInput: with every mistake in it, each by its address.
    """
    return parse(Params, read_yaml(path), str(path))


def _entry(section: dict[str, T], key: str, name: str) -> T:
    if key not in section:
        raise BadInput(f"params.yaml: {name} has no '{key}'; there are {', '.join(section)}")
    return section[key]
