"""The command `sim-models transfer`."""

import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from pipelines.options import (
    MODEL,
    Angles,
    Aperture,
    EmissionUm,
    Gain,
    Licence,
    Offset,
    Order,
    Phases,
    PixelUm,
    ReadNoise,
)
from pipelines.shared.stage import exit_code
from sim_models.field import FrameOrder

# Images and models are imported inside the command: `--help` should not wait for torch.


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
        typer.Option(help=f"{MODEL}, once for each; without it every champion that fits."),
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
    order: Order = FrameOrder.ANGLE_MAJOR,
    angles: Angles = None,
    phases: Phases = None,
    na: Aperture = None,
    emission_um: EmissionUm = None,
    pixel_um: PixelUm = None,
    offset: Offset = None,
    gain: Gain = None,
    read_noise: ReadNoise = None,
    register: Annotated[
        str | None, typer.Option(help="Register the chosen model under this name, as a candidate.")
    ] = None,
    licence: Licence = None,
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
