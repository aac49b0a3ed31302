"""Models that `sim-models transfer` may start from: named ones, or every champion that fits the stacks."""

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines.own_files.restoring import PIXEL_TOLERANCE, refuse_without_registry
from pipelines.shared.stage import project_root
from sim_models.config import BadInput
from sim_models.field import Role
from sim_models.restorer import SETTINGS, Restorer
from sim_models.sources.prepared import Prepared

REGISTERED = "models:/"


@dataclass(frozen=True)
class Source:
    """A model that may be carried over."""

    name: str
    """for people: `NAME version N`, or the folder"""
    folder: Path
    """a copy of its restorer, that stays as it is while a study runs"""
    restorer: Restorer

    @property
    def parent(self) -> str:
        """How a registered child names it."""
        return self.name


@dataclass(frozen=True)
class Target:
    """What decides whether a model fits."""

    layout: tuple[int, int]
    """angles and phases"""
    roles: frozenset[Role]
    """images that every field has"""
    pixel_um: float
    unit: str
    edge_px: int
    """shortest edge of the raw frames"""

    @staticmethod
    def of(prepared: Prepared) -> "Target":
        """Of prepared fields; the test cells stay closed.

        Raises:
            BadInput: if they have no raw stacks.
        """
        fields = prepared.fields("val")
        frames = [field.image("raw") for field in fields]
        return Target(
            (frames[0].shape[0], frames[0].shape[1]),
            frozenset(prepared.roles(("train", "val", "test"))),
            fields[0].microscope.pixel_um,
            fields[0].unit,
            min(min(each.shape[-2:]) for each in frames),
        )


def named(models: Sequence[str], into: Path) -> list[Source]:
    """Models that a person named, copied below a folder.

    Raises:
        BadInput: if one is not there.
    """
    return [
        _registered(model, into) if model.startswith(REGISTERED) else _in_folder(model, into)
        for model in models
    ]


def champions(into: Path) -> list[Source]:
    """Every champion of the registry, copied below a folder.

    Raises:
        BadInput: if there is none.
    """
    refuse_without_registry("--source is not given")
    from sim_models.tracking.registry import Registry

    root = project_root()
    found = Registry.open(root).champions()
    if not found:
        raise BadInput(
            f"the registry ({root / 'mlflow.db'}, or MLFLOW_TRACKING_URI) has no champion to start from; name a model "
            "with --source, a restorer's folder or models:/NAME/VERSION"
        )
    return [_registered(f"{REGISTERED}{name}/{version}", into) for name, version in sorted(found.items())]


def _registered(model: str, into: Path) -> Source:
    refuse_without_registry(model)
    from sim_models.tracking.registry import Registry  # MLflow takes two seconds to import

    registry = Registry.open(project_root())
    name, at, alias = model.removeprefix(REGISTERED).partition("@")
    if at:
        version = registry.holder(name, alias)
        # An unknown name or alias is refused by `fetch`, which says what there is.
        number = str(version) if version is not None else ""
    else:
        name, _, number = name.rpartition("/")
    address = f"{REGISTERED}{name}/{number}" if name and number else model
    with tempfile.TemporaryDirectory() as temporary:
        return _kept(f"{name} version {number}", registry.fetch(address, Path(temporary)), into)


def _in_folder(model: str, into: Path) -> Source:
    if not (Path(model) / SETTINGS).is_file():
        raise BadInput(
            f"--source {model}: is no folder of a restorer; give models:/NAME@champion, models:/NAME/VERSION or a "
            f"folder with {SETTINGS}"
        )
    return _kept(model, Path(model), into)


def _kept(name: str, folder: Path, into: Path) -> Source:
    """A copy under the digest of its weights: the same model has the same place, whatever it is called."""
    restorer = Restorer.load(folder)
    kept = into / restorer.weights_sha256[:16]
    if not (kept / SETTINGS).exists():
        partial = kept.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(folder, partial)
        shutil.rmtree(kept, ignore_errors=True)
        partial.rename(kept)
    return Source(name, kept, restorer)


def fitting(sources: Sequence[Source], target: Target, are_named: bool) -> tuple[list[Source], list[str]]:
    """The sources that can be carried over, and a sentence about each other one.

    Args:
        sources: all there are.
        target: what they have to fit.
        are_named: whether a person asked for exactly these, so that none may be passed over.

    Raises:
        BadInput: if none fits, or one that a person named does not.
    """
    reasons = {each.name: misfit(each.restorer, target) for each in sources}
    if not are_named:
        # Champions of other families give something else, so their scores would not compare.
        for each in sources:
            wanted = each.restorer.recipe.task.target
            if reasons[each.name] is None and wanted != "reference":
                reasons[each.name] = f"it learned to give '{wanted}', not the reference"
    misfits = [f"{name} does not fit: {reason}" for name, reason in reasons.items() if reason]
    fit = [each for each in sources if not reasons[each.name]]
    if misfits and (are_named or not fit):
        raise BadInput("; ".join(misfits) + "; give another --source")
    targets = sorted({each.restorer.recipe.task.target for each in fit})
    if len(targets) > 1:
        raise BadInput(
            f"sources learned to give different things ({', '.join(targets)}); give sources of one kind"
        )
    unique = {each.restorer.weights_sha256: each for each in reversed(fit)}
    return [each for each in fit if unique[each.restorer.weights_sha256] is each], misfits


def misfit(restorer: Restorer, target: Target) -> str | None:
    """Why a model cannot be carried to a target; None where it can."""
    card, task = restorer.card, restorer.recipe.task
    if restorer.compression is not None:
        return "it is compressed, and learning starts from floats; give the model it was made from"
    if task.target == "none":
        return "it learns without references, so arms could not be compared"
    if "raw" in task.roles and (card.angles, card.phases) != target.layout:
        return (
            f"it restores stacks of {card.angles} angles x {card.phases} phases, these have {target.layout[0]} x "
            f"{target.layout[1]}"
        )
    if missing := task.missing_to_judge(target.roles):
        return f"it needs the role '{missing[0]}', and these fields have {', '.join(sorted(target.roles))}"
    return None


def doubts(sources: Sequence[Source], target: Target) -> list[str]:
    """Ways in which the target differs from what a source was trained on, that are no reason to refuse."""
    found = []
    for each in sources:
        card, settings = each.restorer.card, each.restorer.normaliser.settings
        if abs(target.pixel_um / card.pixel_um - 1) > PIXEL_TOLERANCE:
            found.append(
                f"pixels are {target.pixel_um:.4f} um, {each.name} was trained on {card.pixel_um:.4f} um: stripes and "
                "blur look different to it"
            )
        if settings.scope == "dataset" and card.unit != target.unit:
            found.append(
                f"{each.name} was trained on {card.unit}, these fields are in {target.unit}; give --gain and --offset"
            )
    return found
