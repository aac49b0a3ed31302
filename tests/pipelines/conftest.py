"""The command line, called as its console script calls it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from pipelines.cli import app
from pipelines.stage import exit_code
from sim_models.config import parse
from sim_models.field import Field
from sim_models.sources.objects import microtubules
from sim_models.sources.simulation import Acquisition, simulate

ACQUISITION: dict[str, Any] = {
    "microscope": {
        "numerical_aperture": 1.4,
        "refractive_index": 1.518,
        "emission_um": 0.525,
        "pixel_um": 0.065,
        "camera": {"gain": 2.0, "offset": 100.0, "read_noise": 1.5},
    },
    "angles": 3,
    "phases": 3,
    "spacing_um": 0.2,
    "modulation": [0.8],
    "first_angle_rad": 0.2,
    "angle_error_rad": 0.0,
    "phase_error_rad": 0.0,
    "modulation_error": 0.0,
    "field_px": 64,
    "scale": 2,
    "oversampling": 4,
    "levels": {"high": 400.0},
}
OBJECTS = {
    "name": "microtubules", "density_um_per_um2": 2.0, "persistence_um": 20.0, "width_um": 0.05,
    "stray_share": 0.3, "labels_per_um": 400.0,
}  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str


@pytest.fixture
def run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., Outcome]:
    """Calls the command as its console script does, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> Outcome:
        code = exit_code(lambda: app(list(map(str, arguments)), standalone_mode=False))
        captured = capfd.readouterr()
        return Outcome(code, captured.out, captured.err)

    return call


@pytest.fixture(scope="session")
def take() -> Callable[[int], Field]:
    """Takes bright cells in counts, as their camera gives them."""

    @cache
    def call(cell: int) -> Field:
        objects = parse(microtubules.Settings, OBJECTS, "objects")
        acquisition = parse(Acquisition, ACQUISITION, "acquisition")
        (field,) = simulate(objects, acquisition, "microtubules", cell, 11)
        return field

    return call


@pytest.fixture(scope="session")
def taken(take: Callable[[int], Field]) -> Field:
    """One of them."""
    return take(3)
