"""The command line `sim-models`, for people with files of their own. Same code as the pipeline."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from pipelines.stage import exit_code
from sim_models.field import FrameOrder

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Restore and inspect raw SIM stacks.",
)
# Images and models are imported inside the commands: `--help` should not wait for torch.


@app.command()
def restore(
    file: Annotated[
        Path,
        typer.Argument(help="Raw SIM stack (OME-TIFF, TIFF or MRC), or a folder with one file per frame."),
    ],
    model: Annotated[
        str, typer.Option(help="models:/NAME@champion, models:/NAME/VERSION or a restorer's folder.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="OME-TIFF to write.")],
    order: Annotated[
        FrameOrder, typer.Option(help="Which changes slower from frame to frame.")
    ] = FrameOrder.ANGLE_MAJOR,
    pixel_um: Annotated[
        float | None, typer.Option(help="Raw pixel in um, where the file does not say it.")
    ] = None,
    tile: Annotated[int, typer.Option(help="Edge of a tile in raw pixels; smaller needs less memory.")] = 512,
) -> None:
    """Restore a raw stack, or a series of stacks, to a super-resolved OME-TIFF."""
    from pipelines.restoring import restore_file
    from sim_models.config import BadInput

    if tile < 16 or (pixel_um is not None and not 0 < pixel_um < 100):
        raise BadInput("--tile must be at least 16 pixels and --pixel-um above 0 and below 100")
    columns = TextColumn("restoring"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    console = Console(stderr=True)
    # Where nobody watches, a bar would only leave an empty line.
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("")
        done = restore_file(
            file,
            model,
            out,
            order,
            pixel_um,
            tile,
            lambda done, total: bar.update(task, completed=done, total=total),
        )
    for doubt in done.warnings:
        print(f"warning: {doubt}", file=sys.stderr)
    print(f"{done.path}: {' x '.join(map(str, done.shape))}, {done.pixel_um:.4f} um per pixel")


@app.command()
def inspect(
    path: Annotated[Path, typer.Argument(help="Raw stack, or a folder with one file per frame.")],
    angles: Annotated[int | None, typer.Option(help="Number of angles, where you know it.")] = None,
    phases: Annotated[int | None, typer.Option(help="Number of phases, where you know it.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Say what a file holds, how much light it has, and what is wrong with it."""
    from sim_models.inspection import inspect as look

    report = look(path, angles, phases)
    print(json.dumps(report.as_dict(), indent=2) if as_json else "\n".join(report.lines()))


def main() -> None:
    """Entry point of the console script."""
    sys.exit(exit_code(app))


if __name__ == "__main__":
    main()
