"""The command line, called as its console script calls it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.cli import app
from pipelines.shared.stage import exit_code
from sim_models.config import parse
from sim_models.evaluation.intervals import Bootstrap
from sim_models.field import Field
from sim_models.freeze import FreezeRange
from sim_models.sources.objects import microtubules
from sim_models.sources.simulation import Acquisition, simulate
from sim_models.transfer.curves import enough, time_to_quality
from sim_models.transfer.decision import Contender, Repeat, decide
from sim_models.transfer.search import TrialRecord
from sim_models.transfer.study import ARMS, SourceScore, StudyRecord

ACQUISITION: dict[str, Any] = {
    "microscope": {
        "numerical_aperture": 1.4,
        "refractive_index": 1.518,
        "emission_um": 0.525,
        "pixel_um": 0.065,
        "camera": {"gain": 2.0, "offset": 100.0, "read_noise": 1.5},
    },
    "angles": 3,
    "phases": 3,
    "spacing_um": 0.2,
    "modulation": [0.8],
    "first_angle_rad": 0.2,
    "angle_error_rad": 0.0,
    "phase_error_rad": 0.0,
    "modulation_error": 0.0,
    "field_px": 64,
    "scale": 2,
    "oversampling": 4,
    "levels": {"high": 400.0},
}
OBJECTS = {
    "name": "microtubules", "density_um_per_um2": 2.0, "persistence_um": 20.0, "width_um": 0.05,
    "stray_share": 0.3, "labels_per_um": 400.0,
}  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str


@pytest.fixture
def run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., Outcome]:
    """Calls the command as its console script does, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> Outcome:
        code = exit_code(lambda: app(list(map(str, arguments)), standalone_mode=False))
        captured = capfd.readouterr()
        return Outcome(code, captured.out, captured.err)

    return call


@pytest.fixture(scope="session")
def take() -> Callable[[int], Field]:
    """Takes bright cells in counts, as their camera gives them."""

    @cache
    def call(cell: int) -> Field:
        objects = parse(microtubules.Settings, OBJECTS, "objects")
        acquisition = parse(Acquisition, ACQUISITION, "acquisition")
        (field,) = simulate(objects, acquisition, "microtubules", cell, 11)
        return field

    return call


@pytest.fixture(scope="session")
def taken(take: Callable[[int], Field]) -> Field:
    """One of them."""
    return take(3)


STAGES = ("intro", "enc1", "middle", "dec1", "head")
RANGES = [(0, 0), (0, 1), (0, 2), (1, 3), (2, 5), (4, 5), (0, 1), (1, 2)]
"""freeze ranges of the trials, in their order"""
BOOTSTRAP = Bootstrap(confidence=0.95, resamples=300, seed=7)


@dataclass(frozen=True)
class Findings:
    """What a made-up study is to have found, on the validation cells, in dB."""

    direct: float = 37.0
    finetune: float = 39.7
    finetune_equal: float = 39.72
    scratch: float = 39.1
    doubt: float = 0.0
    """by how much cells disagree on what direct use is worth"""
    ranges: tuple[float, ...] = (39.5, 39.72, 39.7)
    """of freezing nothing, `intro` and `intro-enc1`"""
    cells: int = 6
    seeds: int = 3
    margin_db: float = 0.1
    scratch_best_at_last: bool = False
    ended: tuple[int, ...] = (0, 1, 2, 7)
    """trials that ran to their end"""
    source: str = "microtubules_nafnet"
    structure: str = "ccps"

    def record(self) -> StudyRecord:
        """The record that a study would write."""
        fields = tuple(f"cell_{cell}" for cell in range(self.cells) for _ in range(2))
        arms = tuple(self._arm(name, 10) for name in ARMS)
        names = ("finetune", "finetune_equal", "scratch")
        learning = tuple(self._arm(name, cells) for cells in (2, 5, 10) for name in names)
        of = {name: [each for each in learning if each.name == name] for name in names}
        finalists = tuple(
            self._contender(label, 10, label, psnr, 60, cost)
            for label, psnr, cost in zip(
                ("none", "intro", "intro-enc1"), self.ranges, (0.9, 0.8, 0.7), strict=True
            )
        )
        range_decision = decide(finalists, fields, self.margin_db, BOOTSTRAP)
        return StudyRecord(
            source=self.source,
            structure=self.structure,
            sources=(SourceScore(name=self.source, val_psnr=arms[0].val_psnr),),
            stages=STAGES,
            validation_cells=fields,
            trials=tuple(self._trial(number) for number in range(len(RANGES))),
            finalists=finalists,
            range_decision=range_decision,
            frozen=FreezeRange(start=0, end=2),
            learning_rate=0.001,
            arms=arms,
            decision=decide(arms, fields, self.margin_db, BOOTSTRAP),
            kept_seed={"finetune": 1, "finetune_equal": 1, "scratch": 1},
            learning=learning,
            enough=tuple(
                enough(of[name], of["scratch"], fields, self.margin_db, BOOTSTRAP) for name in names[:2]
            ),
            time_to_quality=time_to_quality(
                [arm for arm in arms if arm.name == "finetune"],
                next(arm for arm in arms if arm.name == "scratch"),
            ),
            spent_tflop={"search": 12.5, "finalists": 7.2, "learning": 61.0},
        )

    def _arm(self, name: str, cells: int) -> Contender:
        psnr, lost = getattr(self, name), {"finetune": 0.2, "scratch": 2.0}.get(name, 0) * (10 / cells - 1)
        steps = {"direct": 0, "finetune": 60}.get(name, 600)
        cost = {"direct": 0.0, "finetune": 0.8, "finetune_equal": 8.0, "scratch": 9.0}[name]
        frozen = {"direct": "all", "scratch": "none"}.get(name, "intro-enc1")
        return self._contender(name, cells if steps else 0, frozen, psnr - lost, steps, cost)

    def _contender(
        self, name: str, cells: int, frozen: str, psnr: float, steps: int, cost: float
    ) -> Contender:
        return Contender(
            name=name,
            cells=cells,
            frozen=frozen,
            learning_rate=0.001 if steps else None,
            budget=steps,
            tflop=cost,
            repeats=tuple(
                self._repeat(name, seed, psnr, steps) for seed in range(1, self.seeds + 1 if steps else 2)
            ),
        )

    def _repeat(self, name: str, seed: int, psnr: float, steps: int) -> Repeat:
        doubt = self.doubt if name == "direct" else 0
        random = np.random.default_rng(seed)
        hard = [cell + (-1) ** cell * doubt for cell in range(self.cells) for _ in range(2)]
        psnrs = psnr + np.array(hard) - np.mean(hard) + random.normal(0, 0.005, len(hard))
        looks = [steps * part // 6 for part in range(1, 7)] if steps else []
        last = self.scratch_best_at_last or name != "scratch"
        rise = [8.0, 4.0, 0.3, 0.1, 0.05, 0.0] if name == "scratch" else [0.8, 0.4, 0.2, 0.1, 0.05, 0.0]
        return Repeat(
            seed=seed,
            steps=steps,
            best_step=steps if last or not steps else looks[-2],
            seconds=steps / 10,
            psnrs=tuple(psnrs.tolist()),
            curve=tuple((step, psnr - below, step / 10) for step, below in zip(looks, rise, strict=False)),
        )

    def _trial(self, number: int) -> TrialRecord:
        start, end = RANGES[number]
        psnr = 38.5 + (0.9 - 0.15 * number if number in self.ended else -0.1 * number)
        steps = 60 if number in self.ended else 20
        return TrialRecord(
            number=number,
            frozen=FreezeRange(start=start, end=end),
            label="none" if start == end else "-".join(dict.fromkeys((STAGES[start], STAGES[end - 1]))),
            learning_rate=0.001 if number < 6 else 0.002,
            val_psnr=psnr,
            pruned=number not in self.ended,
            steps=steps,
            seconds=steps / 10,
            tflop=(1 - 0.1 * (end - start)) * steps / 60,
            whole_tflop=1 - 0.1 * (end - start),
            trainable=1 - 0.15 * (end - start),
            curve=tuple((step, psnr - 0.01 * (steps - step)) for step in range(10, steps + 1, 10)),
        )


@pytest.fixture(scope="session")
def findings() -> type[Findings]:
    """Makes up what a study found."""
    return Findings
