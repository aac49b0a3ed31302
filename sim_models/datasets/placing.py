"""Files into their place by a rename, and never over somebody's own."""

import os
from pathlib import Path

from sim_models.config import BadInput
from sim_models.datasets.definition import RECEIPT
from sim_models.datasets.download import hashes_of
from sim_models.datasets.unpack import Unpacked

WORK = ".fetch"
"""folder of what is under way, in the folder that is fetched into"""


def place_all(unpacked: list[Unpacked], into: Path, folder: Path) -> None:
    """Move all into place, or none if one would take the place of somebody's file."""
    for each in unpacked:
        _refuse_other(folder, each.path, each.sha256)
    for each in unpacked:
        (folder / each.path).parent.mkdir(parents=True, exist_ok=True)
        place(into / each.path, folder / each.path, each.sha256)


def _refuse_other(folder: Path, path: str, sha256: str) -> None:
    if path.split("/")[0] == WORK or path == RECEIPT:
        raise BadInput(
            f"{folder / path}: is a name kept for records of fetching; this archive cannot be unpacked here"
        )
    for above in list((folder / path).parents)[: path.count("/")]:
        if above.is_symlink() or (above.exists() and not above.is_dir()):
            raise BadInput(f"{above}: is there and is no folder; move it away and fetch again")
    if (folder / path).is_symlink() or (folder / path).exists():
        _same_or_refuse(folder / path, sha256)


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
