"""Reads many damaged files, each made of a seed and a number, as `test_corruptions.py` asks.

    python tests/corrupted.py <seed> <first case> <number of cases> <folder>

prints one line of JSON per case. A case that takes longer than `LONGEST_S` ends the program by SIGALRM, one that takes
more than `MOST_BYTES` beyond what is loaded gets a MemoryError.
"""

import json
import resource
import shutil
import signal
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from damage import DAMAGE, WRITERS, damaged_zarr
from numpy.typing import NDArray

from sim_models.config import BadInput, Settings, choice_of, parse, read_yaml
from sim_models.images import read
from sim_models.sources import layouts
from sim_models.sources.raw import Declared

LONGEST_S = 10
MOST_BYTES = 2 * 2**30
LONGEST_SENTENCE = 400


class Definition(Settings):
    """Read from `damage.SETTINGS`."""

    name: str
    licence: str
    usual: dict[str, int | str]
    frames: Declared
    layout: choice_of(layouts)  # type: ignore[valid-type]
    sizes: tuple[int, ...]


@dataclass(frozen=True)
class Case:
    """One damaged file."""

    kind: str
    number: int
    seed: int

    def make(self, folder: Path) -> tuple[Path, str]:
        """Write it; says what was done to it."""
        rng = np.random.default_rng([self.seed, self.number])
        path = folder / self.kind
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        WRITERS[self.kind](path)
        if path.is_dir():
            return path, damaged_zarr(path, rng)
        damage = DAMAGE[path.suffix][int(rng.integers(len(DAMAGE[path.suffix])))]
        path.write_bytes(damage(path.read_bytes(), rng))
        return path, damage.__name__


def case(number: int, seed: int) -> Case:
    """All kinds take turns."""
    return Case(list(WRITERS)[number % len(WRITERS)], number, seed)


def outcome(each: Case, folder: Path) -> dict[str, Any]:
    """What became of a case: `wrong` says what should not be."""
    folder.mkdir(exist_ok=True)
    WRITERS[each.kind](folder / f"whole_{each.kind}") if not (
        folder / f"whole_{each.kind}"
    ).exists() else None
    path, done = each.make(folder)
    said = {"number": each.number, "kind": each.kind, "done": done, "wrong": None, "said": ""}
    try:
        if path.suffix == ".yaml":
            parse(Definition, read_yaml(path), str(path))
        else:
            said["wrong"] = _not_right(read(path), path, read(folder / f"whole_{each.kind}").data, done)
    except BadInput as refusal:
        said["said"] = str(refusal)
        said["wrong"] = _not_a_sentence(str(refusal), path)
    except BaseException as error:
        said["wrong"] = f"{type(error).__name__}: {error} {traceback.format_exc()[-600:]}"
    return said


def _not_a_sentence(text: str, path: Path) -> str | None:
    longest = LONGEST_SENTENCE + len(str(path)) + 100 * text.count("; ") * (path.suffix == ".yaml")
    if "\n" in text or len(text) > longest or path.name not in text or not text.isprintable():
        return f"is no sentence that names the file: {text}"
    return None


def _not_right(file: Any, path: Path, whole: NDArray[Any], done: str) -> str | None:
    """Equal; or with other values where bytes were changed; or of a shape and type that the stored bytes can be."""
    data = file.data
    if len(file.axes) != data.ndim or not data.dtype.isnative:
        return f"axes {file.axes} of shape {data.shape}"
    if data.dtype == whole.dtype and np.array_equal(data, whole):
        return None
    if path.suffix == ".tif" and (data.shape, data.dtype) != (whole.shape, whole.dtype):
        told = any("frames may have been lost" in warning for warning in file.warnings)
        return None if told else f"another image, {data.shape} {data.dtype}"
    if "truncated" in done or "lost" in done or done in ("nearly_whole", "empty", "appended"):
        return f"read in part, as {data.shape} {data.dtype}"
    if done == "swapped_sides":
        return None if np.array_equal(data.ravel(), whole.ravel()) else "other values"
    stored = path.stat().st_size if path.is_file() else whole.nbytes + 2**16
    if data.nbytes > max(200 * stored, 2**20):
        return f"{data.shape} {data.dtype} from {stored} bytes"
    return None


def main(seed: int, first: int, count: int, folder: Path) -> None:
    """Print what becomes of some cases."""
    for kind in WRITERS:  # whatever is imported late is loaded before memory is bounded
        outcome(Case(kind, list(WRITERS).index(kind), seed), folder)
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + MOST_BYTES, size + MOST_BYTES))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    for number in range(first, first + count):
        signal.alarm(LONGEST_S)
        print(json.dumps(outcome(case(number, seed), folder)), flush=True)
        signal.alarm(0)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:4]), Path(sys.argv[4]))
