"""The registry: restorers with a name, versions, aliases and parents.

Who is champion is decided in `champions`, and nowhere else.
"""

import contextlib
import io
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

# First: it sets what MLflow reads when it is imported.
from sim_models.tracking.runs import client_of, every, tracking_uri

import mlflow  # isort: skip
import mlflow.artifacts
import mlflow.pyfunc
import numpy as np
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec
from numpy.typing import NDArray

import sim_models
from sim_models.config import BadInput, without_password
from sim_models.field import AXES, Image, Role
from sim_models.restorer import Restorer

CANDIDATE, CHAMPION = "candidate", "champion"
PARENT = "sim.parent"
"""tag: `NAME version N` of the registered model a version came from, or `none`"""
CARD = "card"
"""folder of a version's artifacts with its model card and the pictures in it"""
LONGEST_DESCRIPTION = 4900
"""characters; databases take 5000"""
RUNS_WITH = ("torch", "numpy", "mlflow", "pydantic", "safetensors", "pyyaml", "scipy")
"""what a served restorer imports; written down with exact versions beside the model"""


@dataclass(frozen=True)
class Version:
    """One version of a registered model, as the registry has it."""

    name: str
    number: int
    aliases: tuple[str, ...]
    tags: Mapping[str, str]

    @property
    def title(self) -> str:
        """How children name it as their parent."""
        return f"{self.name} version {self.number}"

    @property
    def parent(self) -> str | None:
        """`NAME version N` of the one it came from."""
        parent = self.tags.get(PARENT, "none")
        return None if parent == "none" else parent


@dataclass(frozen=True)
class Registry:
    """The model registry that belongs to a tracking server."""

    uri: str

    @staticmethod
    def open(root: Path) -> "Registry":
        """The registry at `MLFLOW_TRACKING_URI`, or in `<root>/mlflow.db`.

        Raises:
            BadInput: if the server does not answer.
        """
        return Registry(tracking_uri(root))

    def register(
        self,
        folder: Path,
        name: str,
        run_id: str,
        tags: Mapping[str, str],
        description: str,
        example: Mapping[Role, Image],
    ) -> int:
        """Register the restorer in `folder` as the next version of `name`, and return its number.

        Args:
            folder: the restorer.
            name: of the registered model.
            run_id: the run that trained it.
            tags: of the version.
            description: of the version, Markdown.
            example: the images of one field that it takes, by role.
        """
        restorer = Restorer.load(folder)
        mlflow.set_tracking_uri(self.uri)
        with tempfile.TemporaryDirectory() as temporary:
            shutil.copytree(folder, Path(temporary) / "restorer")
            # MLflow prints advice on type hints and column names, which arrays do not have.
            with contextlib.redirect_stderr(io.StringIO()), mlflow.start_run(run_id=run_id):
                logged = mlflow.pyfunc.log_model(
                    name=name,
                    python_model=str(Path(__file__).with_name("served.py")),
                    artifacts={"restorer": str(Path(temporary) / "restorer")},
                    code_paths=[str(Path(sim_models.__file__).parent)],
                    signature=_signature(restorer),
                    input_example=_example(example),
                    pip_requirements=[f"{package}=={installed(package)}" for package in RUNS_WITH],
                )
        client = client_of(self.uri)
        self._create(name, f"Restores SIM images of {restorer.card.structure}.")
        version = client.create_model_version(
            name,
            logged.model_uri,
            run_id=run_id,
            tags=dict(tags),
            description=description,
            model_id=logged.model_id,
        )
        return int(version.version)

    def holder(self, name: str, alias: str) -> int | None:
        """The version that holds an alias, if any."""
        model = self._model(name)
        version = None if model is None else model.aliases.get(alias)
        return None if version is None else int(version)

    def champions(self) -> dict[str, int]:
        """The version that is champion, by the name of its model; models without one are left out."""
        holders = ((model.name, model.aliases.get(CHAMPION)) for model in self._models())
        return {name: int(version) for name, version in holders if version is not None}

    def give(self, name: str, alias: str, version: int) -> None:
        """Give an alias to a version; whoever held it loses it.

        Raises:
            BadInput: if it is that of the champion, which only `Champions` gives.
        """
        if alias == CHAMPION:
            raise BadInput(f"{name}: a champion must pass the gate; use `sim-models registry promote`")
        client_of(self.uri).set_registered_model_alias(name, alias, str(version))

    def tag(self, name: str, version: int, tags: Mapping[str, str]) -> None:
        """Set tags of a version."""
        for key, value in tags.items():
            client_of(self.uri).set_model_version_tag(name, str(version), key, value)

    def untag(self, name: str, version: int, key: str) -> None:
        """Remove a tag of a version, if it is there."""
        if key in self.version(name, version).tags:
            client_of(self.uri).delete_model_version_tag(name, str(version), key)

    def names(self) -> list[str]:
        """Every registered model."""
        return sorted(str(model.name) for model in self._models())

    def versions(self, name: str) -> list[Version]:
        """All versions of a model, from first to last.

        Raises:
            BadInput: if there is no such model.
        """
        model = self._model(name)
        if model is None:
            raise BadInput(
                f"no model '{name}' is registered at {without_password(self.uri)}; "
                f"there are {', '.join(self.names()) or 'none yet'}"
            )
        return _with_aliases([model], self._versions(name))

    def all_versions(self) -> list[Version]:
        """All versions of all models, by name, from first to last; asked for by the page, not model by model."""
        return _with_aliases(self._models(), self._versions())

    def version(self, name: str, number: int) -> Version:
        """One version of a model.

        Raises:
            BadInput: if there is no such model or version.
        """
        there = self.versions(name)
        for version in there:
            if version.number == number:
                return version
        numbers = ", ".join(str(version.number) for version in there) or "none"
        raise BadInput(f"{name} has no version {number}; there are {numbers}")

    def describe(self, name: str, version: int, text: str, card: Path) -> None:
        """Set the description of a version, cut where databases would refuse it, and keep its card (a folder)."""
        client = client_of(self.uri)
        shown = text if len(text) <= LONGEST_DESCRIPTION else f"{text[:LONGEST_DESCRIPTION]} ..."
        client.update_model_version(name, str(version), shown)
        # A version says of what logged model it is in its source; its `model_id` stays empty in a database.
        source = str(client.get_model_version(name, str(version)).source)
        if source.startswith("models:/m-"):
            client.log_model_artifacts(source.removeprefix("models:/"), str(card), CARD)

    def find(self, name: str, tag: str, value: str) -> int | None:
        """The newest version of `name` that carries a tag, if any."""
        return max(
            (int(each.version) for each in self._versions(name) if each.tags.get(tag) == value), default=None
        )

    def fetch(self, model: str, into: Path) -> Path:
        """Copy the restorer of `models:/NAME@ALIAS` or `models:/NAME/VERSION` to a folder; runs none of its code.

        Raises:
            BadInput: if there is no such model.
        """
        return self._download(model, "artifacts/restorer", into)

    def card(self, model: str, into: Path) -> Path:
        """Copy the card of `models:/NAME/VERSION`, with its pictures, to a folder.

        Raises:
            BadInput: if it has none.
        """
        try:
            return self._download(model, CARD, into)
        except BadInput:
            raise BadInput(
                f"{model}: has no card; it was registered by an earlier release or by hand, register it again"
            ) from None

    def _download(self, model: str, what: str, into: Path) -> Path:
        mlflow.set_tracking_uri(self.uri)
        try:
            return Path(mlflow.artifacts.download_artifacts(f"{model}/{what}", dst_path=str(into)))
        except (MlflowException, OSError) as error:
            raise BadInput(
                without_password(
                    f"{model}: not found in the registry at {self.uri} ({str(error).splitlines()[0]}); "
                    f"registered are: {', '.join(self._registered()) or 'none yet'}"
                )
            ) from None

    def _create(self, name: str, description: str) -> None:
        """Make the registered model, unless it is there or another process is just ahead."""
        if self._model(name) is not None:
            return
        try:
            client_of(self.uri).create_registered_model(name, description=description)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise

    def _registered(self) -> list[str]:
        return [
            f"models:/{model.name}@{alias}"
            for model in self._models()
            for alias in sorted(model.aliases or ["(no alias)"])
        ]

    def _models(self, *which: str) -> Iterator[Any]:
        return every(client_of(self.uri).search_registered_models, *which)

    def _model(self, name: str) -> Any:
        """None where there is none of this name."""
        return next((model for model in self._models(f"name = '{name}'") if model.name == name), None)

    def _versions(self, name: str | None = None) -> Iterator[Any]:
        """Of one model or of all; in an order that no change between two pages disturbs, as the default would be."""
        search = partial(
            client_of(self.uri).search_model_versions, order_by=["name ASC", "version_number ASC"]
        )
        return every(search, None if name is None else f"name = '{name}'")


def _with_aliases(models: Iterable[Any], versions: Iterable[Any]) -> list[Version]:
    held: dict[tuple[str, int], list[str]] = {}
    for model in models:
        for alias, number in model.aliases.items():
            held.setdefault((model.name, int(number)), []).append(alias)
    found = [
        Version(
            str(each.name),
            int(each.version),
            tuple(sorted(held.get((each.name, int(each.version)), []))),
            dict(each.tags),
        )
        for each in versions
    ]
    return sorted(found, key=lambda version: (version.name, version.number))


FREE = -1
"""any length, in a signature"""


def _example(images: Mapping[Role, Image]) -> NDArray[np.float32] | dict[str, NDArray[np.float32]]:
    """A batch of one: an array, or one by role where several images go in."""
    batch: dict[str, NDArray[np.float32]] = {
        role: image[None].astype(np.float32) for role, image in images.items()
    }
    return next(iter(batch.values())) if len(batch) == 1 else batch


def _signature(restorer: Restorer) -> ModelSignature:
    card, task = restorer.card, restorer.recipe.task
    known = {"A": card.angles, "P": card.phases}

    def batch_of(axes: str, name: str | None = None) -> TensorSpec:
        return TensorSpec(np.dtype(np.float32), (FREE, *(known.get(axis, FREE) for axis in axes)), name)

    several = len(task.roles) > 1
    inputs = Schema([batch_of(AXES[role], role if several else None) for role in task.roles])
    return ModelSignature(inputs=inputs, outputs=Schema([batch_of(restorer.axes)]))
