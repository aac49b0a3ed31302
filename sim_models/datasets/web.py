"""The door to the web: what a server sends is looked at before a byte of it is kept.

`requests` alone, not pooch (which neither resumes, nor stops at the promised size, nor tries mirrors) and not fsspec
(whose redirects nobody checks): what is left to do is less than working around them.
"""

import io
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from itertools import chain
from ssl import SSLError
from urllib.parse import urljoin, urlsplit

import requests
from urllib3.exceptions import HTTPError

from sim_models.config import BadInput, NotReady
from sim_models.datasets.definition import safe_url
from sim_models.datasets.limits import Limits

CHUNK_BYTES = 2**20
AGENT = "sim-models (fetch of public datasets)"
BUSY = (408, 425, 429, 500, 502, 503, 504)
"""answers that may be others a moment later"""
PAGE = re.compile(rb"\s*(?:<!doctype\s+html|<html|<head|<script)", re.IGNORECASE)
"""how pages for people begin"""


class Problem(Exception):
    """What is wrong with one answer, in words that follow the server's name."""

    def __init__(self, what: str, again: bool = False, wait_s: float = 0.0, reached: bool = True) -> None:
        super().__init__(what)
        self.again, self.wait_s, self.reached = again, wait_s, reached
        """whether the same server may do better, when, and whether it answered at all"""


class NoSuchPart(Problem):
    """The server's file ends before what was asked for begins: what is here is of another file."""


@dataclass(frozen=True)
class Answer:
    """A file, or its rest, on its way here."""

    url: str
    """where it came from in the end"""
    first: int
    """position of its first byte; 0 where the server gives the whole file whatever was asked"""
    total: int | None
    """bytes of the whole file, as announced"""
    tag: str | None
    """a strong ETag, by which the server knows this very version"""
    chunks: Iterator[bytes]


@contextmanager
def ask(
    url: str, limits: Limits, first: int = 0, last: int | None = None, tag: str | None = None
) -> Iterator[Answer]:
    """Ask for a file, or for its bytes from `first` to `last`.

    Raises:
        Problem: if what comes is not the file.
    """
    headers = {"Accept-Encoding": "identity", "User-Agent": AGENT}
    if first or last is not None:
        headers["Range"] = f"bytes={first}-{'' if last is None else last}"
        if tag:
            headers["If-Range"] = tag
    response = _follow(url, headers, limits)
    try:
        yield _looked_at(response, first, limits)
    except (
        requests.RequestException,
        HTTPError,
        HTTPException,
        ConnectionError,
        TimeoutError,
        SSLError,
    ) as error:
        # Other OSErrors are of files of ours: a full disk is no broken line.
        raise Problem(f"the connection broke off ({_why(error)})", again=True) from None
    finally:
        response.close()


def _follow(url: str, headers: dict[str, str], limits: Limits) -> requests.Response:
    """The answer at the end of all redirects, each of which must be as safe as a definition's own URL."""
    for _ in range(limits.redirects + 1):
        response = _get(url, headers, limits)
        if not response.is_redirect:
            return response
        onward = urljoin(url, response.headers["Location"])
        response.close()
        try:
            local = urlsplit(url).hostname
            if urlsplit(safe_url(onward)).scheme != "https" and urlsplit(onward).hostname != local:
                raise ValueError("it leads to this machine")
        except ValueError:
            raise Problem(f"sends on to an address that is not safe ({_short(onward)})") from None
        url = onward
    raise Problem(f"sends on more than {limits.redirects} times")


def _get(url: str, headers: dict[str, str], limits: Limits) -> requests.Response:
    try:
        with requests.Session() as session:
            session.auth = lambda request: request  # nothing of ~/.netrc goes to strangers
            return session.get(
                url,
                headers=headers,
                stream=True,
                allow_redirects=False,
                timeout=(limits.connect_s, limits.silence_s),
            )
    except requests.exceptions.SSLError as error:
        raise Problem(f"shows no certificate that holds ({_why(error)})") from None
    except requests.exceptions.ReadTimeout:
        raise Problem(f"was silent for {limits.silence_s:g} s", again=True) from None
    except (requests.ConnectionError, requests.Timeout) as error:
        raise Problem(f"cannot be reached ({_why(error)})", again=True, reached=False) from None
    except (requests.RequestException, UnicodeError) as error:
        raise Problem(f"cannot be asked ({_why(error)})") from None


def _looked_at(response: requests.Response, first: int, limits: Limits) -> Answer:
    code, headers = response.status_code, response.headers
    if code == 202:
        raise Problem("answers 202 with no file: a challenge for browsers, or not ready")
    if code in BUSY:
        raise Problem(f"answers {code} ({response.reason})", again=True, wait_s=_retry_after(headers))
    if code == 416:
        raise NoSuchPart("has no such part of the file")
    if code not in (200, 206):
        raise Problem(f"answers {code} ({response.reason})")
    if "html" in headers.get("Content-Type", "").lower():
        raise Problem("sends a page for people, not the file: a login, or a notice")
    if headers.get("Content-Encoding", "identity").lower() not in ("", "identity"):
        raise Problem(
            f"sends the file packed anew ({_short(headers['Content-Encoding'])}) though asked not to"
        )
    length = headers.get("Content-Length", "")
    total = int(length) if length.isdecimal() else None
    if code == 206:
        start, total = _range(headers.get("Content-Range", ""))
        if start != first:
            raise Problem("sends another part of the file than was asked for")
    else:
        first = 0
    if total == 0:
        raise Problem("sends an empty file")
    tag = headers.get("ETag", "")
    chunks = _chunks(response, limits)
    if first == 0 and (head := next(chunks, b"")):
        # Before its size is looked at: "a page" says more than "of 56 bytes".
        if PAGE.match(head[:200]):
            raise Problem("sends a page for people, not the file: a login, or a notice")
        chunks = chain([head], chunks)
    return Answer(response.url, first, total, tag if tag.startswith('"') else None, chunks)


def _range(text: str) -> tuple[int, int | None]:
    match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", text.strip())
    if match is None:
        raise Problem("sends a part without saying which")
    return int(match[1]), None if match[2] == "*" else int(match[2])


def _chunks(response: requests.Response, limits: Limits) -> Iterator[bytes]:
    """The bytes as they come; a line that only drips is given up."""
    since, gained = time.monotonic(), 0
    while chunk := response.raw.read1(CHUNK_BYTES):
        yield chunk
        gained += len(chunk)
        if (passed := time.monotonic() - since) >= limits.silence_s:
            if gained < limits.least_bytes_per_s * passed:
                raise Problem(f"sends {gained} bytes in {passed:.0f} s", again=True)
            since, gained = time.monotonic(), 0


class RemoteFile(io.RawIOBase):
    """A file on a server that serves parts, to be read like one on disk.

    Raises:
        BadInput: from every read, if the server does not serve parts or the file changed meanwhile.
        NotReady: from every read, if the server cannot be reached any more.
    """

    def __init__(
        self, name: str, url: str, limits: Limits, expected: int | None, pause: Callable[[float], None]
    ) -> None:
        super().__init__()
        self.file_name, self.url, self.limits, self.pause = name, url, limits, pause
        self._at, self._block, self._block_at = 0, b"", 0
        self._tag: str | None = None
        with ask(url, limits, 0, 0) as answer:
            # Whoever knows no ranges sends all of it, of which no more than a piece is taken.
            if answer.total is None or len(next(answer.chunks, b"")) != 1:
                raise Problem("does not serve parts of files")
            self.size, self._tag = answer.total, answer.tag
        if expected is not None and self.size != expected:
            raise Problem(f"has {self.size:,} bytes, not {expected:,}")

    def readable(self) -> bool:
        """See `io.RawIOBase`."""
        return True

    def seekable(self) -> bool:
        """See `io.RawIOBase`."""
        return True

    def tell(self) -> int:
        """See `io.RawIOBase`."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """See `io.RawIOBase`."""
        self._at = max(0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.size}[whence])
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """See `io.RawIOBase`."""
        if self._at >= self.size:
            return 0
        if not self._block_at <= self._at < self._block_at + len(self._block):
            self._block, self._block_at = self._patiently(), self._at
        start = self._at - self._block_at
        part = self._block[start : start + len(buffer)]
        buffer[: len(part)] = part
        self._at += len(part)
        return len(part)

    def _patiently(self) -> bytes:
        for attempt in range(self.limits.attempts):
            try:
                return self._fetched()
            except Problem as problem:
                if not problem.again or attempt + 1 == self.limits.attempts:
                    kind = BadInput if problem.reached else NotReady
                    raise kind(f"{self.file_name}: {host(self.url)} {problem}") from None
                pause_s = max(problem.wait_s, self.limits.pause_s * 2**attempt)
                self.pause(min(pause_s, self.limits.longest_pause_s))
        raise AssertionError

    def _fetched(self) -> bytes:
        last = min(self._at + self.limits.block_bytes, self.size) - 1
        with ask(self.url, self.limits, self._at, last, self._tag) as answer:
            if answer.first != self._at or answer.total != self.size:
                raise Problem("has another file than a moment ago; fetch again")
            block = bytearray()
            for chunk in answer.chunks:
                block += chunk
                if len(block) > last - self._at + 1:
                    raise Problem("sends more than was asked for")
        if len(block) != last - self._at + 1:
            raise Problem("the connection broke off", again=True)
        return bytes(block)


def host(url: str) -> str:
    """The server's name, for sentences; the rest of a URL may be a signature."""
    return urlsplit(url).netloc or url


def _retry_after(headers: "requests.structures.CaseInsensitiveDict[str]") -> float:
    text = headers.get("Retry-After", "")
    return float(text) if text.isdecimal() and len(text) < 6 else 0.0


def _short(text: str) -> str:
    return "".join(letter for letter in text if letter.isprintable()).split("?")[0][:80]


def _why(error: Exception) -> str:
    """The innermost reason, short."""
    text = str(error)
    for words, said in (
        ("Name or service not known", "its name is not known here: no network, or a typo"),
        ("name resolution", "its name is not known here: no network, or a typo"),
        ("getaddrinfo", "its name is not known here: no network, or a typo"),
        ("Connection refused", "connection refused"),
        ("Network is unreachable", "no network"),
        ("timed out", "timed out"),
        ("CERTIFICATE_VERIFY_FAILED", "certificate not verified"),
        ("Proxy", "the proxy does not let us through"),
    ):
        if words in text:
            return said
    return type(error).__name__
