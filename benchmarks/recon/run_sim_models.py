"""Runs sim_models on cases of the benchmark; see `recon_case` for the interface.

Beyond what the interface asks for, result.json carries what the project promises with every result: uncertainties,
scores, noise, transfer function, settings, version and warnings.
"""

import math
import sys
import traceback
from argparse import Namespace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sim_models.config import BadInput
from sim_models.field import Camera, Illumination, Microscope
from sim_models.optics.estimate import Estimate, NoPattern, estimate
from sim_models.optics.otf import Otf
from sim_models.optics.reconstruct import DEFAULT, POINTS, Reconstructor

sys.path.insert(0, str(Path(__file__).parent))  # python -P leaves it out
from recon_case import THREADS, Case, Stopwatch, load, parser, peak_mb, resident_mb, save

NAME = "sim_models"

REFRACTIVE_INDEX = 1.518
"""a case does not tell; in focus nothing depends on it"""

TRANSFER_BINS = 64


def microscope_of(case: Case) -> Microscope:
    """The microscope a case was taken with."""
    meta = case.meta
    return Microscope(
        numerical_aperture=meta["na"],
        refractive_index=max(REFRACTIVE_INDEX, meta["na"] + 0.01),
        emission_um=meta["em_um"],
        pixel_um=meta["pixel_um"],
        camera=Camera(gain=meta["gain"], offset=meta["offset"], read_noise=meta["read_noise"]),
    )


def true_stripes(case: Case) -> Illumination:
    """The stripes as they were simulated."""
    assert case.truth is not None
    waves = case.truth["k"] / np.array(case.field_um)
    return Illumination(
        angle_rad=tuple(np.arctan2(waves[:, 1], waves[:, 0]).tolist()),
        spacing_um=tuple((1 / np.hypot(*waves.T)).tolist()),
        phase_rad=tuple(map(tuple, case.truth["phase"].tolist())),
        modulation=tuple(map(tuple, case.truth["mod"].tolist())),
    )


def told_stripes(case: Case, stripes: Illumination) -> dict[str, Any]:
    """Stripes in the words of the benchmark."""
    width, height = case.field_um
    angles = zip(stripes.angle_rad, stripes.spacing_um, strict=True)
    return {
        "k": [
            (width / spacing * math.cos(angle), height / spacing * math.sin(angle))
            for angle, spacing in angles
        ],
        "phase": stripes.phase_rad,
        "mod": stripes.modulation,
    }


def told_estimate(case: Case, found: Estimate) -> dict[str, Any]:
    """How sure an estimate is, and what else it found."""
    longest = max(case.field_um)
    return {
        "k_sigma_px": [
            longest / angle.spacing_um * max(angle.angle_sigma_rad, angle.spacing_sigma_um / angle.spacing_um)
            for angle in found.angles
        ],
        "phase_sigma": [angle.phase_sigma_rad for angle in found.angles],
        "mod_sigma": [angle.modulation_sigma for angle in found.angles],
        "score": [angle.score for angle in found.angles],
        "limit": [angle.limit for angle in found.angles],
        "found": [angle.found for angle in found.angles],
        "equal_steps": found.equal_steps,
        "noise_variance": found.noise_variance,
        "warnings": found.warnings,
    }


def run(case: Case, options: Namespace) -> dict[str, Any]:
    """Estimate and reconstruct a case: the entries of its result.

    Raises:
        BadInput: if the case is refused.
    """
    watch = Stopwatch(options.repeat)
    microscope, harmonics = microscope_of(case), case.meta["n_orders"]
    otf = Otf(microscope.cutoff_per_um, pixel_um=0.0)  # pixels of the cases are points
    counts = torch.from_numpy(case.counts.astype(np.float32))
    frames = (counts - case.meta["offset"]) / case.meta["gain"]
    result: dict[str, Any] = {"loaded_rss_mb": resident_mb()}
    haze: tuple[float, ...] = ()
    if options.params == "truth":
        stripes = true_stripes(case)
    else:
        found, result["t_estimate_s"] = watch.time(lambda: estimate(frames, microscope, harmonics, otf))
        stripes, otf, haze = found.illumination, found.otf, found.haze
        result |= told_estimate(case, found)
    result |= told_stripes(case, stripes)
    if not options.estimate_only:
        strength = DEFAULT.strength if options.wiener is None else options.wiener
        settings = DEFAULT.model_copy(update={"strength": strength})
        reconstruct, result["t_setup_s"] = watch.time(
            lambda: Reconstructor(frames, microscope, stripes, settings, otf, haze, POINTS)
        )
        image, result["t_reconstruct_s"] = watch.time(lambda: reconstruct(frames))
        per_um, transfer = reconstruct.transfer.radial(TRANSFER_BINS)
        result |= {
            "image": image.numpy(),
            "settings": settings.model_dump(),
            "transfer": {"per_um": per_um.tolist(), "value": transfer.tolist()},
        }
    return result | ({} if watch.foreign is None else {"foreign_cpu": watch.foreign})


def refusal(error: BadInput) -> dict[str, Any]:
    """The entries of a case that is refused."""
    told: dict[str, Any] = {"ok": False, "message": str(error)}
    if isinstance(error, NoPattern):
        told |= {"refused_angle": error.angle, "score": error.score, "limit": error.limit}
    return told


def main() -> None:
    """Run every case; one that breaks does not keep the others from running."""
    options = parser("Estimate and reconstruct with sim_models.").parse_args()
    torch.set_num_threads(THREADS)
    base_mb, broken = resident_mb(), False
    for folder in options.cases:
        case = load(folder, with_truth=options.params == "truth")
        try:
            result = {"ok": True, **run(case, options)}
        except BadInput as error:
            result = refusal(error)
        except Exception as error:
            traceback.print_exc()
            broken = True
            result = {"ok": False, "crashed": True, "message": f"{type(error).__name__}: {error}"}
        memory: dict[str, Any] = {"base_rss_mb": base_mb, "peak_rss_mb": peak_mb()}
        save(options.out, case, NAME, **result, **memory, version=version("sim-models"), threads=THREADS)
    sys.exit(broken)


if __name__ == "__main__":
    main()
