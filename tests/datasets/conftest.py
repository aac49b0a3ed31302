"""A server on this machine that does to a fetch what servers do; fixtures of acquisitions that are added."""

import hashlib
import io
import re
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from pipelines.cli import app
from pipelines.shared.stage import exit_code
from sim_models.config import parse
from sim_models.datasets.definition import Definition
from sim_models.datasets.fetch import fetch
from sim_models.datasets.limits import Limits
from sim_models.datasets.receipt import Receipt
from tests.datasets.acquisitions import add, asked, many, mine, template

__all__ = ["add", "asked", "many", "mine", "template"]

QUICK = Limits(connect_s=2, silence_s=0.5, attempts=3, pause_s=0.01, spare_bytes=1, jobs=2, block_bytes=4096)
"""limits for a server that is near"""
LOGIN = b"<!DOCTYPE html><html><body>Please log in</body></html>"


class Server(ThreadingHTTPServer):
    """Gives `files`; the first word of a path says how it misbehaves."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.asked: list[tuple[str, str | None]] = []
        """paths, and the range that was asked for"""
        self.times: Counter[str] = Counter()
        self.patience = 0
        """answers that `tires` gives"""
        self.sent = 0
        """bytes of bodies"""

    def handle_error(self, *_: object) -> None:
        """Who hangs up is no error here."""

    def url(self, manner: str, name: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{manner}/{name}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        _, manner, name = self.path.split("/", 2)
        self.server.asked.append((self.path, self.headers["Range"]))
        self.server.times[self.path] += 1
        getattr(self, f"as_{manner.replace('-', '_')}")(self.server.files[name])

    def _send(self, code: int, body: bytes, length: int | None = None, **headers: str) -> None:
        self.send_response(code)
        if length != -1:
            self.send_header("Content-Length", str(len(body) if length is None else length))
        for key, value in headers.items():
            self.send_header(key.replace("_", "-"), value)
        if length is not None:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        self.wfile.write(body)
        self.server.sent += len(body)

    def _served(self, body: bytes, stop_after: int | None = None, tag: str | None = None) -> None:
        """Honestly, with ranges; or only so many bytes of what was asked for."""
        tag = tag or f'"{hashlib.md5(body[:1000]).hexdigest()}"'
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers["Range"] or "")
        if match is None or self.headers.get("If-Range", tag) != tag:
            self._send(200, body[:stop_after], stop_after and len(body), ETag=tag)
            return
        first, last = int(match[1]), min(int(match[2] or len(body) - 1), len(body) - 1)
        if first >= len(body):
            self._send(416, b"")
            return
        part = body[first : last + 1]
        said = f"bytes {first}-{last}/{len(body)}"
        self._send(206, part[:stop_after], stop_after and len(part), ETag=tag, Content_Range=said)

    def as_good(self, body: bytes) -> None:
        self._served(body)

    def as_drops(self, body: bytes) -> None:
        """A third of the file at a time."""
        self._served(body, len(body) // 3 + 1)

    def as_drops_once(self, body: bytes) -> None:
        self._served(body, 1000 if self.server.times[self.path] == 1 else None)

    def as_changes(self, body: bytes) -> None:
        """Drops, and has another version the next time."""
        if self.server.times[self.path] == 1:
            self._served(b"x" * len(body), 1000)
        else:
            self._served(body)

    def as_whole_only(self, body: bytes) -> None:
        """Drops once, and knows no ranges."""
        first = self.server.times[self.path] == 1
        self._send(200, body[:1000] if first else body, len(body))

    def as_other_part(self, body: bytes) -> None:
        if self.headers["Range"]:
            self._send(206, body, Content_Range=f"bytes 0-{len(body) - 1}/{len(body)}")
        else:
            self._send(200, body[:1000], len(body))

    def as_challenge(self, body: bytes) -> None:
        self._send(202, b"")

    def as_empty(self, body: bytes) -> None:
        self._send(200, b"")

    def as_empty_silent(self, body: bytes) -> None:
        self._send(200, b"", -1)

    def as_login(self, body: bytes) -> None:
        self._send(200, LOGIN, Content_Type="text/html; charset=utf-8")

    def as_login_in_disguise(self, body: bytes) -> None:
        self._send(200, b"\n " + LOGIN, Content_Type="application/zip")

    def as_short(self, body: bytes) -> None:
        """Half of it, and says that this is all."""
        self._send(200, body[: len(body) // 2])

    def as_short_silent(self, body: bytes) -> None:
        self._send(200, body[: len(body) // 2], -1)

    def as_silent_length(self, body: bytes) -> None:
        self._send(200, body, -1)

    def as_wrong(self, body: bytes) -> None:
        self._served(b"y" + body[1:])

    def as_more(self, body: bytes) -> None:
        self._send(200, body + b"z" * 1000, -1)

    def as_endless(self, body: bytes) -> None:
        self._send(200, b"", -1)
        for _ in range(10_000):
            self.wfile.write(b"z" * 10_000)

    def as_endless_said(self, body: bytes) -> None:
        self._send(200, b"", 100_000_000)
        for _ in range(10_000):
            self.wfile.write(b"z" * 10_000)
            self.server.sent += 10_000

    def as_gzip(self, body: bytes) -> None:
        self._send(200, body, Content_Encoding="gzip")

    def as_hangs(self, body: bytes) -> None:
        self._send(200, body[:100], len(body))
        self.wfile.flush()
        time.sleep(2)

    def as_drips(self, body: bytes) -> None:
        self._send(200, b"", len(body))
        for byte in body[:40]:
            self.wfile.write(bytes([byte]))
            time.sleep(0.05)

    def as_slow(self, body: bytes) -> None:
        """Slow enough to be killed in the middle, with ranges."""
        match = re.fullmatch(r"bytes=(\d+)-", self.headers["Range"] or "")
        first = int(match[1]) if match else 0
        said = {"Content_Range": f"bytes {first}-{len(body) - 1}/{len(body)}"} if match else {}
        self._send(206 if match else 200, b"", len(body) - first, **said)
        for start in range(first, len(body), 20_000):
            self.wfile.write(body[start : start + 20_000])
            time.sleep(0.05)

    def as_missing(self, body: bytes) -> None:
        self._send(404, b"no")

    def as_broken(self, body: bytes) -> None:
        self._send(500, b"no")

    def as_busy_once(self, body: bytes) -> None:
        if self.server.times[self.path] == 1:
            self._send(429, b"", Retry_After="0")
        else:
            self._served(body)

    def as_tires(self, body: bytes) -> None:
        if self.server.times[self.path] > self.server.patience:
            self._send(503, b"")
        else:
            self._served(body)

    def as_lazy(self, body: bytes) -> None:
        """Slow enough to be killed in the middle of an archive of which parts are read."""
        time.sleep(0.03)
        self._served(body)

    def as_sends_on(self, body: bytes) -> None:
        self._send(302, b"", Location=self.path.replace("sends-on", "good"))

    def as_circles(self, body: bytes) -> None:
        self._send(302, b"", Location=self.path)

    def as_to_http(self, body: bytes) -> None:
        self._send(302, b"", Location="http://example.org/file?secret=1")

    def as_to_file(self, body: bytes) -> None:
        self._send(302, b"", Location="file:///etc/passwd")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


BODY = bytes(hashlib.shake_128(b"frames").digest(200_000))


def file_of(body: bytes, name: str, *urls: str, **more: Any) -> dict[str, Any]:
    """A file of a definition, all of it known."""
    return {
        "name": name, "urls": list(urls), "bytes": len(body), "md5": hashlib.md5(body).hexdigest(),
        "sha256": hashlib.sha256(body).hexdigest(), "unpack": False, "structure": None, "cells": None, **more,
    }  # fmt: skip


def tree_of(*files: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A definition with nothing known but its files."""
    return {
        "name": "toy", "title": "A toy", "origin": "public", "structures": {"microtubules": 6},
        "cells": "Cell_{number:03d}", "doi": None, "url": None, "licence": None, "licence_from": None, "cite": None,
        "layout": None,
        "raw": dict.fromkeys(
            ("angles", "phases", "order", "rows", "columns", "dtype", "time_points", "sections")
        ),
        "targets": {"scale": None, "files": {}, "never": []},
        "levels": dict.fromkeys(("count", "pattern", "noisiest", "photons")),
        "optics": dict.fromkeys(
            ("numerical_aperture", "refractive_index", "excitation_um", "emission_um", "pixel_um", "camera")
        ),
        "splits": {},
    "parts": None,
    "storage": None, "files": list(files), "notes": [], **more,
    }  # fmt: skip


def toy(*files: dict[str, Any], **more: Any) -> Definition:
    return parse(Definition, tree_of(*files, **more), "toy")


def zipped(files: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    """A zip of files by path."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as archive:
        for path, body in files.items():
            archive.writestr(path, body)
    return packed.getvalue()


def cells_zip() -> bytes:
    """Six cells in the manner of BioSR, and a file of none."""
    paths = [f"MTs/Cell_{n:03d}/RawSIMData_level_0{level}.mrc" for n in range(1, 7) for level in (1, 2)]
    bodies = {path: hashlib.shake_128(path.encode()).digest(20_000) for path in [*paths, "MTs/read_me.txt"]}
    return zipped(bodies)


Get = Callable[..., Receipt]


@pytest.fixture
def get(tmp_path: Path) -> Get:
    """Fetches into a folder of its own; `said` collects the sentences."""

    def call(
        definition: Definition, cells: tuple[int, ...] | None = None, said: list[str] | None = None,
        limits: Limits = QUICK,
    ) -> Receipt:  # fmt: skip
        tell = (said if said is not None else []).append
        return fetch(definition, tmp_path / "toy", cells, limits, tell, lambda *_: None)

    return call


@pytest.fixture
def run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Exit code, stdout and stderr of a command in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> tuple[int, str, str]:
        code = exit_code(lambda: app(["data", *map(str, arguments)], standalone_mode=False))
        captured = capfd.readouterr()
        return code, captured.out, captured.err

    return call
