"""Our own layout: `<folder>/<cell>/<level>/<role>.ome.tif`, every file saying by itself what it is.

Each file's metadata holds the identity of its field (dataset, structure, cell, level), its role, the
unit of its values, the microscope and, where known, the illumination; axes are those of `field.AXES`.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from sim_models.config import BadInput, Settings, parse
from sim_models.field import AXES, Camera, Field, Illumination, Image, Microscope, Role
from sim_models.images import read, write_ome
from sim_models.sources.checks import check, raw_rows_and_columns

SUFFIX = ".ome.tif"


class _Record(Settings):
    """The metadata of one file: its role, and the identity that all files of a field share."""

    role: Role
    dataset: str
    structure: str
    cell: str
    level: str
    unit: Literal["counts", "photons"]
    microscope: Microscope
    illumination: Illumination | None
    notes: tuple[str, ...]


def write(folder: Path, field: Field) -> None:
    """Write every image of a field below `folder`, replacing what is there of the same name.

    Raises:
        BadInput: if a file cannot be written.
    """
    size = raw_rows_and_columns(field)
    for role, image in field.images.items():
        scale = image.shape[-2] // size[0] if size else 1
        record = _Record(role=role, **_identity(field))
        write_ome(
            folder / field.cell / field.level / f"{role}{SUFFIX}",
            image,
            AXES[role],
            field.microscope.pixel_um / scale,
            record.model_dump(mode="json"),
            f"{field.name} {role}",
        )


def fields(folder: Path, cells: Collection[str] | None = None) -> Iterator[Field]:
    """The fields below `folder`, sorted by cell and level, each read when it is asked for and checked.

    With `cells`, files of all other cells stay closed.

    Raises:
        BadInput: if there is no field, or one cannot be used; the message names the file and the key.
    """
    homes = sorted({file.parent for file in folder.glob(f"*/*/*{SUFFIX}")})
    if not homes:
        raise BadInput(f"{folder}: holds no field; expected files <cell>/<level>/<role>{SUFFIX}")
    for home in homes:
        if cells is None or home.parent.name in cells:
            field = _read_field(home)
            check(field, str(home))
            yield field


def let_go(folder: Path, field: Field) -> Field:
    """The same field of `folder`, whose images do not stay in memory: each is read anew whenever it is asked for."""
    home = folder / field.cell / field.level
    return replace(field, images=_OnDisk(home, tuple(field.images)))


class _OnDisk(Mapping[Role, Image]):
    """Images of one field in its folder."""

    def __init__(self, home: Path, roles: Sequence[Role]) -> None:
        self.home, self.roles = home, roles

    def __getitem__(self, role: Role) -> Image:
        if role not in self.roles:
            raise KeyError(role)
        return _read_role(self.home / f"{role}{SUFFIX}")[1]

    def __contains__(self, role: object) -> bool:
        return role in self.roles  # without reading it

    def __iter__(self) -> Iterator[Role]:
        return iter(self.roles)

    def __len__(self) -> int:
        return len(self.roles)


def write_toy(folder: Path) -> None:
    """Two cells at two light levels: stripes over smooth blobs, 3 angles x 3 phases, 24 x 24 pixels."""
    for cell in range(2):
        for level, photons in {"high": 200.0, "low": 10.0}.items():
            write(folder, _toy_field(cell, level, photons))


def _identity(source: Field | _Record) -> dict[str, Any]:
    return {key: getattr(source, key) for key in _Record.model_fields if key != "role"}


def _read_field(home: Path) -> Field:
    paths = sorted(home.glob(f"*{SUFFIX}"))
    records, images = zip(*(_read_role(path) for path in paths), strict=True)
    identity = _identity(records[0])
    for path, record in zip(paths, records, strict=True):
        if _identity(record) != identity:
            raise BadInput(f"{path}: its metadata differ from {paths[0].name} beside it; write both anew")
    roles = (record.role for record in records)
    return Field(images=dict(zip(roles, images, strict=True)), **identity)


def _read_role(path: Path) -> tuple[_Record, Image]:
    file = read(path)
    if not file.metadata:
        raise BadInput(
            f"{path}: carries no acquisition metadata (structure, role, microscope ...); "
            "this layout holds only files this project has written"
        )
    record = parse(_Record, file.metadata, str(path))
    home = Path(record.cell, record.level, f"{record.role}{SUFFIX}")
    if path.parts[-3:] != home.parts:
        raise BadInput(f"{path}: its metadata says it is {home}; move it there, or a cell counts twice")
    if file.axes != AXES[record.role]:
        raise BadInput(f"{path}: has axes {file.axes}; role '{record.role}' needs {AXES[record.role]}")
    return record, file.data


def _toy_field(cell: int, level: str, photons: float) -> Field:
    microscope = Microscope(
        numerical_aperture=1.4,
        refractive_index=1.518,
        emission_um=0.525,
        pixel_um=0.065,
        camera=Camera(gain=2.0, offset=100.0, read_noise=1.5),
    )
    illumination = Illumination(
        angle_rad=(0.1, 0.1 + np.pi / 3, 0.1 + 2 * np.pi / 3),
        spacing_um=(0.2, 0.2, 0.2),
        phase_rad=((0.0, 2 * np.pi / 3, 4 * np.pi / 3),) * 3,
        modulation=((0.8,),) * 3,
    )
    y, x = np.indices((48, 48)) + 0.5
    blobs = sum(
        np.exp(-((y - (11 + 9 * i + 3 * cell)) ** 2 + (x - (37 - 8 * i)) ** 2) / 18) for i in range(4)
    )
    truth = (photons * np.asarray(blobs)).astype(np.float32)
    widefield = truth.reshape(24, 2, 24, 2).mean(axis=(1, 3))
    expected = widefield * _toy_pattern(illumination, microscope.pixel_um)
    generator = np.random.default_rng([cell, int(photons)])
    raw = np.round(2.0 * generator.poisson(expected) + 100 + generator.normal(0, 3, expected.shape))
    return Field(
        dataset="toy",
        structure="blobs",
        cell=f"cell_{cell:03d}",
        level=level,
        images={"raw": raw.clip(0, 65535).astype(np.uint16), "reference": truth},
        microscope=microscope,
        illumination=illumination,
        notes=("a toy: no optical blur",),
    )


def _toy_pattern(illumination: Illumination, pixel_um: float) -> Image:
    """Relative intensity (A, P, 24, 24) by the formula of `Illumination`."""
    y, x = np.indices((24, 24)) * pixel_um
    angle, spacing = np.array(illumination.angle_rad), np.array(illumination.spacing_um)
    wave = 2 * np.pi * np.stack([np.cos(angle), np.sin(angle)]) / spacing
    argument = wave[0, :, None, None, None] * x + wave[1, :, None, None, None] * y
    argument = argument + np.array(illumination.phase_rad)[:, :, None, None]
    depth = np.array(illumination.modulation)[:, :1, None, None]
    return np.asarray(1 + depth * np.cos(argument))
