"""What the data doctor found, for machines and for people."""

import math
from dataclasses import asdict, dataclass
from typing import Any

from sim_models.inspection.pattern import Pattern


@dataclass(frozen=True)
class Report:
    """What is known about a stack; None where the data do not tell."""

    path: str
    format: str
    axes: str
    shape: tuple[int, ...]
    dtype: str
    pixel_um: float | None
    angles: int | None
    phases: int | None
    order: str | None
    """'angle-major' or 'phase-major', where the frames decide it"""
    sections: int
    """stacks of angles x phases in the file's list of frames, as of a volume or over time; 1 for one stack"""
    offset_counts: float | None
    """upper bound: 1st percentile of the mean over frames"""
    light_counts: float | None
    """99.9 percentile of the mean over frames, above the offset"""
    gain: float | None
    """counts per photo-electron"""
    light_photons: float | None
    """`light_counts` in photo-electrons per raw pixel and frame"""
    saturated_share: float
    frame_brightness: tuple[float, ...]
    """mean of each frame above the offset, in the order of the file, relative to the mean of all"""
    angle_brightness: tuple[float, ...]
    """mean of each angle above the offset, relative to the first"""
    drift_px: tuple[tuple[float, float], ...]
    """by how much the specimen of each angle lies off that of the first, (y, x); empty where it cannot be told"""
    pattern: Pattern | None
    """stripes of every angle; None where they were not found, or not looked for"""
    evidence: tuple[str, ...]
    warnings: tuple[str, ...]
    problems: tuple[str, ...]
    usable_for: str

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)

    def lines(self) -> list[str]:
        """One finding per line, for people."""
        facts = {
            "file": f"{self.path} ({self.format})",
            "data": f"{self.axes} {' x '.join(map(str, self.shape))}, {self.dtype}",
            "pixel size": f"{self.pixel_um:.4g} um" if self.pixel_um else "not stated in the file",
            "frames": self.layout,
            "light": self._light(),
            "saturation": f"{self.saturated_share:.2%} of the pixels of the worst frame",
        }
        if self.angle_brightness:
            facts["angles"] = "brightness " + " : ".join(f"{value:.2f}" for value in self.angle_brightness)
        if self.drift_px:
            facts["drift"] = f"{self.furthest_px:.2f} px at most between angles"
        stripes = self.pattern.lines(self.pixel_um) if self.pattern else []
        told = {
            "stripes": stripes,
            "evidence": self.evidence,
            "note": self.warnings,
            "PROBLEM": self.problems,
        }
        return [
            *(f"{name:12}{fact}" for name, fact in facts.items()),
            *(f"{name:12}{sentence}" for name, sentences in told.items() for sentence in sentences),
            f"{'usable for':12}{self.usable_for}",
        ]

    @property
    def furthest_px(self) -> float:
        """Largest drift."""
        return max((math.hypot(*shift) for shift in self.drift_px), default=0.0)

    @property
    def layout(self) -> str:
        """Angles, phases and their order, for people."""
        if all(size == 1 for axis, size in zip(self.axes, self.shape, strict=True) if axis not in "YX"):
            return "a single image"
        if self.angles is None:
            return "no known layout of angles and phases"
        many = f"{self.sections} stacks of " if self.sections > 1 else ""
        if self.order is None:
            return f"{many}{self.angles} angles x {self.phases} phases by their number; order not decided"
        return f"{many}{self.angles} angles x {self.phases} phases, {self.order}"

    def _light(self) -> str:
        if self.light_counts is None:
            return "not measurable"
        offset = (
            "" if self.offset_counts is None else f" above an offset of at most {_plain(self.offset_counts)}"
        )
        counts = f"{_plain(self.light_counts)} counts at the brightest places{offset}"
        if self.gain is None:
            return f"{counts}; camera gain not measurable, so photons are not known"
        return f"{counts}; about {self.light_photons:.3g} photo-electrons at {self.gain:.3g} counts each"


def _plain(counts: float) -> str:
    """Four digits, and never an exponent where a person would write a whole number."""
    return f"{counts:.0f}" if 1e4 <= abs(counts) < 1e9 else f"{counts:.4g}"
