"""Damaged files are refused with a sentence or read rightly: no other exception, no hang, no gigabytes.

`tests/corrupted.py` makes them from a seed; SIM_MODELS_CORRUPTIONS=<seed>,<cases> looks at others and more.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SEED, CASES = map(int, os.environ.get("SIM_MODELS_CORRUPTIONS", "0,350").split(","))
PROGRAM = Path(__file__).with_name("corrupted.py")


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[int, dict[str, Any]]:
    """By number of the case. A case that ends the program is told so, and the next ones are looked at anew."""
    folder = tmp_path_factory.mktemp("corrupted")
    found: dict[int, dict[str, Any]] = {}
    while (first := len(found)) < CASES:
        command = [sys.executable, str(PROGRAM), *map(str, (SEED, first, CASES - first)), str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        found |= {case["number"]: case for case in map(json.loads, done.stdout.splitlines())}
        if (last := len(found)) < CASES:
            found[last] = {"wrong": f"ended the program with {done.returncode}: {done.stderr[-500:]}"}
    return found


@pytest.mark.parametrize("number", range(CASES))
def test_refused_or_read_rightly(number: int, outcomes: dict[int, dict[str, Any]]) -> None:
    assert outcomes[number]["wrong"] is None, outcomes[number]


def test_damage_is_refused_and_not_read_over(outcomes: dict[int, dict[str, Any]]) -> None:
    """Or nothing of the above would be tested."""
    refused = [case for case in outcomes.values() if case.get("said")]
    assert len(refused) > 0.5 * CASES
