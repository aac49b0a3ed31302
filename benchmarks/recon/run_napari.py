"""Runs napari-sim-processor on cases of the benchmark; see `recon_case` for the interface.

Needs an environment of its own (`peer_env.sh`): its torch path does not run with numpy 2. Only its processors are
imported; the package itself would ask for napari and a screen.
"""

import sys
from argparse import Namespace
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import matplotlib
import numpy as np
import torch
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parent))  # python -P leaves it out
from recon_case import THREADS, Case, Stopwatch, load, parser, peak_mb, resident_mb, save

PACKAGE = "napari_sim_processor"

WIENER, ATTENUATION, ATTENUATION_WIDTH, SEARCH_RADIUS = 0.1, 0.95, 0.3, 0.75
"""its own defaults but for the first, which is better on these cases than its default of 0.3"""

CALIBRATE = {"opencv": "calibrate", "torch": "calibrate_pytorch", "numpy": "calibrate"}
RECONSTRUCT = {"opencv": "reconstruct_ocv", "torch": "reconstruct_pytorch", "numpy": "reconstruct_rfftw"}


def processor_class() -> Any:
    """Its processor of conventional SIM."""
    matplotlib.use("Agg")
    sys.modules["pyfftw"] = None  # type: ignore[assignment]  # `numpy` is numpy's FFT, also where pyfftw is there
    spec = find_spec(PACKAGE)
    if spec is None or spec.submodule_search_locations is None:
        sys.exit(f"error: {PACKAGE} is not installed here; make its environment with peer_env.sh")
    shell = ModuleType(PACKAGE)
    shell.__path__ = list(spec.submodule_search_locations)
    sys.modules[PACKAGE] = shell
    return import_module(f"{PACKAGE}.processors.convSimProcessor").ConvSimProcessor


def make_processor(processors: Any, case: Case, options: Namespace) -> Any:
    """A processor told about the microscope."""
    meta = case.meta
    processor = processors(meta["n_angles"], meta["n_phases"])
    processor.debug = False
    processor.NA, processor.wavelength = meta["na"], meta["em_um"]
    processor.pixelsize, processor.magnification = meta["pixel_um"], 1
    processor.w = WIENER if options.wiener is None else options.wiener
    processor.alpha, processor.beta, processor.eta = ATTENUATION_WIDTH, ATTENUATION, SEARCH_RADIUS
    processor.usePhases = options.measure_phases
    return processor


def told_stripes(processor: Any, phases: int) -> dict[str, NDArray[Any]]:
    """What it found, in the words of the benchmark; its phases count from the middle of the field, and backwards."""
    found = np.stack([processor.kx.ravel() / processor._dkx, processor.ky.ravel() / processor._dky], 1)
    angles = len(found)
    if processor.phi is None:
        steps = np.tile(2 * np.pi * np.arange(phases) / phases, (angles, 1))
    else:
        steps = np.stack([processor.phi[i, i * phases : (i + 1) * phases] for i in range(angles)])
    phase = processor.p.reshape(-1, 1) - steps - np.pi * found.sum(1, keepdims=True)
    return {"k": found.astype(float), "phase": phase, "mod": processor.ampl.reshape(-1, 1).astype(float)}


def run(processors: Any, case: Case, options: Namespace) -> dict[str, Any]:
    """Estimate and reconstruct a case: the entries of its result."""
    if case.meta["n_orders"] > 1:
        return {"ok": False, "cannot": True, "message": "its 2D processor knows one harmonic only"}
    if options.params == "truth":
        return {"ok": False, "cannot": True, "message": "it takes no given phases"}
    watch = Stopwatch(options.repeat)
    frames = case.counts.reshape(-1, *case.counts.shape[-2:]).astype(np.float32) - case.meta["offset"]
    result: dict[str, Any] = {"ok": True, "loaded_rss_mb": resident_mb()}
    processor = make_processor(processors, case, options)
    calibrate = getattr(processor, CALIBRATE[options.backend])
    _, result["t_estimate_s"] = watch.time(lambda: calibrate(frames))
    result |= told_stripes(processor, case.meta["n_phases"])
    if not options.estimate_only:
        reconstruct = getattr(processor, RECONSTRUCT[options.backend])
        image, result["t_reconstruct_s"] = watch.time(lambda: reconstruct(frames))
        result["image"] = np.asarray(image)
    settings = {name: getattr(processor, name) for name in ("w", "alpha", "beta", "eta", "usePhases")}
    return result | {"settings": settings} | ({} if watch.foreign is None else {"foreign_cpu": watch.foreign})


def main() -> None:
    """Run every case; an error of the peer's is a refusal, which is kind to it."""
    options_parser = parser("Estimate and reconstruct with napari-sim-processor.")
    options_parser.add_argument("--backend", choices=CALIBRATE, default="opencv")
    options_parser.add_argument(
        "--measure-phases", action="store_true", help="of every frame; else steps are even"
    )
    options = options_parser.parse_args()
    torch.set_num_threads(THREADS)
    cv2.setNumThreads(THREADS)
    processors, base_mb = processor_class(), resident_mb()
    for folder in options.cases:
        case = load(folder)
        try:
            result = run(processors, case, options)
        except Exception as error:
            result = {"ok": False, "message": f"{type(error).__name__}: {error}"}
        memory: dict[str, Any] = {"base_rss_mb": base_mb, "peak_rss_mb": peak_mb()}
        name = f"napari-sim-processor, {options.backend}"
        save(
            options.out,
            case,
            name,
            **result,
            **memory,
            version=version("napari-sim-processor"),
            threads=THREADS,
        )


if __name__ == "__main__":
    main()
