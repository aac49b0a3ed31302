"""The images of a dataset, read as its definition says they are: what is wrong with which, and what stripes say."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.onboarding.cells import Cell, cell_of
from pipelines.onboarding.dataset import stated_of, storage_of
from pipelines.onboarding.reading import reference_of
from pipelines.own_files.stacks import layout_of, microscope_of, refuse_scale, refuse_unusable
from sim_models.config import BadInput
from sim_models.datasets.definition import Definition
from sim_models.field import FrameOrder
from sim_models.images import read
from sim_models.optics.reconstruct import SCALE
from sim_models.sources.listing import Listed
from sim_models.sources.raw import Contradicted, Declared, Raw, read_image, read_raw
from sim_models.sources.split import PARTS

SAME = "stripes say the same order"
"""how the note of `read_raw` begins where stripes tell"""
PIXEL = 0.01
"""relative difference between a pixel size that is stated and that of a file, from which on it is told"""


@dataclass
class Looked:
    """What was found in the images of a dataset."""

    declared: FrameOrder | None
    cells: int = 0
    levels: tuple[str, ...] = ()
    kinds: Counter[str] = field(default_factory=Counter)
    """shape and type of stacks -> how many"""
    agree: Counter[str] = field(default_factory=Counter)
    """order -> cells whose stripes say so"""
    weak: int = 0
    """cells whose stripes do not tell"""
    problems: list[str] = field(default_factory=list)

    @property
    def summary(self) -> str:
        """In a line."""
        kinds = [kind for kind, _ in self.kinds.most_common(3)] or ["no stack could be read"]
        more = " and others" if len(self.kinds) > 3 else ""
        told = [f"{self.cells} cells x {len(self.levels)} levels", f"{'; '.join(kinds)}{more}", self._order]
        return ", ".join(told)

    @property
    def _order(self) -> str:
        weak = f", too weak to tell in {self.weak}" if self.weak else ""
        if self.declared is not None:
            return f"order {self.declared}: stripes agree in {self.agree[str(self.declared)]}{weak}"
        said = [f"{order} in {count}" for order, count in self.agree.most_common()]
        if not said:
            return f"order not stated: stripes do not tell it{weak}"
        return f"order not stated: stripes say {' and '.join(said)}{weak}"

    def as_dict(self) -> dict[str, Any]:
        """For machines."""
        return {
            "cells": self.cells, "levels": list(self.levels), "kinds": dict(self.kinds),
            "order": None if self.declared is None else str(self.declared), "stripes_say": dict(self.agree),
            "too_weak": self.weak, "problems": self.problems,
        }  # fmt: skip


def look(definition: Definition, folder: Path, told: Callable[[int, int], None]) -> Looked:
    """Read every image of a dataset.

    Args:
        definition: what the images are said to be; it knows a layout.
        folder: where they lie.
        told: hears of every cell, as (done, all).
    """
    found = Looked(definition.raw.order)
    try:
        listed = list(definition.layout_in(folder).images())
    except BadInput as reason:
        found.problems.append(str(reason))
        return found
    names = list(dict.fromkeys((each.structure, each.cell) for each in listed))
    found.cells = len(names)
    found.levels = tuple(dict.fromkeys(each.level or "raw" for each in listed if each.role == "raw"))
    for number, (structure, cell) in enumerate(names):
        images = [each for each in listed if (each.structure, each.cell) == (structure, cell)]
        _Look(definition, found).at(cell_of(cell, images), images)
        told(number + 1, len(names))
    found.problems += _parts(definition, {cell for _, cell in names})
    return found


@dataclass
class _Look:
    """At one cell."""

    definition: Definition
    found: Looked
    votes: Counter[str] = field(default_factory=Counter)

    def at(self, cell: Cell, images: Sequence[Listed]) -> None:
        """Every image of it."""
        stacks = {level: self._tried(lambda each=each: self._raw(each)) for level, each in cell.raw.items()}  # type: ignore[misc]
        if self.votes:
            self.found.agree[self.votes.most_common(1)[0][0]] += 1
        elif any(stacks.values()):
            self.found.weak += 1
        seen: set[tuple[Path, ...]] = set()
        for level, read_so in stacks.items():
            listed = cell.reference(level)
            if read_so is None or listed is None or listed.paths in seen:
                continue
            seen.add(listed.paths)
            raw, declared = read_so
            scale = self.definition.targets.scale or SCALE
            self._tried(lambda: reference_of(cell, level, raw, declared, scale))  # noqa: B023 # called at once
        for each in images:
            if each.role == "raw_clean":
                self._tried(lambda: self._raw(each, counts=False))  # noqa: B023 # called at once
            elif each.role != "raw" and each.paths not in seen:
                self._tried(lambda: self._other(each))  # noqa: B023 # called at once

    def _tried(self, work: Callable[[], Any]) -> Any:
        try:
            return work()
        except BadInput as reason:
            self.found.problems.append(str(reason))
        return None

    def _raw(self, listed: Listed, counts: bool = True) -> tuple[Raw, Declared]:
        raw, declared = self._in_order(listed)
        refuse_unusable(raw.stacks, listed.where)
        if np.ptp(raw.stacks) == 0:
            raise BadInput(f"{listed.where}: every pixel is {raw.stacks.flat[0]}; copy or fetch it again")
        if counts and raw.notes[-1].startswith(SAME):
            self.votes[str(declared.order)] += 1
        if counts:
            self._count(raw)
        self._facts(raw, listed.where)
        return raw, declared

    def _count(self, raw: Raw) -> None:
        times, angles, phases, rows, columns = raw.stacks.shape
        many = f"{times} x " if times > 1 else ""
        self.found.kinds[f"{many}{angles * phases} x {rows} x {columns} {raw.stacks.dtype}"] += 1

    def _in_order(self, listed: Listed) -> tuple[Raw, Declared]:
        """A stack, in the order that is declared; where none is, in the one that its stripes do not contradict."""
        facts, storage = self.definition.raw, storage_of(self.definition).model_dump()
        angles, phases = facts.angles, facts.phases
        if angles is None or phases is None:
            angles, phases = layout_of(read(listed.paths[0]), angles, phases, listed.where)
        usual = [FrameOrder(order) for order, _ in self.found.agree.most_common(1)]
        first = facts.order or next(iter(usual), FrameOrder.ANGLE_MAJOR)
        declared = Declared(angles=angles, phases=phases, order=first, **storage)
        try:
            return read_raw(listed, declared), declared
        except Contradicted:
            if facts.order is not None:
                raise
            other = next(order for order in FrameOrder if order is not first)
            declared = declared.model_copy(update={"order": other})
            return read_raw(listed, declared), declared

    def _facts(self, raw: Raw, path: Path) -> None:
        """Size, type, pixel and optics against what is stated."""
        rows, columns = raw.stacks.shape[-2:]
        facts, optics = self.definition.raw, self.definition.optics
        for what, is_so, stated in (
            ("rows", rows, facts.rows),
            ("columns", columns, facts.columns),
            ("values of type", str(raw.stacks.dtype), facts.dtype),
        ):
            if stated is not None and is_so != stated:
                raise BadInput(
                    f"{path}: has {is_so} {what}, but its definition says {stated}; one of them is wrong"
                )
        if raw.pixel_um and optics.pixel_um and abs(raw.pixel_um / optics.pixel_um - 1) > PIXEL:
            raise BadInput(
                f"{path}: says that its pixels are of {raw.pixel_um:.4g} um, but its definition {optics.pixel_um:.4g} "
                "um; one of them is wrong"
            )
        if None not in (optics.numerical_aperture, optics.emission_um, optics.pixel_um or raw.pixel_um):
            refuse_scale(microscope_of(raw, stated_of(self.definition), path), (rows, columns), path)

    def _other(self, listed: Listed) -> None:
        """Whatever is neither a raw stack nor its good image: it can be read, and is an image."""
        storage = storage_of(self.definition).model_dump()
        data, _ = read_image(listed, Declared(angles=1, phases=1, order=FrameOrder.ANGLE_MAJOR, **storage))
        if not np.isfinite(data).all() or np.ptp(data) == 0:
            raise BadInput(
                f"{listed.where}: its values are constant, NaN or infinite; copy or fetch it again"
            )


def _parts(definition: Definition, cells: set[str]) -> list[str]:
    """Cells that are there or meant, and not both."""
    if (parts := definition.parts) is None:
        return []
    meant = {cell for part in PARTS for cell in parts.cells(part)}
    said = []
    if more := sorted(cells - meant):
        said.append(f"{', '.join(more)}: in the folder, but `parts` of the definition do not say what for")
    if less := sorted(meant - cells):
        said.append(f"{', '.join(less)}: in `parts` of the definition, but not in the folder")
    return said
