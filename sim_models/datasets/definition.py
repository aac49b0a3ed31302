"""What is known of a dataset, as a typed file: where it lies, what is in it, and what one may do with it.

Everything has to be written down; what is not known is null, and `unknown` lists it. Nothing is guessed here, for a
reader of images or a model card takes it for true.
"""

import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression
from pydantic import (
    AfterValidator,
    BaseModel,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from sim_models.config import BadInput, Settings, parse
from sim_models.datasets.cells import CellPattern, numbers_of
from sim_models.field import Camera, FrameOrder, Role
from sim_models.sources import layouts
from sim_models.sources.listing import LayoutSettings
from sim_models.sources.split import Split as Parts

LAYOUTS = tuple(file.name for file in pkgutil.iter_modules(layouts.__path__))
"""that a definition may name"""
ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
"""what can be unpacked"""
LOOPBACK = ("127.0.0.1", "localhost", "::1")
"""where http is as safe as https"""
RECEIPT = "fetched.json"
"""name of the record in a fetched folder, which no file of a dataset may have"""


def safe_url(url: str) -> str:
    """The URL, if what is fetched from it cannot be exchanged on the way.

    Raises:
        ValueError: if it is not https (http on this machine itself), or carries a password.
    """
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in LOOPBACK):
        raise ValueError(f"'{url}' is not https; only servers on this machine may be asked by http")
    if not parts.hostname or parts.username or parts.password:
        raise ValueError(f"'{parts.scheme}://...' needs a host and may hold neither user nor password")
    if parts.hostname.removeprefix("www.") == "figshare.com" and parts.path.startswith("/ndownloader"):
        raise ValueError(
            f"'{url}' answers with an empty challenge; use https://api.figshare.com/v2/file/download/ID"
        )
    return url


def _spdx(licence: str) -> str:
    try:
        canonical = canonicalize_license_expression(licence)
    except InvalidLicenseExpression:
        raise ValueError(
            f"'{licence}' is no SPDX licence, as CC-BY-4.0 or CC0-1.0; another is LicenseRef-NAME, an unknown one null"
        ) from None
    if canonical != licence:
        raise ValueError(f"'{licence}' is written {canonical} by SPDX")
    return licence


def _plain_name(name: str) -> str:
    if name in ("", ".", "..", RECEIPT) or name.startswith(".") or re.search(r"[/\\\x00-\x1f:]", name):
        raise ValueError(f"'{name}' is no plain file name, without folders, and other than {RECEIPT}")
    return name


Url = Annotated[str, AfterValidator(safe_url)]
Count = PositiveInt | None
Length = PositiveFloat | None
Word = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]*$")]


class Raw(Settings):
    """The frames as the camera gave them; 1 angle and 1 phase where there are no stripes."""

    angles: Count
    phases: Count
    order: FrameOrder | None
    """null where nobody has tested it"""
    rows: Count
    columns: Count
    dtype: Literal["uint8", "int16", "uint16", "float32"] | None
    time_points: Count
    sections: Count


class Storage(Settings):
    """How frames lie in their files; see `sim_models.sources.raw.Declared`."""

    rows: Literal["top-down", "bottom-up"]
    transposed: bool
    time: Literal["one", "slowest", "T", "Z", "C", "I"]


class Targets(Settings):
    """What an image can be learned towards or judged by."""

    scale: Count
    """pixels of a target for one raw pixel, along an edge"""
    files: dict[Role, str]
    """where each role lies, as a pattern of the layout"""
    never: tuple[str, ...]
    """files that look like targets and are none"""


class Levels(Settings):
    """Light levels of the same cell."""

    count: Count
    pattern: str | None
    """file name with `{level}`"""
    noisiest: NonNegativeInt | None
    photons: tuple[PositiveFloat, PositiveFloat] | None
    """mean photons of the darkest and of the brightest level"""


class Optics(Settings):
    """The microscope, lengths in um."""

    numerical_aperture: Length
    refractive_index: Length
    excitation_um: Length
    emission_um: Length
    pixel_um: Length
    """edge of a raw pixel in the specimen"""
    camera: Camera | None


class Split(Settings):
    """Cells by set as a publication used them, and where that was read."""

    sets: dict[str, str]
    """numbers of cells, as in `1-5,8`"""
    source: str

    @model_validator(mode="after")
    def _sets_are_apart(self) -> Self:
        taken: dict[int, str] = {}
        for name, cells in self.sets.items():
            for number in numbers_of(cells):
                if number in taken:
                    raise ValueError(f"cell {number} is in '{taken[number]}' and in '{name}'")
                taken[number] = name
        return self


class File(Settings):
    """One file that a server gives."""

    name: Annotated[str, AfterValidator(_plain_name)]
    urls: Annotated[tuple[Url, ...], Field(min_length=1)]
    """tried in this order"""
    bytes: PositiveInt | None
    md5: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")] | None
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None
    unpack: bool
    structure: str | None
    """of all that is in it; null where it holds several or none"""
    cells: CellPattern | None
    """folder of a cell in the archive; null where a part cannot be told from its names"""

    @model_validator(mode="after")
    def _can_be_unpacked(self) -> Self:
        if self.unpack and not self.name.lower().endswith(ARCHIVES):
            raise ValueError(f"'{self.name}' cannot be unpacked; that can be {', '.join(ARCHIVES)}")
        if self.cells and not self.unpack:
            raise ValueError(f"'{self.name}' is not unpacked and so has no `cells`")
        return self


class Definition(Settings):
    """One dataset."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
    title: str
    origin: Literal["public", "own", "unstated"]
    """own: of whoever uses it, who needs nobody's licence"""
    structures: Annotated[dict[Word, Count], Field(min_length=1)]
    """number of cells (or fields) of each"""
    cells: CellPattern | None
    """how a cell is named"""
    doi: Annotated[str, Field(pattern=r"^10\.\d{4,9}/\S+$")] | None
    url: Url | None
    """a page for people"""
    licence: Annotated[str, AfterValidator(_spdx)] | None
    licence_from: str | None
    cite: str | None
    layout: dict[str, Any] | None
    """name and options of one of `sim_models.sources.layouts`, without its folder"""
    raw: Raw
    storage: Storage | None
    targets: Targets
    levels: Levels
    optics: Optics
    splits: dict[str, Split]
    parts: Parts | None
    """cells by name, and what each is for; null where every study deals them out anew"""
    files: tuple[File, ...]
    notes: tuple[str, ...]
    """what is only hearsay, or what no field holds"""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.licence is None) != (self.licence_from is None):
            raise ValueError(
                "`licence` and `licence_from`, where it was read, are given together or not at all"
            )
        if self.layout is not None:
            if self.layout.get("name") not in LAYOUTS:
                raise ValueError(f"layout.name: '{self.layout.get('name')}' is none of {', '.join(LAYOUTS)}")
            self.layout_in(Path())
        for file in self.files:
            if file.structure is not None and file.structure not in self.structures:
                raise ValueError(
                    f"files: '{file.name}' is of '{file.structure}', which is not in `structures`"
                )
        names = [file.name.casefold() for file in self.files]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"files: {', '.join(twice)} is there twice")
        return self

    def layout_in(self, folder: Path) -> LayoutSettings:
        """The images of a folder in this layout.

        Raises:
            BadInput: if the layout is not known, or its options are wrong.
        """
        if self.layout is None:
            raise BadInput(f"{self.name}: its definition knows no layout, so its images cannot be told apart")
        room = importlib.import_module(f"{layouts.__name__}.{self.layout['name']}")
        values = {**self.layout, "folder": str(folder)}
        found: LayoutSettings = parse(room.Settings, values, f"layout of {self.name}")
        return found

    @property
    def size(self) -> int | None:
        """Bytes of all files, None if one is not known or there are none."""
        sizes = [file.bytes for file in self.files]
        return sum(size or 0 for size in sizes) if sizes and None not in sizes else None

    @property
    def reachable(self) -> bool:
        """Whether anything of it can be fetched."""
        return bool(self.files)

    def unknown(self) -> list[str]:
        """Dotted names of all that is not known, and could be."""
        return [name for name in _nulls(self, "") if not self._needless(name)]

    def _needless(self, name: str) -> bool:
        """What follows from something else, or what there cannot be."""
        if self.origin == "own" and name in (
            "doi",
            "url",
            "cite",
            "licence",
            "licence_from",
            "files",
            "cells",
        ):
            return True
        if name == "raw.order":
            return 1 in (self.raw.angles, self.raw.phases)
        if name.startswith("levels."):
            return self.levels.count == 1
        return name in ("licence_from", "parts")


def _nulls(part: object, above: str) -> Iterator[str]:
    if isinstance(part, File):
        yield from (f"{above}.{key}" for key in ("bytes",) if getattr(part, key) is None)
        if part.md5 is None and part.sha256 is None:
            yield f"{above}.checksum"
    elif isinstance(part, BaseModel):
        for key in type(part).model_fields:
            yield from _nulls(getattr(part, key), f"{above}.{key}".lstrip("."))
    elif isinstance(part, dict) and above == "structures":
        yield from (f"structures.{name}" for name, cells in part.items() if cells is None)
    elif isinstance(part, tuple) and above == "files":
        for file in part:
            yield from _nulls(file, f"files.{file.name}")
        if not part:
            yield above
    elif part is None:
        yield above
