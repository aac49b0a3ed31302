"""What a person says of stacks that are to be added, refused where it makes no sense whatever the stacks are."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

from sim_models import datasets
from sim_models.config import BadInput, parse
from sim_models.datasets.definition import Definition
from sim_models.field import Camera, FrameOrder
from sim_models.inspection import Known
from sim_models.sources.split import SplitSettings

OWN = "own"
"""what a person says of the licence of data that are theirs"""


@dataclass(frozen=True)
class Options:
    """What a person says of their stacks."""

    name: str
    folder: Path | None
    raw: tuple[str, ...]
    references: tuple[str, ...]
    structure: str | None
    """as the dataset is called, or as that which is there, where it is not said"""
    known: Known
    order: FrameOrder | None
    gain: float | None
    read_noise: float | None
    licence: str | None
    """SPDX, or 'own'"""
    split: SplitSettings
    into: Path
    keep: bool
    dry_run: bool

    @property
    def seen(self) -> str:
        """The structure."""
        return self.structure or self.name.replace("-", "_")

    def like(self, earlier: Definition) -> "Options":
        """The same, where nothing is said as it was before; the pixel size is what files have to say."""
        optics, camera = earlier.optics, earlier.optics.camera
        known = replace(
            self.known,
            angles=self.known.angles or earlier.raw.angles,
            phases=self.known.phases or earlier.raw.phases,
            numerical_aperture=self.known.numerical_aperture or optics.numerical_aperture,
            emission_um=self.known.emission_um or optics.emission_um,
            offset=camera.offset if camera and self.known.offset is None else self.known.offset,
        )
        return replace(
            self,
            structure=self.structure or next(iter(earlier.structures)),
            known=known,
            order=self.order or earlier.raw.order,
            gain=camera.gain if camera and self.gain is None else self.gain,
            read_noise=camera.read_noise if camera and self.read_noise is None else self.read_noise,
        )


def refuse_nonsense(options: Options) -> None:
    """Refuse what makes no sense whatever the stacks are, before any is opened.

    Raises:
        BadInput: saying what.
    """
    for what, word, more in (("name", options.name, "-"), ("--structure", options.seen, "")):
        if not re.fullmatch(rf"[a-z0-9][a-z0-9_{more}]*", word):
            dash = ", _ and -" if more else " and _"
            raise BadInput(
                f"{what} {word!r}: takes lower-case letters, digits{dash}, the first a letter or digit, as "
                "'lysosomes_2024'"
            )
    if options.name in datasets.names():
        raise BadInput(
            f"name '{options.name}': is that of a public dataset; choose another, as my-{options.name}"
        )
    if options.licence not in (None, OWN):
        try:
            canonical = canonicalize_license_expression(str(options.licence))
        except InvalidLicenseExpression:
            canonical = None
        if canonical != options.licence:
            meant = f"write {canonical}" if canonical else "give one as CC-BY-4.0 or CC0-1.0"
            raise BadInput(
                f"--licence '{options.licence}': is no SPDX licence; {meant}, or 'own' for data that are yours"
            )
    if options.gain is None and options.read_noise is not None:
        raise BadInput("--read-noise (photo-electrons) says something only together with --gain and --offset")
    camera_of(options)
    known = options.known
    microscope = {
        "--pixel-um": known.pixel_um,
        "--na": known.numerical_aperture,
        "--emission-um": known.emission_um,
    }
    for option, value in microscope.items():
        if value is not None and not 0 < value < 10:
            raise BadInput(f"{option} {value:g}: must be above 0 and below 10 (lengths in um)")
    for option, share in (("--val", options.split.val), ("--test", options.split.test)):
        if not share < 1 or options.split.val + options.split.test >= 1:
            raise BadInput(
                f"{option} {share:g}: --val and --test are shares, together below 1, as 0.2 and 0.2"
            )


def camera_of(options: Options) -> Mapping[str, Any] | None:
    """The camera as stated, plain.

    Raises:
        BadInput: if what is stated is not enough.
    """
    if options.gain is None:
        return None
    if options.known.offset is None:
        raise BadInput("--gain (counts per photo-electron) needs --offset (counts of a dark frame) beside it")
    values = {"gain": options.gain, "offset": options.known.offset, "read_noise": options.read_noise or 0.0}
    return parse(Camera, values, "--gain, --offset and --read-noise").model_dump()
