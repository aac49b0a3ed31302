"""`sim-models data add`, called as its console script calls it: what is written, and that nothing else is touched."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.cli import app
from pipelines.datasets import adding, storing
from pipelines.datasets.describing import _dealt
from pipelines.shared.dvc_command import Ended
from pipelines.shared.stage import exit_code
from sim_models import datasets
from sim_models.datasets.turns import alone
from sim_models.images.dialects import write_imagej, write_tiff
from sim_models.sources import toy
from sim_models.sources.split import PARTS, SplitSettings, split_by_cell

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


@pytest.fixture(scope="module")
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


@pytest.fixture(scope="module")
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


def test_a_folder(add: Add, many: Path, asked: list[tuple[str, ...]]) -> None:
    done = add("mine", many, *STATED)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(
        "5 cells, light levels: raw; 9 x 64 x 64 uint16, 0.065 um; references; photons"
    )
    assert "order of the frames: 5 of 5 stacks say angle-major" in done.out
    assert "split by cell: 3 train / 1 val / 1 test" in done.out
    assert "git add datasets/mine.yaml datasets/mine.dvc && git commit" in done.out
    assert tree(Path("datasets/mine")) == tree(many)
    assert asked == [("add", "-q", "mine")]
    found = datasets.read(Path("datasets/mine.yaml"))
    assert (found.origin, found.licence, dict(found.structures)) == ("own", None, {"lysosomes": 5})
    assert (found.raw.order, found.optics.pixel_um) == ("angle-major", PIXEL_UM)
    assert sorted(cell for cells in parts().values() for cell in cells) == [
        f"cell_{cell}" for cell in range(5)
    ]
    assert {path.name for path in Path("datasets").iterdir()} == {"mine", "mine.yaml", "mine.dvc"}


def test_the_line_for_params_is_yaml_that_they_take(add: Add, many: Path) -> None:
    from pipelines.shared.params import Dataset

    said = add("mine", many, *STATED).out.splitlines()
    entry = yaml.safe_load("\n".join(said[said.index("  datasets:") :]))["datasets"]["mine"]
    assert Dataset.model_validate(entry, strict=False).structure == "lysosomes"


def test_patterns(add: Add, many: Path) -> None:
    done = add("mine", "--raw", f"{many}/raw/*.tif", "--reference", f"{many}/reference/*.tif", *STATED)
    assert done.code == 0
    assert tree(Path("datasets/mine")) == tree(many)


def test_several_levels_without_references(add: Add, tmp_path: Path) -> None:
    levels = {"dim": 60.0, "bright": 1000.0}
    done = add("mine", write(tmp_path / "acq", range(3), levels, references=False), *STATED)
    assert (done.code, "light levels: bright, dim" in done.out, "no references" in done.out) == (
        0,
        True,
        True,
    )
    assert datasets.read(Path("datasets/mine.yaml")).targets.files == {}


def test_nothing_is_written_by_a_dry_run(add: Add, many: Path, asked: list[object]) -> None:
    done = add("mine", many, *STATED, "--dry-run")
    assert (done.code, done.out.splitlines()[-1]) == (0, "nothing was written (--dry-run)")
    assert (Path("datasets").exists(), asked) == (False, [])


# ---- order of frames


def test_the_order_is_what_the_stripes_say(add: Add, tmp_path: Path) -> None:
    acq = write(tmp_path / "acq", range(3), phase_major=True)
    assert "3 of 3 stacks say phase-major" in add("mine", acq, *STATED, "--dry-run").out
    told = add("mine", acq, *STATED, "--order", "angle-major").refused
    assert "3 of 3 stacks say phase-major, but angle-major is stated" in told


def test_contradictory_orders_are_refused_by_name(add: Add, tmp_path: Path) -> None:
    acq = write(write(tmp_path / "acq", range(3)), [3], phase_major=True)
    told = add("mine", acq, *STATED).refused
    assert "raw/cell_3.tif: the stacks differ in the order of their frames" in told
    assert not Path("datasets").exists()


def without_stripes(folder: Path, cells: Iterable[int]) -> Path:
    for cell in cells:
        seen = 100 + 300 * toy.blobs(cell, 1)
        stack = np.random.default_rng(cell).poisson(np.stack([seen] * 9)).astype(np.uint16)
        write_imagej(folder / "raw" / f"cell_{cell}.tif", stack, "ZYX", PIXEL_UM)
        write_tiff(folder / "reference" / f"cell_{cell}.tif", toy.reference(cell, 2))
    return folder


def test_an_order_that_nothing_tells_has_to_be_stated(add: Add, tmp_path: Path) -> None:
    acq = without_stripes(tmp_path / "acq", range(3))
    assert "none of 3 cells can be used: cell_0: " in add("mine", acq, *STATED).refused
    assert "state --order" in add("mine", acq, *STATED, "--keep").refused
    done = add("mine", acq, *STATED, "--keep", "--order", "phase-major")
    assert "order of the frames: phase-major as stated (the stripes do not tell)" in done.out


# ---- cells that cannot be used


def test_what_cannot_be_used_is_left_out_and_told(add: Add, many: Path, tmp_path: Path) -> None:
    acq = without_stripes(some(many, tmp_path / "acq", [0, 1, 2]), [7])
    write(acq, [3, 4, 5])
    (acq / "raw" / "cell_3.tif").write_bytes(b"II*\0 and no more")
    write_tiff(acq / "reference" / "cell_4.tif", toy.reference(4, 1))
    (acq / "reference" / "cell_5.tif").write_bytes(b"")
    done = add("mine", acq, *STATED)
    said = [line for line in done.out.splitlines() if line.startswith("left out")]
    assert [line.split(": ")[1] for line in said] == ["cell_3", "cell_7", "cell_4", "cell_5"]
    assert "no stripes are found" in said[1]
    assert "a reference has 128 x 128 pixels" in said[2]
    assert sorted(path.name for path in Path("datasets/mine/raw").iterdir()) == [
        "cell_0.tif", "cell_1.tif", "cell_2.tif",
    ]  # fmt: skip
    done = add("kept", acq, *STATED, "--keep")
    assert sorted(path.stem for path in Path("datasets/kept/raw").iterdir()) == [
        "cell_0", "cell_1", "cell_2", "cell_4", "cell_7",
    ]  # fmt: skip


def test_a_mean_behind_the_frames_is_no_stack_of_nine(add: Add, many: Path, tmp_path: Path) -> None:
    """The doctor looks past it, but the stage would refuse the whole folder for it."""
    acq = some(many, tmp_path / "acq", range(4))
    stack = frames(3)
    mean = np.round(stack.mean(axis=0, keepdims=True)).astype(np.uint16)
    write_imagej(acq / "raw" / "cell_3.tif", np.concatenate([stack, mean]), "ZYX", PIXEL_UM)
    said = add("mine", acq, *STATED).out
    assert "cell_3: " in said
    assert "3 angles x 3 phases, 9 frames" in said


def test_too_few_cells(add: Add, many: Path, tmp_path: Path) -> None:
    acq = some(many, tmp_path / "acq", range(3))
    (acq / "raw" / "cell_1.tif").write_bytes(b"")
    told = add("mine", acq, *STATED).refused
    assert "mine: has 2 cells" in told
    assert "left out: cell_1: " in told
    assert not Path("datasets").exists()


# ---- more cells


def test_more_cells_leave_the_others_where_they_were(
    add: Add, many: Path, mine: Path, tmp_path: Path
) -> None:
    before, old = parts(), tree(Path("datasets/mine"))
    done = add("mine", many)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("2 more cells")
    assert "cells that were there stay where they were" in done.out
    assert all(set(before[part]) <= set(parts()[part]) for part in PARTS)
    assert tree(Path("datasets/mine")) == tree(many)
    assert old.items() <= tree(Path("datasets/mine")).items()
    assert dict(datasets.read(Path("datasets/mine.yaml")).structures) == {"lysosomes": 5}


def test_the_same_again_does_nothing(add: Add, many: Path, mine: Path, tmp_path: Path) -> None:
    before = tree(Path("datasets"))
    done = add("mine", mine, *STATED)
    assert (done.code, done.out) == (0, "mine: all 3 cells are there already; nothing to do\n")
    assert add("mine", "datasets/mine").code == 0
    assert tree(Path("datasets")) == before


def test_what_a_person_wrote_into_a_definition_stays(
    add: Add, many: Path, mine: Path, tmp_path: Path
) -> None:
    file = Path("datasets/mine.yaml")
    own = file.read_text().replace("notes: []", "# from the notebook\nnotes:\n- fixed cells").replace(
        "title: 'lysosomes: stacks added by sim-models data add'", "title: HeLa   # of Tuesday"
    )  # fmt: skip
    file.write_text(own)
    assert add("mine", many).code == 0
    text, found = file.read_text(), datasets.read(file)
    assert (found.origin, found.notes, found.title) == ("own", ("fixed cells",), "HeLa")
    assert "# from the notebook" in text
    assert "# of Tuesday" in text
    assert sum(len(cells) for cells in parts().values()) == 5


def test_without_parts_every_study_deals_anew(add: Add, many: Path, mine: Path, tmp_path: Path) -> None:
    file = Path("datasets/mine.yaml")
    file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | {"parts": None}))
    assert add("mine", many).out.startswith("2 more cells")
    assert datasets.read(file).parts is None


def test_other_content_under_the_same_name_is_refused(
    add: Add, many: Path, mine: Path, tmp_path: Path
) -> None:
    before = tree(Path("datasets"))
    write_imagej(mine / "raw" / "cell_1.tif", frames(9), "ZYX", PIXEL_UM)
    some(many, mine, [4])
    told = add("mine", mine, *STATED).refused
    assert "raw/cell_1.tif: datasets/mine has another cell_1; a cell is never replaced" in told
    assert tree(Path("datasets")) == before


@pytest.mark.parametrize(
    ("levels", "how", "more", "said"),
    [
        ({"raw": 400.0}, {"pixel_um": 0.08}, (), "optics.pixel_um is 0.065, but that of the new stacks 0.08"),
        (
            {"raw": 400.0},
            {},
            ("--na", 1.2),
            "optics.numerical_aperture is 1.4, but that of the new stacks 1.2",
        ),
        ({"raw": 400.0}, {}, ("--structure", "er"), "is of lysosomes, but the new stacks of er"),
        ({"raw": 400.0}, {}, ("--licence", "CC0-1.0"), "is under the licence own, but --licence is CC0-1.0"),
        (
            {"raw": 400.0},
            {"phase_major": True},
            (),
            "2 of 2 stacks say phase-major, but angle-major is stated, or was",
        ),
        ({"dim": 400.0}, {}, (), "has the folders raw, reference, but new are dim, reference"),
        (
            {"raw": 400.0, "dim": 60.0},
            {},
            (),
            "has the folders raw, reference, but new are dim, raw, reference",
        ),
        ({"raw": 400.0, "dim": 60.0}, {"references": False}, (), "but new are dim, raw;"),
    ],
)
def test_stacks_of_another_kind_are_refused(
    add: Add, many: Path, mine: Path, tmp_path: Path, levels: dict[str, float], how: dict[str, object],
    more: tuple[object, ...], said: str,
) -> None:  # fmt: skip
    before = tree(Path("datasets"))
    other = write(tmp_path / "other", [10, 11], levels, **how)
    assert said in add("mine", other, *more).refused
    assert tree(Path("datasets")) == before


def test_more_cells_none_of_which_can_be_used(add: Add, mine: Path, tmp_path: Path) -> None:
    before = tree(Path("datasets"))
    other = write(tmp_path / "other", [10, 11])
    for path in (other / "reference").iterdir():
        path.write_bytes(b"")
    assert "none of 2 cells can be used: cell_10: " in add("mine", other).refused
    assert tree(Path("datasets")) == before


def test_pixels_that_programs_round_are_the_same(add: Add, many: Path, mine: Path, tmp_path: Path) -> None:
    assert add("mine", write(tmp_path / "other", [10], pixel_um=0.065001)).code == 0
    assert datasets.read(Path("datasets/mine.yaml")).optics.pixel_um == PIXEL_UM


def test_a_clone_without_its_data_is_not_taken_for_an_empty_dataset(
    add: Add, many: Path, mine: Path, tmp_path: Path
) -> None:
    """Else its sealed cells would be dealt anew, and DVC would forget all that is not there."""
    before = Path("datasets/mine.yaml").read_text()
    shutil.rmtree("datasets/mine")
    told = add("mine", many, *STATED).refused
    assert "datasets/mine: lacks cell_0, cell_1, cell_2" in told
    assert "dvc pull datasets/mine.dvc" in told
    assert (Path("datasets/mine.yaml").read_text(), Path("datasets/mine").exists()) == (before, False)
    Path("datasets/mine.yaml").unlink()
    assert "datasets/mine.dvc: is there, but datasets/mine.yaml is not" in add("mine", many, *STATED).refused


CELLS = st.lists(
    st.integers(0, 40).map(lambda number: f"cell_{number:02d}"), min_size=3, max_size=25, unique=True
)


@settings(max_examples=60, deadline=None)
@given(CELLS, st.lists(CELLS, max_size=3), st.integers(0, 5), st.sampled_from([(0.2, 0.2), (0.3, 0.1)]))
def test_no_cell_ever_changes_its_part(
    first: list[str], later: list[list[str]], seed: int, shares: tuple[float, float]
) -> None:
    """However often cells are added: each is in one part, where it was put first, and shares come near."""
    chosen = SplitSettings(val=shares[0], test=shares[1], seed=seed)
    split, known = split_by_cell(first, chosen, "mine"), set(first)
    for cells in later:
        new = sorted(set(cells) - known)
        before, known = split, known | set(new)
        split = _dealt(new, chosen, before)
        assert all(set(before.cells(part)) <= set(split.cells(part)) for part in PARTS)
        assert sorted(cell for part in PARTS for cell in split.cells(part)) == sorted(known)
        assert _dealt(list(reversed(new)), chosen, before) == split
        grown = [len(split.cells(part)) - len(before.cells(part)) for part in PARTS]
        wanted = (1 - sum(shares), *shares)
        for part, more, share in zip(PARTS, grown, wanted, strict=True):
            assert more == 0 or len(split.cells(part)) <= share * len(known) + 1


# ---- what breaks off


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


def test_a_folder_of_that_name_that_is_something_else_stays(add: Add, many: Path) -> None:
    theirs = Path("datasets/mine/raw/other.tif")
    theirs.parent.mkdir(parents=True)
    theirs.write_bytes(b"theirs")
    assert "datasets/mine.yaml is not; take datasets/mine away" in add("mine", many, *STATED).refused
    assert theirs.read_bytes() == b"theirs"


# ---- what a person says


def test_the_name_of_a_public_dataset_is_refused(add: Add, many: Path) -> None:
    assert "is that of a public dataset" in add("biosr-er", many, *STATED).refused


@pytest.mark.parametrize(
    ("licence", "said"),
    [
        ("CC-BY-4.0", None),
        ("own", None),
        ("CC BY 4.0", "is no SPDX licence; give one as CC-BY-4.0 or CC0-1.0, or 'own'"),
        ("cc-by-4.0", "write CC-BY-4.0, or 'own'"),
        ("", "is no SPDX licence"),
        ("Own", "is no SPDX licence"),
    ],
)
def test_licences(add: Add, many: Path, licence: str, said: str | None) -> None:
    done = add("mine", many, "--emission-um", 0.525, "--licence", licence)
    if said is not None:
        assert said in done.refused
        assert not Path("datasets").exists()
        return
    found = datasets.read(Path("datasets/mine.yaml"))
    assert (found.origin, found.licence) == (("own", None) if licence == "own" else ("public", licence))
    assert "not stated: optics.numerical_aperture (--na)" in done.out


def test_a_licence_can_be_said_later(add: Add, many: Path) -> None:
    assert "no licence is stated" in add("mine", many).out
    add("mine", many, "--licence", "CC0-1.0", "--dry-run")
    assert datasets.read(Path("datasets/mine.yaml")).licence is None
    assert (
        "their licence, CC0-1.0, is in datasets/mine.yaml now"
        in add("mine", many, "--licence", "CC0-1.0").out
    )
    assert datasets.read(Path("datasets/mine.yaml")).licence == "CC0-1.0"
    assert "is under the licence CC0-1.0" in add("mine", many, "--licence", "own").refused


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("My Cells",), "name 'My Cells': takes lower-case letters"),
        (("../mine",), "name '../mine': takes"),
        (("/etc/mine",), "name '/etc/mine': takes"),
        ((".mine",), "name '.mine': takes"),
        (("",), "name '': takes"),
        (("mine\n",), "takes lower-case letters"),
        (("mine", "{many}", "--structure", "F-actin"), "--structure 'F-actin': takes"),
        (("mine",), "give either a folder"),
        (("mine", "{many}", "--raw", "x"), "give either a folder"),
        (("mine", "{many}", "--reference", "x"), "--reference goes with --raw"),
        (("mine", "--raw", "{many}/raw/*"), "need good images"),
        (("mine", "--raw", "nothing/*", "--reference", "x"), "--raw nothing/*: nothing is there"),
        (("mine", "--raw", "{many}/raw/*", "--reference", "{many}/raw/cell_1*"), "has no reference of the same name"),
        (("mine", "nowhere"), "nowhere: is no folder"),
        (("mine", "{many}/raw/cell_1.tif"), "is no folder"),
        (("mine", "empty"), "empty: holds no raw stacks"),
        (("mine", "{many}/raw"), "holds no raw stacks"),
        (("mine", "{many}", "--into", "{many}/raw/cell_1.tif"), "cell_1.tif: is a file; --into takes a folder"),
        (("mine", "{many}", "--into", "{many}/raw/cell_1.tif/x"), "cell_1.tif: is a file; --into takes a folder"),
        (("mine", "{many}", "--gain", "2"), "--gain (counts per photo-electron) needs --offset"),
        (("mine", "{many}", "--read-noise", "2"), "--read-noise (photo-electrons) says something only"),
        (("mine", "{many}", "--offset", "60000"), "no brighter than the offset, 60000"),
        (("mine", "{many}", "--pixel-um", "65"), "--pixel-um 65: must be above 0 and below 10"),
        (("mine", "{many}", "--na", "nan"), "--na nan: must be above 0"),
        (("mine", "{many}", "--val", "0.6", "--test", "0.6"), "--val and --test are shares, together below 1"),
        (("mine", "{many}", "--val", "0"), "--val"),
        (("mine", "{many}", "--seed", "-1"), "--val, --test and --seed: seed"),
        (("mine", "{many}", "--angles", "5"), "none of 5 cells can be used"),
        (("mine", "--raw", "{many}/reference/*", "--reference", "{many}/raw/*"), "holds a single image"),
    ],
)  # fmt: skip
def test_what_makes_no_sense(add: Add, many: Path, arguments: tuple[str, ...], said: str) -> None:
    Path("empty").mkdir()
    assert said in add(*(word.format(many=many) for word in arguments)).refused
    assert sorted(path.name for path in Path().iterdir()) == [".dvc", "empty"]


def test_not_in_a_project(add: Add, many: Path) -> None:
    Path(".dvc").rmdir()
    assert "is in no DVC project" in add("mine", many, *STATED).refused
    assert list(Path().iterdir()) == []


def test_a_file_that_states_no_pixel_size(add: Add, tmp_path: Path) -> None:
    acq = write(tmp_path / "acq", range(3))
    for cell in range(3):
        write_tiff(acq / "raw" / f"cell_{cell}.tif", frames(cell))
    assert "does not state its pixel size; give --pixel-um" in add("mine", acq, *STATED).refused
    assert add("mine", acq, *STATED, "--pixel-um", 0.065).code == 0
    write_tiff(acq / "raw" / "cell_3.tif", frames(3))
    write_tiff(acq / "reference" / "cell_3.tif", toy.reference(3, 2))
    assert add("mine", acq).out.startswith("1 more cells"), (
        "more cells have the pixels of those that are there"
    )


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
