"""Settings: strict, frozen and complete.

Settings live in the file of the thing they set. Unknown keys are refused, and a number that
changes a result has no default in code, because DVC sees only what is written down.
"""

import importlib
import json
import pkgutil
import re
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, TypeVar, Union

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError


class BadInput(ValueError):
    """What a person gave cannot be used: one sentence that says what, where and what to do."""


class Refused(BadInput):
    """What a person asked for was understood, and a rule forbids it: one sentence that says which."""


class NotReady(BadInput):
    """Something that must stand before work can begin does not: one sentence that says what to do."""


class WorkFailed(BadInput):
    """Work that was well begun, elsewhere, ended badly: one sentence that says where to look."""


class Settings(BaseModel):
    """Base of everything that is read from `params.yaml` or stored as JSON beside weights."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


S = TypeVar("S", bound=Settings)


def choice_of(room: ModuleType) -> Any:
    """The `Settings` of every file in a room as one type, told apart by their key `name`.

    The name in `params.yaml` is the file name, so a new file needs no registration.
    """
    files = sorted(file.name for file in pkgutil.iter_modules(room.__path__))
    members = tuple(importlib.import_module(f"{room.__name__}.{file}").Settings for file in files)
    if len(members) == 1:
        return members[0]
    return Annotated[Union[members], Field(discriminator="name")]  # noqa: UP007


def parse(tree: type[S], values: object, where: str) -> S:
    """Check `values` (as YAML or JSON gives them) against `tree`.

    Raises:
        BadInput: with every mistake by its address, e.g. `models.unet.network.depth: Field required`.
    """
    try:
        return tree.model_validate_json(json.dumps(values))
    except ValidationError as error:
        raise BadInput(f"{where}: {_all_mistakes(error, values)}") from None


def read_yaml(path: Path) -> object:
    """Read a YAML file.

    Raises:
        BadInput: if it is missing or is not YAML.
    """
    try:
        return yaml.safe_load(path.read_text())
    except OSError as error:
        raise BadInput(
            f"{path}: cannot be read ({error.strerror}); run this in a study's folder, beside its params.yaml"
        ) from None
    except yaml.YAMLError as error:
        raise BadInput(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None


def _all_mistakes(error: ValidationError, values: object) -> str:
    return "; ".join(
        f"{_address(mistake['loc'], values)}: {_sentence(dict(mistake))}"
        for mistake in error.errors(include_url=False)
    )


def _address(location: Iterable[int | str], values: object) -> str:
    """The dotted address; the names pydantic adds for a chosen member are no keys and left out."""
    keys: list[str] = []
    for key in location:
        if isinstance(values, dict) and key not in values and values.get("name") == key:
            continue
        values = _inside(values, key)
        keys.append(str(key))
    return ".".join(keys) or "the whole file"


def _inside(values: object, key: int | str) -> object:
    if isinstance(values, dict):
        return values.get(key)
    if isinstance(values, list) and isinstance(key, int) and key < len(values):
        return values[key]
    return None


def _sentence(mistake: dict[str, Any]) -> str:
    if mistake["type"] == "extra_forbidden":
        return "unknown key; remove it or mend its spelling"
    if mistake["type"] == "missing":
        return "Field required"
    message = str(mistake["msg"]).removeprefix("Value error, ")
    given = mistake.get("input")
    if isinstance(given, str | int | float | bool):
        return f"{message} (found {given!r})"
    return message


def without_password(message: str) -> str:
    """A message with every `user:password@` taken out of the addresses in it."""
    return re.sub(r"(?<=//)[^/\s]*@", "", message)
