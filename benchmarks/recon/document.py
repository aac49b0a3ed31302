"""The page that tells what a run of the benchmark measured."""

import os
import platform
from datetime import date
from importlib.metadata import version
from pathlib import Path

import tables
from recon_case import THREADS
from rows import Measured, Rows
from targets import Target

QUICK = """
> From a **quick run**: few repeats, few stacks, no peer, no waiting for a quiet machine, and one process for all cases,
> so that only the first one's memory is its own. It shows that everything runs; its times and counts mean little.
"""

FOOT = """## What this does not say

* One class of objects, thin and sparse, and an ideal OTF that every program is told. Thick specimens, a wrong OTF,
  drift and the pixel noise of sCMOS cameras are not here.
* One peer, the fastest of four open programs measured before on such cases. Its regularisation constant (0.1) suits
  them better than its default of 0.3; the rest is as it comes.
* Every program ran with a C library that keeps freed memory, as commands of sim_models ask it to. Where it gives memory
  back at once, as it does by itself, all are slower: on virtual machines fetching it again can double these times.
* The delivered PSNR compares with the apodisation that sim_models and the peer happen to share; read the ring-matched
  one between programs.
* The main cases are one stack each: a tenth of a decibel, or a factor below two in an error, may be luck.

## Again

```
make benchmark-recon                                 # everything; half an hour on a machine with nothing else to do
python benchmarks/recon/bench.py --quick             # two minutes, to see that it runs
python benchmarks/recon/bench.py --seed-offset 5000  # other objects, stripes and noise
make -s recon-runner                                 # the command that runs sim_models on cases of this kind
```
"""


def machine() -> dict[str, str]:
    """What times depend on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return {
        "processor": names[0] if names else platform.processor() or platform.machine(),
        "cores": f"{os.cpu_count()}, of which every runner uses {THREADS}",
        "Python": platform.python_version(),
        **{name: version(name) for name in ("torch", "numpy", "scipy", "sim-models")},
    }


def counted(targets: list[Target]) -> tuple[int, int]:
    """How many were met, and how many were not."""
    decided = [
        bool(target.met) for target in targets if target.met is not None
    ]  # NumPy's truth is not Python's
    return sum(decided), len(decided) - sum(decided)


def page(measured: Measured, targets: list[Target], code: str) -> str:
    """The whole page; `code` names the version that ran."""
    rows = measured.rows
    met, missed = counted(targets)
    sections = [
        _head(measured, code),
        f"""## Targets

Set before the code was written, from what other programs and a prototype reached on the same cases; {met} are met,
{missed} are not. "Peer" is the best of its backends in this run, for each quantity.

{tables.targets_table(targets)}
""",
        f"""## Stripes

Worst wave vector (cycles per field) / worst phase (radian, at the centre of the field) / worst modulation. Every
estimation is blind. A wave vector off by more than a quarter of a cycle is **wrong**.

{tables.parameters_table(rows)}
""",
        f"""## Images

Ring-matched PSNR (dB) / SSIM, and in brackets as delivered. *Ring-matched*: every ring of spatial frequencies first
gets the one gain that fits the truth best, so that neither apodisation nor regularisation counts, but noise, artefacts,
wrong stripes and the weights of the bands do. It is the number to compare programs by; the bracket is what one gets
without tuning. Wide-field: the mean of all frames.

{tables.images_table(rows)}

Spatial frequency, in units of the detection's cutoff, from which on the correlation with the true object is below 0.5 /
mean correlation in the band that only SIM gives:

{tables.resolution_table(rows)}
""",
        f"""## Low light

256 x 256, modulation 0.5, objects per level: {measured.seeds}. Right / taken for right / all, and the medians of the
right ones: worst wave vector (cycles per field), phase (radian), modulation. Light: photo-electrons in a bright pixel
of a frame without stripes. Wrong and not owned up to is the worst there is.

{tables.lowlight_table(rows)}
""",
        f"""## Inputs that must not pass

Refused / accepted with a warning / accepted without. Stacks of each kind and light: {measured.seeds}.

{tables.bad_table(rows)}

{tables.reasons_table(rows)}
""",
        f"""## Other acquisitions

5 angles x 5 phases with two harmonics; 384 x 640 pixels; 3 % less light from each frame to the next; one angle with a
modulation of 0.15 beside two with 0.8. Stripes as in the table of stripes; image as in that of images.

{tables.extra_table(rows)}
""",
        f"""## Time and memory

Medians of {measured.repeat} warm runs on 512 x 512 pixels, given {THREADS} threads. *Set-up* is needed once for a set
of stripes (the peer does it while it estimates), *reconstruct* for every stack.

{tables.times_table(rows)}

The least a reconstruction to doubled sampling can take is its Fourier transforms: the bands on the raw grid, and one
inverse transform on the fine one.

{tables.floor_table(measured)}

With a busy process on one of two cores, times are longer by the factor

{tables.stolen_core_table(measured)}
""",
        _real_stack(rows),
        f"""## Uncertainties

Share of errors within the standard deviations that come with an estimate, over all right answers of all sets; "wave
vector": along x and along y, each against the larger of its two standard deviations. Frames of an angle err together.

{tables.calibration_table(rows)}
""",
        FOOT,
    ]
    return "\n".join(section for section in sections if section)


def _real_stack(rows: Rows) -> str:
    if not rows.of_set.get("real"):
        return ""
    return f"""## A real stack

Microtubules in TIRF-SIM, about 22 camera levels of signal, stripes beyond the cutoff, found blind. Reference: the mean
of what fairSIM and rDL-SIM's own fit find once they are told where to look.

{tables.real_table(rows)}
"""


def _head(measured: Measured, code: str) -> str:
    facts = "\n".join(f"* {name}: {value}" for name, value in machine().items())
    peer = measured.peer_missing and f"\nThe peer was not run: {measured.peer_missing}.\n"
    seeds = measured.seed_offset and f"\n* seeds: those of the cases plus {measured.seed_offset}"
    return f"""# Classical SIM: estimation and reconstruction against known truth

Written by `make benchmark-recon`; every measured number is from that one run, of {date.today():%d %B %Y}.
{QUICK if measured.quick else ""}{peer or ""}
* code: {code}{seeds or ""}
{facts}

The cases: filaments, points and weak haze, seen at NA 1.2 and 525 nm with pixels of 80 nm, on a field larger than what
is kept (nothing wraps at the edges), with Poisson and read noise (1.5 electrons).

* `c9`: 3 angles x 3 phases, 512 x 512 pixels, stripes at 0.88 of the cutoff, modulation 0.8
* `tirf9`: stripes at 1.1 of the cutoff; `c15`: 5 phases, two harmonics; `flat9`: no stripes
* `p100`: 100 photo-electrons in a bright pixel of a frame; `m03`: modulation 0.3; `phase`: phases off by 0.25 rad

The simulation shares no code with sim_models. The peer is napari-sim-processor 0.1.1 with its torch, OpenCV and numpy
backends; "phases": it measures the phase of each frame. What cases, results, scores and targets are is told in
`benchmarks/recon/` (`simulate.py`, `recon_case.py`, `scores.py`, `targets.py`).
"""
