"""`sim-models data add`: a person's own stacks as a dataset: checked, described, split by cell, under DVC."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines.datasets.describing import described, extended, licensed, needed
from pipelines.datasets.examining import Found, examine, light
from pipelines.datasets.gathering import Gathered, gather
from pipelines.datasets.stating import Options, refuse_nonsense
from pipelines.datasets.storing import Home
from pipelines.datasets.trying import refuse_few, tried
from pipelines.datasets.writing import as_yaml, text_with
from pipelines.shared.stage import write_whole
from sim_models.datasets.definition import Definition
from sim_models.datasets.turns import Tell, alone
from sim_models.sources.split import PARTS


@dataclass(frozen=True)
class Added:
    """What came of it."""

    lines: list[str]
    """for people"""
    failure: str | None
    """where stacks and definition are there, but DVC does not know them"""


WAIT_S = 3600.0
"""for another addition to the same project: a thousand stacks are looked at, copied and hashed in less"""
Told = Callable[[int], Callable[[], None]]
"""given the number of stacks, returns what is called after each"""


def add(options: Options, told: Told, tell: Tell) -> Added:
    """Add stacks as a new dataset, or to one of that name.

    Args:
        options: what a person says of them.
        told: hears of every stack that was looked at.
        tell: takes a sentence, where another adds to this project and is waited for.

    Raises:
        BadInput: if something cannot be used; then nothing is written.
        NotReady: if another adds for too long.
    """
    refuse_nonsense(options)
    home = Home(options.into, options.name)
    # Whatever it is called: two of one name would write over each other, and DVC takes one at a time anyhow.
    with alone(home.project(), "another `data add`", WAIT_S, tell):
        return _added(options, home, told)


def _added(options: Options, home: Home, told: Told) -> Added:
    gathered = gather(options.folder, options.raw, options.references)
    earlier = home.earlier()
    new = home.new_cells(gathered, earlier)
    if not new:
        return _again(options, home, earlier, len(gathered.raw))
    options = options if earlier is None else options.like(earlier)
    fresh = Gathered({cell: gathered.raw[cell] for cell in new}, _of(gathered.references, new))
    counted = told(len(new) * len(gathered.levels))
    known, usual = options.known, earlier.optics.pixel_um if earlier else None
    found = examine(fresh, known, options.order, options.keep, counted, usual)
    found = tried(fresh, new, found, options.keep)
    cells = [cell for cell in new if cell not in found.left_out]
    if earlier is None:
        refuse_few(options.name, cells, found.left_out)
    definition = described(options, found, fresh, cells)
    if earlier is not None:
        definition = extended(earlier, definition, cells, options, home.file)
    lines = list(_lines(options, found, fresh, cells, definition, earlier))
    if options.dry_run:
        return Added([*lines, "nothing was written (--dry-run)"], None)
    text = as_yaml(definition) if earlier is None else text_with(home.file.read_text(), earlier, definition)
    with home.holding(fresh, cells):
        write_whole(home.file, text)
    failure = _failure(home)
    return Added(lines if failure else [*lines, *_next(home, next(iter(definition.structures)))], failure)


def _again(options: Options, home: Home, earlier: Definition | None, count: int) -> Added:
    """All cells are there: a licence may be stated now, and DVC may not know them yet."""
    assert earlier is not None
    definition = licensed(earlier, options, home.file)
    there = f"{options.name}: all {count} cells are there already"
    if definition == earlier:
        said = [f"{there}; nothing to do"]
    elif options.dry_run:
        said = [f"{there}; their licence would be written into {home.file}; nothing was written (--dry-run)"]
    else:
        write_whole(home.file, text_with(home.file.read_text(), earlier, definition))
        said = [f"{there}; their licence, {options.licence}, is in {home.file} now"]
    return Added(said, None if options.dry_run else _failure(home))


def _of(references: Mapping[str, Path], cells: Iterable[str]) -> dict[str, Path]:
    return {cell: references[cell] for cell in cells if cell in references}


def _failure(home: Home) -> str | None:
    reason = home.put_under_dvc()
    if reason is None:
        return None
    return (
        f"{home.folder}: is written, and so is {home.file}, but DVC does not take it ({reason}); mend that and run: "
        f"dvc add {home.folder}"
    )


def _next(home: Home, structure: str) -> Iterator[str]:
    ignore = home.into / ".gitignore"
    more = f" {ignore}" if ignore.exists() else ""
    yield f"written: {home.file} and {home.folder}, which is under DVC now; push it with: dvc push"
    yield f"to commit: git add {home.file} {home.pointer}{more} && git commit -m 'Data: {home.name}'"
    yield "to use it, in params.yaml:"
    yield "  datasets:"
    yield f"    {home.name}: {{definition: {home.file}, folder: {home.folder}, structure: {structure}}}"


def _lines(
    options: Options,
    found: Found,
    gathered: Gathered,
    cells: Sequence[str],
    definition: Definition,
    earlier: Definition | None,
) -> Iterator[str]:
    references = "references" if gathered.references else "no references"
    size = f"{found.angles * found.phases} x {found.rows} x {found.columns} {found.dtype}"
    yield (
        f"{len(cells)} {'more ' if earlier else ''}cells, light levels: {', '.join(gathered.levels)}; {size}, "
        f"{found.pixel_um:g} um; {references}; {light(found.photons)}"
    )
    yield from found.told
    for cell, reason in found.left_out.items():
        yield f"left out (--keep takes it along if it can be read): {cell}: {reason}"
    if found.left_out:
        yield "what is left out is not judged by either: scores will be those of the clearer cells"
    if (parts := definition.parts) is not None:
        counts = " / ".join(f"{len(parts.cells(part))} {part}" for part in PARTS)
        yield f"split by cell: {counts}{'; cells that were there stay where they were' if earlier else ''}"
    if missing := needed(definition):
        yield f"not stated: {', '.join(missing)}; needed before it can be used, write it into the definition"
    if options.known.offset is not None and definition.optics.camera is None:
        yield "--offset is not kept without --gain; the darkest pixels of every angle will be taken for background"
    if definition.licence is None and definition.origin != "own":
        yield "no licence is stated (--licence CC-BY-4.0, or own): no model of it can be registered"
