"""The model card: what a model is for, what it was made from, how good it is, and where it fails. Markdown.

It knows nothing of a registry; what stands in one is told it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from sim_models.evaluation.gate import Verdict
from sim_models.evaluation.intervals import Bootstrap
from sim_models.evaluation.metrics import METRICS
from sim_models.evaluation.report import COLUMNS, MAIN, blocks, worse
from sim_models.field import Field
from sim_models.restorer import Restorer

NOT_STATED = "not stated"


@dataclass(frozen=True)
class Lineage:
    """What a model was made from; empty or None where that is not known."""

    arm: str
    parent: str | None
    """`NAME version N` of the registered model it came from"""
    study: str
    key: str
    """its name in the study"""
    data: str
    """DVC's hash of the fields"""
    commit: str
    """of the code that trained it"""


@dataclass(frozen=True)
class Facts:
    """All that a card is written from."""

    title: str
    takes: str
    restorer: Restorer
    example: Field
    """one field, of whose microscope and stripes the card tells"""
    licence: str | None
    lineage: Lineage
    verdict: Verdict
    scores: pd.DataFrame
    """of the sealed test cells, with the arm of the lineage in it"""
    levels: Sequence[str]
    pictures: Mapping[str, str]
    """light level -> file name, of the test field that came out worst"""


def summary(facts: Facts) -> str:
    """The card without tables and pictures, for where little fits."""
    return "\n\n".join([*_head(facts), _data(facts), _lineage(facts), _gate(facts.verdict)]) + "\n"


def card(facts: Facts, bootstrap: Bootstrap) -> str:
    """The whole card."""
    parts = [*_head(facts), _data(facts), _lineage(facts), _gate(facts.verdict)]
    parts += [_scores(facts, bootstrap), _worse(facts, bootstrap), _failures(facts)]
    return "\n\n".join(parts) + "\n"


def worst_cells(scores: pd.DataFrame, arm: str) -> dict[str, tuple[str, float]]:
    """By light level: the cell that an arm restores worst, and its PSNR in dB."""
    own = scores[(scores["arm"] == arm) & (scores["metric"] == MAIN)]
    worst = own.loc[own.groupby("level", sort=False)["value"].idxmin()]
    return {
        str(level): (str(cell), float(value))
        for level, cell, value in zip(worst["level"], worst["cell"], worst["value"], strict=True)
    }


def _head(facts: Facts) -> list[str]:
    restorer, field = facts.restorer, facts.example
    made, scope = restorer.card, field.microscope
    light = ", ".join(f"{level} {value:.0f}" for level, value in made.light.items())
    stripes = field.illumination
    spacing = f"{min(stripes.spacing_um):.3f} to {max(stripes.spacing_um):.3f} um" if stripes else "not known"
    task = restorer.recipe.task
    return [
        f"# {facts.title}",
        "## Meant for",
        "\n".join(
            [
                f"* Structure: **{field.structure}**. On anything else it is untested.",
                f"* Light: {light} {made.unit} (99.9 percentile of the wide-field, of the levels it learned from).",
                f"* Optics: NA {scope.numerical_aperture:g}, emission {scope.emission_um:g} um, raw pixel "
                f"{scope.pixel_um:g} um, stripes {spacing} apart, {made.angles} angles x {made.phases} phases.",
                f"* Takes {facts.takes} ({' and '.join(task.roles)}); gives {restorer.axes} at {task.scale} times the "
                f"sampling, as {task.target}.",
            ]
        ),
    ]


def _data(facts: Facts) -> str:
    made = facts.restorer.card
    return "\n".join(
        [
            "## Data\n",
            f"* Learned from {len(made.training_cells)} cells of {made.structure}: {', '.join(made.training_cells)}.",
            f"* Licence of the data: {facts.licence or NOT_STATED}.",
        ]
    )


def _lineage(facts: Facts) -> str:
    made, lineage = facts.restorer.card, facts.lineage
    rows = {
        "parent": lineage.parent or "none, trained from scratch",
        "arm": lineage.arm,
        "frozen": ", ".join(made.frozen_stages) or "nothing",
        "steps": str(made.steps),
        "study": f"{lineage.study}, {lineage.key}",
        "data": lineage.data,
        "split": made.split_hash,
        "code": lineage.commit,
        "weights": facts.restorer.weights_sha256,
    }
    return "\n".join(["## Made from\n", *(f"* {name}: {value}" for name, value in rows.items())])


def _gate(verdict: Verdict) -> str:
    lines = [
        f"* {'passed' if each.passed else 'FAILED'}: {each.rule}; {each.found}" for each in verdict.checks
    ]
    lines += [f"* note: {note}" for note in verdict.notes]
    ended = "passed" if verdict.passed else "refused"
    return "\n".join([f"## Gate: {ended}\n", *(lines or [f"* {verdict.sentence}"])])


def _scores(facts: Facts, bootstrap: Bootstrap) -> str:
    heads = [f"{column.name} {f'({column.unit})' if column.unit else ''}".strip() for column in COLUMNS]
    share = f"{100 * bootstrap.confidence:g} %"
    lines = [f"## Scores\n\nSealed test cells; mean over cells and {share} interval.\n"]
    lines += [f"| | {' | '.join(heads)} |", f"|---{'|---' * len(heads)}|"]
    for block in blocks(facts.scores, facts.levels, bootstrap):
        lines.append(f"| *{block.title}* {'| ' * len(heads)}|")
        for row in block.rows:
            numbers = [f"{each.mean} {each.interval}".strip() if each else "" for each in row.entries]
            title = f"**{row.title}**" if row.arm == facts.lineage.arm else row.title
            lines.append(f"| {title} | {' | '.join(numbers)} |")
    return "\n".join(lines)


def _worse(facts: Facts, bootstrap: Bootstrap) -> str:
    found = worse(facts.scores, facts.lineage.arm, facts.levels, bootstrap)
    said = found or ["No other arm and no baseline is surely better at any light level."]
    return "\n".join(["## Worse at\n", *(f"* {sentence}" for sentence in said)])


def _failures(facts: Facts) -> str:
    lines = ["## Failure cases\n\nThe test field with the lowest PSNR at each light level."]
    for level, (cell, psnr) in worst_cells(facts.scores, facts.lineage.arm).items():
        picture = facts.pictures.get(level)
        lines.append(f"{level} light: {cell}, PSNR {psnr:.1f} {METRICS[MAIN].unit}.")
        lines.append(f"![{cell}, {level} light]({picture})" if picture else "(no picture was kept)")
    return "\n\n".join(lines)
