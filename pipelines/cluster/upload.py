"""What is uploaded: the files git knows, as they are now, and what is asked for besides; nothing secret, nothing large.

Never uploaded, whatever is asked for: `.git`, DVC's cache and private settings, data, runs and models of experiments.
"""

import hashlib
import json
import os
import shutil
import stat
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

from pipelines.cluster.leaks import Leak, by_name, in_content
from sim_models.config import BadInput, Refused

RECORD = ".sim_models_upload.json"
"""what the cluster is told about the upload, at its top"""
CODE = ("sim_models", "pipelines")
NEVER = (
    ".git", ".dvc/config.local", ".dvc/cache", ".dvc/tmp", "mlruns", "mlflow.db*", ".venv",
    *(f"{study}{made}" for study in ("", "studies/*/") for made in ("data", "models", "mlruns", "runs", "transfers")),
)  # fmt: skip
"""what stays here even if git knows it or it is asked for, with all that is below"""
TOLD = 5
"""names in a sentence"""
MB = 10**6


@dataclass(frozen=True)
class Version:
    """What the uploaded code is."""

    commit: str
    dirty: bool
    """whether files that git knows differ from the commit"""

    @property
    def sentence(self) -> str:
        """For people."""
        return f"{'changed since' if self.dirty else 'clean at'} {self.commit[:10]}"


@dataclass(frozen=True)
class Upload:
    """What would be uploaded."""

    root: Path
    files: tuple[str, ...]
    """paths from `root`, sorted"""
    bytes: int
    stays: tuple[str, ...]
    """what stays here, with its size where that is known, for people"""
    untracked: tuple[str, ...]
    """files that neither git nor its ignore list knows"""
    version: Version

    def lines(self, limit_mb: float) -> list[str]:
        """What would be uploaded, for people."""
        said = [
            f"upload: {len(self.files)} files, {self.bytes / MB:.1f} MB of at most {limit_mb:g} MB; working tree: "
            f"{self.version.sentence}"
        ]
        if self.stays:
            said.append(f"stays here: {', '.join(self.stays)}")
        if self.untracked:
            said.append(
                f"stays here, for git does not know it (git add, or --extra): {_some(self.untracked)}"
            )
        return said

    def refuse_large(self, limit_mb: float) -> None:
        """Refuse what is above the limit, naming the largest.

        Raises:
            Refused: if it is.
        """
        if self.bytes <= limit_mb * MB:
            return
        sizes = sorted(((self.root / name).stat().st_size, name) for name in self.files)
        largest = [f"{name} ({size / MB:.1f} MB)" for size, name in reversed(sizes[-TOLD:])]
        raise Refused(
            f"the upload has {self.bytes / MB:.1f} MB, more than the limit of {limit_mb:g} MB; the largest files are "
            f"{', '.join(largest)}: put data under DVC, or raise --limit-mb"
        )

    def refuse_secrets(self, known: Mapping[str, str]) -> None:
        """Refuse files that hold secrets.

        Raises:
            Refused: naming files and lines, and showing nothing of them.
        """
        leaks = list(self._leaks(known))
        if leaks:
            more = f"; and {len(leaks) - TOLD} more" if len(leaks) > TOLD else ""
            raise Refused(
                f"{'; '.join(leak.sentence for leak in leaks[:TOLD])}{more}: nothing is uploaded; take it out (pass "
                "secrets by the environment), or, if it is none, write `pragma: allowlist secret` into that line"
            )

    def _leaks(self, known: Mapping[str, str]) -> Iterator[Leak]:
        for name in self.files:
            leak = by_name(name)
            if leak is not None:
                yield leak
            else:
                yield from in_content(name, (self.root / name).read_bytes(), known)

    def copy(self, folder: Path) -> None:
        """Copy everything to `folder`, with a record of what it is; links become files."""
        for name in self.files:
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(self.root / name, target)
        record = {**asdict(self.version), "code": code_digest(folder), "files": len(self.files)}
        (folder / RECORD).write_text(json.dumps(record, indent=2) + "\n")


def list_upload(root: Path, extras: Sequence[str] = ()) -> Upload:
    """Look at the tree at `root`, and say what would be uploaded.

    Args:
        root: top of the git repository.
        extras: files and folders to take along though git does not know them, from `root`.

    Raises:
        BadInput: if it is no git repository, or an extra does not exist or stays here always.
        Refused: if a link leads out of the tree or to what is not uploaded.
    """
    commit = _git(root, "rev-parse", "HEAD")
    names = [name for name in _git(root, "ls-files", "-z").split("\0") if name]
    submodules = {
        entry.split("\t", 1)[1]
        for entry in _git(root, "ls-files", "-s", "-z").split("\0")
        if entry.startswith("160000")
    }
    asked = [name for extra in extras for name in _extra(root, extra)]
    present = [
        name for name in dict.fromkeys([*names, *asked]) if name not in submodules and _exists(root / name)
    ]
    files = _with_links(root, [name for name in present if not never(name)])
    untracked = [
        name for name in _git(root, "ls-files", "-o", "--exclude-standard", "-z").split("\0") if name
    ]
    ignored = _git(root, "ls-files", "-o", "-i", "--exclude-standard", "--directory", "-z").split("\0")
    kept = {name.rstrip("/") for name in ignored if name} | {name for name in present if never(name)}
    kept |= {name for name in (".git", ".dvc/config.local") if _exists(root / name)}
    return Upload(
        root,
        tuple(sorted(files)),
        sum((root / name).stat().st_size for name in files),
        (*_told(root, kept), *(f"{name} (submodule)" for name in sorted(submodules))),
        tuple(name for name in untracked if name not in files and not never(name)),
        Version(commit.strip(), bool(_git(root, "status", "--porcelain", "--untracked-files=no").strip())),
    )


def never(name: str) -> bool:
    """Whether a path stays here always, as one of `NEVER` or something below one."""
    path = PurePosixPath(name)
    return any(fnmatch(str(place), pattern) for place in (path, *path.parents) for pattern in NEVER)


def code_digest(folder: Path) -> str:
    """Hash of the code in a folder: equal where the same code lies."""
    total = hashlib.sha256()
    for file in sorted(file for room in CODE for file in (folder / room).rglob("*.py")):
        total.update(file.relative_to(folder).as_posix().encode())
        total.update(file.read_bytes())
    return total.hexdigest()[:16]


def repository_root(folder: Path) -> Path:
    """Top of the git repository that a folder is in.

    Raises:
        BadInput: if it is in none.
    """
    return Path(_git(folder, "rev-parse", "--show-toplevel").strip())


def _git(folder: Path, *arguments: str) -> str:
    if not folder.is_dir():
        raise BadInput(f"{folder}: is no folder")
    try:
        return subprocess.run(
            ["git", *arguments],
            cwd=folder,
            check=True,
            capture_output=True,
            text=True,
            errors="surrogateescape",
        ).stdout
    except FileNotFoundError:
        raise BadInput("git is not installed, and says what is uploaded; install it") from None
    except subprocess.CalledProcessError as error:
        reason = (error.stderr or str(error)).strip().splitlines()[0]
        raise BadInput(f"{folder.resolve()}: git does not say what is uploaded ({reason})") from None


def _exists(path: Path) -> bool:
    return path.exists() or path.is_symlink()


def _extra(root: Path, extra: str) -> list[str]:
    """The files of an extra; none of them may stay here always."""
    path = Path(os.path.normpath(root / extra))
    if not path.exists() or not path.resolve().is_relative_to(root.resolve()):
        raise BadInput(f"--extra {extra}: does not exist in {root}; give a file or folder in it")
    below = (
        [path]
        if not path.is_dir()
        else sorted(file for file in path.rglob("*") if not file.is_dir() or file.is_symlink())
    )
    names = [file.relative_to(root).as_posix() for file in below]
    if forbidden := [name for name in names if never(name)]:
        raise BadInput(
            f"--extra {extra}: {forbidden[0]} stays here always; data go by DVC, and secrets by the environment"
        )
    return [name for name in names if "__pycache__" not in name.split("/")]


def _with_links(root: Path, names: Sequence[str]) -> list[str]:
    """Names of files: a link stands for the file it leads to, a link to a folder for the files in there."""
    plain, links = [], []
    for name in names:
        mode = (root / name).lstat().st_mode
        if stat.S_ISLNK(mode):
            links.append(name)
        elif stat.S_ISREG(mode):
            plain.append(name)
    known, files = set(plain), list(plain)
    for link in links:
        target = Path(os.path.realpath(root / link))
        if not target.is_relative_to(root.resolve()):
            raise Refused(
                f"{link}: is a link that leads out of the tree, and would be nowhere on the cluster; take it away"
            )
        inside = target.relative_to(root.resolve()).as_posix()
        below = [name for name in plain if name.startswith(f"{inside}/")]
        if inside in known:
            files.append(link)
        elif below and not link.startswith(f"{inside}/"):
            files += [f"{link}/{name.removeprefix(f'{inside}/')}" for name in below]
        else:
            raise Refused(f"{link}: is a link to {inside}, which is not uploaded; take it away")
    return files


def _told(root: Path, names: set[str]) -> list[str]:
    """Names with sizes, the largest first; of what is small only how many there are."""
    sizes = sorted(((_size(root / name), name) for name in names), reverse=True)
    named = sizes[:TOLD] + [each for each in sizes[TOLD:] if each[1] in {".git", ".dvc/config.local"}]
    rest = [size for size, name in sizes if (size, name) not in named]
    return [f"{name} ({size / MB:.1f} MB)" for size, name in named] + (
        [f"{len(rest)} more ({sum(rest) / MB:.1f} MB)"] if rest else []
    )


def _size(path: Path) -> int:
    if not path.is_dir() or path.is_symlink():
        return path.lstat().st_size
    total = 0
    for folder, _, files in os.walk(path):
        for file in files:
            try:
                total += os.lstat(os.path.join(folder, file)).st_size  # noqa: PTH118
            except OSError:
                continue
    return total


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:TOLD]) + (f" and {len(names) - TOLD} more" if len(names) > TOLD else "")
