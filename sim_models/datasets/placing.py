"""Files into their place by a rename, and never over somebody's own."""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from sim_models.config import BadInput
from sim_models.datasets.definition import RECEIPT
from sim_models.datasets.download import hashes_of
from sim_models.datasets.unpack import Member, Unpacked

WORK = ".fetch"
"""folder of what is under way, in the folder that is fetched into"""


def in_place(paths: Iterable[str], members: Iterable[Member], folder: Path, name: str) -> dict[str, Unpacked]:
    """Those of these paths at which members of the archive `name` lie already.

    Raises:
        BadInput: if anything else lies there, as a member of an earlier version of the archive.
    """
    found, member_at = {}, {member.path: member for member in members}
    for path in sorted(paths):
        _refuse_way(folder, path)
        target, member = folder / path, member_at.get(path)
        if not target.is_symlink() and not target.exists():
            continue
        there = None if member is None or target.is_symlink() else _as_announced(member, target)
        if there is None:
            raise BadInput(
                f"{target}: is there, and is not what {name} holds now; move it away and fetch again, or fetch --into "
                "another folder"
            )
        found[path] = there
    return found


def left_in(into: Path, members: Iterable[Member]) -> dict[str, Unpacked]:
    """Those members that a fetch that broke off has read into `into`; what was half read, or is of another version of
    the archive, is removed."""
    found = {each.path: there for each in members if (there := _as_announced(each, into / each.path))}
    for path in sorted(into.rglob("*"), reverse=True):
        if path.is_dir():
            with suppress(OSError):  # not empty
                path.rmdir()
        elif path.relative_to(into).as_posix() not in found:
            path.unlink()
    return found


def _as_announced(member: Member, path: Path) -> Unpacked | None:
    """What lies at a path, if it is this member by all that its archive says of it."""
    if not path.is_file() or path.stat().st_size != member.bytes:
        return None
    hashes = hashes_of(path)
    return Unpacked(member.path, member.bytes, hashes.sha256) if hashes.crc32 == member.crc32 else None


def place_all(unpacked: list[Unpacked], into: Path, folder: Path) -> None:
    """Move all into place, or none if one would take the place of somebody's file."""
    for each in unpacked:
        _refuse_way(folder, each.path)
        if (folder / each.path).is_symlink() or (folder / each.path).exists():
            _same_or_refuse(folder / each.path, each.sha256)
    for each in unpacked:
        (folder / each.path).parent.mkdir(parents=True, exist_ok=True)
        place(into / each.path, folder / each.path, each.sha256)


def _refuse_way(folder: Path, path: str) -> None:
    if path.split("/")[0] == WORK or path == RECEIPT:
        raise BadInput(
            f"{folder / path}: is a name kept for records of fetching; this archive cannot be unpacked here"
        )
    for above in list((folder / path).parents)[: path.count("/")]:
        if above.is_symlink() or (above.exists() and not above.is_dir()):
            raise BadInput(f"{above}: is there and is no folder; move it away and fetch again")


def place(source: Path, target: Path, sha256: str) -> None:
    """Give a file its name, unless another file has it."""
    try:
        os.link(source, target)
        source.unlink()
    except FileExistsError:
        _same_or_refuse(target, sha256)
        source.unlink()
    except OSError:
        # No hard links here; nobody else fetches into this folder meanwhile.
        source.rename(target)


def _same_or_refuse(target: Path, sha256: str) -> None:
    if target.is_symlink() or not target.is_file() or hashes_of(target).sha256 != sha256:
        raise BadInput(
            f"{target}: is there, and is another file than the one fetched; move it away and fetch again"
        )
