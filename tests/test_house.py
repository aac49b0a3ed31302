"""What holds for every room that grows by one file."""

import importlib
import pkgutil
from types import ModuleType
from typing import Literal, get_args, get_origin

import pytest

from sim_models import methods, networks
from sim_models.config import Settings
from sim_models.sources import layouts, objects, series

FILES = [
    (room, file.name)
    for room in (networks, methods, objects, layouts, series)
    for file in pkgutil.iter_modules(room.__path__)
]


@pytest.mark.parametrize(("room", "file"), FILES, ids=[f"{room.__name__}.{file}" for room, file in FILES])
def test_a_file_is_chosen_by_its_name(room: ModuleType, file: str) -> None:
    chosen = importlib.import_module(f"{room.__name__}.{file}").Settings
    name = chosen.model_fields["name"].annotation
    assert issubclass(chosen, Settings)
    assert get_origin(name) is Literal
    assert get_args(name) == (file,)


@pytest.mark.parametrize(("room", "file"), FILES, ids=[f"{room.__name__}.{file}" for room, file in FILES])
def test_no_setting_has_a_default(room: ModuleType, file: str) -> None:
    """DVC sees only what is written down."""
    fields = importlib.import_module(f"{room.__name__}.{file}").Settings.model_fields
    assert [name for name, field in fields.items() if not field.is_required()] == []
