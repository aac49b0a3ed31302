"""Datasets by name: one YAML file for each public one, and the same for a person's own."""

from functools import cache
from importlib.resources import files
from pathlib import Path

from sim_models.config import BadInput, parse, read_yaml
from sim_models.datasets.definition import Definition

_HOME = Path(str(files(__name__))) / "definitions"


def names() -> list[str]:
    """All public datasets there are definitions of."""
    return sorted(path.stem for path in _HOME.glob("*.yaml"))


@cache
def find(name: str) -> Definition:
    """A public dataset by its name.

    Raises:
        BadInput: if there is none of that name.
    """
    if name not in names():
        raise BadInput(f"there is no dataset '{name}'; there are {', '.join(names())}")
    return read(_HOME / f"{name}.yaml")


def read(path: Path) -> Definition:
    """A definition from a file, as of a person's own set.

    Raises:
        BadInput: if it is no whole definition.
    """
    if not path.is_file():
        raise BadInput(f"{path}: there is no such file; expected a definition of a dataset in YAML")
    try:
        return parse(Definition, read_yaml(path), str(path))
    except (TypeError, UnicodeDecodeError):
        # A YAML date or bytes is no JSON; a picture is no text.
        raise BadInput(f"{path}: is no definition: a date without quotes, or no text at all") from None
