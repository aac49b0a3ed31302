"""What a person knows of a stack before it is examined."""

import math
from dataclasses import dataclass

from sim_models.config import BadInput


@dataclass(frozen=True)
class Known:
    """What a person knows of a stack; None where the file or the frames are to say it."""

    angles: int | None = None
    phases: int | None = None
    pixel_um: float | None = None
    numerical_aperture: float | None = None
    emission_um: float | None = None
    offset: float | None = None
    """counts of a dark frame"""


def refuse_nonsense(known: Known) -> None:
    """Refuse what can be true of no stack.

    Raises:
        BadInput: saying which.
    """
    lengths = {"pixel_um": known.pixel_um, "emission_um": known.emission_um}
    for name, value in {**lengths, "numerical_aperture": known.numerical_aperture}.items():
        if value is not None and not 0 < value < 10:
            raise BadInput(f"{name} {value:g} must be above 0 and below 10 (lengths in um)")
    if known.offset is not None and not (math.isfinite(known.offset) and known.offset >= 0):
        raise BadInput(f"offset {known.offset:g} must be the counts of a dark frame, not below 0")
    for name, count in {"angles": known.angles, "phases": known.phases}.items():
        if count is not None and not 1 <= count <= 100:
            raise BadInput(f"{name} {count} must be from 1 to 100")


def contradicted(known: Known, angles: int | None, phases: int | None) -> tuple[str, ...]:
    """Where only angles or only phases are stated, and the frames have another number."""
    if angles is None or (known.angles is None) == (known.phases is None):
        return ()
    if angles == known.angles or phases == known.phases:
        return ()
    stated = f"{known.angles} angles" if known.angles is not None else f"{known.phases} phases"
    return (
        f"stated are {stated}, but the frames are {angles} x {phases}; state both, or take one stack out",
    )
