"""The page of what was found."""

import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from measuring import ACROSS, DATASET, STAGE, TIMES, TRACKED, Kept, Way
from project import Stored, Took
from stacks import EDGE_PX, KEPT, SYMMETRIES

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scale"))  # scripts, no package

from timing import readable, table


@dataclass(frozen=True)
class Found:
    """All that was measured, in one run."""

    cells: int
    way: Way
    whole: Kept
    """a file for frames and one for the good image of each cell"""
    cut: Kept
    """the same values as patches"""
    few: Kept
    """patches of fewer cells, which are pushed too"""
    few_cells: int
    processors: int
    start: str
    minutes: float
    load: tuple[float, float]
    """processes that wanted to compute, in the minute before and in the last"""


STEPS = {
    "add": ("`sim-models data add` of all: examine, copy, describe, split, `dvc add`", None),
    "push": (f"`dvc push {TRACKED}`", "push"),
    "pull": ("`dvc pull` of it in an empty clone", None),
    "prepare": (f"`dvc repro {STAGE}`, the first", None),
    "push fields": (f"`dvc push {STAGE}`, the prepared fields", "push fields"),
    "status": ("`dvc status` of the study, nothing to do", None),
    "prepare nothing": (f"`dvc repro {STAGE}`, nothing to do", None),
    "add one": ("**one cell more:** `sim-models data add` of the same folder", None),
    "push one": ("`dvc push` of it", "push one"),
    "prepare one": (f"`dvc repro {STAGE}`", None),
    "push fields of one": ("`dvc push` of the prepared fields", "push fields of one"),
    "pull one": ("`dvc pull` of the stacks, in the clone", None),
    "pull fields": ("`dvc pull` of the prepared fields, all of which the clone lacked", None),
}
"""step -> what it is, and of which step the remote's growth is told"""


def page(found: Found) -> str:
    """Markdown."""
    return "\n".join([*_head(found), *_the_way(found), *_one_more(found), *_patches(found)])


def _head(found: Found) -> list[str]:
    return [
        f"# DVC with {found.cells:,} cells",
        "",
        f"`make benchmark-data` writes this page; here on {_processor()}, {os.cpu_count()} cores, "
        f"{_memory_gb():.0f} GB, Python {platform.python_version()}, dvc {version('dvc')}. Measured on {found.start} "
        f"in {found.minutes:.1f} minutes; {found.load[0]:.1f} processes wanted to compute in the minute before, "
        f"{found.load[1]:.1f} in the last. What it means for ten terabytes: [scale.md](scale.md).",
        "",
        "**How to read a time.** `20 ms (35 ms)`: processors computed for 20 ms, those of the command and of what it "
        f"started, which may be {found.processors} at once; on the clock it took 35 ms. Where other programs want the "
        "processors too, the clock tells more about them. Every time is of one command, "
        f"with its start, measured once; of what changes nothing, the median of {TIMES}. The remote is a stand-in for "
        "S3 on this machine, one Python process that keeps everything in memory, not counted, on the clock only: a "
        "real one answers more at once, from farther away.",
        "",
        f"**The cells.** A stack of 9 x {EDGE_PX} x {EDGE_PX} uint16 and a good image of {2 * EDGE_PX} x {2 * EDGE_PX} "
        f"float32 each. One cell in {SYMMETRIES} is simulated; the others are the same one turned over, in one of "
        f"{SYMMETRIES} ways. Of every cell each photo-electron is then kept with a chance of {KEPT:g}, so that noise "
        f"and files of all differ. Frames of 512 x 512 pixels are {(512 // EDGE_PX) ** 2} times as large: what goes "
        "with the number of files and cells is measured here, what goes with bytes is not.",
        "",
    ]


def _the_way(found: Found) -> list[str]:
    way = found.way
    rows = [
        [what, _cell(way.steps[step]), _sent(way.sent[sent]) if sent else ""]
        for step, (what, sent) in STEPS.items()
    ]
    add, prepare = way.steps["add"], way.steps["prepare"]
    return [
        "## From stacks to prepared fields, and to a colleague",
        "",
        f"The study `own_stacks`, its dataset `{DATASET}`: {found.cells:,} cells are {way.files['stacks']:,} files of "
        f"{way.bytes['stacks'] / 1e6:,.0f} MB, and {way.files['fields']:,} files of prepared fields of "
        f"{way.bytes['fields'] / 1e6:,.0f} MB.",
        "",
        *table(["", "time", "came to the remote"], rows),
        "",
        "With what is new goes a list of all files of its folder, anew each time: "
        f"{found.whole.listing_bytes / 1e3:,.0f} kB for the stacks and good images.",
        "",
        f"`data add` is {readable(add.computed / found.cells)} a cell ({readable(add.seconds / found.cells)} on the "
        f"clock), most of it the data doctor looking for stripes; the first `repro` is "
        f"{readable(prepare.computed / found.cells)} a cell ({readable(prepare.seconds / found.cells)}), most of it "
        "finding the stripes for its classical SIM.",
        "",
        f"Every file that was pulled was held against the one here by SHA-256: {way.alike['pull']:,} stacks and good "
        f"images, {way.alike['pull one']:,} with the one more, {way.alike['pull fields']:,} files of prepared fields; "
        "all are the same.",
        "",
    ]


def _one_more(found: Found) -> list[str]:
    way = found.way
    return [
        "## One cell more: what runs again",
        "",
        f"Cells whose prepared fields were computed: {len(way.made_anew)} of {found.cells + 1:,} "
        f"({', '.join(way.made_anew[:5])}); the files of the others are those of before, not written again.",
        "",
        f"What `dvc status` names, of the {way.stages} stages of the study. All had run, or so it looked to DVC: but "
        f"for `{STAGE}` their outputs were stand-ins, since no training is measured here.",
        "",
        *table(
            ["when", "stages"],
            [
                ["before", _named(way.before)],
                ["after the cell was added", _named(way.after_adding)],
                [f"after `{STAGE}`", _named(way.after_preparing)],
            ],
        ),
        "",
    ]


def _patches(found: Found) -> list[str]:
    columns = {f"{found.cells:,} cells": found.whole, f"{found.cells:,} cells as patches": found.cut}
    fewer = found.few_cells < found.cells
    if fewer:
        columns[f"{found.few_cells:,} cells as patches"] = found.few
    times = found.cells / found.few_cells
    pushes = [_cell(each.push) if each.push else "" for each in columns.values()]
    if found.cut.push is None and found.few.push is not None:
        more = Took(found.few.push.seconds * times, found.few.push.computed * times)
        pushes[1] = f"*{_cell(more)}, extrapolated*"
    each = list(columns.values())
    rows = [
        ["files", *(f"{kept.files:,}" for kept in each)],
        ["`dvc add`", *(_cell(kept.add) for kept in each)],
        ["`dvc status`, nothing to do", *(_cell(kept.status) for kept in each)],
        ["list that DVC keeps of every version", *(f"{kept.listing_bytes / 1e3:,.0f} kB" for kept in each)],
        ["`dvc push`", *pushes],
        ["`dvc add`, one cell more", *(_cell(kept.add_one) for kept in each)],
        ["`dvc push` of it", *(_cell(kept.push_one) if kept.push_one else "" for kept in each)],
        ["came to the remote", *(_sent(kept.sent_one) if kept.sent_one else "" for kept in each)],
    ]
    told = (
        f" The `push` of all patches was not measured: it is that of {found.few_cells:,} cells, the last column, times "
        f"{times:g}."
        if fewer
        else ""
    )
    return [
        "## Why patches are not units of DVC",
        "",
        f"The stacks and good images of the same cells again, once as they are and once cut into {ACROSS} x {ACROSS} "
        f"patches, a file for the frames and good image of each; each in a project of its own.{told}",
        "",
        *table(["", *columns], rows),
        "",
        "Patches have no end, either: another size of crop, or another overlap, is all of them anew. Here they are cut "
        "while a network trains, from the files of cells, and none is ever stored.",
        "",
    ]


def _cell(took: Took) -> str:
    return f"{readable(took.computed)} ({readable(took.seconds)})"


def _sent(sent: Stored) -> str:
    size = f"{sent.bytes / 1e6:,.1f} MB" if sent.bytes > 1e6 else f"{sent.bytes / 1e3:,.0f} kB"
    return f"{sent.objects:,} objects, {size}"


def _named(stages: Sequence[str]) -> str:
    return ", ".join(f"`{stage}`" for stage in stages) or "none"


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _memory_gb() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
