"""How processes of ours use the machine; called before PyTorch is imported, since it reads the environment then."""

import ctypes
import os

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""numbers of glibc's mallopt(3)"""

LARGEST_KEPT, MOST_KEPT = 32 * 2**20, 2**30
"""bytes: of an array whose memory is kept for the next one (glibc allows no more), and of all that is kept"""


def settle() -> None:
    """Compute on as many threads as SIM_MODELS_THREADS says, and keep freed memory for the next array.

    The number of threads is fixed, whatever the machine, for the last digits of sums depend on it; one is best where
    others compute too, since two wait for whichever was put aside. Arrays of many megabytes come and go here; where
    glibc gives each back to the system at once, fetching new pages takes longer than computing on them.
    """
    if (threads := os.environ.get("SIM_MODELS_THREADS", "2")).isdecimal():
        os.environ.setdefault("OMP_NUM_THREADS", threads)
    # Other C libraries have no such function, and do not give memory back like this.
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, LARGEST_KEPT)
        mallopt(M_TRIM_THRESHOLD, MOST_KEPT)
