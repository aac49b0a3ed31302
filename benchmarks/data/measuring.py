"""What is measured: the way of many cells to a colleague, that of one more, and the same values as patches."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from project import Project, Store, Stored, Took, bare, clone, digests, study
from stacks import make, name_of, patches

DATASET = "mine"
TRACKED = f"datasets/{DATASET}.dvc"
FIELDS = Path("data/fields") / DATASET
STAGE = f"bring_in@{DATASET}"
ADD = (
    "--structure", "lysosomes", "--na", "1.4", "--emission-um", "0.525", "--licence", "own",
)  # fmt: skip
ACROSS = 5
"""patches along an edge of a cell"""
PUSHED = 200
"""cells whose patches are pushed; for more it is computed from these"""
TIMES = 3
"""that what changes nothing is repeated"""


@dataclass(frozen=True)
class Way:
    """From stacks to prepared fields, here and at a colleague's."""

    steps: dict[str, Took]
    sent: dict[str, Stored]
    """what came to the remote, by step"""
    files: dict[str, int]
    bytes: dict[str, int]
    alike: dict[str, int]
    """files that are the same there as here, by SHA-256; every one was compared"""
    made_anew: list[str]
    """cells whose prepared fields were computed when one was added"""
    before: list[str]
    """what `dvc status` named before the cell was added"""
    after_adding: list[str]
    after_preparing: list[str]
    stages: int
    """in the pipeline"""


@dataclass(frozen=True)
class Kept:
    """The same values, in other files."""

    files: int
    add: Took
    status: Took
    push: Took | None
    add_one: Took
    """after a cell has come"""
    push_one: Took | None
    sent_one: Stored | None
    """of it"""
    listing_bytes: int


def the_way(folder: Path, remote: Store, cells: int) -> Way:
    """Add, push, pull, prepare; then all of it for one cell more."""
    acquired = folder / "acquired"
    make(acquired, range(cells))
    here = study(folder, remote)
    steps: dict[str, Took] = {}
    sent: dict[str, Stored] = {}

    def pushed(step: str, target: str) -> None:
        before = remote.stored()
        steps[step] = here.dvc("push", "-q", target)
        sent[step] = remote.stored().since(before)

    def added(step: str) -> None:
        steps[step] = here.took("pipelines.cli", "data", "add", DATASET, str(acquired), *ADD)
        here.commit(step)

    added("add")
    pushed("push", TRACKED)
    there = clone(here, folder)
    steps["pull"] = there.dvc("pull", "-q", TRACKED)
    stacks = here.home / "datasets" / DATASET
    alike = {"pull": _alike(stacks, there.home / "datasets" / DATASET)}
    steps["prepare"] = here.dvc("repro", "-q", STAGE)
    pushed("push fields", STAGE)
    files = {"stacks": _count(stacks), "fields": _count(here.home / FIELDS)}
    sizes = {"stacks": _bytes(stacks), "fields": _bytes(here.home / FIELDS)}

    here.stand_in()
    here.commit("all stages have run, or so it looks")
    looks = [here.to_run() for _ in range(TIMES)]
    steps["status"] = _middle([took for _, took in looks])
    steps["prepare nothing"] = _middle([here.dvc("repro", "-q", STAGE) for _ in range(TIMES)])

    make(acquired, range(cells, cells + 1))
    added("add one")
    after_adding, _ = here.to_run()
    pushed("push one", TRACKED)
    earlier = _written(here.home / FIELDS)
    steps["prepare one"] = here.dvc("repro", "-q", STAGE)
    now = _written(here.home / FIELDS)
    after_preparing, _ = here.to_run()
    pushed("push fields of one", STAGE)
    here.commit("one more is prepared")
    there.git("pull", "-q")
    steps["pull one"] = there.dvc("pull", "-q", TRACKED)
    alike["pull one"] = _alike(stacks, there.home / "datasets" / DATASET)
    steps["pull fields"] = there.dvc("pull", "-q", STAGE)
    alike["pull fields"] = _alike(here.home / FIELDS, there.home / FIELDS)
    return Way(
        steps, sent, files, sizes, alike,
        made_anew=sorted(cell for cell in now if earlier.get(cell) != now[cell]),
        before=looks[0][0], after_adding=after_adding, after_preparing=after_preparing,
        stages=len(here.dvc("stage", "list", "--name-only").out.split()),
    )  # fmt: skip


def as_cells(folder: Path, remote: Store, cells: int, push: bool) -> Kept:
    """A file for the frames of each cell, and one for its good image."""
    project = bare(folder, remote, "as_cells")
    make(project.root / "data", range(cells))
    return _kept(project, lambda: make(project.root / "data", range(cells, cells + 1)), push)


def as_patches(folder: Path, remote: Store, cells: int, push: bool) -> Kept:
    """A file for each crop."""
    project = bare(folder, remote, f"as_patches_{cells}")
    for cell in range(cells):
        _cut(project.root / "data", cell)
    return _kept(project, lambda: _cut(project.root / "data", cells), push)


def _cut(folder: Path, cell: int) -> None:
    home = folder / name_of(cell)
    home.mkdir(parents=True)
    for number, values in enumerate(patches(cell, ACROSS)):
        (home / f"{number:03d}.bin").write_bytes(values)


def _kept(project: Project, one_more: Callable[[], None], push: bool) -> Kept:
    files = _count(project.root / "data")
    add = project.dvc("add", "-q", "data")
    status = _middle([project.dvc("status", "-q") for _ in range(TIMES)])
    (listing,) = project.root.glob(".dvc/cache/**/*.dir")
    size = listing.stat().st_size
    pushed = project.dvc("push", "-q") if push else None
    one_more()
    add_one = project.dvc("add", "-q", "data")
    before = project.store.stored() if push else None
    push_one = project.dvc("push", "-q") if push else None
    sent_one = project.store.stored().since(before) if before else None
    shutil.rmtree(project.root)
    return Kept(files, add, status, pushed, add_one, push_one, sent_one, size)


def _middle(taken: list[Took]) -> Took:
    return Took(median(took.seconds for took in taken), median(took.computed for took in taken))


def _alike(one: Path, other: Path) -> int:
    """Number of files. Raises AssertionError if there is one that is not the same in both."""
    ours, theirs = digests(one), digests(other)
    assert ours == theirs, sorted({*ours.items()} ^ {*theirs.items()})[:5]
    return len(ours)


def _written(folder: Path) -> dict[str, set[tuple[str, int]]]:
    """When each file of each cell was written; a cell that is taken over keeps its files."""
    return {
        home.name: {(str(file.relative_to(home)), file.stat().st_mtime_ns) for file in home.rglob("*.tif")}
        for home in folder.iterdir()
        if home.is_dir()
    }


def _count(folder: Path) -> int:
    return sum(file.is_file() for file in folder.rglob("*"))


def _bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
