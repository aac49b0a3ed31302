"""The page that is written of all measurements."""

import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import torch
from speed import NETWORKS, Load, Speed
from waiting import RECIPE, Plan, Wait

MIB = 2**20


def hardware() -> str:
    """The machine, in words."""
    names = [line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    cpu = f"{os.cpu_count()} cores of {names[0] if names else platform.machine()}"
    if not torch.cuda.is_available():
        return cpu
    return f"{torch.cuda.device_count()} x {torch.cuda.get_device_name()}, {cpu}"


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []


def head(load: Load, with_ray: bool, words: Sequence[str], busy: float) -> list[str]:
    """What was measured where, by which words of a command; `busy` is the load average before anything was started."""
    network = "a quarter of the published feature maps" if load.small else "as large as published"
    return [
        "# How fast networks train",
        "",
        f"`python benchmarks/throughput/bench.py {' '.join(words)}`, as `make benchmark-throughput` does. "
        f"{hardware()}; torch {torch.__version__}; "
        f"{datetime.now(UTC):%d %B %Y}; load average before it began: {busy:.1f} (what others compute there slows "
        "all of this).",
        "",
        f"The training loop as it trains every model, {'under Ray Train' if with_ray else 'without Ray'}: {load.batch} "
        f"crops a step over all workers, {load.crop_px} x {load.crop_px} pixels of the input, networks {network}. "
        f"Medians of {load.repeats} stretches of {load.steps} steps, in brackets the least and the most; a first one "
        "does not count. Fields are made up.",
    ]


def speeds(found: Sequence[Speed]) -> list[str]:
    """The table of networks."""
    on_gpu = torch.cuda.is_available()
    memory = "what torch allocated on the GPU" if on_gpu else "resident, libraries and fields included"
    rows = [
        {
            "network": NETWORKS[each.network],
            "workers": str(each.place.workers),
            **({"layout": layout(each)} if on_gpu else {}),
            "images/s": _spread(each.images_per_s, "{:.3g}"),
            "share of the matrix rate": _spread(each.matrix_share, "{:.0%}"),
            "data wait": f"{each.waited:.2%}",
            "peak memory": f"{each.peak_bytes / MIB:.0f} MiB",
        }
        for each in found
    ]
    return [
        "",
        *table(rows),
        "",
        "*Share of the matrix rate*: floating-point operations of a step (convolutions, matrix products, attentions, "
        "as transfer studies count them), per second and worker, over those of a large matrix product in the same "
        "precision, measured by the same process after each stretch. *Data wait*: share of their time in "
        "which the first worker waited for its batch"
        + ("; at most so long was the GPU idle for it, which has a queue to work off." if on_gpu else ".")
        + f" *Peak memory*: of the first worker's process, {memory}.",
    ]


def layout(speed: Speed) -> str:
    """How memory was laid out, and whether the network was compiled."""
    words = (speed.place.channels_last and "channels last", speed.place.compiled and "compiled")
    return ", ".join(word for word in words if word) or "as it is"


def scaling(name: str, ratios: Sequence[float], load: Load) -> list[str]:
    """Two workers beside one."""
    return [
        "",
        "## Two workers beside one",
        "",
        f"{NETWORKS[name]}: two workers are **{_spread(ratios, '{:.2f}')} times** as fast as one with the same global "
        f"batch of {load.batch}, median of {len(ratios)} rounds in which both ran in turns, one thread each. Three "
        "things can keep it below 2: gradients that are exchanged, smaller batches for each, and whoever else uses the "
        "cores.",
    ]


def waiting(found: Sequence[Wait], plan: Plan, edge_px: int) -> list[str]:
    """The table of data wait by number of fields and size of crops."""
    rows = [
        {
            "fields": str(each.fields),
            "crop": f"{each.crop_px} px",
            "to cut a batch": f"{each.cut_ms:.1f} ms",
            "waited, cut when asked for": f"{each.waited_at_once:.1%}",
            "waited, cut ahead": f"{each.waited_ahead:.1%}",
            "start": f"{each.start_s:.1f} s",
            "memory": f"{each.own_bytes / MIB:.0f} MiB",
            "mapped": f"{each.mapped_bytes / MIB:.0f} MiB",
        }
        for each in found
    ]
    return [
        "",
        "## Waiting for data",
        "",
        f"Batches of {plan.batch} crops for `{RECIPE}` (nine raw frames and four sub-pixels of their reconstruction; "
        f"target twice as fine) from fields of {edge_px} x {edge_px} raw pixels. The step is a stand-in that takes "
        f"{1e3 * plan.step_s:.0f} ms and no processor, as one on a GPU. *Cut ahead* is how training does it; *cut when "
        f"asked for* is how it was without. `SIM_MODELS_MEMORY_GB={plan.memory_gb:g}`: samples beyond that lie in "
        "mapped files, which the system's file cache held here; reading a disk is slower. *Start*: all "
        "fields read, checked and normalised, once in a training; these pack better than real ones. *Memory*: what the "
        "process has for itself, libraries left out; *mapped*: files in memory, which the system takes back.",
        "",
        *table(rows),
    ]


def _spread(values: Sequence[float], form: str) -> str:
    if not values:
        return "not measured"
    low, middle, high = (form.format(value) for value in (min(values), median(values), max(values)))
    return f"{middle} [{low}, {high}]"


def table(rows: Sequence[dict[str, str]]) -> list[str]:
    """Lines of a Markdown table."""
    columns = list(rows[0])
    return [
        f"| {' | '.join(cells)} |" for cells in (columns, ["---"] * len(columns), *(r.values() for r in rows))
    ]
