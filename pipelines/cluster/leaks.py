"""Secrets that must not travel: files that hold keys by their name, and keys and passwords in texts.

What is found is named by file and line, and never shown.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch

ALLOWED = "pragma: allowlist secret"
"""a line with this comment is no secret, as an example in a test; other scanners know these words as well"""

NAMES = {
    "private key": ("id_rsa", "id_dsa", "id_ecdsa", "id_ed25519", "*.ppk", "*.p12", "*.pfx", "*.jks", "*.keystore"),
    "passwords": (".netrc", "_netrc", ".pgpass", ".git-credentials", ".htpasswd", ".dockercfg", "kubeconfig"),
    "environment of a machine": (".env", ".env.*", "*.env"),
}  # fmt: skip
SHOWN_NAMES = (".env.example", ".env.sample", ".env.template", "example.env")
"""names that only show what is to be filled in"""

_PATTERNS = {
    "a private key": r"-----BEGIN (?:[A-Z0-9]{1,20} ){0,4}PRIVATE KEY(?: BLOCK)?-----",
    "an AWS access key": r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b",
    "a GitHub token": r"\bgh[pousr]_[A-Za-z0-9]{36,}\b|\bgithub_pat_[A-Za-z0-9_]{40,}\b",
    "a GitLab token": r"\bglpat-[A-Za-z0-9_-]{20,}",
    "a Slack token": r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}",
    "a Hugging Face token": r"\bhf_[A-Za-z0-9]{30,}\b",
    "a Google key": r"\bAIza[A-Za-z0-9_-]{35}\b",
    "a secret key": r"\bsk-[A-Za-z0-9_-]{32,200}\b",
    "a JSON web token": r"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}",
}
_CERTAIN = {what: re.compile(pattern) for what, pattern in _PATTERNS.items()}
# They take time in proportion to a line, which may be a whole file: nothing may repeat before what is looked for.
_IN_ADDRESS = re.compile(r"://[^\s/:@'\"]{0,200}:(?P<value>[^\s/@'\"]{1,200})@")
_ASSIGNED = re.compile(
    r"(?i)(?P<name>secret|token|passw(?:or)?d|passwd|api_?key|access_?key(?:_?id)?|private_?key)"
    r"['\"]?\s{0,20}(?:=>|:=|=|:)\s{0,20}(?P<quote>['\"]?)(?P<value>[^\s'\"#,;)}\]]{1,500})(?P=quote)"
)
_PLACEHOLDER = re.compile(r"[${<>}()]|^%|\*{3}|\.\.\.")
_WORDS = {
    "changeme",
    "password",
    "secret",
    "token",
    "example",
    "placeholder",
    "none",
    "null",
    "true",
    "false",
}
LEAST_BITS = 3.0
"""entropy of a character above which a value is no word of a language"""
LARGEST = 20 * 2**20
"""bytes of a file that is read as text"""


@dataclass(frozen=True)
class Leak:
    """A secret, by its place."""

    path: str
    line: int | None
    what: str

    @property
    def sentence(self) -> str:
        """Where it is and what, without showing it."""
        where = self.path if self.line is None else f"{self.path}, line {self.line}"
        return f"{where}: looks like {self.what}"


def by_name(path: str) -> Leak | None:
    """What a file is by its name, if that says that it holds a secret."""
    name = path.rpartition("/")[2].lower()
    if name in SHOWN_NAMES:
        return None
    for what, patterns in NAMES.items():
        if any(fnmatch(name, pattern) for pattern in patterns):
            return Leak(path, None, f"a file with the {what}" if what != "private key" else "a private key")
    if path.lower().endswith((".aws/credentials", ".docker/config.json", ".kube/config")):
        return Leak(path, None, "a file with credentials")
    return None


def in_content(path: str, content: bytes, known: Mapping[str, str]) -> Iterator[Leak]:
    """Secrets in a file.

    Args:
        path: how the file is named.
        content: what is in it.
        known: values that are secret whatever they look like, by the name of their variable.
    """
    if b"\0" in content[:8192] or len(content) > LARGEST:
        return
    for number, line in enumerate(content.decode(errors="replace").splitlines(), 1):
        if ALLOWED in line:
            continue
        what = _of_line(line, known)
        if what is not None:
            yield Leak(path, number, what)


def _of_line(line: str, known: Mapping[str, str]) -> str | None:
    for name, value in known.items():
        if value in line:
            return f"the value of {name}"
    for what, pattern in _CERTAIN.items():
        if pattern.search(line):
            return what
    for found in _IN_ADDRESS.finditer(line):
        if not _stands_for_something(found["value"]):
            return "an address with a password"
    for found in _ASSIGNED.finditer(line):
        if _is_secret(found["value"]):
            return f"the value of a {found['name'].lower()}"
    return None


def _stands_for_something(value: str) -> bool:
    return bool(_PLACEHOLDER.search(value)) or value.lower() in _WORDS


def _is_secret(value: str) -> bool:
    """Whether a value is drawn by chance rather than written: long, of letters and digits, with many different ones."""
    if len(value) < 16 or _stands_for_something(value) or not re.fullmatch(r"[A-Za-z0-9+/=_.~-]+", value):
        return False
    if not (re.search(r"[A-Za-z]", value) and re.search(r"[0-9]", value)) or value.count(".") > 1:
        return False
    counts = Counter(value)
    bits = -sum(count / len(value) * math.log2(count / len(value)) for count in counts.values())
    return bits >= LEAST_BITS
