"""Archives that would do harm, and parts of archives."""

import gzip
import hashlib
import io
import stat
import tarfile
import time
import zipfile
from pathlib import Path

import pytest

from sim_models.config import BadInput
from sim_models.datasets.receipt import check
from sim_models.datasets.web import Problem, RemoteFile
from tests.datasets.conftest import QUICK, Get, Server, cells_zip, file_of, toy, zipped

CELL = "Cell_{number:03d}"


def tarred(*infos: tuple[tarfile.TarInfo, bytes], mode: str = "w:gz") -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode=mode) as archive:  # type: ignore[call-overload]
        for info, body in infos:
            info.size = len(body)
            archive.addfile(info, io.BytesIO(body))
    return packed.getvalue()


def member(path: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(path)
    info.type, info.linkname = kind, link
    return info


def zip_entry(path: str, body: bytes, mode: int) -> bytes:
    info = zipfile.ZipInfo(path)
    info.create_system, info.external_attr = 3, mode << 16
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(info, body)
    return packed.getvalue()


def flipped(body: bytes, at: int) -> bytes:
    return body[:at] + bytes([body[at] ^ 0xFF]) + body[at + 1 :]


NOISE = hashlib.shake_128(b"noise").digest(50_000)
LEADS_OUT = "which is none inside a folder"
HARMFUL = {
    "up.zip": (zipped({"good.mrc": b"1", "../evil": b"1"}), LEADS_OUT),
    "deep.zip": (zipped({"a/b/../../../evil": b"1"}), LEADS_OUT),
    "absolute.zip": (zipped({"/etc/evil": b"1"}), LEADS_OUT),
    "drive.zip": (zipped({"C:evil": b"1"}), LEADS_OUT),
    "backslash.zip": (zipped({"..\\evil": b"1"}), LEADS_OUT),
    "control.zip": (zipped({"a\nb": b"1"}), LEADS_OUT),
    "long.zip": (zipped({"a" * 300: b"1"}), LEADS_OUT),
    "link.zip": (zip_entry("link", b"/etc/passwd", stat.S_IFLNK | 0o777), "a link or device 'link'"),
    "clash.zip": (zipped({"a": b"1", "a/b": b"1"}), "in a folder that is also a file"),
    "receipt.zip": (zipped({"fetched.json": b"{}"}), "kept for records of fetching"),
    "bomb.zip": (zipped({"zeros": bytes(30_000_000)}, zipfile.ZIP_DEFLATED), "as a bomb does"),
    "empty.zip": (zipped({}), "an archive without a file"),
    "text.zip": (b"this is no archive at all", "is damaged, or no archive"),
    "torn.zip": (zipped({"a.mrc": b"1" * 1000})[:600], "is damaged, or no archive"),
    "flipped.zip": (flipped(zipped({"a.mrc": b"1" * 1000}), 500), "is damaged, or no archive"),
    "up.tar.gz": (tarred((member("../evil"), b"1")), LEADS_OUT),
    "absolute.tar": (tarred((member("/etc/evil"), b"1"), mode="w"), LEADS_OUT),
    "link.tar": (tarred((member("a", tarfile.SYMTYPE, "/etc/passwd"), b""), mode="w"), "a link or device 'a'"),
    "hard.tar": (tarred((member("a", tarfile.LNKTYPE, "/etc/passwd"), b""), mode="w"), "a link or device 'a'"),
    "fifo.tgz": (tarred((member("a", tarfile.FIFOTYPE), b"")), "a link or device 'a'"),
    "twice.tar": (tarred((member("a"), b"1"), (member("a"), b"2"), mode="w"), "holds 'a' twice"),
    "bomb.tar.gz": (tarred((member("zeros"), bytes(30_000_000))), "as a bomb does"),
    "torn.tar.gz": (tarred((member("a"), NOISE), (member("b"), NOISE))[:70_000], "is damaged, or no archive"),
    "torn.tar.xz": (tarred((member("a"), NOISE), (member("b"), NOISE), mode="w:xz")[:40_000], "is damaged, or no"),
    "torn.tar": (tarred((member("a"), NOISE), (member("b"), NOISE), mode="w")[:70_000], "is damaged, or no archive"),
    "flipped.tar.gz": (flipped(tarred((member("a"), NOISE)), 30_000), "is damaged, or no archive"),
    "text.tar.gz": (gzip.compress(b"no tar"), "is damaged, or no archive"),
}  # fmt: skip


@pytest.mark.parametrize("name", HARMFUL)
def test_a_harmful_archive_is_refused_whole(server: Server, get: Get, tmp_path: Path, name: str) -> None:
    server.files[name], expected = HARMFUL[name]
    limits = QUICK.model_copy(update={"small_bytes": 1000})
    with pytest.raises(BadInput) as refusal:
        get(toy(file_of(server.files[name], name, server.url("good", name), unpack=True)), limits=limits)
    assert expected in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert [path for path in (tmp_path / "toy").iterdir() if path.name != ".fetch"] == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["toy"]


def test_too_many_members(server: Server, get: Get) -> None:
    body = server.files["many.zip"] = zipped({f"{n}": b"1" for n in range(20)})
    limits = QUICK.model_copy(update={"most_members": 10})
    with pytest.raises(BadInput, match="holds more than 10 files"):
        get(toy(file_of(body, "many.zip", server.url("good", "many.zip"), unpack=True)), limits=limits)


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_a_good_tar(server: Server, get: Get, tmp_path: Path, mode: str) -> None:
    name = f"good.tar{mode[1:].replace(':', '.')}"
    folder, litter = member("a", tarfile.DIRTYPE), member("a/.DS_Store")
    body = tarred((folder, b""), (member("a/b.png"), b"1"), (litter, b"x"), (member("./c"), b"2"), mode=mode)
    server.files[name] = body
    receipt = get(toy(file_of(body, name, server.url("good", name), unpack=True)))
    assert [kept.path for kept in receipt.entries[0].files] == ["a/b.png", "c"]
    assert (tmp_path / "toy" / "a" / "b.png").read_bytes() == b"1"
    assert not (tmp_path / "toy" / name).exists()
    assert check(tmp_path / "toy").good


def cells_of(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "toy" / "MTs").glob("Cell_*"))


@pytest.mark.parametrize(
    ("manner", "how"), [("good", "parts"), ("sends-on", "whole"), ("silent-length", "whole")]
)
def test_some_cells(server: Server, get: Get, tmp_path: Path, manner: str, how: str) -> None:
    body = server.files["MTs.zip"] = cells_zip()
    about = {"unpack": True, "cells": CELL, "structure": "microtubules"}
    definition = toy(file_of(body, "MTs.zip", server.url(manner, "MTs.zip"), **about))
    said: list[str] = []
    (entry,) = get(definition, (2, 4), said).entries
    assert (cells_of(tmp_path), entry.cells) == (["Cell_002", "Cell_004"], (2, 4))
    assert (tmp_path / "toy" / "MTs" / "read_me.txt").is_file()
    if manner != "sends-on":
        assert entry.how == how
    if entry.how == "parts":
        assert entry.sha256 is None
        assert "the checksum of the whole could not be" in said[-1]
        assert sum(
            int(asked.split("-")[1]) - int(asked[6:].split("-")[0]) + 1 for _, asked in server.asked if asked
        ) < len(body)
    else:
        assert "md5 verified" in said[-1]
    asked = len(server.asked)
    get(definition, (2,))
    assert len(server.asked) == asked
    (entry,) = get(definition, (3, 4)).entries
    assert (entry.cells, len(entry.files)) == ((2, 3, 4), 7)
    (entry,) = get(definition).entries
    assert (entry.cells, len(entry.files), len(cells_of(tmp_path))) == (None, 13, 6)
    assert entry.verified == ("bytes", "sha256", "md5")
    assert check(tmp_path / "toy").good


def test_cells_that_are_not_there(server: Server, get: Get, tmp_path: Path) -> None:
    body = server.files["MTs.zip"] = cells_zip()
    definition = toy(
        file_of(body, "MTs.zip", server.url("good", "MTs.zip"), unpack=True, cells=CELL),
        structures={"microtubules": None},
    )
    with pytest.raises(BadInput, match="has cells 1-6, and no 7-9; nothing of it was kept"):
        get(definition, (6, 7, 8, 9))
    assert cells_of(tmp_path) == []


def test_lost_cells_come_back_and_others_stay_on_record(server: Server, get: Get, tmp_path: Path) -> None:
    body = server.files["MTs.zip"] = cells_zip()
    definition = toy(file_of(body, "MTs.zip", server.url("good", "MTs.zip"), unpack=True, cells=CELL))
    get(definition)
    for cell in (2, 5):
        (tmp_path / "toy" / "MTs" / f"Cell_00{cell}" / "RawSIMData_level_01.mrc").unlink()
    (entry,) = get(definition, (2,)).entries
    assert entry.cells == (1, 2, 3, 4, 6)
    assert check(tmp_path / "toy").good
    (entry,) = get(definition, (5,)).entries
    assert (entry.cells, len(entry.files)) == ((1, 2, 3, 4, 5, 6), 13)
    assert check(tmp_path / "toy").more == ()


def test_a_server_without_ranges_is_not_read_to_its_end(server: Server) -> None:
    server.files["endless"] = b""
    began = server.sent
    with pytest.raises(Problem, match="does not serve parts"):
        RemoteFile("endless", server.url("endless-said", "endless"), QUICK, None, time.sleep)
    assert server.sent - began < 50_000_000


def test_a_damaged_part_is_refused(server: Server, get: Get, tmp_path: Path) -> None:
    body = server.files["MTs.zip"] = flipped(cells_zip(), 1000)
    definition = toy(file_of(body, "MTs.zip", server.url("good", "MTs.zip"), unpack=True, cells=CELL))
    with pytest.raises(BadInput, match="Bad CRC-32"):
        get(definition, (1,))
    assert cells_of(tmp_path) == []
    get(definition, (2,))


def test_somebodys_file_stops_all_of_an_archive(server: Server, get: Get, tmp_path: Path) -> None:
    body = server.files["MTs.zip"] = cells_zip()
    own = tmp_path / "toy" / "MTs" / "Cell_003" / "RawSIMData_level_01.mrc"
    own.parent.mkdir(parents=True)
    own.write_bytes(b"mine")
    with pytest.raises(BadInput, match="another file than the one fetched"):
        get(toy(file_of(body, "MTs.zip", server.url("good", "MTs.zip"), unpack=True, cells=CELL)))
    assert own.read_bytes() == b"mine"
    assert cells_of(tmp_path) == ["Cell_003"]


def test_a_link_in_the_folder_is_not_followed(server: Server, get: Get, tmp_path: Path) -> None:
    body = server.files["MTs.zip"] = cells_zip()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "MTs").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BadInput, match="is there and is no folder"):
        get(toy(file_of(body, "MTs.zip", server.url("good", "MTs.zip"), unpack=True)))
    assert list((tmp_path / "elsewhere").iterdir()) == []
