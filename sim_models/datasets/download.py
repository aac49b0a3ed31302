"""One file from whichever of its mirrors gives it whole; what broke off goes on where it stood, also after a kill."""

import hashlib
import json
import shutil
import threading
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sim_models.config import BadInput, NotReady
from sim_models.datasets.definition import File
from sim_models.datasets.limits import Limits
from sim_models.datasets.web import Answer, NoSuchPart, Problem, ask, host

GAIN_BYTES = 2**20
"""after which an attempt was worth it, and counts no more"""
Report = Callable[[str, int, int | None], None]
"""told of a file's name, its bytes so far, and of all if known"""


@dataclass(frozen=True)
class Hashes:
    """Of a file, as computed here."""

    bytes: int
    md5: str
    sha256: str
    crc32: int


@dataclass(frozen=True)
class Fetched:
    """A whole file under a temporary name, looked at."""

    path: Path
    hashes: Hashes
    verified: tuple[str, ...]
    """what was known of it and is so: sha256, md5, bytes"""
    url: str
    remarks: tuple[str, ...]
    """what other mirrors did"""


class Line:
    """What all downloads of one fetch share: limits, whom to tell, and whether to stop."""

    def __init__(self, limits: Limits, report: Report) -> None:
        self.limits, self.report, self.stop = limits, report, threading.Event()

    def pause(self, seconds: float) -> None:
        """Wait, but not once all stop.

        Raises:
            KeyboardInterrupt: if all stop.
        """
        if self.stop.wait(seconds):
            raise KeyboardInterrupt


def download(file: File, home: Path, line: Line) -> Fetched:
    """Fetch a file into the folder `home`, under its name with `.partial`.

    Raises:
        NotReady: if no server could be reached.
        BadInput: if none gives the file as it was published.
    """
    partial = home / f"{file.name}.partial"
    problems: list[tuple[str, Problem]] = []
    for url in file.urls:
        try:
            hashes, verified = _from(url, file, partial, line)
        except Problem as problem:
            problems.append((host(url), problem))
            continue
        except OSError as error:
            raise OSError(error.errno, error.strerror, error.filename or str(partial)) from None
        said = tuple(f"{server} {problem}" for server, problem in problems)
        return Fetched(partial, hashes, verified, url, said)
    kind = BadInput if any(problem.reached for _, problem in problems) else NotReady
    what = "; ".join(f"{server} {problem}" for server, problem in problems)
    kept = (
        f"; {partial.stat().st_size:,} bytes are kept and the next fetch goes on there"
        if partial.exists()
        else ""
    )
    raise kind(f"{file.name}: could not be fetched: {what}{kept}")


def verify(file: File, path: Path) -> tuple[Hashes, tuple[str, ...]]:
    """Hold a file on disk against what was published of it.

    Raises:
        Problem: if it is another one.
    """
    hashes = hashes_of(path)
    verified = []
    for key in ("bytes", "sha256", "md5"):
        known, found = getattr(file, key), getattr(hashes, key)
        if known is not None and known != found:
            shown = f"{found:,} bytes, not {known:,}" if key == "bytes" else f"{key} {found}, not {known}"
            raise Problem(f"gives another file than was published: it has {shown}")
        if known is not None:
            verified.append(key)
    return hashes, tuple(verified)


def hashes_of(path: Path) -> Hashes:
    """Size, MD5, SHA-256 and CRC-32 of a file, read once."""
    md5, sha256, size, crc32 = hashlib.md5(usedforsecurity=False), hashlib.sha256(), 0, 0
    with path.open("rb") as stream:
        while block := stream.read(2**20):
            md5.update(block)
            sha256.update(block)
            size += len(block)
            crc32 = zlib.crc32(block, crc32)
    return Hashes(size, md5.hexdigest(), sha256.hexdigest(), crc32)


def room(folder: Path, needed: int, what: str, limits: Limits) -> None:
    """Refuse what the disk cannot hold.

    Raises:
        BadInput: saying how much is needed, and how much there is.
    """
    free = shutil.disk_usage(folder).free
    if needed + limits.spare_bytes > free:
        raise BadInput(
            f"{folder}: {what} needs {in_words(needed)}, and {in_words(free)} are free, of which "
            f"{in_words(limits.spare_bytes)} stay so; make room, fetch fewer --cells, or fetch --into another disk"
        )


def in_words(size: int) -> str:
    """Bytes for people: 1.2 GB."""
    for unit, scale in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= scale:
            return f"{size / scale:.3g} {unit}"
    return f"{size} bytes"


def _from(url: str, file: File, partial: Path, line: Line) -> tuple[Hashes, tuple[str, ...]]:
    """Try one mirror until it gives the file, or has failed too often in a row."""
    failed, limits, most = 0, line.limits, _size(partial)
    while True:
        before = _size(partial)
        try:
            _pull(url, file, partial, line)
            return _accept(file, partial, resumed=before > 0)
        except Problem as problem:
            # Beyond what ever came: a file that is wrong is thrown away, and coming again is no gain.
            failed = 0 if _size(partial) >= most + GAIN_BYTES else failed + 1
            most = max(most, before, _size(partial))
            if not problem.again or failed >= limits.attempts:
                raise
            asked = min(problem.wait_s, limits.longest_pause_s)
            line.pause(max(asked, min(limits.pause_s * 2 ** max(0, failed - 1), limits.longest_pause_s)))


def _accept(file: File, partial: Path, resumed: bool) -> tuple[Hashes, tuple[str, ...]]:
    """Verify what has come; what is wrong does not stay, and is asked for once more if it came in pieces."""
    try:
        return verify(file, partial)
    except Problem as problem:
        forget(partial)
        raise Problem(str(problem), again=resumed) from None


def _pull(url: str, file: File, partial: Path, line: Line) -> None:
    """Add to what there is of a file until it is whole, as far as its size tells."""
    first, tag = _stands_at(url, file, partial)
    if first and first == file.bytes:
        return
    try:
        with ask(url, line.limits, first, tag=tag) as answer:
            whole = _whole_size(file, answer)
            if whole is not None:
                room(partial.parent, whole - answer.first, f"fetching {file.name}", line.limits)
            _note(partial).write_text(json.dumps({"url": url, "tag": answer.tag}))
            _write(answer, whole, file, partial, line)
    except NoSuchPart as problem:
        forget(partial)
        raise Problem(str(problem), again=True) from None
    if whole is not None and _size(partial) < whole:
        raise Problem(f"ends after {_size(partial):,} of {whole:,} bytes", again=True)


def _write(answer: Answer, whole: int | None, file: File, partial: Path, line: Line) -> None:
    with partial.open("r+b" if answer.first else "wb") as stream:
        done = stream.seek(answer.first)
        stream.truncate()
        told = time.monotonic()
        for chunk in answer.chunks:
            if line.stop.is_set():
                raise KeyboardInterrupt
            done += len(chunk)
            if whole is not None and done > whole:
                stream.truncate(0)
                raise Problem(f"sends more than the {whole:,} bytes that were promised")
            stream.write(chunk)
            if time.monotonic() - told > 0.1:
                told = time.monotonic()
                line.report(file.name, done, whole)
                if whole is None:
                    room(partial.parent, 0, f"fetching {file.name}", line.limits)
        line.report(file.name, done, whole or done)
    if done == 0:
        raise Problem("sends an empty file")


def _whole_size(file: File, answer: Answer) -> int | None:
    if file.bytes is not None and answer.total not in (None, file.bytes):
        raise Problem(f"has a file of {answer.total:,} bytes, not of {file.bytes:,}")
    return file.bytes or answer.total


def _stands_at(url: str, file: File, partial: Path) -> tuple[int, str | None]:
    """From where to go on, and the version it must be of: without a checksum, only of the same one at the same URL."""
    size = _size(partial)
    if not size or (file.bytes is not None and size > file.bytes):
        return 0, None
    note = {}
    with suppress(OSError, ValueError):
        note = json.loads(_note(partial).read_text())
    same = isinstance(note, dict) and note.get("url") == url and isinstance(note.get("tag"), str)
    if file.md5 is None and file.sha256 is None and not same:
        return 0, None
    return size, note["tag"] if same else None


def _note(partial: Path) -> Path:
    return partial.with_name(partial.name + ".json")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def forget(partial: Path) -> None:
    """Remove a file under a temporary name, and what is noted of it."""
    partial.unlink(missing_ok=True)
    _note(partial).unlink(missing_ok=True)
