"""DVC's commands, one at a time: its lock is waited for, and who holds it is told.

DVC has two locks. The one of the repository (`.dvc/tmp/lock`) is held while it reads and writes; while a stage runs,
only what that stage reads and writes is locked (`.dvc/tmp/rwlock`). Of another's lock DVC itself says after three
seconds that it failed. `python -m pipelines.shared.dvc_command repro` is `dvc repro` that waits.
"""

import fcntl
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, TypeVar

import psutil
from dvc.lock import LockError

from pipelines.shared.stage import exit_code
from sim_models.config import BadInput

T = TypeVar("T")

WAIT_S = 3600.0
"""after which waiting ends with a sentence"""
TELL_S = 60.0
"""between two sentences about who is waited for"""
FIRST_S, LAST_S = 0.5, 10.0
"""between two looks: doubled from the first to the last"""
REFUSALS = ("Unable to acquire lock", "is busy, it is being blocked by")
"""what DVC says where another has a lock"""
KEPT = 20_000
"""characters of what a command wrote to stderr that are kept"""


@dataclass(frozen=True)
class Holder:
    """A process that has a lock of DVC's."""

    pid: int | None
    command: str
    since: datetime | None

    @property
    def sentence(self) -> str:
        """Who it is, for people."""
        who = "another process" if self.pid is None else f"process {self.pid}"
        named = f" ({self.command})" if self.command else ""
        since = f", running since {self.since:%Y-%m-%d %H:%M:%S}" if self.since else ""
        return f"{who}{named}{since}"


@dataclass(frozen=True)
class Ended:
    """How a command ended, and what it said."""

    code: int
    out: str
    """empty where it was shown instead"""
    err: str

    @property
    def reason(self) -> str:
        """Its last words."""
        lines = [line.strip() for line in self.err.replace("\r", "\n").splitlines()]
        errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
        return (errors or [line for line in lines if line] or [f"exit code {self.code}"])[-1]


def dvc(
    arguments: Sequence[str],
    folder: Path = Path(),
    show: bool = True,
    environment: Mapping[str, str] | None = None,
    wait_s: float | None = None,
) -> Ended:
    """Run a command of DVC in `folder`, waiting as long as another process has what it needs.

    Args:
        arguments: of `dvc`.
        folder: of the project or of a study in it.
        show: whether what it says goes to the screen; else it is kept.
        environment: variables to add.
        wait_s: `WAIT_S` if not given.

    Raises:
        BadInput: if another holds a lock for too long, by name.
    """
    patience = _Patience(folder, WAIT_S if wait_s is None else wait_s)
    while True:
        while (holder := lock_holder(folder)) is not None:
            patience.sleep(holder)
        ended = _run(arguments, folder, show, environment or {})
        if ended.code == 0 or not any(refusal in ended.err for refusal in REFUSALS):
            return ended
        patience.sleep(lock_holder(folder) or rwlock_holder(folder) or Holder(None, "", None))


def with_lock(work: Callable[[], T], folder: Path) -> T:
    """Do something through DVC as a library, waiting as `dvc` does.

    Raises:
        BadInput: if another holds a lock for too long, by name.
    """
    patience = _Patience(folder, WAIT_S)
    while True:
        while (holder := lock_holder(folder)) is not None:
            patience.sleep(holder)
        try:
            return work()
        except LockError:
            patience.sleep(lock_holder(folder) or rwlock_holder(folder) or Holder(None, "", None))


class _Patience:
    """Waits longer and longer, says for whom, and ends at some time."""

    def __init__(self, folder: Path, wait_s: float) -> None:
        self.folder, self.wait_s = folder, wait_s
        self.start, self.told, self.pause = time.monotonic(), -TELL_S, FIRST_S

    def sleep(self, holder: Holder) -> None:
        """Wait once."""
        waited = time.monotonic() - self.start
        if waited > self.wait_s:
            raise BadInput(
                f"{self.folder.resolve()}: {holder.sentence} has held DVC's lock for more than {waited:.0f} s; wait "
                "for it to end, or end it, then run the same command again"
            )
        if waited - self.told >= TELL_S:
            print(f"waiting for DVC's lock, held by {holder.sentence}", file=sys.stderr, flush=True)
            self.told = waited
        time.sleep(self.pause)
        self.pause = min(2 * self.pause, LAST_S)


def _run(arguments: Sequence[str], folder: Path, show: bool, environment: Mapping[str, str]) -> Ended:
    own = {"DVC_NO_ANALYTICS": "1", **environment}
    if show and sys.stderr.isatty():
        own["DVC_IGNORE_ISATTY"] = "1"  # its bars are passed on
    started = subprocess.Popen(
        [sys.executable, "-m", "dvc", *arguments],
        cwd=folder,
        env={**os.environ, **own},
        stdout=None if show else subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    kept: dict[str, bytes] = {"out": b"", "err": b""}
    readers = [
        threading.Thread(target=_pass_on, args=(stream, kept, name, show and name == "err"), daemon=True)
        for name, stream in (("out", started.stdout), ("err", started.stderr))
        if stream is not None
    ]
    for reader in readers:
        reader.start()
    try:
        code = started.wait()
    except BaseException:
        # Ctrl-C reaches DVC as well, which ends its stage and gives its locks back.
        if not isinstance(sys.exception(), KeyboardInterrupt):
            started.terminate()
        started.wait()
        raise
    for reader in readers:
        # A process that outlives its stage may keep the pipe.
        reader.join(timeout=5)
    return Ended(code, kept["out"].decode(errors="replace"), kept["err"].decode(errors="replace"))


def _pass_on(stream: IO[bytes], kept: dict[str, bytes], name: str, show: bool) -> None:
    with stream:
        while piece := os.read(stream.fileno(), 4096):
            kept[name] += piece
            if name == "err":
                kept[name] = kept[name][-KEPT:]
            if show:
                sys.stderr.write(piece.decode(errors="replace"))
                sys.stderr.flush()


def dvc_root(folder: Path) -> Path | None:
    """The folder of the DVC project that a folder belongs to."""
    here = folder.resolve()
    return next((place for place in (here, *here.parents) if (place / ".dvc").is_dir()), None)


def lock_holder(folder: Path) -> Holder | None:
    """Who has the lock of the repository now, if anybody."""
    root = dvc_root(folder)
    if root is None:
        return None
    path = root / ".dvc" / "tmp" / "lock"
    try:
        with path.open("r+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                return _process(file.read().strip())
    except OSError:
        return None  # nobody has locked it yet, or DVC itself will say what is wrong
    return None


def rwlock_holder(folder: Path) -> Holder | None:
    """Who works on a stage now, if anybody but the processes that this one is part of."""
    root = dvc_root(folder)
    try:
        read = json.loads((root / ".dvc" / "tmp" / "rwlock").read_text()) if root else {}
    except (OSError, ValueError):
        return None
    entries = [entry for entries in read.get("read", {}).values() for entry in entries]
    entries += read.get("write", {}).values()
    ours = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    others = {int(entry["pid"]): str(entry["cmd"]) for entry in entries if int(entry["pid"]) not in ours}
    alive = [pid for pid in others if psutil.pid_exists(pid)]
    return _process(str(alive[0]), others[alive[0]]) if alive else None


def _process(pid: str, command: str = "") -> Holder:
    if not pid.isdecimal():
        return Holder(None, command, None)
    try:
        process = psutil.Process(int(pid))
        since = datetime.fromtimestamp(process.create_time()).astimezone()
        return Holder(int(pid), _readable(command.split() or process.cmdline()), since)
    except psutil.Error:
        return Holder(int(pid), _readable(command.split()), None)


def _readable(words: list[str]) -> str:
    """`dvc repro train` for `/a/b/python /a/b/dvc/__main__.py repro train`."""
    if len(words) > 1 and Path(words[0]).name.startswith("python"):
        words = words[2:] if words[1] == "-m" else words[1:]
    if not words:
        return ""
    first = Path(words[0])
    name = first.parent.name if first.name == "__main__.py" else first.name
    shown = " ".join(" ".join([name, *words[1:]]).split())
    return shown if len(shown) <= 80 else f"{shown[:77]}..."


def main() -> None:
    """`dvc`, but it waits."""
    code = 0

    def work() -> None:
        nonlocal code
        code = dvc(sys.argv[1:]).code

    sys.exit(exit_code(work) or code)


if __name__ == "__main__":
    main()
