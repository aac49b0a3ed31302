"""Whether a restored field could have given its raw frames: see `optics.consistency`."""

import numpy as np
import torch

from sim_models.field import Field, Image
from sim_models.optics.consistency import SCALE, Consistency, check_consistency

CHI2, FLAGGED = "consistency_chi2_raw", "consistency_flagged_percent_raw"
"""chi-squared over its expectation, and the share of the image, in percent, that contradicts the raw frames; with the
stripes of the field's metadata: the true ones of simulated fields, the estimated ones of others"""


def consistency(image: Image, field: Field) -> Consistency | None:
    """Compare an image (2 Y, 2 X) in the unit of the field with its raw frames; None where they tell too little.

    That is where stripes or camera are not known, or the image has another size.
    """
    camera = field.microscope.camera
    frames = field.images.get("raw")
    if frames is None or field.illumination is None or camera is None:
        return None
    raw = frames.astype(np.float32)
    if image.shape != tuple(SCALE * n for n in raw.shape[-2:]):
        return None
    if field.unit == "counts":
        raw, image = ((values - camera.offset) / camera.gain for values in (raw, image))
    return check_consistency(
        torch.as_tensor(np.asarray(image, np.float32)),
        torch.as_tensor(raw),
        field.microscope,
        field.illumination,
    )


def percent(share: float) -> str:
    """A share in percent with two digits."""
    return f"{share:.2g}" if share < 99.5 else "100"


def values(found: Consistency, border_px: int) -> dict[str, float]:
    """The two numbers by their names; `border_px` pixels of the image along every edge are not judged."""
    inner = found.flagged[border_px:-border_px, border_px:-border_px] if border_px else found.flagged
    return {CHI2: found.chi2_reduced, FLAGGED: 100 * float(inner.float().mean())}
