"""Parts of an archive: what was read whole is never asked for again, and nothing else is kept."""

import io
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from sim_models.config import BadInput, NotReady
from sim_models.datasets.definition import Definition
from sim_models.datasets.receipt import check
from tests.datasets.conftest import QUICK, Get, Server, cells_zip, file_of, toy, tree_of, zipped

NAME = "MTs.zip"
SIZE = 20_000
"""bytes of a member"""
LEFT = f"toy/.fetch/{NAME}.unpacked"
ALL = (1, 2, 3, 4, 5, 6)


def about(body: bytes, url: str, **more: Any) -> dict[str, Any]:
    return file_of(body, NAME, url, unpack=True, cells="Cell_{number:03d}", **more)


@pytest.fixture
def archive(server: Server) -> Callable[..., Definition]:
    """Puts an archive on the server, behaving in some manner."""

    def put(manner: str, body: bytes | None = None) -> Definition:
        server.files[NAME] = body or cells_zip()
        return toy(about(server.files[NAME], server.url(manner, NAME)))

    return put


def contents(body: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(body)) as packed:
        return {name: packed.read(name) for name in packed.namelist()}


def changed(body: bytes, *paths: str) -> bytes:
    """Another version, with other files of the same size at these paths."""
    return zipped({path: each[::-1] if path in paths else each for path, each in contents(body).items()})


def tree(folder: Path) -> dict[str, bytes]:
    """All files below a folder but records."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "fetched.json"
    }


def whole(folder: Path, body: bytes) -> set[str]:
    """Members that lie in a folder as they should."""
    published = contents(body)
    return {path for path, each in tree(folder).items() if each == published.get(path)}


class Asked:
    """What a server was asked for since this was made."""

    def __init__(self, server: Server) -> None:
        self.server, self.since, self.sent_before = server, len(server.asked), server.sent

    @property
    def members(self) -> set[str]:
        """In which a range that was asked for begins."""
        with zipfile.ZipFile(io.BytesIO(self.server.files[NAME])) as packed:
            begins = [(info.header_offset, info.filename) for info in packed.infolist()] + [
                (packed.start_dir, "")
            ]
        ranges = [asked for _, asked in self.server.asked[self.since :] if asked and asked != "bytes=0-0"]
        firsts = [int(asked[6:].partition("-")[0]) for asked in ranges]
        return {max(each for each in begins if each[0] <= first)[1] for first in firsts} - {""}

    @property
    def sent(self) -> int:
        return self.server.sent - self.sent_before


def breaks_off(
    server: Server, get: Get, archive: Callable[..., Definition], body: bytes | None = None
) -> None:
    """A fetch of all cells, of which a few members come."""
    server.patience = 30
    with pytest.raises(
        BadInput, match=rf"^{NAME}: 127.*503.*; what was read whole is kept, and the next fetch goes on"
    ):
        get(archive("tires", body), ALL)
    server.patience = 10_000


def test_what_broke_off_goes_on_behind_what_was_read(
    server: Server, get: Get, archive: Callable[..., Definition], tmp_path: Path
) -> None:
    breaks_off(server, get, archive)
    left = whole(tmp_path / LEFT, cells_zip())
    assert 3 <= len(left) <= 8
    assert [path.name for path in (tmp_path / "toy").iterdir()] == [".fetch"]
    spoilt = tmp_path / LEFT / min(left)
    spoilt.write_bytes(b"x" + spoilt.read_bytes()[1:])
    asked = Asked(server)
    receipt = get(archive("good"), ALL)
    rest = set(contents(cells_zip())) - left | {min(left)}
    assert asked.members == rest
    assert asked.sent < len(rest) * SIZE + 3 * QUICK.block_bytes
    assert tree(tmp_path / "toy") == contents(cells_zip())
    assert (receipt.entries[0].cells, check(tmp_path / "toy").good) == (ALL, True)
    assert not (tmp_path / "toy" / ".fetch").exists()


def test_what_is_left_serves_a_mirror_and_fewer_cells(
    server: Server, get: Get, archive: Callable[..., Definition], tmp_path: Path
) -> None:
    breaks_off(server, get, archive)
    left = whole(tmp_path / LEFT, cells_zip())
    asked = Asked(server)
    broken, good = server.url("broken", NAME), server.url("good", NAME)
    get(toy(about(cells_zip(), broken) | {"urls": [broken, good]}), (1, 6))
    wanted = {
        path for path in contents(cells_zip()) if any(word in path for word in ("001", "006", "read_me"))
    }
    assert asked.members == wanted - left
    assert set(tree(tmp_path / "toy")) == wanted
    assert check(tmp_path / "toy").good


FETCH = """
import signal
import sys
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)  # where tests run in the background, it is ignored
from sim_models.datasets import read
from sim_models.datasets.fetch import fetch
from sim_models.datasets.limits import Limits
limits = Limits(spare_bytes=1, block_bytes=4096)
fetch(read(Path(sys.argv[1])), Path(sys.argv[2]), (1, 2, 3, 4, 5, 6), limits, print, lambda *_: None)
"""


@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_fetch_goes_on(
    server: Server, get: Get, archive: Callable[..., Definition], tmp_path: Path, blow: signal.Signals
) -> None:
    archive("lazy")
    (tmp_path / "toy.yaml").write_text(yaml.safe_dump(tree_of(about(cells_zip(), server.url("lazy", NAME)))))
    command = [sys.executable, "-c", FETCH, tmp_path / "toy.yaml", tmp_path / "toy"]
    work = subprocess.Popen(command, env=os.environ | {"NO_PROXY": "127.0.0.1"}, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while len(whole(tmp_path / LEFT, cells_zip())) < 3 and time.monotonic() < until:
        time.sleep(0.01)
    work.send_signal(blow)
    work.wait()
    left = whole(tmp_path / LEFT, cells_zip())
    assert 3 <= len(left) < 13
    assert [path.name for path in (tmp_path / "toy").iterdir()] == [".fetch"]
    asked = Asked(server)
    get(archive("good"), ALL)
    assert asked.members == set(contents(cells_zip())) - left
    assert tree(tmp_path / "toy") == contents(cells_zip())


def test_killed_before_it_was_recorded_it_is_not_read_again(
    server: Server, get: Get, archive: Callable[..., Definition], tmp_path: Path
) -> None:
    receipt = get(archive("good"), (2, 4))
    (tmp_path / "toy" / "fetched.json").unlink()
    asked = Asked(server)
    assert get(archive("good"), (2, 4)) == receipt
    assert asked.members == set()


def test_of_more_cells_only_the_rest_is_read(
    server: Server, get: Get, archive: Callable[..., Definition], tmp_path: Path
) -> None:
    get(archive("good"), (2, 4))
    before = {path: (tmp_path / "toy" / path).stat().st_ino for path in tree(tmp_path / "toy")}
    asked = Asked(server)
    (entry,) = get(archive("good"), (2, 3, 4)).entries
    assert asked.members == {path for path in contents(cells_zip()) if "Cell_003" in path}
    assert {path: (tmp_path / "toy" / path).stat().st_ino for path in before} == before
    assert (entry.cells, len(entry.files), check(tmp_path / "toy").good) == ((2, 3, 4), 7, True)
    (tmp_path / "toy" / "MTs" / "Cell_002" / "RawSIMData_level_01.mrc").unlink()
    asked = Asked(server)
    get(archive("good"), (2,))
    assert asked.members == {"MTs/Cell_002/RawSIMData_level_01.mrc"}


def test_of_an_archive_that_has_changed_nothing_is_mixed(
    server: Server, get: Get, archive: Callable[..., Definition], tmp_path: Path
) -> None:
    """Other images of the same size, and a folder where a file was."""
    first = zipped({"MTs/a": b"of the first version", **contents(cells_zip())})
    breaks_off(server, get, archive, first)
    left = whole(tmp_path / LEFT, first)
    assert {"MTs/a", "MTs/Cell_001/RawSIMData_level_01.mrc"} < left
    later = contents(changed(first, "MTs/Cell_001/RawSIMData_level_01.mrc"))
    del later["MTs/a"]
    body = zipped({**later, "MTs/a/b": b"of the second"})
    asked = Asked(server)
    get(archive("good", body), ALL)
    assert tree(tmp_path / "toy") == contents(body)
    assert "MTs/Cell_001/RawSIMData_level_01.mrc" in asked.members
    assert not asked.members & (left - {"MTs/a", "MTs/Cell_001/RawSIMData_level_01.mrc"})


@pytest.mark.parametrize("gone", [False, True])
def test_cells_of_two_versions_do_not_come_into_one_folder(
    server: Server, get: Get, archive: Callable[..., Definition], tmp_path: Path, gone: bool
) -> None:
    get(archive("good"), (2,))
    before = tree(tmp_path / "toy")
    path = "MTs/Cell_002/RawSIMData_level_01.mrc"
    later = contents(changed(cells_zip(), path))
    if gone:
        del later[path]
    with pytest.raises(
        BadInput, match=rf"toy/{path}: is there, and is not what {NAME} holds now; move it away"
    ):
        get(archive("good", zipped(later)), (3,))
    assert {name: each for name, each in tree(tmp_path / "toy").items() if ".fetch" not in name} == before
    shutil.rmtree(tmp_path / "toy")
    get(archive("good", zipped(later)), (3,))


def test_somebodys_file_is_told_before_anything_is_read(
    server: Server, get: Get, archive: Callable[..., Definition], tmp_path: Path
) -> None:
    own = tmp_path / "toy" / "MTs" / "Cell_003" / "RawSIMData_level_01.mrc"
    own.parent.mkdir(parents=True)
    own.write_bytes(b"mine")
    asked = Asked(server)
    with pytest.raises(BadInput, match=f"is there, and is not what {NAME} holds now"):
        get(archive("good"), (1, 3))
    assert (asked.members, own.read_bytes()) == (set(), b"mine")
    own.unlink()
    own.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BadInput, match=f"is not what {NAME} holds now"):
        get(archive("good"), (1, 3))


def test_a_server_that_is_gone_meanwhile_is_another_exit_code(
    server: Server, get: Get, archive: Callable[..., Definition], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = requests.Session.get

    def cut_off(*arguments: Any, **named: Any) -> Any:
        if len(server.asked) > 12:
            raise requests.ConnectionError("Network is unreachable")
        return real(*arguments, **named)

    monkeypatch.setattr(requests.Session, "get", cut_off)
    with pytest.raises(
        NotReady, match=rf"^{NAME}: 127.*cannot be reached \(no network\); what was read whole is kept"
    ):
        get(archive("good"), ALL)
