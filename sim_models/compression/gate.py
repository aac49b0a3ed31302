"""The gate of compression: what a compressed network gives, held against the network it was made from."""

import math
from collections.abc import Callable, Mapping, Sequence
from time import perf_counter

import numpy as np
from pydantic import Field, PositiveFloat

from sim_models.config import BadInput, Settings
from sim_models.field import Image, Role
from sim_models.onnx_network import Judged

Psnr = Callable[[Image, Image], float]
"""dB of an image against another"""


class Limits(Settings):
    """What a compressed network may lose, on the worst of the stacks it is judged by."""

    max_loss_db: float = Field(ge=0)
    """by how much PSNR against a reference may fall; where there are references"""
    min_fidelity_db: PositiveFloat
    """PSNR against the image of the float network; where there are none"""


def judged(
    before: Sequence[Image],
    after: Sequence[Image],
    references: Sequence[Image] | None,
    psnr: Psnr,
    limits: Limits,
    held_out: bool,
) -> Judged:
    """Compare images of the float network with those of the compressed one.

    Args:
        before: of the float network.
        after: of the compressed one, of the same stacks.
        references: of the same stacks; None where there are none.
        psnr: how an image is compared with a reference, or with that of the float network.
        limits: what may be lost.
        held_out: whether these stacks had no part in the compression.

    Raises:
        BadInput: if more is lost than may be.
    """
    value, limit, passed, criterion = _compared(before, after, references, psnr, limits)
    if not passed:
        found, wanted = (
            ("loses {:.2f} dB of PSNR against the references", "at most {:g} dB may be lost")
            if criterion == "loss_db"
            else ("keeps {:.2f} dB of PSNR against the float model", "at least {:g} dB are to be kept")
        )
        raise BadInput(
            f"the compressed model {found.format(value)} on the worst of {len(before)} stacks, but "
            f"{wanted.format(limit)}; nothing is written, stay with the float model or compress less"
        )
    return Judged(
        criterion=criterion,
        value=value if math.isfinite(value) else None,
        limit=limit,
        stacks=len(before),
        held_out=held_out,
    )


def _compared(
    before: Sequence[Image],
    after: Sequence[Image],
    references: Sequence[Image] | None,
    psnr: Psnr,
    limits: Limits,
) -> tuple[float, float, bool, str]:
    pairs = list(zip(before, after, strict=True))
    # `max` and `min` would let a value that is no number pass.
    if references is None:
        kept = [math.inf if np.array_equal(old, new) else psnr(new, old) for old, new in pairs]
        fidelity = float(np.min(kept))
        return fidelity, limits.min_fidelity_db, fidelity >= limits.min_fidelity_db, "fidelity_db"
    lost = [
        0.0 if np.array_equal(old, new) else psnr(old, reference) - psnr(new, reference)
        for (old, new), reference in zip(pairs, references, strict=True)
    ]
    loss = float(np.max(lost))
    return loss, limits.max_loss_db, loss <= limits.max_loss_db, "loss_db"


Images = Mapping[Role, Image]


def milliseconds(
    before: Callable[[Images], Image], after: Callable[[Images], Image], field: Images, repeats: int
) -> tuple[float, float]:
    """Milliseconds for a megapixel restored, of both, turn by turn so that both meet the same machine; medians."""
    megapixels = before(field).size / 1e6
    after(field)
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats):
        for restore, own in zip((before, after), times, strict=True):
            start = perf_counter()
            restore(field)
            own.append(1e3 * (perf_counter() - start))
    return float(np.median(times[0])) / megapixels, float(np.median(times[1])) / megapixels
