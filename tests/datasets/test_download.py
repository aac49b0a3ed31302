"""What servers do wrong, and that nothing of it ever lies in the folder."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from sim_models.config import BadInput, NotReady
from sim_models.datasets import download
from sim_models.datasets.limits import Limits
from sim_models.datasets.receipt import check
from sim_models.datasets.turns import alone
from sim_models.datasets.web import Problem
from tests.datasets.conftest import BODY, QUICK, Get, Server, file_of, toy, tree_of

NAME = "stack.tif"


@pytest.fixture(autouse=True)
def _give(server: Server) -> None:
    server.files[NAME] = BODY


def lying(folder: Path) -> list[str]:
    """What is in a folder, apart from work under way."""
    return sorted(path.name for path in folder.iterdir() if path.name != ".fetch")


def test_what_is_as_published_is_kept_and_not_fetched_again(server: Server, get: Get, tmp_path: Path) -> None:
    definition = toy(file_of(BODY, NAME, server.url("good", NAME)))
    receipt = get(definition)
    assert (tmp_path / "toy" / NAME).read_bytes() == BODY
    assert receipt.entries[0].verified == ("bytes", "sha256", "md5")
    assert lying(tmp_path / "toy") == ["fetched.json", NAME]
    assert not (tmp_path / "toy" / ".fetch").exists()
    said: list[str] = []
    assert get(definition, said=said) == receipt
    assert (len(server.asked), said) == (1, [f"{NAME}: is there, and as it was fetched"])
    assert check(tmp_path / "toy").good


REFUSED = {
    "challenge": "202",
    "empty": "empty file",
    "empty-silent": "empty file",
    "login": "page for people",
    "login-in-disguise": "page for people",
    "short": "has a file of 100,000 bytes, not of 200,000",
    "short-silent": "ends after 100,000 of 200,000",
    "wrong": "another file than was published: it has sha256",
    "more": "sends more than the 200,000 bytes that were promised",
    "endless": "sends more than the 200,000 bytes that were promised",
    "gzip": "packed anew (gzip)",
    "hangs": "broke off (timed out)",
    "drips": "bytes in",
    "missing": "404",
    "broken": "500",
    "circles": "sends on more than 8 times",
    "to-http": "not safe (http://example.org/file)",
    "to-file": "not safe (file:///etc/passwd)",
    "other-part": "another part of the file",
}


@pytest.mark.parametrize("manner", REFUSED)
def test_what_is_not_the_file_is_refused_in_a_sentence_and_the_mirror_is_asked(
    server: Server, get: Get, tmp_path: Path, manner: str
) -> None:
    bad = server.url(manner, NAME)
    with pytest.raises(BadInput, match=f"^{NAME}: could not be fetched: 127.0.0.1:") as refusal:
        get(toy(file_of(BODY, NAME, bad)))
    assert REFUSED[manner] in str(refusal.value)
    assert lying(tmp_path / "toy") == []
    said: list[str] = []
    get(toy(file_of(BODY, NAME, bad, server.url("good", NAME))), said=said)
    assert (tmp_path / "toy" / NAME).read_bytes() == BODY
    assert REFUSED[manner] in said[0]


@pytest.mark.parametrize(
    "manner", ["drops", "drops-once", "whole-only", "changes", "silent-length", "busy-once", "sends-on"]
)
def test_what_can_be_mended_is(server: Server, get: Get, tmp_path: Path, manner: str) -> None:
    get(toy(file_of(BODY, NAME, server.url(manner, NAME))))
    assert (tmp_path / "toy" / NAME).read_bytes() == BODY


def test_what_broke_off_goes_on_where_it_stood(server: Server, get: Get) -> None:
    get(toy(file_of(BODY, NAME, server.url("drops", NAME))))
    assert [asked for _, asked in server.asked] == [None, "bytes=66667-", "bytes=133334-"]


def test_what_is_longer_than_the_servers_file_is_begun_anew(server: Server, get: Get, tmp_path: Path) -> None:
    partial = tmp_path / "toy" / ".fetch" / f"{NAME}.partial"
    partial.parent.mkdir(parents=True)
    partial.write_bytes(BODY + b"of another version")
    get(toy(file_of(BODY, NAME, server.url("good", NAME), bytes=None)))
    assert [asked for _, asked in server.asked] == ["bytes=200018-", None]
    assert (tmp_path / "toy" / NAME).read_bytes() == BODY


def test_another_fetch_is_not_waited_for_for_ever(server: Server, get: Get, tmp_path: Path) -> None:
    (tmp_path / "toy").mkdir()
    limits = QUICK.model_copy(update={"lock_s": 0.1})
    with (
        alone(tmp_path / "toy", "another fetch", 0.1, print),
        pytest.raises(NotReady, match=r"toy: another fetch holds it for 0.1 s; wait for it or end it"),
    ):
        get(toy(file_of(BODY, NAME, server.url("good", NAME))), limits=limits)
    assert server.asked == []


@pytest.mark.parametrize("manner", ["drops-once", "changes", "whole-only"])
def test_without_a_checksum_versions_are_not_mixed(
    server: Server, get: Get, tmp_path: Path, manner: str
) -> None:
    unknown: dict[str, Any] = {"md5": None, "sha256": None, "bytes": None}
    said: list[str] = []
    receipt = get(toy(file_of(BODY, NAME, server.url(manner, NAME), **unknown)), said=said)
    assert (tmp_path / "toy" / NAME).read_bytes() == BODY
    assert receipt.entries[0].verified == ()
    assert "no checksum is published" in said[0]
    assert receipt.entries[0].sha256 in said[0]


def test_no_network_is_another_exit_code(get: Get) -> None:
    with pytest.raises(NotReady, match=r"cannot be reached \(connection refused\)"):
        get(toy(file_of(BODY, NAME, "http://127.0.0.1:9/nothing")))


def test_a_file_that_fails_leaves_the_others(server: Server, get: Get, tmp_path: Path) -> None:
    server.files["b.tif"] = b"b" * 100
    bad = file_of(BODY, NAME, server.url("missing", NAME))
    with pytest.raises(BadInput, match="404"):
        get(toy(bad, file_of(b"b" * 100, "b.tif", server.url("good", "b.tif"))))
    assert lying(tmp_path / "toy") == ["b.tif", "fetched.json"]


def test_somebodys_file_is_not_overwritten(server: Server, get: Get, tmp_path: Path) -> None:
    (tmp_path / "toy").mkdir()
    own = tmp_path / "toy" / NAME
    own.write_bytes(b"mine")
    with pytest.raises(BadInput, match="is there, and it has 4 bytes, not 200,000; move it away"):
        get(toy(file_of(BODY, NAME, server.url("good", NAME))))
    unknown = file_of(BODY, NAME, server.url("good", NAME), md5=None, sha256=None)
    with pytest.raises(BadInput, match="is there, and is another file than the one fetched; move it away"):
        get(toy(unknown))
    assert own.read_bytes() == b"mine"


def test_a_file_that_came_by_browser_is_as_good(server: Server, get: Get, tmp_path: Path) -> None:
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / NAME).write_bytes(BODY)
    assert get(toy(file_of(BODY, NAME, server.url("broken", NAME)))).entries[0].verified
    assert server.asked == []


def test_a_changed_file_is_told_and_kept_and_a_lost_one_fetched(
    server: Server, get: Get, tmp_path: Path
) -> None:
    definition = toy(file_of(BODY, NAME, server.url("good", NAME)))
    get(definition)
    kept = tmp_path / "toy" / NAME
    kept.write_bytes(b"x" + BODY[1:])
    assert check(tmp_path / "toy").changed == (NAME,)
    with pytest.raises(BadInput, match="is not as it was fetched"):
        get(definition)
    assert kept.read_bytes()[:1] == b"x"
    kept.unlink()
    assert check(tmp_path / "toy").missing == (NAME,)
    get(definition)
    assert check(tmp_path / "toy").good


def test_too_little_disk_is_told_before_anything_is_fetched(
    server: Server, get: Get, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 100_000})())
    with pytest.raises(BadInput, match="fetching toy needs 200 kB, and 100 kB are free"):
        get(toy(file_of(BODY, NAME, server.url("good", NAME))))
    assert server.asked == []


def test_two_at_once_fetch_once(server: Server, get: Get, tmp_path: Path) -> None:
    definition = toy(file_of(BODY, NAME, server.url("slow", NAME)))
    said: list[str] = []
    threads = [threading.Thread(target=get, args=(definition, None, said)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(server.asked) == 1
    assert f"{tmp_path / 'toy'}: waiting for another fetch" in said
    assert check(tmp_path / "toy").good


FETCH = """
import sys
from pathlib import Path
from sim_models.datasets import read
from sim_models.datasets.fetch import fetch
from sim_models.datasets.limits import Limits
fetch(read(Path(sys.argv[1])), Path(sys.argv[2]), None, Limits(), print, lambda *_: None)
"""


def test_killed_in_the_middle_it_goes_on(server: Server, get: Get, tmp_path: Path) -> None:
    tree = tree_of(file_of(BODY, NAME, server.url("slow", NAME)))
    (tmp_path / "toy.yaml").write_text(yaml.safe_dump(tree))
    folder = tmp_path / "toy"
    command = [sys.executable, "-c", FETCH, tmp_path / "toy.yaml", folder]
    work = subprocess.Popen(command, env=os.environ | {"NO_PROXY": "127.0.0.1"})
    partial = folder / ".fetch" / f"{NAME}.partial"
    until = time.monotonic() + 60
    while not (partial.exists() and partial.stat().st_size) and time.monotonic() < until:
        time.sleep(0.01)
    work.send_signal(signal.SIGKILL)
    work.wait()
    assert lying(folder) == []
    get(toy(file_of(BODY, NAME, server.url("slow", NAME))), limits=QUICK)
    assert server.asked[1][1] is not None
    assert server.asked[1][1] != "bytes=0-"
    assert (folder / NAME).read_bytes() == BODY


def test_a_wrong_file_on_a_line_that_breaks_is_given_up(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What comes again after it was thrown away is no gain, however much it is."""
    asked = []
    partial = tmp_path / "partial"

    def pull(*_: object) -> None:
        asked.append(1)
        assert len(asked) < 50
        there = partial.stat().st_size if partial.exists() else 0
        partial.write_bytes(bytes(there + 2 * download.GAIN_BYTES))
        if there == 0:
            raise Problem("the connection broke off", again=True)

    def accept(*_: object, **__: object) -> None:
        partial.unlink()
        raise Problem("has another checksum", again=True)

    monkeypatch.setattr(download, "_pull", pull)
    monkeypatch.setattr(download, "_accept", accept)
    limits = Limits(attempts=3, pause_s=0)
    line = SimpleNamespace(limits=limits, pause=lambda _: None)
    with pytest.raises(Problem):
        download._from("https://a.b/c", None, partial, line)  # type: ignore[arg-type]
