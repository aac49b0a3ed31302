"""Estimation and reconstruction on a GPU: how far its numbers are from the CPU's, and how long it takes.

    python benchmarks/recon/gpu.py    # prints JSON

Not part of `make benchmark-recon`, which has to run on any machine. The scene is 512 x 512 pixels, 3 angles x 3
phases, of the project's own forward model: nothing is held against truth here.
"""

import json
import math
import sys
import time
from collections.abc import Callable
from statistics import median

import torch

from sim_models.field import Camera, Illumination, Microscope
from sim_models.optics.camera import expose
from sim_models.optics.estimate import Estimate, estimate
from sim_models.optics.forward import acquire
from sim_models.optics.illumination import patterns, pixel_centres_um
from sim_models.optics.reconstruct import DEFAULT, Reconstructor

SIZE_PX, BATCH, REPEATS = 512, 64, 15
CAMERA = Camera(gain=1.0, offset=0.0, read_noise=1.5)
MICROSCOPE = Microscope(
    numerical_aperture=1.4, refractive_index=1.518, emission_um=0.525, pixel_um=0.065,
    camera=CAMERA,
)  # fmt: skip
ILLUMINATION = Illumination(
    angle_rad=(0.2, 1.25, 2.3), spacing_um=(0.2, 0.201, 0.202), phase_rad=((0.1, 2.2, 4.3),) * 3,
    modulation=((0.8,),) * 3,
)  # fmt: skip


def scene() -> torch.Tensor:
    """Frames (A, P, Y, X) in photo-electrons of lines that cross."""
    generator = torch.Generator().manual_seed(1)
    fine = torch.arange(4 * SIZE_PX, dtype=torch.float32)
    light = torch.zeros(4 * SIZE_PX, 4 * SIZE_PX)
    for direction, offset in torch.rand(60, 2, generator=generator).tolist():
        across = math.sin(math.pi * direction) * fine[:, None] + math.cos(math.pi * direction) * fine
        light += torch.exp(-((across - offset * 6 * SIZE_PX).square()) / 8)
    places_um = pixel_centres_um(4 * SIZE_PX, MICROSCOPE.pixel_um, 4)
    clean = acquire(light, patterns(ILLUMINATION, places_um, places_um), MICROSCOPE, 4)
    electrons = 100 * clean / clean.max()
    return expose(electrons, CAMERA, generator).float()


def milliseconds(call: Callable[[], object]) -> float:
    """Median of several calls, warm, each with all of its work done."""
    times = []
    for _ in range(3 + REPEATS):
        torch.cuda.synchronize()
        start = time.perf_counter()
        call()
        torch.cuda.synchronize()
        times.append(1e3 * (time.perf_counter() - start))
    return round(median(times[3:]), 3)


def reconstructor(frames: torch.Tensor, found: Estimate) -> Reconstructor:
    """With everything the estimate says."""
    return Reconstructor(frames, MICROSCOPE, found.illumination, DEFAULT, found.otf, found.haze)


def main() -> int:
    """Measure, or say that there is no GPU."""
    if not torch.cuda.is_available():
        print("error: PyTorch sees no GPU here; this measures one", file=sys.stderr)
        return 2
    frames = scene()
    moved = frames.cuda()
    found, there = estimate(frames, MICROSCOPE, 1), estimate(moved, MICROSCOPE, 1)
    make, make_there = reconstructor(frames, found), reconstructor(moved, found)
    image = make(frames)
    batch = moved.expand(BATCH, -1, -1, -1, -1).contiguous()
    off = (make_there(moved).cpu() - image).abs().max() / (image.max() - image.min())
    waves = [
        max(abs(one.spacing_um / other.spacing_um - 1), abs(one.angle_rad - other.angle_rad))
        for one, other in zip(found.angles, there.angles, strict=True)
    ]
    print(json.dumps({
        "gpu": torch.cuda.get_device_name(), "torch": torch.__version__, "frames": list(frames.shape),
        "image_difference_of_range": float(off),
        "wave_vector_difference_relative": max(waves),
        "modulation_difference": max(
            abs(one.modulation[0] - other.modulation[0])
            for one, other in zip(found.angles, there.angles, strict=True)
        ),
        "reconstruct_ms": {"cpu": milliseconds(lambda: make(frames)), "gpu": milliseconds(lambda: make_there(moved))},
        "reconstruct_batch_ms_per_stack": {"gpu": round(milliseconds(lambda: make_there(batch)) / BATCH, 4)},
        "estimate_ms": {
            "cpu": milliseconds(lambda: estimate(frames, MICROSCOPE, 1)),
            "gpu": milliseconds(lambda: estimate(moved, MICROSCOPE, 1)),
        },
        "gpu_memory_of_batch_mb": round(torch.cuda.max_memory_allocated() / 2**20),
    }, indent=2))  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
