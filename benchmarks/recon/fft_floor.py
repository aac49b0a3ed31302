"""Time of the Fourier transforms alone that no reconstruction to doubled sampling can do without.

    python fft_floor.py SIZE_PX ANGLES HARMONICS    # prints milliseconds

The least there is: bands are separated on the raw grid, moved there by a part of a pixel, transformed (the wide-field
as a real image, each other band as a complex one), pasted at whole pixels, and transformed back once.
"""

import sys
import time
from collections.abc import Callable
from statistics import median

import torch
from recon_case import THREADS

WARM_UP, REPEATS = 3, 15

ROUNDS = 5
"""of which the fastest counts, since others may disturb some"""


def _milliseconds(call: Callable[[], torch.Tensor]) -> float:
    times = []
    for _ in range(WARM_UP + REPEATS):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return median(times[WARM_UP:]) * 1e3


def floor_ms(size_px: int, angles: int, harmonics: int) -> float:
    """Sum of the median times of all transforms, in the fastest round."""
    raw = torch.rand(size_px, size_px)
    band = torch.complex(raw, raw)
    spectrum = torch.fft.rfft2(torch.rand(2 * size_px, 2 * size_px))

    def once() -> float:
        widefield_ms = _milliseconds(lambda: torch.fft.rfft2(raw))
        band_ms = _milliseconds(lambda: torch.fft.fft2(band))
        image_ms = _milliseconds(lambda: torch.fft.irfft2(spectrum))
        return widefield_ms + angles * harmonics * band_ms + image_ms

    return min(once() for _ in range(ROUNDS))


if __name__ == "__main__":
    torch.set_num_threads(THREADS)
    print(floor_ms(*map(int, sys.argv[1:])))
