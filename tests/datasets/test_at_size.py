"""Many cells: processes that help change nothing, to the byte."""

import hashlib
import sys
from pathlib import Path

import pytest

from pipelines.datasets.examining import examine
from pipelines.datasets.gathering import gather
from pipelines.onboarding.bringing import bring_in
from pipelines.onboarding.cells import survey
from pipelines.onboarding.reading import Reading
from pipelines.own_files.stacks import Stated
from pipelines.shared import side_by_side
from sim_models.field import FrameOrder
from sim_models.inspection import Known
from sim_models.optics.reconstruct import ReconstructionSettings
from sim_models.sources.layouts.level_folders import Settings as LevelFolders
from sim_models.sources.raw import Declared
from sim_models.sources.split import Split

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks" / "data"))  # scripts, no package

from stacks import make

CELLS = 4
READING = Reading(
    Declared(angles=3, phases=3, order=FrameOrder.PHASE_MAJOR, rows="top-down", transposed=False, time="one"),
    Stated(0.065, 1.4, 0.525, None, None, None),
    ReconstructionSettings(look="wiener", strength=1.0, apodisation="ideal", positive=False),
)


@pytest.fixture(scope="module")
def acquired(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("acquired")
    make(folder, range(CELLS))
    return folder


@pytest.fixture
def helped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(side_by_side, "ALONE_S", -1.0)
    monkeypatch.setattr(side_by_side, "WORTH_S", -1.0)
    monkeypatch.setattr(side_by_side, "processors", lambda: 2)


def test_helpers_examine_and_prepare_the_same(
    acquired: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    known = Known(numerical_aperture=1.4, emission_um=0.525)

    def both(name: str) -> tuple[object, dict[str, str]]:
        found = examine(gather(acquired, (), ()), known, None, False, lambda: None)
        files = survey(LevelFolders(name="level_folders", folder=acquired))
        into = tmp_path / name / "mine"
        bring_in(files, "lysosomes", READING, _deal, into, lambda *_: None)
        return found, {
            str(file.relative_to(into)): hashlib.sha256(file.read_bytes()).hexdigest()
            for file in sorted(into.rglob("*"))
            if file.is_file()
        }

    alone = both("alone")
    assert len(alone[1]) == CELLS * 5 + 2
    request.getfixturevalue("helped")
    assert both("helped") == alone


def _deal(cells: object) -> Split:
    assert isinstance(cells, list)
    return Split(train=tuple(cells[:-2]), val=(cells[-2],), test=(cells[-1],))
