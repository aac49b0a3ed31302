"""`sim-models data add` that breaks off, is killed, or that DVC does not take."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pipelines.datasets import adding, storing
from pipelines.shared.dvc_command import Ended
from sim_models import datasets
from sim_models.datasets.turns import alone
from sim_models.sources.split import PARTS
from tests.datasets.acquisitions import STATED, Add, parts, some, tree

FULL = OSError(28, "No space left on device", "datasets")


@pytest.mark.parametrize(
    ("at", "blow"),
    [(0, FULL), (1, KeyboardInterrupt()), (3, FULL), ("yaml", FULL), ("yaml", KeyboardInterrupt())],
)
def test_a_copy_that_breaks_off_leaves_nothing(
    add: Add, many: Path, mine: Path, monkeypatch: pytest.MonkeyPatch, at: object, blow: BaseException
) -> None:
    before, copied, copy = tree(Path("datasets")), list[Path](), shutil.copy2

    def breaks(source: Path, target: Path) -> object:
        if len(copied) == at:
            target.write_bytes(b"half")
            raise blow
        copied.append(target)
        return copy(source, target)

    def no_yaml(*_: object) -> None:
        raise blow

    with monkeypatch.context() as patch:
        patch.setattr(storing.shutil, "copy2", breaks)
        if at == "yaml":
            patch.setattr(adding, "write_whole", no_yaml)
        for name in ("mine", "new"):
            copied.clear()
            done = add(name, many, *STATED)
            assert done.code == (130 if isinstance(blow, KeyboardInterrupt) else 2)
            assert done.err.count("\n") == 1
            assert tree(Path("datasets")) == before
    assert add("mine", many).out.startswith("2 more cells")


@pytest.mark.parametrize("placed", ["raw/cell_3.tif", "reference/cell_3.tif"])
@pytest.mark.parametrize("first", [True, False])
def test_after_a_kill_the_same_command_goes_on(
    add: Add, many: Path, mine: Path, first: bool, placed: str
) -> None:
    """Killed between two renames: some whole files are in their places, copies under way lie beside."""
    if first:
        shutil.rmtree("datasets")
    (Path("datasets/mine") / placed).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(many / placed, Path("datasets/mine") / placed)
    half = Path("datasets/.mine.adding/raw/cell_4.tif")
    half.parent.mkdir(parents=True)
    half.write_bytes(b"half")
    assert add("mine", many, *STATED).code == 0
    assert tree(Path("datasets/mine")) == tree(many)
    assert not half.parents[1].exists()
    assert sum(len(cells) for cells in parts().values()) == 5


def test_a_folder_of_that_name_that_is_something_else_stays(add: Add, many: Path) -> None:
    theirs = Path("datasets/mine/raw/other.tif")
    theirs.parent.mkdir(parents=True)
    theirs.write_bytes(b"theirs")
    assert "datasets/mine.yaml is not; take datasets/mine away" in add("mine", many, *STATED).refused
    assert theirs.read_bytes() == b"theirs"


# ---- DVC


def test_dvc_that_does_not_take_it_is_told_and_asked_again(
    add: Add, many: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(storing, "dvc", lambda *_, **__: Ended(1, "", "ERROR: git-ignored\n"))
        done = add("mine", many, *STATED)
    assert (done.code, done.out.splitlines()[-1]) == (2, "split by cell: 3 train / 1 val / 1 test")
    assert "but DVC does not take it (git-ignored); mend that and run: dvc add datasets/mine" in done.err
    assert not Path("datasets/mine.dvc").exists()
    assert add("mine", many).code == 0
    assert Path("datasets/mine.dvc").exists()


def test_dvc_takes_it(tmp_path: Path, many: Path, add: Add, monkeypatch: pytest.MonkeyPatch) -> None:
    """With DVC itself: it knows the stacks, git the definition, and more cells are known as well."""
    from pipelines.shared.dvc_command import dvc

    monkeypatch.setattr(storing, "dvc", dvc)
    Path(".dvc").rmdir()
    subprocess.run(["git", "init", "-q"], check=True)
    subprocess.run([sys.executable, "-m", "dvc", "init", "-q"], check=True)
    assert add("mine", some(many, tmp_path / "acq"), *STATED).code == 0
    first = yaml.safe_load(Path("datasets/mine.dvc").read_text())["outs"][0]
    assert (first["path"], first["nfiles"]) == ("mine", 6)
    assert "datasets/.gitignore" in add("more", some(many, tmp_path / "acq"), *STATED).out
    add("mine", many)
    assert yaml.safe_load(Path("datasets/mine.dvc").read_text())["outs"][0]["nfiles"] == 10
    assert dvc(["status", "-q", "mine.dvc"], Path("datasets"), show=False).code == 0
    assert Path("datasets/.gitignore").read_text().splitlines() == ["/mine", "/more"]


ADD = """
import sys
import time
from pathlib import Path
from pipelines.cli import app
from pipelines.datasets import adding, storing  # now, so that both begin at once
from pipelines.shared.dvc_command import Ended
from pipelines.shared.stage import exit_code

copy = storing._copy

def slowly(*paths):
    time.sleep(0.5)
    copy(*paths)

storing._copy, storing.dvc = slowly, lambda *_, **__: Ended(0, "", "")
Path(sys.argv[1]).touch()
while len(list(Path().glob("ready*"))) < 2:
    time.sleep(0.01)
sys.exit(exit_code(lambda: app(["data", "add", *sys.argv[2:]], standalone_mode=False)))
"""


def test_two_at_once_take_turns(many: Path, tmp_path: Path) -> None:
    """Each with cells of its own, and one that both have."""
    (tmp_path / ".dvc").mkdir()
    works = []
    for number, cells in enumerate((range(3), range(2, 5))):
        acq = some(many, tmp_path / f"acq{number}", cells)
        words = [sys.executable, "-c", ADD, f"ready{number}", "mine", str(acq), *map(str, STATED)]
        works.append(
            subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        )
    ends = [(work.communicate(timeout=120), work.returncode) for work in works]
    assert [code for _, code in ends] == [0, 0], ends
    assert sum("/.dvc: waiting for another `data add`\n" in err for (_, err), _ in ends) == 1
    assert sorted(out.split(",")[0] for (out, _), _ in ends) == ["2 more cells", "3 cells"]
    assert tree(tmp_path / "datasets" / "mine") == tree(many)
    found = datasets.read(tmp_path / "datasets" / "mine.yaml")
    assert found.parts is not None
    assert sum(len(found.parts.cells(part)) for part in PARTS) == 5
    assert {path.name for path in (tmp_path / "datasets").iterdir()} == {"mine", "mine.yaml"}


def test_another_is_not_waited_for_for_ever(add: Add, many: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adding, "WAIT_S", 0.1)
    with alone(Path(".dvc"), "a test", 1, print):
        done = add("mine", many, *STATED)
    assert (done.code, Path("datasets").exists()) == (4, False)
    assert done.err.endswith("/.dvc: another `data add` holds it for 0.1 s; wait for it or end it\n")
    assert add("mine", many, *STATED).code == 0
