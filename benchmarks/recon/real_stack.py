"""A real raw stack as a case: microtubules in TIRF-SIM, MT.mrc of rDL-SIM (github.com/qc17-THU/rDL-SIM, MIT licence).

It is not shipped here. Its truth is not known; the wave vectors it is held against are those that two other programs
find once they are told where to look. 256 x 256 pixels of 62.6 nm, 3 angles x 3 phases, about 22 camera levels of
signal; stripes beyond the cutoff, so that no spectrum shows a peak.
"""

import json
import warnings
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import tifffile
from numpy.typing import NDArray

NAME = "rdl_microtubules"
PLACE = Path("rdl-microtubules-tirf", "MT.mrc")
"""in a folder of real data"""

ANGLES, PHASES = 3, 3
NUMERICAL_APERTURE, EMISSION_UM, PIXEL_UM = 1.3, 0.525, 0.0626

GIVEN_START = (
    ((89.26, 1.4847), (88.98, 1.4799)),
    ((88.98, 2.5298), (89.00, 2.5298)),
    ((89.01, 0.4367), (88.93, 0.4365)),
)
"""by angle: (|k| in cycles per field, direction in rad) of fairSIM and of rDL-SIM's fit, started at the nominal ones"""

AGREEMENT_PX = 0.2
"""distance from the mean of the two within which an angle counts as found"""

STEPS_PER_LEVEL, OFFSET = 8, 800.0
"""of the numbers in the case; finer than camera levels, since angles are brought to one brightness"""


def reference_waves() -> NDArray[np.float64]:
    """(A, 2) (kx, ky), cycles per field."""
    length, direction = np.moveaxis(np.array(GIVEN_START), -1, 0)
    return np.stack([length * np.cos(direction), length * np.sin(direction)], -1).mean(axis=1)


def distances_px(waves: Any) -> NDArray[np.float64]:
    """(A,) of wave vectors (A, 2), each of which may be reversed, from the reference."""
    found, wanted = np.array(waves, float), reference_waves()
    nearer: NDArray[np.float64] = np.minimum(np.hypot(*(found - wanted).T), np.hypot(*(found + wanted).T))
    return nearer


def write_case(stack: Path, folder: Path) -> None:
    """Write the case, without a truth.npz.

    Its publisher stretched each angle to 0..65535: that is undone to camera levels, a background is taken off, and the
    angles are brought to one brightness.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its header is of an older kind
        with mrcfile.open(stack, permissive=True) as opened:
            frames = np.array(opened.data, dtype=np.float64)
    angles = frames.reshape(ANGLES, PHASES, *frames.shape[-2:])
    levels = np.stack([_in_camera_levels(angle) for angle in angles])
    means = levels.mean(axis=(1, 2, 3), keepdims=True)
    steps = np.rint(levels * means.mean() / means * STEPS_PER_LEVEL + OFFSET)
    folder.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(folder / "raw.tif", np.clip(steps, 0, 65535).astype(np.uint16).reshape(frames.shape))
    width = frames.shape[-1]
    meta = {
        "pixel_um": PIXEL_UM, "na": NUMERICAL_APERTURE, "em_um": EMISSION_UM,
        "n_angles": ANGLES, "n_phases": PHASES, "n_orders": 1,
        "offset": OFFSET, "gain": float(STEPS_PER_LEVEL), "read_noise": 0.0, "otf": "ideal",
        "size": width, "fc_px": 2 * NUMERICAL_APERTURE / EMISSION_UM * PIXEL_UM * width, "tirf": True,
    }  # fmt: skip
    (folder / "meta.json").write_text(json.dumps(meta, indent=1))


def _in_camera_levels(angle: NDArray[np.float64]) -> NDArray[np.float64]:
    levels = angle / np.median(np.diff(np.unique(angle)))
    return levels - np.percentile(levels, 0.5)
