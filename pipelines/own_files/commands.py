"""The commands `sim-models restore`, `reconstruct`, `compress`, `recipes` and `inspect`, on files of a person's own."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from pipelines.options import (
    MODEL,
    Angles,
    Aperture,
    AsJson,
    EmissionUm,
    Gain,
    Offset,
    Order,
    Phases,
    PixelUm,
    ReadNoise,
    Tile,
)
from sim_models.config import BadInput, parse
from sim_models.field import FrameOrder

# Images and models are imported inside the commands: `--help` should not wait for torch.


def restore(
    file: Annotated[
        Path,
        typer.Argument(help="Raw SIM stack (OME-TIFF, TIFF or MRC), or a folder with one file per frame."),
    ],
    model: Annotated[str, typer.Option(help=f"{MODEL}.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="OME-TIFF to write.")],
    order: Order = FrameOrder.ANGLE_MAJOR,
    pixel_um: PixelUm = None,
    na: Aperture = None,
    emission_um: EmissionUm = None,
    offset: Offset = None,
    tile: Tile = 512,
    reconstruct: Annotated[
        bool, typer.Option("--reconstruct", help="Put raw frames that were restored together to an image.")
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Say how much of the image its raw frames contradict.")
    ] = False,
) -> None:
    """Restore a raw stack, or a series of stacks, to a super-resolved OME-TIFF.

    Optics and offset are asked for only where the model depends on them.
    """
    from pipelines.own_files.restoring import Options, restore_file
    from pipelines.own_files.stacks import Stated

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
            Options(order, Stated(pixel_um, na, emission_um, offset, None, None), tile, reconstruct, check),
            lambda done, total: bar.update(task, completed=done, total=total),
        )
    for doubt in done.warnings:
        print(f"warning: {doubt}", file=sys.stderr)
    print(f"{done.path}: {' x '.join(map(str, done.shape))}, {done.pixel_um:.4f} um per pixel")
    for sentence in done.checked:
        print(sentence)


def reconstruct(
    files: Annotated[
        list[Path],
        typer.Argument(help="Raw SIM stacks (OME-TIFF, TIFF or MRC), or folders with one file per frame."),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", help="OME-TIFF to write, or a folder; only earlier reconstructions are replaced."
        ),
    ],
    na: Aperture = None,
    emission_um: EmissionUm = None,
    pixel_um: PixelUm = None,
    angles: Angles = None,
    phases: Phases = None,
    order: Order = FrameOrder.ANGLE_MAJOR,
    harmonics: Annotated[
        int | None, typer.Option(help="1 for two beams, 2 for three; by the number of phases if not given.")
    ] = None,
    offset: Offset = None,
    gain: Gain = None,
    read_noise: ReadNoise = None,
    strength: Annotated[
        float, typer.Option(help="1 for the least error, more for smoother, less for sharper.")
    ] = 1.0,
    positive: Annotated[bool, typer.Option("--positive", help="Hold light to be never negative.")] = False,
    look: Annotated[
        str, typer.Option(help="wiener, or fairsim_like for the look of fairSIM's images.")
    ] = "wiener",
    apodisation: Annotated[
        str, typer.Option(help="ideal, or support: smooth to where the bands end in each direction.")
    ] = "ideal",
    start: Annotated[
        Path | None, typer.Option(help="Look for stripes near those of this record (JSON of another image).")
    ] = None,
    stripes: Annotated[
        Path | None, typer.Option(help="Take the stripes of this record as they are, as of a brighter stack.")
    ] = None,
    each: Annotated[
        bool, typer.Option("--each", help="Estimate the stripes of every stack of a series.")
    ] = False,
    sheet: Annotated[
        bool, typer.Option("--sheet", help="Also write a PNG that shows what it rests on.")
    ] = False,
) -> None:
    """Reconstruct raw stacks by classical SIM: stripes are found in the frames, or the stack is refused.

    What is not said of the camera is estimated too.
    """
    from pipelines.own_files.outputs import outputs
    from pipelines.own_files.reconstructing import Options, reconstruct_file
    from pipelines.own_files.stacks import Stated
    from sim_models.optics.reconstruct import ReconstructionSettings

    settings = parse(
        ReconstructionSettings,
        {"look": look, "strength": strength, "apodisation": apodisation, "positive": positive},
        "options",
    )
    stated = Stated(pixel_um, na, emission_um, offset, gain, read_noise)
    options = Options(settings, stated, angles, phases, order, harmonics, start, stripes, each, sheet)
    options.refuse_nonsense()
    refusals = []
    for file, target in zip(files, outputs(files, out, options.records, sheet), strict=True):
        try:
            done = reconstruct_file(file, target, options)
        except BadInput as refusal:
            # What can be done of several is done; what cannot is told at the end.
            refusals.append(str(refusal))
            continue
        for doubt in done.warnings:
            print(f"warning: {file}: {doubt}", file=sys.stderr)
        print(
            f"{done.path}: {' x '.join(map(str, done.shape))}, {done.pixel_um:.4f} um per pixel; {done.sentence}"
        )
    if refusals:
        raise BadInput("\nerror: ".join(refusals))


def compress(
    model: Annotated[str, typer.Argument(help=f"{MODEL}.")],
    files: Annotated[
        list[Path],
        typer.Argument(help="Raw stacks like those it is for: some are learned from, some are judged by."),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write, a restorer like any other.")],
    int8: Annotated[
        bool, typer.Option("--int8", help="Compute in whole numbers of 8 bits (ONNX Runtime).")
    ] = False,
    float_edges: Annotated[
        bool, typer.Option(help="Keep the first and the last layers in floats, with --int8.")
    ] = True,
    prune: Annotated[
        float | None, typer.Option(help="Share of the channels of every layer to take out, as 0.3.")
    ] = None,
    recover_steps: Annotated[
        int, typer.Option(help="Steps in which a pruned network learns to give what the whole one gave.")
    ] = 1000,
    references: Annotated[
        list[Path] | None,
        typer.Option(help="Image to be held against, once for every file and in the same order."),
    ] = None,
    max_loss_db: Annotated[
        float, typer.Option(help="PSNR against references that may be lost, in dB.")
    ] = 0.2,
    min_fidelity_db: Annotated[
        float, typer.Option(help="Without references: least PSNR against what the float model gives.")
    ] = 40.0,
    order: Order = FrameOrder.ANGLE_MAJOR,
    pixel_um: PixelUm = None,
    na: Aperture = None,
    emission_um: EmissionUm = None,
    offset: Offset = None,
    tile: Tile = 512,
    as_json: AsJson = False,
) -> None:
    """Make a model smaller and faster, and keep it only where it loses little.

    Optics and offset are asked for only where the model depends on them.
    """
    from pipelines.own_files.compressing import Options
    from pipelines.own_files.compressing import compress as compressed
    from pipelines.own_files.stacks import Stated

    if tile < 16 or recover_steps < 0:
        raise BadInput("--tile must be at least 16 pixels and --recover-steps not below 0")
    stated = Stated(pixel_um, na, emission_um, offset, None, None)
    done = compressed(
        model,
        files,
        out,
        references or [],
        Options(int8, float_edges, prune, recover_steps, max_loss_db, min_fidelity_db, order, stated, tile),
    )
    for doubt in done.warnings:
        print(f"warning: {doubt}", file=sys.stderr)
    print(json.dumps(done.as_dict(), indent=2) if as_json else "\n".join(done.lines()))


def recipes(
    name: Annotated[str | None, typer.Argument(help="A recipe, to be told in full.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the named recipes: what goes in, what comes out, how large, where published."""
    from pipelines.own_files.catalogue import facts, line, page
    from sim_models.recipes import find, names

    chosen = [find(each) for each in ([name] if name else names())]
    if as_json:
        print(json.dumps([facts(each) for each in chosen], indent=2))
    elif name:
        print(page(chosen[0]))
    else:
        print("\n".join([line(None), *(line(each) for each in chosen)]))


def inspect(
    paths: Annotated[
        list[Path],
        typer.Argument(help="Raw stack, or folder with one file per frame; several, or folders of stacks."),
    ],
    angles: Angles = None,
    phases: Phases = None,
    pixel_um: PixelUm = None,
    na: Aperture = None,
    emission_um: EmissionUm = None,
    offset: Offset = None,
    as_json: AsJson = False,
    sheet: Annotated[Path | None, typer.Option(help="PNG to write, or a folder for several stacks.")] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit code 3 if a stack has problems; for scripts.")
    ] = False,
) -> None:
    """Say what a stack holds: frames and their order, stripes, light, and what is wrong with it.

    Exit code 2 if something could not be read; the rest is told all the same.
    """
    from pipelines.own_files.examining import look_at
    from sim_models.inspection import Known

    look_at(paths, Known(angles, phases, pixel_um, na, emission_um, offset), as_json, sheet, strict)
