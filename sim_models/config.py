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
    except (TypeError, ValueError, RecursionError) as error:  # dates, sets, bytes, keys that are no text
        raise BadInput(
            f"{where}: holds what no setting can be ({_short(error)}); put dates and other words into quotes"
        ) from None


MOST_YAML_BYTES = 2**20
MOST_VALUES = 100_000
"""with everything that aliases stand for written out"""
DEEPEST = 50
LONGEST_SHOWN = 60
"""letters of a key or a value in a message"""
MOST_TOLD = 8
"""mistakes in one message"""


def read_yaml(path: Path) -> object:
    """Read a YAML file.

    Raises:
        BadInput: if it is missing, is not YAML in UTF-8, has a key twice, or unfolds into far more than it says.
    """
    try:
        text = path.read_bytes()
    except OSError as error:
        raise BadInput(
            f"{path}: cannot be read ({error.strerror}); run this in a study's folder, beside its params.yaml"
        ) from None
    if len(text) > MOST_YAML_BYTES:
        raise BadInput(f"{path}: has {len(text):,} bytes, far more than settings need; is it another file?")
    try:
        return yaml.load(text.decode("utf-8-sig"), _Loader)
    except UnicodeDecodeError as error:
        raise BadInput(f"{path}: is no text in UTF-8 (byte {error.start}); save it as UTF-8") from None
    except yaml.YAMLError as error:
        raise BadInput(f"{path}: not valid YAML: {_short(error)}") from None
    except (
        ValueError,
        TypeError,
        OverflowError,
        RecursionError,
    ) as error:  # a date of month 13, a list as a key
        raise BadInput(f"{path}: not valid YAML: {_short(error)}; mend that value") from None


class _Loader(yaml.SafeLoader):
    """Plain YAML that says what it means: no key twice, and no few lines that unfold into gigabytes."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self.depth += 1
        if self.depth > DEEPEST:
            raise yaml.YAMLError(f"is nested more than {DEEPEST} deep")
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def get_single_node(self) -> yaml.Node | None:
        node = super().get_single_node()
        if node is not None and (found := _unfolded(node, {})) > MOST_VALUES:
            raise yaml.YAMLError(f"its aliases unfold into {found:.2g} values; write out what is meant")
        return node

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Called for every mapping before keys of others are merged into it (`<<`), which may come twice."""
        known: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in known and not getattr(node, "merged", False):
                    raise yaml.YAMLError(
                        f"the key '{key.value[:60]}' stands twice in one mapping (line {key.start_mark.line + 1})"
                    )
                known.add(key.value)
        node.merged = True  # type: ignore[attr-defined]
        super().flatten_mapping(node)


def _unfolded(node: yaml.Node, known: dict[yaml.Node, int]) -> int:
    """Number of values with all aliases written out; infinitely many where a value holds itself."""
    if node not in known:
        known[node] = 10**9
        inner = node.value if isinstance(node, yaml.CollectionNode) else []
        each = [part for entry in inner for part in (entry if isinstance(entry, tuple) else (entry,))]
        known[node] = 1 + sum(_unfolded(part, known) for part in each)
    return known[node]


def _short(error: object) -> str:
    return " ".join(str(error).split())[:200]


def _all_mistakes(error: ValidationError, values: object) -> str:
    mistakes = error.errors(include_url=False)
    told = [
        f"{_address(mistake['loc'], values)}: {_sentence(dict(mistake))}" for mistake in mistakes[:MOST_TOLD]
    ]
    return "; ".join(told) + (f"; and {len(mistakes) - MOST_TOLD} more" if len(mistakes) > MOST_TOLD else "")


def _address(location: Iterable[int | str], values: object) -> str:
    """The dotted address; the names pydantic adds for a chosen member are no keys and left out."""
    keys: list[str] = []
    for key in location:
        if isinstance(values, dict) and key not in values and values.get("name") == key:
            continue
        values = _inside(values, key)
        keys.append(str(key))
    return _cut(".".join(keys)) or "the whole file"


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
        return f"{message} (found {_cut(repr(given))})"
    return message


def without_password(message: str) -> str:
    """A message with every `user:password@` taken out of the addresses in it."""
    return re.sub(r"(?<=//)[^/\s]*@", "", message)


def _cut(text: str) -> str:
    """No more than a message needs of what a person wrote."""
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."
