"""What the data doctor found, for machines and for people."""

from dataclasses import asdict, dataclass
from typing import Any


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
    stripes_clear: bool
    """whether stripes stand out under one reading of the frames"""
    offset_counts: float | None
    """upper bound: 1st percentile of the mean over frames"""
    light_counts: float | None
    """99.9 percentile of the mean over frames, above the offset"""
    gain: float | None
    """counts per photo-electron"""
    light_photons: float | None
    """`light_counts` in photo-electrons per raw pixel and frame"""
    saturated_share: float
    angle_brightness: tuple[float, ...]
    """mean of each angle above the offset, relative to the first"""
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
            "frames": self._frames(),
            "light": self._light(),
            "saturation": f"{self.saturated_share:.2%} of the pixels of the worst frame",
        }
        if self.angle_brightness:
            facts["angles"] = "brightness " + " : ".join(f"{value:.2f}" for value in self.angle_brightness)
        told = {"evidence": self.evidence, "note": self.warnings, "PROBLEM": self.problems}
        return [
            *(f"{name:12}{fact}" for name, fact in facts.items()),
            *(f"{name:12}{sentence}" for name, sentences in told.items() for sentence in sentences),
            f"{'usable for':12}{self.usable_for}",
        ]

    def _frames(self) -> str:
        if self.angles is None:
            return "no known layout of angles and phases"
        if self.order is None:
            return f"{self.angles} angles x {self.phases} phases by their number; order not decided"
        return f"{self.angles} angles x {self.phases} phases, {self.order}"

    def _light(self) -> str:
        if self.light_counts is None:
            return "not measurable"
        counts = f"{self.light_counts:.4g} counts above an offset of at most {self.offset_counts:.4g}"
        if self.gain is None:
            return f"{counts}; camera gain not measurable, so photons are not known"
        return f"{counts}; about {self.light_photons:.3g} photo-electrons at {self.gain:.3g} counts each"
