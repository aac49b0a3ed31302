"""The commands `sim-models data`: which datasets there are, what is known of them, and how they come here."""

import json
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Public datasets: what is known of them, fetch them verified, check them, say whose they are.",
)

PUBLIC = Path("data/public")
Json = Annotated[bool, typer.Option("--json", help="For machines.")]
Into = Annotated[Path, typer.Option(help="Folder of all datasets; each gets a folder of its name in it.")]
Name = Annotated[str, typer.Argument(help="Name of a dataset, or a definition file (.yaml) of your own.")]


@app.command("list")
def list_(into: Into = PUBLIC, as_json: Json = False) -> None:
    """Print every dataset: structures and cells, size, licence, what is not known, where it was fetched."""
    from pipelines.datasets.listing import rows, rows_in_lines

    found = rows(into)
    print(json.dumps(found, indent=2) if as_json else "\n".join(rows_in_lines(found)))


@app.command()
def show(name: Name, as_json: Json = False) -> None:
    """Print all that is known of a dataset, and what is not."""
    from pipelines.datasets.pages import page
    from sim_models.datasets import given

    definition = given(name)
    if as_json:
        print(json.dumps(definition.model_dump(mode="json") | {"unknown": definition.unknown()}, indent=2))
    else:
        print(page(definition), end="")


@app.command()
def fetch(
    names: Annotated[list[str], typer.Argument(help="Names of datasets, or definition files (.yaml).")],
    cells: Annotated[
        str | None,
        typer.Option(help="Only these cells: 1-10,14, or names as Cell_001; what is of no cell comes too."),
    ] = None,
    into: Into = PUBLIC,
    jobs: Annotated[int | None, typer.Option(help="Files at a time.")] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Say what would be fetched, from where and how large; fetch nothing."),
    ] = False,
) -> None:
    """Fetch datasets, verify them and unpack them; what broke off goes on, what is there is not fetched again."""
    from pipelines.datasets.fetching import fetch_all, promised

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if dry_run:
        print("\n".join(promised(names, cells, into)))
    else:
        fetch_all(names, cells, into, jobs)


@app.command()
def check(
    name: Annotated[str, typer.Argument(help="Name of a fetched dataset, or the folder it lies in.")],
    into: Into = PUBLIC,
    as_json: Json = False,
) -> None:
    """Hold every file of a fetched dataset against the record of its fetch; exit code 2 if one is not as it was."""
    from pipelines.datasets.fetching import checked

    report, good = checked(name, into)
    print(json.dumps(report.as_dict(), indent=2) if as_json else "\n".join(report.lines()))
    if not good:
        from sim_models.config import BadInput

        raise BadInput(report.verdict)


@app.command()
def licences(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Of these datasets, or definition files; of all if none is named."),
    ] = None,
    fetched: Annotated[bool, typer.Option("--fetched", help="Only of those that were fetched.")] = False,
    into: Into = PUBLIC,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Markdown file to write; else printed.")
    ] = None,
) -> None:
    """Say whose data they are and how to cite them: a table of licences for a model card, a paper, a lawyer."""
    from pipelines.datasets.licences import fetched_names, may_feed, table
    from sim_models import datasets

    here = fetched_names(into)
    chosen = [datasets.given(name) for name in names or datasets.names()]
    chosen = [each for each in chosen if not fetched or each.name in here]
    text = table(chosen, here)
    if out is None:
        print(text, end="")
    else:
        from pipelines.datasets.fetching import write_table

        write_table(out, text)
        print(f"{out}: {len(chosen)} datasets")
    for each in chosen:
        allowed, sentence = may_feed(each)
        if not allowed and (names or fetched):
            print(f"warning: {sentence}", file=sys.stderr)
