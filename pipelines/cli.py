"""The command line `sim-models`, for people with files of their own. Same code as the pipeline."""

import json
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from pipelines.datasets import commands as data_cli
from pipelines.registry import commands as registry_cli
from pipelines.shared.stage import INTERRUPTED, exit_code
from sim_models.config import BadInput
from sim_models.field import FrameOrder

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Inspect, reconstruct and restore raw SIM stacks; carry models to others, compress them, keep their registry.",
)
app.add_typer(data_cli.app, name="data")
app.add_typer(registry_cli.app, name="registry")
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
    na: Annotated[
        float | None,
        typer.Option(help="Numerical aperture, for models of reconstructions, unless the file says it."),
    ] = None,
    emission_um: Annotated[float | None, typer.Option(help="Emission wavelength in um, likewise.")] = None,
    offset: Annotated[
        float | None, typer.Option(help="Counts of a dark frame, for models that ask for it, likewise.")
    ] = None,
    tile: Annotated[int, typer.Option(help="Edge of a tile in pixels; smaller needs less memory.")] = 512,
    reconstruct: Annotated[
        bool, typer.Option("--reconstruct", help="Put raw frames that were restored together to an image.")
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Say how much of the image its raw frames contradict.")
    ] = False,
) -> None:
    """Restore a raw stack, or a series of stacks, to a super-resolved OME-TIFF."""
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


@app.command()
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
    na: Annotated[float | None, typer.Option(help="Numerical aperture, unless the file says it.")] = None,
    emission_um: Annotated[
        float | None, typer.Option(help="Emission wavelength in um, unless the file says it.")
    ] = None,
    pixel_um: Annotated[
        float | None, typer.Option(help="Raw pixel in um, where the file does not say it.")
    ] = None,
    angles: Annotated[
        int | None, typer.Option(help="Number of angles, where 9, 15 or 25 frames mislead.")
    ] = None,
    phases: Annotated[int | None, typer.Option(help="Number of phases, likewise.")] = None,
    order: Annotated[
        FrameOrder, typer.Option(help="Which changes slower from frame to frame.")
    ] = FrameOrder.ANGLE_MAJOR,
    harmonics: Annotated[
        int | None, typer.Option(help="1 for two beams, 2 for three; by the number of phases if not given.")
    ] = None,
    offset: Annotated[float | None, typer.Option(help="Counts of a dark frame; else estimated.")] = None,
    gain: Annotated[
        float | None, typer.Option(help="Counts per photo-electron, with --offset; else estimated.")
    ] = None,
    read_noise: Annotated[
        float | None, typer.Option(help="Photo-electrons, with --gain; else estimated.")
    ] = None,
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
    """Reconstruct raw stacks by classical SIM: stripes are found in the frames, or the stack is refused."""
    from pipelines.own_files.outputs import outputs
    from pipelines.own_files.reconstructing import Options, reconstruct_file
    from pipelines.own_files.stacks import Stated
    from sim_models.config import parse
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


@app.command()
def compress(
    model: Annotated[
        str, typer.Argument(help="models:/NAME@champion, models:/NAME/VERSION or a restorer's folder.")
    ],
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
    order: Annotated[
        FrameOrder, typer.Option(help="Which changes slower from frame to frame.")
    ] = FrameOrder.ANGLE_MAJOR,
    pixel_um: Annotated[
        float | None, typer.Option(help="Raw pixel in um, for models of reconstructions.")
    ] = None,
    na: Annotated[float | None, typer.Option(help="Numerical aperture, likewise.")] = None,
    emission_um: Annotated[float | None, typer.Option(help="Emission wavelength in um, likewise.")] = None,
    offset: Annotated[
        float | None, typer.Option(help="Counts of a dark frame, for models that ask for it, likewise.")
    ] = None,
    tile: Annotated[int, typer.Option(help="Edge of a tile in pixels; smaller needs less memory.")] = 512,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Make a model smaller and faster, and keep it only where it loses little."""
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


@app.command()
def transfer(
    target: Annotated[
        Path,
        typer.Option(
            help="Folder with LEVEL/CELL.tif and reference/CELL.tif (also MRC, or a folder of frames per cell), or a "
            "folder of prepared fields."
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder to write; an interrupted study in it goes on.")
    ],
    source: Annotated[
        list[str] | None,
        typer.Option(
            help="models:/NAME@champion, models:/NAME/VERSION or a restorer's folder, once for each; without it every "
            "champion that fits."
        ),
    ] = None,
    settings: Annotated[
        Path | None, typer.Option(help="YAML file of settings, with the keys of the shipped one.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Training steps from scratch.")] = None,
    finetune_steps: Annotated[
        int | None, typer.Option(help="Steps of a fine-tune; a tenth of --steps if not given.")
    ] = None,
    trials: Annotated[int | None, typer.Option(help="Trials of freeze range and learning rate.")] = None,
    seeds: Annotated[int | None, typer.Option(help="How often every training is repeated.")] = None,
    cells: Annotated[
        str | None, typer.Option(help="Numbers of training cells to try beside all, as in 1,2,5.")
    ] = None,
    margin_db: Annotated[
        float | None, typer.Option(help="PSNR in dB that a cheaper way may lack, and still be taken.")
    ] = None,
    order: Annotated[
        FrameOrder, typer.Option(help="Which changes slower from frame to frame.")
    ] = FrameOrder.ANGLE_MAJOR,
    angles: Annotated[
        int | None, typer.Option(help="Number of angles, where the source does not tell.")
    ] = None,
    phases: Annotated[int | None, typer.Option(help="Number of phases, likewise.")] = None,
    na: Annotated[float | None, typer.Option(help="Numerical aperture, unless the files say it.")] = None,
    emission_um: Annotated[float | None, typer.Option(help="Emission wavelength in um, likewise.")] = None,
    pixel_um: Annotated[float | None, typer.Option(help="Raw pixel in um, likewise.")] = None,
    offset: Annotated[float | None, typer.Option(help="Counts of a dark frame; else estimated.")] = None,
    gain: Annotated[float | None, typer.Option(help="Counts per photo-electron, with --offset.")] = None,
    read_noise: Annotated[float | None, typer.Option(help="Photo-electrons, with --gain.")] = None,
    register: Annotated[
        str | None, typer.Option(help="Register the chosen model under this name, as a candidate.")
    ] = None,
    licence: Annotated[
        str | None,
        typer.Option(help="Licence of the stacks, for the card, as CC-BY-4.0; 'own' if they are yours."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Read the stacks, say what it would take, and stop.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before a long study.")] = False,
) -> None:
    """Carry a model to your own stacks: use it as it is, fine-tune it, or train from scratch? And with how many?"""
    asks = not yes and sys.stdin.isatty() and sys.stderr.isatty()
    # Being killed is an interruption like any other, from the first moment on.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        from pipelines.own_files.stacks import Stated
        from pipelines.own_study.candidate import refuse_name
        from pipelines.own_study.study_settings import Changes, cells_of
        from pipelines.own_study.transferring import Options
        from pipelines.own_study.transferring import transfer as carry

        refuse_name(register)
        changes = Changes(steps, finetune_steps, trials, seeds, cells_of(cells), margin_db)
        stated = Stated(pixel_um, na, emission_um, offset, gain, read_noise)
        layout = angles, phases
        options = Options(
            tuple(source or ()), settings, changes, order, stated, layout, dry_run, register, licence
        )
        said = carry(target, out, options, lambda text: not asks or typer.confirm(text, err=True))
    except KeyboardInterrupt:
        # typer would say no more than that it was aborted
        sys.exit(exit_code(_interrupted))
    if said:
        print("\n".join(said))


def _interrupted() -> None:
    raise KeyboardInterrupt


@app.command()
def submit(
    stages: Annotated[
        list[str], typer.Argument(metavar="STAGE...", help="Stages of dvc.yaml, as train@er_nafnet.")
    ],
    study: Annotated[Path, typer.Option(help="Folder of the study, with its dvc.yaml.")] = Path(),
    address: Annotated[
        str | None,
        typer.Option(envvar="RAY_API_SERVER_ADDRESS", help="Ray's dashboard, as http://head:8265."),
    ] = None,
    workers: Annotated[
        str | None,
        typer.Option(
            help="Workers that share every batch (SIM_MODELS_WORKERS): 8, or 2-8 for as many as there are."
        ),
    ] = None,
    storage: Annotated[
        str | None,
        typer.Option(
            envvar="SIM_MODELS_STORAGE", help="Folder that all nodes see; needed where there are several."
        ),
    ] = None,
    extra: Annotated[
        list[str] | None, typer.Option(help="File or folder to upload though git does not know it.")
    ] = None,
    runtime_env: Annotated[
        Path | None, typer.Option(help="YAML file with more of Ray's runtime_env, as env_vars.")
    ] = None,
    credentials: Annotated[
        bool,
        typer.Option(help="Give the job the AWS_* and MLFLOW_* secrets of here; not where nodes have them."),
    ] = True,
    limit_mb: Annotated[float, typer.Option(help="Largest upload.")] = 100.0,
    push: Annotated[
        bool, typer.Option("--push", help="Push data that the stage needs and the remote lacks.")
    ] = False,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Follow the job and bring its results home.")
    ] = True,
    attach: Annotated[
        str | None, typer.Option(help="Submit nothing: follow this job of these stages, bring it home.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")
    ] = False,
) -> None:
    """Run stages on a Ray cluster: upload, look at every node, submit, follow, and bring the results home."""
    try:
        from pipelines.cluster.submitting import Options
        from pipelines.cluster.submitting import submit as send

        send(
            Options(
                tuple(stages),
                study,
                address,
                workers,
                storage,
                tuple(extra or ()),
                runtime_env,
                credentials,
                limit_mb,
                push,
                wait,
                attach,
                dry_run,
            )
        )
    except KeyboardInterrupt:
        # typer would say no more than that it was aborted; what goes on was told
        sys.exit(INTERRUPTED)


@app.command()
def recipes(
    name: Annotated[str | None, typer.Argument(help="A recipe, to be told in full.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
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


@app.command()
def inspect(
    paths: Annotated[
        list[Path],
        typer.Argument(help="Raw stack, or folder with one file per frame; several, or folders of stacks."),
    ],
    angles: Annotated[int | None, typer.Option(help="Number of angles, where you know it.")] = None,
    phases: Annotated[int | None, typer.Option(help="Number of phases, where you know it.")] = None,
    pixel_um: Annotated[
        float | None, typer.Option(help="Raw pixel in um, where the file does not say it.")
    ] = None,
    na: Annotated[float | None, typer.Option(help="Numerical aperture, where you know it.")] = None,
    emission_um: Annotated[float | None, typer.Option(help="Emission wavelength in um, likewise.")] = None,
    offset: Annotated[float | None, typer.Option(help="Counts of a dark frame, likewise.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
    sheet: Annotated[Path | None, typer.Option(help="PNG to write, or a folder for several stacks.")] = None,
) -> None:
    """Say what a stack holds: frames and their order, stripes, light, and what is wrong with it."""
    from pipelines.own_files.examining import look_at
    from sim_models.inspection import Known

    if told := look_at(paths, Known(angles, phases, pixel_um, na, emission_um, offset), as_json, sheet):
        raise BadInput("\nerror: ".join(told))


def main() -> None:
    """Entry point of the console script."""
    sys.exit(exit_code(app))


if __name__ == "__main__":
    main()
