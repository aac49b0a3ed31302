"""The benchmark of scale: what it writes past MLflow is what our code reads, and its times are told as they are."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from sim_models.tracking.history import HISTORY, Change
from sim_models.tracking.registry import PARENT

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks" / "scale"


def load(name: str) -> ModuleType:
    """Under a name of its own, since its files are scripts, no package."""
    spec = importlib.util.spec_from_file_location(f"scale_{name}", FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


filling, timing = load("filling"), load("timing")


def test_a_family_has_one_root_and_every_parent_is_a_version_that_is_there() -> None:
    made = {f"{filling.model_name(m)} version {v}": filling._tags(m, v) for m in range(40) for v in (1, 2, 3)}
    parents = [tags[PARENT] for tags in made.values()]
    assert parents.count("none") == 40 / filling.FAMILY
    assert {parent for parent in parents if parent != "none"} <= set(made)


def test_a_change_is_read_by_the_history() -> None:
    key, value = filling._record(3)
    assert key.startswith(HISTORY)
    change = Change.model_validate_json(value)
    assert (change.before, change.champion) == (2, 3)


def test_a_time_says_what_was_computed_and_what_the_clock_said() -> None:
    assert timing.Timed(0.05, 0.0201, 5, 1).cell == "20 ms (50 ms, 1 req.)"
    assert timing.Timed(101.0, 21.4, 1, 55).cell == "21.4 s (101 s, 55 req., once)"
