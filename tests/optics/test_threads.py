import os
import subprocess
import sys

import pytest
import torch

from sim_models.optics.threads import SMALL, threads_for


@pytest.fixture
def _two_threads() -> object:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("_two_threads")
def test_small_frames_are_computed_on_one_thread_and_large_ones_on_all() -> None:
    with threads_for(torch.empty(SMALL - 1)):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2
    with threads_for(torch.empty(SMALL)):
        assert torch.get_num_threads() == 2


@pytest.mark.usefixtures("_two_threads")
def test_a_refusal_leaves_the_number_of_threads_as_it_was() -> None:
    with pytest.raises(ValueError, match="refused"), threads_for(torch.empty(1)):
        raise ValueError("refused")
    assert torch.get_num_threads() == 2


CODE = """
import time, torch
from sim_models.optics.estimate import estimate
from sim_models.config import BadInput
from sim_models.field import Microscope
torch.set_num_threads(2)
microscope = Microscope(numerical_aperture=1.4, refractive_index=1.518, emission_um=0.525, pixel_um=0.065, camera=None)
frames = torch.poisson(torch.full((3, 3, 96, 96), 20.0))
times = []
for _ in range(4):
    start = time.process_time()
    try:
        estimate(frames, microscope, 1)
    except BadInput:
        pass
    times.append(time.process_time() - start)
print(min(times[1:]))
"""


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")
def test_a_small_field_does_not_spin_while_other_programs_compute() -> None:
    """With a busy process on every core, two threads would spend most of their time waiting for each other."""
    cores = sorted(os.sched_getaffinity(0))[:2]
    busy = [
        subprocess.Popen(
            [sys.executable, "-c", f"import os\nos.sched_setaffinity(0, {{{core}}})\nwhile True: pass"]
        )
        for core in cores
    ]
    try:
        environment = os.environ | {"OMP_NUM_THREADS": "2"}
        done = subprocess.run(
            [sys.executable, "-c", CODE], capture_output=True, text=True, check=True, env=environment
        )
    finally:
        for process in busy:
            process.kill()
            process.wait()
    assert float(done.stdout) < 0.25
