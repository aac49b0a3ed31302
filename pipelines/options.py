"""Options that several commands have, each said once: what a person knows of a stack, and how an answer is told.

What is said here has to be true of every command that takes it; an option of one command stands with that command.
"""

from typing import Annotated

import typer

from sim_models.field import FrameOrder

# ---- how frames are laid out

Angles = Annotated[
    int | None,
    typer.Option(
        help="Number of angles; else as the file or the model says, or 3, 3, 5 for 9, 15, 25 frames."
    ),
]
Phases = Annotated[
    int | None,
    typer.Option(
        help="Number of phases; else as the file or the model says, or 3, 5, 5 for 9, 15, 25 frames."
    ),
]
Order = Annotated[FrameOrder, typer.Option(help="Which changes slower from frame to frame.")]

# ---- optics

PixelUm = Annotated[float | None, typer.Option(help="Raw pixel in um, where the file does not say it.")]
Aperture = Annotated[float | None, typer.Option("--na", help="Numerical aperture, unless the file says it.")]
EmissionUm = Annotated[float | None, typer.Option(help="Emission wavelength in um, unless the file says it.")]

# ---- camera

Offset = Annotated[
    float | None,
    typer.Option(help="Counts of a dark frame; else as the file says, or estimated."),
]
Gain = Annotated[float | None, typer.Option(help="Counts per photo-electron, with --offset.")]
ReadNoise = Annotated[
    float | None, typer.Option(help="Noise of reading a pixel in photo-electrons, with --gain.")
]

# ---- models and stacks

MODEL = "models:/NAME@champion, models:/NAME/VERSION or a restorer's folder"
"""how a person says which model; an argument of one command, an option of others"""

Tile = Annotated[int, typer.Option(help="Edge of a tile in pixels; smaller needs less memory.")]
Licence = Annotated[
    str | None,
    typer.Option(help="Licence of the stacks (SPDX), as CC-BY-4.0; 'own' if they are yours."),
]

# ---- how an answer is told

AsJson = Annotated[bool, typer.Option("--json", help="For machines.")]
