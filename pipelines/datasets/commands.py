"""The commands `sim-models data`: which datasets there are, what is known of them, and how they come here."""

import json
import signal
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated

import typer

from pipelines.options import (
    Angles,
    Aperture,
    AsJson,
    EmissionUm,
    Gain,
    Licence,
    Offset,
    Phases,
    PixelUm,
    ReadNoise,
)
from sim_models.field import FrameOrder

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Datasets, public and your own: what is known of them, fetch, add and check them, say whose they are.",
)

PUBLIC, OWN = Path("data/public"), Path("datasets")
Into = Annotated[Path, typer.Option(help="Folder of all datasets; each gets a folder of its name in it.")]


def _there(own: Path) -> Path:
    """Only the usual folder may be missing: who names another means one that is there."""
    from sim_models.config import BadInput

    if own != OWN and not own.is_dir():
        what = "is no folder" if own.exists() else "does not exist"
        raise BadInput(f"--own {own}: {what}; name the folder that `sim-models data add` has written")
    return own


Own = Annotated[
    Path,
    typer.Option("--own", help="Folder of your own datasets, which `data add` writes.", callback=_there),
]
Name = Annotated[
    str, typer.Argument(help="Name of a dataset, public or your own, or a definition file (.yaml).")
]


@app.command("list")
def list_(
    into: Into = PUBLIC,
    own: Own = OWN,
    as_json: AsJson = False,
    unknown: Annotated[bool, typer.Option("--unknown", help="Name all that is not known of each.")] = False,
) -> None:
    """Print every dataset, also your own: structures and cells, size, licence, what is not known, where it lies."""
    from pipelines.datasets.finding import own_in, public
    from pipelines.datasets.listing import lines, rows

    known, mine = public(), own_in(own)
    if as_json:
        print(json.dumps(rows((*known, *mine.found), into), indent=2))
    else:
        print("\n".join(lines(known, mine.found, into, unknown)))
    _warn(mine.problems)


@app.command()
def show(
    name: Name,
    own: Own = OWN,
    as_json: AsJson = False,
    as_yaml: Annotated[
        bool, typer.Option("--yaml", help="As a definition file, to be saved in a project and filled in.")
    ] = False,
) -> None:
    """Print all that is known of a dataset, and what is not."""
    from pipelines.datasets.finding import find
    from pipelines.datasets.pages import page
    from pipelines.datasets.writing import to_fill_in
    from sim_models.config import BadInput

    known = find(name, own)
    definition = known.definition
    if as_json and as_yaml:
        raise BadInput("--json and --yaml: are two ways to print the same; give one")
    if as_yaml:
        print(to_fill_in(definition), end="")
    elif as_json:
        more = {"unknown": definition.unknown(), "own": None if known.file is None else str(known.file)}
        print(json.dumps(definition.model_dump(mode="json") | more, indent=2))
    else:
        print(page(definition, None if known.file is None else f"Described in `{known.file}`."), end="")


@app.command()
def fetch(
    names: Annotated[list[str], typer.Argument(help="Names of datasets, or definition files (.yaml).")],
    cells: Annotated[
        str | None,
        typer.Option(help="Only these cells: 1-10,14, or names as Cell_001; what is of no cell comes too."),
    ] = None,
    into: Into = PUBLIC,
    own: Own = OWN,
    jobs: Annotated[int | None, typer.Option(help="Files at a time.")] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Say what would be fetched, from where and how large; fetch nothing."),
    ] = False,
) -> None:
    """Fetch datasets, verify them and unpack them; what broke off goes on, what is there is not fetched again."""
    from pipelines.datasets.fetching import fetch_all, promised, wanted

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    asked = wanted(names, cells, into, own)
    if dry_run:
        print("\n".join(promised(asked, into)))
    else:
        fetch_all(asked, into, jobs)


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="What the dataset is to be called.")],
    folder: Annotated[
        Path | None,
        typer.Argument(help="Folder with LEVEL/CELL.tif and reference/CELL.tif (also MRC, or frames)."),
    ] = None,
    structure: Annotated[str, typer.Option(help="What is seen, as lysosomes.")] = "",
    raw: Annotated[
        list[str] | None, typer.Option(help="Pattern of raw stacks instead of a folder: 'acq/*.tif'.")
    ] = None,
    reference: Annotated[
        list[str] | None, typer.Option(help="Pattern of the good images of the same cells, named alike.")
    ] = None,
    na: Aperture = None,
    emission_um: EmissionUm = None,
    pixel_um: PixelUm = None,
    angles: Angles = None,
    phases: Phases = None,
    order: Annotated[
        FrameOrder | None,
        typer.Option(help="Which changes slower from frame to frame; else the stripes tell."),
    ] = None,
    offset: Offset = None,
    gain: Gain = None,
    read_noise: ReadNoise = None,
    licence: Licence = None,
    val: Annotated[float, typer.Option(help="Share of the cells to choose by.")] = 0.2,
    test: Annotated[float, typer.Option(help="Share of the cells that stay sealed.")] = 0.2,
    seed: Annotated[int, typer.Option(help="Of the shuffle of cells.")] = 1,
    into: Annotated[Path, typer.Option(help="Folder of your datasets, in a DVC project.")] = OWN,
    keep: Annotated[bool, typer.Option("--keep", help="Take cells along that have problems.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check and say what would be written; write nothing.")
    ] = False,
) -> None:
    """Add your own stacks: check them, write what they are, split them by cell, and put them under DVC."""
    from rich.console import Console
    from rich.progress import Progress

    from pipelines.datasets.adding import add as add_stacks
    from pipelines.datasets.stating import Options
    from pipelines.shared.stage import INTERRUPTED
    from sim_models.config import BadInput, parse
    from sim_models.inspection import Known
    from sim_models.sources.split import SplitSettings

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    split = parse(SplitSettings, {"val": val, "test": test, "seed": seed}, "--val, --test and --seed")
    options = Options(
        name,
        folder,
        tuple(raw or ()),
        tuple(reference or ()),
        structure or None,
        Known(angles, phases, pixel_um, na, emission_um, offset),
        order,
        gain,
        read_noise,
        licence,
        split,
        into,
        keep,
        dry_run,
    )
    console = Console(stderr=True)

    def tell(sentence: str) -> None:
        console.print(sentence, markup=False, highlight=False, soft_wrap=True)

    try:
        with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:

            def told(total: int) -> Callable[[], None]:
                task = bar.add_task("looking at stacks", total=total)
                return lambda: bar.advance(task)

            added = add_stacks(options, told, tell)
    except KeyboardInterrupt:
        # typer would say no more than that it was aborted
        print("interrupted; nothing was added", file=sys.stderr)
        sys.exit(INTERRUPTED)
    print("\n".join(added.lines))
    if added.failure:
        raise BadInput(added.failure)


@app.command()
def check(
    name: Annotated[
        str,
        typer.Argument(help="Name of a dataset, the folder it lies in, or the definition file beside it."),
    ],
    into: Into = PUBLIC,
    own: Own = OWN,
    as_json: AsJson = False,
) -> None:
    """Hold the files of a dataset against the record of its fetch, and its images against its definition."""
    from rich.console import Console
    from rich.progress import Progress

    from pipelines.datasets.checking import checked
    from sim_models.config import BadInput

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("reading images", total=None)
        report = checked(name, into, own, lambda done, total: bar.update(task, completed=done, total=total))
    print(json.dumps(report.as_dict(), indent=2) if as_json else "\n".join(report.lines()))
    if not report.good:
        raise BadInput(report.verdict)


@app.command()
def licences(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Of these datasets, or definition files; of all if none is named."),
    ] = None,
    fetched: Annotated[
        bool, typer.Option("--fetched", help="Only of those that are here: fetched, or your own.")
    ] = False,
    into: Into = PUBLIC,
    own: Own = OWN,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Markdown file to write; else printed.")
    ] = None,
) -> None:
    """Say whose data they are and how to cite them: a table of licences for a model card, a paper, a lawyer."""
    from pipelines.datasets.finding import find, own_in, public
    from pipelines.datasets.licences import may_feed, table, with_here

    if names:
        found = [find(name, own) for name in names]
    else:
        mine = own_in(own)
        found = [*public(), *mine.found]
        _warn(mine.problems)
    chosen = [(known, here) for known, here in with_here(found, into) if here or not fetched]
    text = table(chosen)
    if out is None:
        print(text, end="")
    else:
        from pipelines.datasets.fetching import write_table

        write_table(out, text)
        print(f"{out}: {len(chosen)} datasets")
    if names or fetched:
        judged = (may_feed(known.definition) for known, _ in chosen)
        _warn(sentence for allowed, sentence in judged if not allowed)


def _warn(sentences: Iterable[str]) -> None:
    for sentence in sentences:
        print(f"warning: {sentence}", file=sys.stderr)
