"""What every stage shares: one argument, whole outputs, and one sentence where something is wrong."""

import ctypes
import hashlib
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sim_models.config import BadInput, NotReady, Refused, WorkFailed

DATA = Path("data")
MODELS = Path("models")
TRANSFERS = Path("transfers")
REPORTS = Path("reports")
RUNS = Path("runs")
"""checkpoints and studies under way; what lets an interrupted stage go on; DVC does not know it"""

WORK_FAILED, BAD_INPUT, REFUSED, NOT_READY, INTERRUPTED = 1, 2, 3, 4, 130
CODES = {WorkFailed: WORK_FAILED, Refused: REFUSED, NotReady: NOT_READY}
"""exit codes of bad input of a kind of its own"""

PR_SET_PDEATHSIG = 1
"""`prctl(2)`: the signal to get when the parent dies"""


def run(stage: Callable[..., None]) -> None:
    """Call a stage with the arguments of the command line, as its file's entry point."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    end_with_parent(signal.SIGTERM)
    sys.exit(exit_code(lambda: stage(*sys.argv[1:])))


def end_with_parent(by: signal.Signals) -> None:
    """A killed `dvc` takes its stage along: nobody waits for an orphan's result, and it would block the next run."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, by)


def exit_code(work: Callable[[], None]) -> int:
    """Do `work`; bad input becomes one sentence on stderr and exit code 2, no traceback.

    3 is for what a rule forbids, 4 for what is not ready, 1 for work that failed elsewhere.
    """
    try:
        work()
    except BadInput as error:
        print(f"error: {error}{_advice(error)}", file=sys.stderr)
        return CODES.get(type(error), BAD_INPUT)
    except KeyboardInterrupt:
        print("interrupted; run the same command again to go on", file=sys.stderr)
        return INTERRUPTED
    except OSError as error:
        # Disk full, no permission: the reason is on the person's side, and their words suffice.
        print(f"error: {error.filename or 'a file'}: {error.strerror or error}", file=sys.stderr)
        return BAD_INPUT
    return 0


def _advice(error: BadInput) -> str:
    """What else would do, where what was given is none of SIM."""
    from sim_models.sources.checks import CopiedFrames

    if not isinstance(error, CopiedFrames):
        return ""
    from sim_models.recipes import without_stripes

    return f". For images without stripes there are recipes that need none: {', '.join(without_stripes())}"


def project_root() -> Path:
    """The folder of the DVC project, where MLflow's local files lie; a study may live below it."""
    return Path(os.environ.get("DVC_ROOT", "."))


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A folder to write into that takes its name only when everything is in it."""
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    if folder.exists():
        shutil.rmtree(folder)
    partial.rename(folder)


def write_whole(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text)
    partial.replace(path)


def digest(*parts: str | Path) -> str:
    """Short SHA-256 over texts and over the names and contents of folders."""
    total = hashlib.sha256()
    for part in parts:
        if isinstance(part, str):
            total.update(part.encode())
            continue
        for file in sorted(
            file for file in part.rglob("*") if file.is_file() and "__pycache__" not in file.parts
        ):
            total.update(str(file.relative_to(part)).encode())
            total.update(file.read_bytes())
    return total.hexdigest()[:16]
