"""`sim-models data add`: a person's own stacks as a dataset: checked, described, split by cell, under DVC.

<into>/<name>.yaml           the definition, for git
<into>/<name>/<level>/...    copies of the stacks, for DVC
<into>/<name>.dvc            what DVC makes of these, for git
"""

import filecmp
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from pipelines.datasets.describing import Options, as_yaml, described, needed, refuse_other_kind
from pipelines.datasets.examining import Found, examine, light
from pipelines.datasets.gathering import Gathered, gather
from pipelines.shared.dvc_command import dvc
from pipelines.shared.stage import write_whole
from sim_models import datasets
from sim_models.config import BadInput
from sim_models.datasets.definition import Definition
from sim_models.images import stem
from sim_models.sources.split import PARTS


def add(options: Options, told: Callable[[int], Callable[[], None]]) -> list[str]:
    """Add stacks as a new dataset, or to one of that name; what to tell at the end.

    Args:
        options: what a person says of them.
        told: given the number of stacks, returns what is called after each.

    Raises:
        BadInput: if something cannot be used; then nothing is written.
    """
    gathered = gather(options.folder, options.raw, options.references)
    home, file = options.into / options.name, options.into / f"{options.name}.yaml"
    earlier = datasets.read(file) if file.exists() else None
    if earlier is None and home.exists():
        raise BadInput(f"{home}: is there, but {file} is not; take it away, or choose another name")
    new = _new_cells(gathered, home)
    if not new:
        return [f"{options.name}: all {len(gathered.raw)} cells are there already; nothing to do"]
    fresh = Gathered({cell: gathered.raw[cell] for cell in new}, _of(gathered.references, new))
    counted = told(len(new) * len(gathered.levels))
    found = examine(fresh, options.known, options.order, options.keep, counted)
    cells = [cell for cell in new if cell not in found.left_out]
    definition = described(options, found, fresh, cells, earlier)
    if earlier is not None:
        refuse_other_kind(definition, earlier, file)
    said = _lines(options, found, fresh, cells, definition, earlier)
    if options.dry_run:
        return [*said, "nothing was written (--dry-run)"]
    _copy(fresh, cells, home)
    write_whole(file, as_yaml(definition))
    return [*said, *_under_dvc(home, file, options)]


def _new_cells(gathered: Gathered, home: Path) -> list[str]:
    """Cells that are not there yet.

    Raises:
        BadInput: if one is there with other content.
    """
    new = []
    levels = {level for cell in gathered.raw for level in gathered.files(cell)}
    stored = {level: _stored(home / level) for level in levels}
    for cell in sorted(gathered.raw):
        there = {level: stored[level].get(cell) for level in gathered.files(cell)}
        if not any(there.values()):
            new.append(cell)
            continue
        for level, path in gathered.files(cell).items():
            before = there[level]
            if before is None or not _same(path, before):
                raise BadInput(
                    f"{path}: {home} has another {cell}; a cell is never replaced, so give this one another name"
                )
    return new


def _stored(level: Path) -> dict[str, Path]:
    """What lies in a folder, by cell; each folder is listed once, however many cells there are."""
    return {stem(path): path for path in level.iterdir()} if level.is_dir() else {}


def _same(one: Path, other: Path) -> bool:
    if one.is_dir() != other.is_dir():
        return False
    if not one.is_dir():
        return filecmp.cmp(one, other, shallow=False)
    names = sorted(path.relative_to(one) for path in one.rglob("*") if path.is_file())
    theirs = sorted(path.relative_to(other) for path in other.rglob("*") if path.is_file())
    return names == theirs and all(filecmp.cmp(one / name, other / name, shallow=False) for name in names)


def _of(references: Mapping[str, Path], cells: Iterable[str]) -> dict[str, Path]:
    return {cell: references[cell] for cell in cells if cell in references}


def _copy(gathered: Gathered, cells: Sequence[str], home: Path) -> None:
    """Copies of all files of cells, each under its name once it is whole."""
    for cell in cells:
        for level, path in gathered.files(cell).items():
            target = home / level / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            partial = target.with_name(f".{target.name}.partial")
            if path.is_dir():
                shutil.rmtree(partial, ignore_errors=True)
                shutil.copytree(path, partial)
            else:
                shutil.copy2(path, partial)
            partial.rename(target)


def _under_dvc(home: Path, described: Path, options: Options) -> list[str]:
    ended = dvc(["add", "-q", home.name], home.parent, show=False)
    if ended.code:
        return [
            f"written: {described} and {home}, but DVC does not take it ({ended.reason}); run: dvc add {home}"
        ]
    into = options.into
    return [
        f"written: {described} and {home}, which is under DVC now; push it with: dvc push",
        f"to commit: git add {described} {home}.dvc {into / '.gitignore'} && git commit -m 'Data: {options.name}'",
        "to use it, in params.yaml:",
        "  datasets:",
        f"    {options.name}: {{definition: {described}, folder: {home}, structure: {options.structure}}}",
    ]


def _lines(
    options: Options,
    found: Found,
    gathered: Gathered,
    cells: Sequence[str],
    definition: Definition,
    earlier: Definition | None,
) -> list[str]:
    frames = found.angles * found.phases
    levels = ", ".join(gathered.levels)
    references = "references" if gathered.references else "no references"
    parts = definition.parts
    counts = " / ".join(f"{len(parts.cells(part))} {part}" for part in PARTS) if parts else ""
    kept = "; cells that were there stay where they were" if earlier is not None else ""
    return [
        f"{len(cells)} {'more ' if earlier else ''}cells, light levels: {levels}; "
        f"{frames} x {found.rows} x {found.columns} {found.dtype}, {found.pixel_um:g} um; {references}; "
        f"{light(found.photons)}",
        *found.told,
        *(f"left out (--keep takes it along): {cell}: {reason}" for cell, reason in found.left_out.items()),
        f"split by cell: {counts}{kept}",
        *(
            [f"not stated: {', '.join(missing)}; needed before it can be used, write it into the definition"]
            if (missing := needed(definition))
            else []
        ),
        *(
            ["no licence is stated (--licence CC-BY-4.0, or own): no model of it can be registered"]
            if options.licence is None
            else []
        ),
    ]
