"""Stacks as people have them, and a project of DVC to which they are added: fixtures of the tests of `data add`."""

import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from pipelines.cli import app
from pipelines.datasets import storing
from pipelines.shared.dvc_command import Ended
from pipelines.shared.stage import exit_code
from sim_models import datasets
from sim_models.images.dialects import write_imagej, write_tiff
from sim_models.sources import toy
from sim_models.sources.split import PARTS

STATED = ("--structure", "lysosomes", "--na", 1.4, "--emission-um", 0.525, "--licence", "own")
PIXEL_UM = 0.065


def frames(cell: int, light: float = 400.0, phase_major: bool = False) -> np.ndarray:
    """Raw frames (9, 64, 64) in counts."""
    (stack,) = toy.frames(cell, 3, 3, light=light)
    stack = stack.swapaxes(0, 1) if phase_major else stack
    return stack.reshape(9, *stack.shape[-2:])


def write(folder: Path, cells: Iterable[int], levels: dict[str, float] | None = None, **how: object) -> Path:
    """A folder as a person has it: <level>/cell_N.tif and reference/cell_N.tif, 64 px, 0.065 um."""
    pixel_um = float(how.pop("pixel_um", PIXEL_UM))  # type: ignore[arg-type]
    references = how.pop("references", True)
    for cell in cells:
        for level, light in (levels or {"raw": 400.0}).items():
            write_imagej(folder / level / f"cell_{cell}.tif", frames(cell, light, **how), "ZYX", pixel_um)  # type: ignore[arg-type]
        if references:
            write_tiff(folder / "reference" / f"cell_{cell}.tif", toy.reference(cell, 2))
    return folder


@dataclass(frozen=True)
class Outcome:
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str

    @property
    def refused(self) -> str:
        """The one sentence of a refusal."""
        assert (self.code, self.out) == (2, "")
        assert self.err.startswith("error: ")
        assert self.err.count("\n") == 1
        return self.err


Add = Callable[..., Outcome]


@pytest.fixture(scope="session")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five cells that can be used, which no test changes."""
    return write(tmp_path_factory.mktemp("acquisitions") / "mine", range(5))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """What DVC was asked for, which it does at once."""
    said: list[tuple[str, ...]] = []

    def dvc(arguments: list[str], folder: Path, show: bool) -> Ended:
        said.append(tuple(arguments))
        if arguments[0] == "add":
            (folder / f"{arguments[-1]}.dvc").write_text("outs: []\n")
        return Ended(0, "", "")

    monkeypatch.setattr(storing, "dvc", dvc)
    return said


@pytest.fixture
def add(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], asked: object
) -> Add:
    """The command, in a project of DVC without DVC."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".dvc").mkdir()

    def call(*arguments: object) -> Outcome:
        try:
            code = exit_code(lambda: app(["data", "add", *map(str, arguments)], standalone_mode=False))
        except SystemExit as ended:
            code = int(str(ended.code))
        captured = capfd.readouterr()
        return Outcome(code, captured.out, captured.err)

    return call


@pytest.fixture(scope="session")
def template(many: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What adding the first three cells has written."""
    home = tmp_path_factory.mktemp("template")
    (home / ".dvc").mkdir()
    acq = some(many, home / "acq")
    words = ["mine", str(acq), *map(str, STATED)]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        patch.setattr(storing, "dvc", lambda *_, **__: Ended(0, "", ""))
        assert exit_code(lambda: app(["data", "add", *words], standalone_mode=False)) == 0
    return home


@pytest.fixture
def mine(add: Add, template: Path, tmp_path: Path) -> Path:
    """A project to which the first three cells were added; the folder they came from."""
    shutil.copytree(template / "datasets", "datasets")
    Path("datasets/mine.dvc").write_text("outs: []\n")
    shutil.copytree(template / "acq", tmp_path / "acq")
    return tmp_path / "acq"


def tree(folder: Path) -> dict[str, bytes]:
    """All there is below a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b"/"
        for path in sorted(folder.rglob("*"))
    }


def parts(name: str = "mine") -> dict[str, tuple[str, ...]]:
    found = datasets.read(Path(f"datasets/{name}.yaml")).parts
    assert found is not None
    return {part: found.cells(part) for part in PARTS}


def some(many: Path, into: Path, cells: Iterable[int] = range(3)) -> Path:
    """Some of the cells, in a folder of their own."""
    for cell in cells:
        for level in ("raw", "reference"):
            (into / level).mkdir(parents=True, exist_ok=True)
            shutil.copy(many / level / f"cell_{cell}.tif", into / level)
    return into
