"""Write the page that tells what a study of recipes measured, and its picture.

    python benchmarks/recipes/document.py studies/recipes docs/benchmark_recipes.md

Scores are those of the study's reports; costs are measured in this process, with networks of the study's size.
"""

import argparse
import os
import platform
from collections.abc import Iterator, Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path
from textwrap import fill

import torch
from cost import EDGE_PX, REPEATS, Cost, costs
from outcome import AFFINE, BETTER_UP, OURS, SSIM, Row, Table, alone, difference, sure, tables
from picture import draw
from plan import FEWEST_STEPS, FULL, PLANS, rule

from pipelines.shared.params import Params, read_params
from sim_models.config import BadInput
from sim_models.evaluation.consistency import CHI2, FLAGGED
from sim_models.evaluation.intervals import Bootstrap, Estimate
from sim_models.evaluation.report import MAIN, interval, number
from sim_models.evaluation.scores import DECORRELATION

THREADS = 2
NONE = "-"
UNITS = {MAIN: "PSNR (dB)", SSIM: "SSIM", FLAGGED: "contradicted (%)"}
DECIMALS = {MAIN: 2, SSIM: 3, FLAGGED: 2}
JUDGED_BY = {"denoised": "its field without noise", "srrf": "SRRF of all its frames"}


def page(study: Path, params: Params, found: dict[str, Cost], picture: str | None) -> str:
    """The whole page; `picture` is its address from there."""
    of_pairs, others = tables(study, params, found), alone(study, params, found)
    bootstrap = params.evaluation.bootstrap
    sections = [_head(study, params, of_pairs, bootstrap)]
    if picture:
        sections.append(
            f"![Difference in PSNR to classical SIM against seconds per megapixel]({picture})\n\n"
            "Filled: corrected; open: as published; a line joins the two; orange: ours; grey: classical SIM. Triangles "
            "lie further down."
        )
    sections += [
        f"## {_spoken(table.structure)}\n\n{_table(table, _minus(table), list(params.acquisition.levels))}"
        for table in of_pairs
    ]
    if others:
        sections.append(_others(others, params))
    sections += [f"## What got worse\n\n{_worse(of_pairs, others, params)}", _foot(study)]
    return "\n\n".join(sections) + "\n"


def verdict(table: Table, bootstrap: Bootstrap) -> list[str]:
    """How many recipes as published ours beats, in sentences that follow from the numbers."""
    ours, rivals = table.ours, table.of("as published")
    where = _spoken(table.structure)
    if ours is None:
        return [f"{where}: this study has no {OURS}, so nothing is said of it."]
    sentences = [] if rivals else [f"{where}: no recipe as published is in this study."]
    if rivals:
        sentences = [
            _count(table, ours, rivals, bootstrap, MAIN, f"{where}: by PSNR, {OURS} beats"),
            _count(
                table,
                ours,
                rivals,
                bootstrap,
                AFFINE,
                "After the best gain and offset of every image it beats",
            ),
        ]
    better = [row.title for row in table.of("corrected") if sure(row.minus) > 0]
    equal = [row.title for row in table.of("corrected") if sure(row.minus) == 0]
    corrected = len(table.of("corrected"))
    sentences.append(
        f"Of {corrected} corrected ones {_listed(better, 'none is', 'is', 'are')} better, and "
        f"{_listed(equal, 'none', '', '')} cannot be told from it."
    )
    return sentences


def _count(
    table: Table, ours: str, rivals: Sequence[Row], bootstrap: Bootstrap, metric: str, start: str
) -> str:
    """With intervals of the paired difference that exclude zero."""
    signs = {row.title: sure(difference(table.scores, ours, row.key, bootstrap, metric)) for row in rivals}
    beaten = [title for title, sign in signs.items() if sign > 0]
    lost = [title for title, sign in signs.items() if sign < 0]
    undecided = [title for title, sign in signs.items() if sign == 0]
    parts = [
        f"{start} {len(beaten)} of {len(rivals)} recipes as published with an interval that excludes zero"
    ]
    if undecided:
        parts.append(f"it cannot be told from {', '.join(undecided)}")
    if lost:
        parts.append(f"it is worse than {', '.join(lost)}")
    return "; ".join(parts) + "."


def _head(study: Path, params: Params, of_pairs: Sequence[Table], bootstrap: Bootstrap) -> str:
    plan = next((each for each in PLANS if each.name == params.study), None)
    told = rule(plan.field_px, plan.budget_tflop) if plan else "The sizes are those of its params.yaml."
    light = ", ".join(f"{name} {photons:g}" for name, photons in params.acquisition.levels.items())
    sizes = {table.structure: table.rows[0].overall[MAIN].cells for table in of_pairs}
    sealed = ", ".join(f"{_spoken(name).lower()} {count}" for name, count in sizes.items())
    sentences = [f"* {' '.join(verdict(table, bootstrap))}" for table in of_pairs]
    small = (
        ""
        if plan is FULL
        else "\n> Not the benchmark: a study that shows that it runs. Its numbers mean nothing.\n"
    )
    command = f"`{plan.command}`" if plan else "`benchmarks/recipes/document.py`"
    return "\n".join(
        [
            "# Recipes beside each other at equal compute",
            "",
            fill(
                f"Written by {command} on {date.today():%d %B %Y} from the study in `{_name(study)}`; every sentence "
                "with a number follows from that one run.",
                120,
            ),
            small,
            "## In short",
            "",
            *sentences,
            "",
            "## Protocol",
            "",
            fill(told, 120),
            "",
            *_over_budget(params),
            f"* {len(params.models)} models, one seed each: intervals hold the luck of test cells, not of a training.",
            f"* Simulated fields of {params.acquisition.field_px} raw pixels; light (photo-electrons in a bright pixel "
            f"of a frame): {light}. Sealed test cells: {sealed}.",
            f"* PSNR: peak = range of the reference, nothing scaled (`{MAIN}`). In brackets the "
            f"{100 * bootstrap.confidence:g} % interval of a bootstrap over cells; differences are paired by field. "
            "Intervals are not corrected for their number.",
            "* *PSNR, affine*: after the best gain and offset of every image. Recipes that stretch every target by its "
            "own extremes lose the unit of light, and are judged fairly only here.",
            "* Recipes as published learn and scale as their code did, of one light level alone where it did; rate, "
            "batches and steps are those of all. Equal compute at this size means few steps for large networks, some "
            "tens to a hundred: who learns fast is ahead. At full size and length they may stand otherwise.",
            "* *Resolution*: by decorrelation of the image alone, on as many fields as have a frequency that stands "
            "out. Noise and artefacts can look like resolution.",
            "* *chi2*, *contradicted*: reduced chi-squared of the raw frames given the image, and the share of the "
            "image they contradict.",
            f"* *GFLOP* and *s*: to restore one raw megapixel, in pieces of {EDGE_PX} x {EDGE_PX}, networks that come "
            "before it included; of volumes, one plane. *s* is the median of "
            f"{REPEATS} on {THREADS} threads, and holds finding the stripes and reconstructing where a recipe needs "
            "that. The processor is shared and noisy: differences below a factor of 1.5 mean little.",
            "",
            "Made with " + ", ".join(f"{name} {number_}" for name, number_ in _machine().items()) + ".",
        ]
    )


def _over_budget(params: Params) -> list[str]:
    """What has the fewest steps there may be, and so more compute than the others."""
    keys = [key for key, model in params.models.items() if model.training.steps == FEWEST_STEPS]
    return [f"* More compute than that, for the sake of the fewest steps: {', '.join(keys)}."] if keys else []


def _table(table: Table, minus: str, levels: Sequence[str]) -> str:
    head = [
        "recipe", "as", "steps", "parameters", "GFLOP", "s", "PSNR, all light",
        *[f"PSNR, {level} light" for level in levels],
        minus, "PSNR, affine", "SSIM", "resolution (um)", "chi2", "contradicted (%)",
    ]  # fmt: skip
    fields = table.scores.groupby("arm")[["cell", "level"]].apply(lambda each: len(each.drop_duplicates()))
    lines = []
    for row in table.rows:
        resolved = table.scores[(table.scores["arm"] == row.key) & (table.scores["metric"] == DECORRELATION)]
        share = "" if len(resolved) in (0, fields[row.key]) else f" ({len(resolved)} of {fields[row.key]})"
        title = f"**{row.title}**" if row.title == OURS else row.title
        lines.append(
            [
                title,
                row.version,
                NONE if row.steps is None else str(row.steps),
                NONE if row.cost is None else f"{row.cost.parameters:,}",
                NONE if row.cost is None else f"{row.cost.gflop:.0f}",
                NONE if row.cost is None else f"{row.cost.seconds:.2g}",
                _mean(row, MAIN, 2),
                *[_with_interval(row.psnr.get(level)) for level in levels],
                _with_interval(row.minus, signed=True),
                _mean(row, AFFINE, 2),
                _mean(row, SSIM, 3),
                _mean(row, DECORRELATION, 3) + share,
                _mean(row, CHI2, 2),
                _mean(row, FLAGGED, 2),
            ]
        )
    return _grid(head, lines)


def _others(others: Sequence[tuple[str, Table]], params: Params) -> str:
    parts = [
        "## Without pairs, and blinking frames",
        "",
        "Models that learn from noise alone, against the field without noise, and one that tells SRRF of all frames "
        "from five. Differences are to bicubic interpolation, which at scale 1 is the noisy image itself.",
    ]
    for what, table in others:
        parts += ["", f"{_spoken(table.structure)}, against {JUDGED_BY[what]}:", ""]
        parts.append(_table(table, "minus bicubic", list(params.acquisition.levels)))
    return "\n".join(parts)


def _worse(of_pairs: Sequence[Table], others: Sequence[tuple[str, Table]], params: Params) -> str:
    bootstrap, levels = params.evaluation.bootstrap, list(params.acquisition.levels)
    told = [line for table in of_pairs for line in _worse_of(table, bootstrap, levels)]
    for what, table in others:
        told += [
            f"{_spoken(table.structure)}, {row.title}, against {JUDGED_BY[what]}: "
            f"{_signed(row.minus, MAIN)} from bicubic."
            for row in table.rows
            if row.steps is not None and sure(row.minus) < 0
        ]
    start = "Told is what is worse by a whole interval, at one light level or on average.\n\n"
    return start + ("\n".join(f"* {line}" for line in told) if told else "Nothing.")


def _worse_of(table: Table, bootstrap: Bootstrap, levels: Sequence[str]) -> Iterator[str]:
    where = _spoken(table.structure)
    for row, published in table.pairs():
        if losses := list(_losses(table, row.key, published.key, bootstrap, [None, *levels])):
            yield f"{where}: {row.title} corrected is worse than as published: {'; '.join(losses)}."
    for rival in ("bicubic", "reconstruction"):
        behind = table.row(rival)
        if behind is None:
            continue
        for level in levels:
            worse = [
                f"{row.title}{' as published' if row.version == 'as published' else ''}"
                for row in table.rows
                if row.steps is not None
                and sure(difference(table.scores, row.key, rival, bootstrap, level=level)) < 0
            ]
            if worse:
                yield f"{where}, {level} light: worse than {behind.title} by PSNR: {', '.join(worse)}."
    if table.ours is not None:
        for row in table.rows:
            if row.key == table.ours:
                continue
            if losses := list(_losses(table, table.ours, row.key, bootstrap, levels)):
                yield f"{where}: {OURS} is worse than {row.title} ({row.version}): {'; '.join(losses)}."


def _losses(
    table: Table, arm: str, rival: str, bootstrap: Bootstrap, levels: Sequence[str | None]
) -> Iterator[str]:
    """Each metric and light level at which an arm is worse than a rival."""
    for level in levels:
        for metric, up in BETTER_UP.items():
            found = difference(table.scores, arm, rival, bootstrap, metric, level)
            if sure(found) == (-1 if up else 1):
                light = "on average" if level is None else f"at {level} light"
                yield f"{UNITS[metric]} {_signed(found, metric)} {light}"


def _foot(study: Path) -> str:
    return f"""## Again

```
make benchmark                              # trains what is not there yet, then writes this page
python benchmarks/recipes/plan.py           # after changing the plan: the parameters of the study
python benchmarks/recipes/document.py {_name(study)} page.md
```"""


def _minus(table: Table) -> str:
    row = table.row(table.rival)
    return f"minus {row.title if row else table.rival}"


def _signed(found: Estimate | None, metric: str) -> str:
    if found is None:
        return NONE
    return f"{number(found.mean, DECIMALS[metric], signed=True)} {interval(found, DECIMALS[metric])}".strip()


def _with_interval(found: Estimate | None, signed: bool = False) -> str:
    if found is None:
        return NONE
    return f"{number(found.mean, 2, signed=signed)} {interval(found, 2)}".strip()


def _mean(row: Row, metric: str, decimals: int) -> str:
    found = row.overall.get(metric)
    return NONE if found is None else number(found.mean, decimals)


def _listed(names: Sequence[str], none: str, one: str, more: str) -> str:
    if not names:
        return none
    return f"{', '.join(names)} {one if len(names) == 1 else more}".strip()


def _grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _spoken(structure: str) -> str:
    words = structure.replace("_", " ")
    return "ER" if words == "er" else words[0].upper() + words[1:]


def _name(study: Path) -> str:
    return "/".join(study.resolve().parts[-2:])


def _machine() -> dict[str, str]:
    cpu = Path("/proc/cpuinfo")
    lines = cpu.read_text().splitlines() if cpu.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return {
        "processor": f"{names[0] if names else platform.machine()} ({os.cpu_count()} cores)",
        "Python": platform.python_version(),
        **{name: version(name) for name in ("torch", "sim-models")},
    }


def main() -> None:
    """Measure costs, read reports, write the page and its picture."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("study", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    try:
        params = read_params(given.study / "params.yaml")
        missing = [
            key
            for key in params.models
            if not (given.study / "reports" / "models" / key / "details" / "scores.csv").exists()
        ]
        if missing:
            raise BadInput(
                f"{given.study}: not evaluated yet: {', '.join(missing)}; run make repro STUDY={given.study}"
            )
    except BadInput as error:
        parser.error(str(error))
    torch.set_num_threads(THREADS)
    found = costs(params)
    picture = given.out.with_suffix(".png")
    given.out.parent.mkdir(parents=True, exist_ok=True)
    drawn = draw(tables(given.study, params, found), params.evaluation.bootstrap, picture)
    given.out.write_text(page(given.study, params, found, picture.name if drawn else None))
    print(given.out)


if __name__ == "__main__":
    main()
