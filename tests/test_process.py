"""What a process of ours asks of the machine."""

import os
import subprocess
import sys

import pytest


def threads_of(**environment: str) -> str:
    """What PyTorch would be told in a new process."""
    code = "import os, pipelines; print(os.environ.get('OMP_NUM_THREADS'))"
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in ("OMP_NUM_THREADS", "SIM_MODELS_THREADS")
    }
    done = subprocess.run(
        [sys.executable, "-c", code], env=kept | environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("environment", "threads"),
    [
        ({}, "2"),
        ({"SIM_MODELS_THREADS": "1"}, "1"),
        ({"OMP_NUM_THREADS": "5"}, "5"),
        ({"SIM_MODELS_THREADS": "many"}, "None"),
    ],
)
def test_the_number_of_threads_does_not_depend_on_the_machine(
    environment: dict[str, str], threads: str
) -> None:
    assert threads_of(**environment) == threads


def test_freed_memory_is_kept() -> None:
    """A large array that goes leaves its pages with the process, where the C library is glibc."""
    code = """
import ctypes, pipelines, numpy
def resident():
    return next(int(line.split()[1]) for line in open('/proc/self/status') if line.startswith('VmRSS'))
array = numpy.ones(2**21)
full = resident()
del array
print(hasattr(ctypes.CDLL(None), 'mallopt'), full - resident())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    glibc, given_back_kb = done.stdout.split()
    if glibc != "True":
        pytest.skip("another C library")
    assert int(given_back_kb) < 2000
