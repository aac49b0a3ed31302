"""One file of a dataset from its server into its folder: whole, or some cells of an archive alone."""

import io
import shutil
from pathlib import Path
from typing import IO

from sim_models.config import BadInput
from sim_models.datasets.cells import in_words, number_in
from sim_models.datasets.definition import File
from sim_models.datasets.download import Hashes, Line, download, forget, room, verify
from sim_models.datasets.placing import WORK, in_place, left_in, place, place_all
from sim_models.datasets.receipt import Entry, Kept
from sim_models.datasets.turns import Tell
from sim_models.datasets.unpack import Member, Source, Unpacked, members, unpack
from sim_models.datasets.web import Problem, RemoteFile, host


def bring(
    file: File, cells: tuple[int, ...] | None, folder: Path, before: Entry | None, line: Line, tell: Tell
) -> Entry:
    """Fetch a file, or these cells of it, verify it and put it or what is in it into `folder`.

    Raises:
        BadInput: if it cannot be had as published.
        NotReady: if no server was reached.
    """
    asked = cells if file.cells else None
    entry = None
    if asked and file.name.lower().endswith(".zip") and not (folder / file.name).exists():
        entry = _parts(file, asked, folder, before, line, tell)
    entry = entry or _whole(file, asked, folder, line, tell)
    return _added_to(before, entry, folder, file.cells)


def _whole(file: File, cells: tuple[int, ...] | None, folder: Path, line: Line, tell: Tell) -> Entry:
    """Fetch a file as it is, verify it, and put it or what is in it into its place."""
    own = folder / file.name
    if own.exists() and (file.md5 or file.sha256):
        source, (hashes, verified) = own, _somebodys(file, own)
    else:
        fetched = download(file, work_in(folder), line)
        source, hashes, verified = fetched.path, fetched.hashes, fetched.verified
        for remark in fetched.remarks:
            tell(f"{file.name}: {remark}; taken from {host(fetched.url)}")
    if file.unpack:
        kept = _opened(source, file, hashes.bytes, cells, folder, line)
    else:
        kept = (Kept(path=file.name, bytes=hashes.bytes, sha256=hashes.sha256),)
        if source != own:
            place(source, own, hashes.sha256)
    if source != own:
        forget(source)
    return Entry(
        name=file.name, how="whole", verified=verified, bytes=hashes.bytes, sha256=hashes.sha256,
        cells=cells, files=kept,
    )  # fmt: skip


def _somebodys(file: File, own: Path) -> tuple[Hashes, tuple[str, ...]]:
    """A file that was fetched by other means, as with a browser, is as good if it is the right one.

    Raises:
        BadInput: if it is another.
    """
    try:
        return verify(file, own)
    except Problem as problem:
        raise BadInput(
            f"{own}: is there, and {str(problem).partition(': ')[2]}; move it away and fetch again"
        ) from None


def _parts(
    file: File, cells: tuple[int, ...], folder: Path, before: Entry | None, line: Line, tell: Tell
) -> Entry | None:
    """Fetch these cells alone, from a server that serves parts; None if none does."""
    for url in file.urls:
        try:
            remote = _remote(url, file, line)
            with io.BufferedReader(remote, 2**16) as source:
                kept = _read(source, file, remote.size, cells, folder, before, line)
        except Problem as problem:
            tell(f"{file.name}: {host(url)} {problem}")
            continue
        except BadInput as refusal:
            if url == file.urls[-1]:
                raise
            tell(str(refusal))
            continue
        verified = () if file.bytes is None else ("bytes",)
        return Entry(
            name=file.name,
            how="parts",
            verified=verified,
            bytes=remote.size,
            sha256=None,
            cells=cells,
            files=kept,
        )
    tell(f"{file.name}: parts of it cannot be had, so the whole of it is fetched to keep these cells")
    return None


def _remote(url: str, file: File, line: Line) -> RemoteFile:
    """A file on a server, which is asked again where it is busy."""
    limits = line.limits
    for attempt in range(limits.attempts):
        try:
            return RemoteFile(file.name, url, limits, file.bytes, line.pause)
        except Problem as problem:
            if not problem.again or attempt + 1 == limits.attempts:
                raise
            pause_s = max(problem.wait_s, limits.pause_s * 2**attempt)
            line.pause(min(pause_s, limits.longest_pause_s))
    raise AssertionError


def _opened(
    source: Path, file: File, packed: int, cells: tuple[int, ...] | None, folder: Path, line: Line
) -> tuple[Kept, ...]:
    """Unpack what is wanted of an archive that is here, then put it into place."""
    wanted = _wanted(members(source, file.name, packed, line.limits), file, cells)
    into = _unpacked_in(folder, file)
    shutil.rmtree(into, ignore_errors=True)
    unpacked = _unpacked(source, file, wanted, folder, 0, line)
    place_all(unpacked, into, folder)
    shutil.rmtree(into)
    return _kept(unpacked)


def _read(
    source: IO[bytes],
    file: File,
    packed: int,
    cells: tuple[int, ...],
    folder: Path,
    before: Entry | None,
    line: Line,
) -> tuple[Kept, ...]:
    """Read what is wanted of an archive on a server, then put it into place.

    What has its place already, or was read by a fetch that broke off, is not asked for again. The archive's own table
    says which files these are, so nothing has to be noted of what was under way, or of which version it was.
    """
    listed = members(source, file.name, packed, line.limits)
    wanted = _wanted(listed, file, cells)
    fetched = {kept.path for kept in before.files} if before else set()
    placed = in_place(fetched | {each.path for each in wanted}, listed, folder, file.name)
    into = _unpacked_in(folder, file)
    left = left_in(into, listed)
    lacking = [each for each in wanted if each.path not in placed]
    rest = [each for each in lacking if each.path not in left]
    done = sum(each.bytes for each in lacking) - sum(each.bytes for each in rest)
    source.seek(0)
    try:
        new = {each.path: each for each in _unpacked(source, file, rest, folder, done, line)}
    except BadInput as refusal:
        raise type(refusal)(
            f"{refusal}; what was read whole is kept, and the next fetch goes on there"
        ) from None
    read = left | new
    place_all([read[each.path] for each in lacking], into, folder)
    shutil.rmtree(into, ignore_errors=True)
    there = read | placed
    return _kept([there[each.path] for each in wanted])


def _unpacked(
    source: Source, file: File, wanted: list[Member], folder: Path, done: int, line: Line
) -> list[Unpacked]:
    """Unpack these members beside those bytes that are done."""
    if not wanted:
        return []
    lacking = sum(member.bytes for member in wanted)
    size = done + lacking
    room(folder, lacking, f"unpacking {file.name}", line.limits)

    def report(more: int) -> None:
        nonlocal done
        done += more
        if line.stop.is_set():
            raise KeyboardInterrupt
        line.report(f"{file.name}, unpacking", done, size)

    return unpack(source, file.name, {member.path for member in wanted}, _unpacked_in(folder, file), report)


def _kept(unpacked: list[Unpacked]) -> tuple[Kept, ...]:
    return tuple(
        Kept(path=each.path, bytes=each.bytes, sha256=each.sha256)
        for each in sorted(unpacked, key=lambda each: each.path)
    )


def _unpacked_in(folder: Path, file: File) -> Path:
    return work_in(folder) / f"{file.name}.unpacked"


def _wanted(there: list[Member], file: File, cells: tuple[int, ...] | None) -> list[Member]:
    """The members of these cells, and those of no cell."""
    if cells is None or file.cells is None:
        return there
    cell_of = {member.path: number_in(member.path, file.cells) for member in there}
    found = tuple(sorted({cell for cell in cell_of.values() if cell is not None}))
    if missing := tuple(sorted(set(cells) - set(found))):
        has = f"cells {in_words(found)}" if found else f"no cell named like {file.cells}"
        raise BadInput(f"{file.name}: has {has}, and no {in_words(missing)}; nothing of it was kept")
    return [member for member in there if cell_of[member.path] is None or cell_of[member.path] in cells]


def _added_to(before: Entry | None, now: Entry, folder: Path, pattern: str | None) -> Entry:
    """With what was fetched of other cells earlier and is there still, as a receipt was fetched of one archive."""
    if before is None or now.cells is None or pattern is None:
        return now
    if before.sha256 and now.sha256 and before.sha256 != now.sha256:
        return now
    files = {kept.path: kept for kept in before.files} | {kept.path: kept for kept in now.files}
    gone = {path for path in files if not (folder / path).is_file()}
    kept = tuple(files[path] for path in sorted(set(files) - gone))
    if before.cells is None and not gone:
        return before
    of_before = before.cells
    if of_before is None:
        of_before = tuple(cell for path in files if (cell := number_in(path, pattern)) is not None)
    cells = {*of_before, *now.cells} - {number_in(path, pattern) for path in gone}
    return now.model_copy(
        update={"cells": tuple(sorted(cell for cell in cells if cell is not None)), "files": kept}
    )


def work_in(folder: Path) -> Path:
    """The folder of what is under way."""
    work = folder / WORK
    work.mkdir(exist_ok=True)
    return work
