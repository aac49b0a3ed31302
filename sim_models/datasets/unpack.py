"""Archives of strangers: every name, size and kind is looked at before anything is written.

Only files inside the target folder come out, as many bytes as were announced. Links, devices, names that lead out of
the folder, and archives that unpack to far more than they are, are refused whole.
"""

import bz2
import gzip
import hashlib
import lzma
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from sim_models.config import BadInput
from sim_models.datasets.limits import Limits

CHUNK_BYTES = 2**20
LITTER = ("__MACOSX", ".DS_Store", "Thumbs.db")
"""what file managers put into archives, and nobody wants"""
DRIVE = re.compile(r"^[A-Za-z]:")
LONGEST_NAME = 240
"""bytes of one part of a path; most file systems hold 255"""
BROKEN = (
    zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, RuntimeError,
    UnicodeError, OverflowError,
)  # fmt: skip


@dataclass(frozen=True)
class Member:
    """A file in an archive."""

    path: str
    """with slashes, below the target folder"""
    bytes: int
    crc32: int | None
    """as announced; a tar announces none"""


@dataclass(frozen=True)
class Unpacked:
    """A member on disk."""

    path: str
    bytes: int
    sha256: str


Source = Path | IO[bytes]
OPENERS: dict[str, Callable[..., Any]] = {
    ".gz": gzip.open, ".tgz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open,
}  # fmt: skip
TAIL_CHUNKS = 64
"""read at most behind the last file of a tar; tape blocks are filled with some kilobytes of zeros"""


def members(source: Source, name: str, packed: int, limits: Limits) -> list[Member]:
    """The files in an archive, none of which will harm anybody.

    Args:
        source: the archive.
        name: its name, which says its kind.
        packed: its bytes.
        limits: how much is believed.

    Raises:
        BadInput: if one would, or it is no archive.
    """
    found, total, paths = [], 0, set()
    with _trouble(name), _listing(source, name) as entries:
        for count, (path, size, odd, crc32) in enumerate(entries, start=1):
            if count > limits.most_members:
                raise BadInput(f"{name}: holds more than {limits.most_members:,} files; none was unpacked")
            total += size
            if total > max(limits.small_bytes, limits.ratio * packed):
                raise BadInput(
                    f"{name}: would unpack to more than {limits.ratio:g} times its {packed:,} bytes, as a bomb does; "
                    "none was unpacked"
                )
            if odd is not None:
                raise BadInput(f"{name}: holds {odd} '{_shown(path)}', not only files; none was unpacked")
            if size < 0 or _is_litter(path):
                continue
            clean = _inside(path, name)
            if clean in paths:
                raise BadInput(f"{name}: holds '{clean}' twice; none was unpacked")
            paths.add(clean)
            found.append(Member(clean, size, crc32))
    if clash := next((path for path in paths if _parents(path) & paths), None):
        raise BadInput(f"{name}: '{_shown(clash)}' lies in a folder that is also a file; none was unpacked")
    if not found:
        raise BadInput(f"{name}: is an archive without a file")
    return found


def unpack(
    source: Source, name: str, wanted: set[str], into: Path, report: Callable[[int], None]
) -> list[Unpacked]:
    """Write the members `wanted` (as `members` names them) below `into`; `report` is told of bytes.

    Raises:
        BadInput: if a member is damaged, or is not what was announced.
    """
    done = []
    with _trouble(name), _contents(source, name) as entries:
        for path, size, opened in entries:
            clean = _inside(path, name)
            if clean in wanted:
                with opened() as stream:
                    done.append(_write(stream, clean, size, into, name, report))
    if missing := wanted - {each.path for each in done}:
        raise BadInput(f"{name}: '{min(missing)}' is not in it any more; fetch again")
    return sorted(done, key=lambda each: each.path)


def _write(
    stream: IO[bytes], path: str, size: int, into: Path, name: str, report: Callable[[int], None]
) -> Unpacked:
    target = into / path
    target.parent.mkdir(parents=True, exist_ok=True)
    total, written = hashlib.sha256(), 0
    with target.open("xb") as out:
        while chunk := stream.read(CHUNK_BYTES):
            written += len(chunk)
            if written > size:
                raise BadInput(f"{name}: '{path}' is longer than the {size:,} bytes it announces")
            out.write(chunk)
            total.update(chunk)
            report(len(chunk))
    if written != size:
        raise BadInput(f"{name}: '{path}' ends after {written:,} of {size:,} bytes")
    return Unpacked(path, size, total.hexdigest())


@contextmanager
def _trouble(name: str) -> Iterator[None]:
    """What libraries say of broken archives, as a sentence."""
    try:
        yield
    except BROKEN as error:
        raise BadInput(f"{name}: is damaged, or no archive of its kind ({_first_line(error)})") from None
    except OSError as error:
        if error.filename or error.errno:
            raise
        raise BadInput(f"{name}: is damaged, or no archive of its kind ({_first_line(error)})") from None


Entry = tuple[str, int, str | None, int | None]
"""path, bytes (-1 for a folder), what it is if it is neither file nor folder, and CRC-32"""


@contextmanager
def _listing(source: Source, name: str) -> Iterator[Iterator[Entry]]:
    if name.lower().endswith(".zip"):
        with zipfile.ZipFile(source) as archive:
            yield ((info.filename, *_zip_kind(info), info.CRC) for info in archive.infolist())
    else:
        with _tar(source) as archive:
            yield ((info.name, *_tar_kind(info), None) for info in archive)


@contextmanager
def _contents(source: Source, name: str) -> Iterator[Iterator[tuple[str, int, Callable[[], IO[bytes]]]]]:
    if name.lower().endswith(".zip"):
        with zipfile.ZipFile(source) as archive:
            # In the order of the archive, so that a server is asked for one part after the other.
            infos = sorted(archive.infolist(), key=lambda info: info.header_offset)
            files = [info for info in infos if not info.is_dir() and not _is_litter(info.filename)]
            yield ((info.filename, info.file_size, lambda info=info: archive.open(info)) for info in files)  # type: ignore[misc]
    else:
        with _tar(source) as archive:
            yield (
                (info.name, info.size, lambda info=info: archive.extractfile(info))  # type: ignore[misc]
                for info in archive
                if info.isreg() and not _is_litter(info.name)
            )


@contextmanager
def _tar(source: Source) -> Iterator[tarfile.TarFile]:
    """Read from front to end, for a packed tar has no table; then whether the packing ends as it should.

    `tarfile` itself looks at no checksum of gzip, and takes a torn stream for a short archive.
    """
    assert isinstance(source, Path), "only of zip archives parts are read"
    suffix = next(
        (suffix for suffix in OPENERS if source.name.lower().removesuffix(".partial").endswith(suffix)), ""
    )
    with (
        OPENERS.get(suffix, Path.open)(source, "rb") as stream,
        tarfile.open(fileobj=stream, mode="r|") as archive,
    ):
        yield archive
        for _ in range(TAIL_CHUNKS):
            if not stream.read(CHUNK_BYTES):
                return
        raise tarfile.ReadError("there is no end of what follows its last file")


def _zip_kind(info: zipfile.ZipInfo) -> tuple[int, str | None]:
    kind = stat.S_IFMT(info.external_attr >> 16)
    if info.flag_bits & 0x1:
        return info.file_size, "the encrypted"
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return info.file_size, "a link or device"
    return (-1 if info.is_dir() and info.file_size == 0 else info.file_size), None


def _tar_kind(info: tarfile.TarInfo) -> tuple[int, str | None]:
    if info.isdir():
        return -1, None
    return info.size, None if info.isreg() else "a link or device"


def _inside(path: str, name: str) -> str:
    """The path of a member, which lies below the folder on every system.

    Raises:
        BadInput: if it does not.
    """
    parts = [part for part in path.split("/") if part not in ("", ".")]
    leads_out = path.startswith("/") or DRIVE.match(path) or "\\" in path or ".." in parts
    unfit = not parts or any(len(part.encode(errors="replace")) > LONGEST_NAME for part in parts)
    if leads_out or unfit or any(not letter.isprintable() for letter in path):
        raise BadInput(
            f"{name}: names a file '{_shown(path)}', which is none inside a folder; none was unpacked"
        )
    return "/".join(parts)


def _parents(path: str) -> set[str]:
    parts = path.split("/")
    return {"/".join(parts[:count]) for count in range(1, len(parts))}


def _is_litter(path: str) -> bool:
    return any(part in LITTER or part.startswith("._") for part in path.split("/"))


def _shown(path: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in path)[:80]


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120] or type(error).__name__
