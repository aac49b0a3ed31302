"""What a run of the benchmark measured: for every runner and case its result, its errors and its scores."""

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import tifffile
from recon_case import load
from scores import Deviations, ImageScores, deviations, image_scores, widefield_image

OURS = "sim_models"
WIDEFIELD = "widefield"

DISTURBED = 0.1
"""share of the machine that others used, from which times mean nothing"""


@dataclass(frozen=True)
class Row:
    """What a runner made of a case."""

    runner: str
    case: str
    result: dict[str, Any]
    stripes: Deviations | None = None
    """None where it refused, or the truth is not known"""
    image: ImageScores | None = None
    """None where there is none, or one that cannot be compared"""

    @property
    def photons(self) -> int:
        """Light of the case, as its name has it; 0 where it has none."""
        found = re.search(r"_p(\d+)", self.case)
        return int(found.group(1)) if found else 0

    @property
    def ok(self) -> bool:
        """Whether the runner took its answer for one."""
        return bool(self.result.get("ok"))

    @property
    def right(self) -> bool:
        """Whether it was."""
        return self.ok and self.stripes is not None and self.stripes.right

    @property
    def warned(self) -> bool:
        """Whether the answer came with doubts."""
        return self.ok and bool(self.result.get("warnings"))

    @property
    def disturbed(self) -> bool:
        """Whether others used too much of the machine for times to mean anything."""
        return (self.result.get("foreign_cpu") or 0.0) > DISTURBED

    def seconds(self, *steps: str) -> float | None:
        """Sum of the median times of steps (estimate, setup, reconstruct) that were measured."""
        times = [self.result.get(f"t_{step}_s") for step in steps]
        known = [median(each) for each in times if each]
        return sum(known) if known else None

    @property
    def memory_mb(self) -> float | None:
        """Peak beyond what the imports need."""
        peak, base = self.result.get("peak_rss_mb"), self.result.get("base_rss_mb")
        return None if peak is None or base is None else peak - base

    def told(self) -> dict[str, Any]:
        """Plain values."""
        scores: dict[str, Any] = {}
        if self.stripes is not None:
            scores = {
                "k_err_px": self.stripes.worst_wave_px,
                "phase_err_rad": self.stripes.worst_phase_rad,
                "mod_err": self.stripes.worst_modulation,
            }
        if self.image is not None:
            scores |= asdict(self.image)
        return {"runner": self.runner, "case": self.case, **scores, "result": self.result}


def score(runner: str, case: Path, results: Path) -> Row:
    """Score what lies in RESULTS/<case>."""
    told = results / case.name / "result.json"
    if not told.exists():
        return Row(runner, case.name, {"ok": False, "crashed": True, "message": "it ended without a result"})
    result = json.loads(told.read_text())
    if not result["ok"]:
        return Row(runner, case.name, result)
    loaded = load(case, with_truth=(case / "truth.npz").exists())
    if loaded.truth is None:
        return Row(runner, case.name, result)
    image_path, image = told.with_name("recon.tif"), None
    if image_path.exists():
        pixels = tifffile.imread(image_path)
        if pixels.shape == loaded.truth["object"].shape and np.isfinite(pixels).all():
            image = image_scores(pixels, loaded.truth, loaded.meta)
    return Row(runner, case.name, result, deviations(result, loaded.truth), image)


def score_widefield(case: Path) -> Row:
    """Score the mean of all frames, as the image that takes no program at all."""
    loaded = load(case, with_truth=True)
    assert loaded.truth is not None
    image = widefield_image(loaded.counts.astype(np.float32) - loaded.meta["offset"])
    return Row(WIDEFIELD, case.name, {"ok": True}, image=image_scores(image, loaded.truth, loaded.meta))


@dataclass
class Rows:
    """All rows of a run, by the set of cases they belong to."""

    of_set: dict[str, list[Row]] = field(default_factory=dict)

    def find(self, runner: str, case: str) -> Row | None:
        """A runner's row of a case of any set."""
        every = (row for rows in self.of_set.values() for row in rows)
        return next((row for row in every if (row.runner, row.case) == (runner, case)), None)

    def value(self, runner: str, case: str, of: Callable[[Row], float | None]) -> float | None:
        """A number of a row; None where there is no such row or number."""
        row = self.find(runner, case)
        return None if row is None else of(row)

    def in_set(self, name: str, runner: str, start: str = "") -> list[Row]:
        """A runner's rows of a set, of cases whose names start so."""
        return [
            row for row in self.of_set.get(name, []) if row.runner == runner and row.case.startswith(start)
        ]

    def runners(self, name: str) -> list[str]:
        """All runners of a set, ours first."""
        names = dict.fromkeys(row.runner for row in self.of_set.get(name, []))
        return sorted(names, key=lambda runner: (runner != OURS, runner))

    def peers(self, name: str) -> list[str]:
        """Runners of a set that are programs of others."""
        return [runner for runner in self.runners(name) if runner not in (OURS, WIDEFIELD)]

    def cases(self, name: str) -> list[str]:
        """All cases of a set, in the order they were run."""
        return list(dict.fromkeys(row.case for row in self.of_set.get(name, [])))


def wave_error(row: Row) -> float | None:
    """Cycles per field, worst angle."""
    return None if row.stripes is None else row.stripes.worst_wave_px


def phase_error(row: Row) -> float | None:
    """Radian, worst frame."""
    return None if row.stripes is None else row.stripes.worst_phase_rad


def depth_error(row: Row) -> float | None:
    """Of the modulation, worst angle and harmonic."""
    return None if row.stripes is None else row.stripes.worst_modulation


def psnr(row: Row) -> float | None:
    """As delivered, dB."""
    return None if row.image is None else row.image.psnr


def psnr_ring(row: Row) -> float | None:
    """Ring-matched, dB."""
    return None if row.image is None else row.image.psnr_ring


def low_transfer(row: Row) -> float | None:
    """Gain of the lowest frequencies."""
    return None if row.image is None else row.image.low_transfer


def known(values: Iterable[float | None]) -> list[float]:
    """Those that were measured."""
    return [value for value in values if value is not None and np.isfinite(value)]


@dataclass(frozen=True)
class Measured:
    """Everything a run measured."""

    rows: Rows
    seeds: int
    """stacks per kind in the sets with small fields"""
    seed_offset: int
    repeat: int
    quick: bool
    peer_missing: str | None
    """why there is no peer, where there is none"""
    stolen_core: dict[str, dict[str, float]]
    """by runner and step: time with one of two cores taken by a busy process, over that without"""
    floor_ms: dict[str, float]
    """by case: time of the FFTs alone"""
    same_bits: bool | None
    """whether running a case again gave the same stripes and the same image, bit for bit"""
