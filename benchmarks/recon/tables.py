"""The tables of the benchmark, in Markdown."""

from collections.abc import Iterable, Sequence
from itertools import product
from statistics import median

import numpy as np
import real_stack
from numpy.typing import NDArray
from rows import (
    OURS,
    WIDEFIELD,
    Measured,
    Row,
    Rows,
    depth_error,
    known,
    phase_error,
    wave_error,
)
from simulate import BAD_LEVELS, LOWLIGHT_LEVELS
from targets import BRIGHT, THREE_BEAMS, Target

NOTHING = "-"

DIM = 100
"""photo-electrons, up to which noise decides how well stripes are known, more than how good a model of them is"""

STEPS = ("estimate", "setup", "reconstruct")


def table(header: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    rows = [header, ["---"] * len(header), *lines]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows)


def shown(runner: str) -> str:
    """A runner's name as people read it."""
    return runner.replace("napari_", "napari ").replace("_", " ") if runner != OURS else OURS


def _number(value: float | None, digits: int) -> str:
    return NOTHING if value is None or not np.isfinite(value) else f"{value:.{digits}f}"


def _no_answer(row: Row | None) -> str | None:
    """What a cell says where there is no answer to be scored."""
    if row is None:
        return NOTHING
    if row.ok:
        return None
    if row.result.get("crashed"):
        return "**broke**"
    return "cannot" if row.result.get("cannot") else "refused"


def targets_table(targets: Sequence[Target]) -> str:
    """All goals."""
    words = {True: "yes", False: "**no**", None: "cannot be told"}
    return table(
        ["#", "quantity", "target", "sim_models", "peer, same run", "met"],
        [
            [str(each.number), each.quantity, each.limit, each.ours, each.peer, words[each.met]]
            for each in targets
        ],
    )


def _errors(row: Row | None) -> str:
    """Worst wave vector, phase and modulation."""
    cell = _no_answer(row)
    if cell is not None or row is None:
        return cell or NOTHING
    numbers = (_number(wave_error(row), 4), _number(phase_error(row), 4), _number(depth_error(row), 4))
    return " / ".join(numbers) + ("" if row.right else " **wrong**")


def parameters_table(rows: Rows) -> str:
    """Errors of the stripes in the set `main`."""
    runners = [runner for runner in rows.runners("main") if runner != WIDEFIELD]
    return table(
        ["case", *map(shown, runners)],
        [[case, *(_errors(rows.find(runner, case)) for runner in runners)] for case in rows.cases("main")],
    )


def _image(row: Row | None) -> str:
    cell = _no_answer(row)
    if cell is not None or row is None or row.image is None:
        return cell or NOTHING
    scores = row.image
    return f"{scores.psnr_ring:.2f} / {scores.ssim_ring:.3f} ({scores.psnr:.2f} / {scores.ssim:.3f})"


def images_table(rows: Rows) -> str:
    """Scores of the images in the set `main`."""
    runners = rows.runners("main")
    cases = [case for case in rows.cases("main") if not case.startswith("flat")]
    return table(
        ["case", *map(shown, runners)],
        [[case, *(_image(rows.find(runner, case)) for runner in runners)] for case in cases],
    )


def resolution_table(rows: Rows) -> str:
    """Where the correlation with the truth ends, and how high it is in the band that only SIM gives."""

    def cell(row: Row | None) -> str:
        if row is None or row.image is None:
            return _no_answer(row) or NOTHING
        return f"{row.image.cutoff_reached:.2f} / {row.image.correlation_beyond:.3f}"

    runners = rows.runners("main")
    cases = [case for case in rows.cases("main") if not case.startswith("flat")]
    return table(
        ["case", *map(shown, runners)],
        [[case, *(cell(rows.find(runner, case)) for runner in runners)] for case in cases],
    )


def lowlight_table(rows: Rows) -> str:
    """How many answers are right, how many taken for right, and how far the right ones are off."""
    levels = [f"p{level:04d}" for level in LOWLIGHT_LEVELS] + ["flat"]
    lines = []
    for runner in rows.runners("lowlight"):
        found = rows.in_set("lowlight", runner)
        silent = sum(row.ok and not row.right for row in found)
        right = sum(row.right for row in found)
        cells = [_lowlight(rows.in_set("lowlight", runner, f"ll_{level}_")) for level in levels]
        lines.append([shown(runner), *cells, str(right), str(silent)])
    names = [f"{level} e" for level in LOWLIGHT_LEVELS] + ["no stripes"]
    return table(["", *names, "right", "wrong, not owned up to"], lines)


def _lowlight(rows: Sequence[Row]) -> str:
    right = [row for row in rows if row.right]
    counts = f"{len(right)}/{sum(row.ok for row in rows)}/{len(rows)}"
    if not right:
        return counts
    errors = (wave_error, phase_error, depth_error)
    return f"{counts} ({', '.join(_number(median(known(map(error, right))), 3) for error in errors)})"


def bad_table(rows: Rows) -> str:
    """What was done about stacks that must not pass, and about the same unspoilt."""
    runners = rows.runners("bad")
    names = {
        "flat": "object without stripes",
        "phase_major": "frames in phase-major order",
        "pixel_large": "pixel size stated 1.4x too large",
        "pixel_small": "pixel size stated 1.4x too small",
        "unspoilt": "the same stacks, nothing wrong",
    }
    lines = [
        ["camera noise only", NOTHING, *(_outcome(rows.in_set("bad", runner, "noise")) for runner in runners)]
    ]
    for (kind, name), level in product(names.items(), BAD_LEVELS):
        found = [rows.in_set("bad", runner, f"{kind}_p{level:04d}_") for runner in runners]
        lines.append([name, f"{level} e", *map(_outcome, found)])
    return table(["input", "light", *map(shown, runners)], lines)


def _outcome(rows: Sequence[Row]) -> str:
    """Refused / accepted with a warning / accepted without."""
    refused, warned = sum(not row.ok for row in rows), sum(row.warned for row in rows)
    return f"{refused} / {warned} / {len(rows) - refused - warned}"


def reasons_table(rows: Rows) -> str:
    """One message for each kind of bad input."""
    lines = []
    for kind in ("noise", "flat", "phase_major", "pixel_large", "pixel_small"):
        told = [row for row in rows.in_set("bad", OURS, kind) if not row.ok or row.warned]
        for row in told[:1]:
            lines.append([row.case, row.result.get("message") or "; ".join(row.result["warnings"])])
    return table(["case", "what sim_models says"], lines)


def extra_table(rows: Rows) -> str:
    """Errors and images of the set `extra`."""

    def cell(row: Row | None) -> str:
        return _no_answer(row) or f"{_errors(row)}; {_image(row)}"

    runners = [runner for runner in rows.runners("extra") if runner != WIDEFIELD]
    return table(
        ["case", *map(shown, runners)],
        [[case, *(cell(rows.find(runner, case)) for runner in runners)] for case in rows.cases("extra")],
    )


def _milliseconds(row: Row, *steps: str) -> str:
    seconds = row.seconds(*steps)
    return NOTHING if seconds is None else _number(seconds * 1e3, 1 if seconds < 0.1 else 0)


def times_table(rows: Rows) -> str:
    """Times and memory of two cases."""
    lines = []
    for case in (BRIGHT, THREE_BEAMS):
        for runner in rows.runners("main"):
            row = rows.find(runner, case)
            if runner == WIDEFIELD or row is None or not row.ok:
                continue
            foreign = row.result.get("foreign_cpu")
            others = (
                NOTHING if foreign is None else f"{foreign:.0%}{' **too much**' if row.disturbed else ''}"
            )
            memory = [_number(each, 0) for each in (row.memory_mb, row.result.get("peak_rss_mb"))]
            times = [_milliseconds(row, step) for step in STEPS]
            lines.append([case, shown(runner), *times, _milliseconds(row, *STEPS), *memory, others])
    header = [
        "case",
        "",
        *(f"{step} (ms)" for step in STEPS),
        "all (ms)",
        "memory over import (MB)",
        "peak (MB)",
    ]
    return table([*header, "used by others"], lines)


def floor_table(measured: Measured) -> str:
    """The transforms alone against the whole reconstruction."""
    lines = []
    for case, floor in measured.floor_ms.items():
        seconds = measured.rows.value(OURS, case, lambda row: row.seconds("reconstruct"))
        whole = [NOTHING] * 2 if seconds is None else [f"{seconds * 1e3:.1f}", f"{seconds * 1e3 / floor:.1f}"]
        lines.append([case, f"{floor:.1f}", *whole])
    return table(["case", "FFTs alone (ms)", "sim_models, reconstruct (ms)", "ratio"], lines)


def stolen_core_table(measured: Measured) -> str:
    """Time with a core stolen over that without."""
    lines = [
        [shown(runner), *(_number(ratios.get(step), 1) for step in STEPS)]
        for runner, ratios in measured.stolen_core.items()
    ]
    return table(["", *STEPS], lines)


def real_table(rows: Rows) -> str:
    """Wave vectors of the real stack, and how far they are from those of programs that were told where to look."""

    def cells(row: Row) -> list[str]:
        if not row.ok:
            return [_no_answer(row) or NOTHING] * real_stack.ANGLES
        waves = zip(row.result["k"], real_stack.distances_px(row.result["k"]), strict=True)
        return [
            f"{np.hypot(x, y):.2f} px, {np.degrees(np.arctan2(y, x)) % 180:.2f} deg ({distance:.2f} px off)"
            for (x, y), distance in waves
        ]

    reference = [
        f"{np.hypot(x, y):.2f} px, {np.degrees(np.arctan2(y, x)) % 180:.2f} deg"
        for x, y in real_stack.reference_waves()
    ]
    header = ["", *(f"angle {number}" for number in range(1, real_stack.ANGLES + 1))]
    lines = [[shown(row.runner), *cells(row)] for row in rows.of_set.get("real", [])]
    return table(header, [["reference", *reference], *lines])


def calibration_table(rows: Rows) -> str:
    """How often errors are as small as the stated standard deviations promise."""
    lines = []
    for light, bright in ((f"up to {DIM} e", False), (f"above {DIM} e", True)):
        for name, errors in _standardised(rows, bright).items():
            shares = [f"{np.mean(errors < limit):.0%}" if len(errors) else NOTHING for limit in (1, 2, 3)]
            lines.append([light, name, str(len(errors)), *shares])
    lines.append(["", "were they Gaussian", "", "68%", "95%", "100%"])
    return table(["light", "", "values", "within 1 sigma", "2 sigma", "3 sigma"], lines)


def _standardised(rows: Rows, bright: bool) -> dict[str, NDArray[np.floating]]:
    """|error| / sigma of every right answer in bright or in dim light."""
    found: dict[str, list[NDArray[np.floating]]] = {
        "wave vector, along each axis": [], "phase, every frame": [], "modulation": [],
    }  # fmt: skip
    waves, phases, depths = found.values()
    for row in (row for name in rows.of_set for row in rows.in_set(name, OURS)):
        spoilt = row.case.startswith(("pixel", "phase_major", "flat", "noise"))
        if spoilt or not row.right or row.stripes is None or (row.photons > DIM) != bright:
            continue
        sigma = np.array(row.result["k_sigma_px"])[:, None]
        waves.append(np.abs(row.stripes.wave_px / sigma).ravel())
        phases.append(np.abs(row.stripes.phase_rad / np.array(row.result["phase_sigma"])).ravel())
        depths.append(np.abs(row.stripes.modulation / np.array(row.result["mod_sigma"])).ravel())
    return {name: np.concatenate(each) if each else np.zeros(0) for name, each in found.items()}
