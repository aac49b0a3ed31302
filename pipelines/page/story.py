"""One transfer as the report tells it: the decision, its evidence, and what the sealed test cells said.

It needs a study's record, and scores and pictures of test cells where there are some; so it serves the pipeline and
whoever runs a study on files of their own.
"""

import base64
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from pipelines.page import sentences
from pipelines.registry.pipeline import Registered
from sim_models.evaluation import figures, interactive
from sim_models.evaluation.intervals import Bootstrap, Estimate
from sim_models.evaluation.report import MAIN, NOUNS, Block, blocks, difference, interval, number, worse
from sim_models.training.loop import DIVERGED_DB
from sim_models.transfer.decision import Contender, Decision
from sim_models.transfer.search import TrialRecord, pareto
from sim_models.transfer.study import StudyRecord

TEMPLATES = Path(__file__).with_name("templates")


@dataclass(frozen=True)
class Sealed:
    """What the sealed test cells said of a model, or of the chosen arm of a transfer."""

    structure: str
    arm: str
    test: Estimate
    blocks: list[Block]
    worse: list[str]
    panels: list[tuple[str, str]]
    """light level and picture, as a data URI"""


@dataclass(frozen=True)
class Row:
    """An arm or a finalist on the validation cells, as a row of a table."""

    title: str
    details: str
    """what is frozen, and the learning rate"""
    psnr: str
    seeds: str
    """lowest and highest, in dB; empty with one seed"""
    steps: str
    tflop: str
    seconds: str
    difference: str
    """to the best"""
    interval: str
    standing: str
    chosen: bool


@dataclass(frozen=True)
class Pictures:
    """The figures of a study."""

    offers: Markup
    """arms by quality and cost"""
    learning: Markup
    time_to_quality: Markup
    trials: Markup
    lattice: Markup
    curves: Markup


@dataclass(frozen=True)
class Story:
    """A transfer: what was decided, what it cost, and how it was found."""

    key: str
    source: str
    """what the model came from, for people"""
    study: StudyRecord
    headline: str
    decision: str
    range_decision: str
    enough: list[str]
    time_to_quality: str
    cost: str
    caveats: list[str]
    """what keeps the comparison of arms from being fair or final"""
    trials: str
    arms: list[Row]
    finalists: list[Row]
    pictures: Pictures
    sealed: Sealed | None
    test_sentence: str
    paired: Markup | None
    registered: Registered | None


def tell(
    key: str,
    source: str,
    study: StudyRecord,
    scores: pd.DataFrame | None,
    panels: list[tuple[str, str]],
    bootstrap: Bootstrap,
    levels: Sequence[str],
    registered: Registered | None = None,
) -> Story:
    """The story of a study.

    Args:
        key: its place in the page.
        source: what the model came from, for people.
        study: what was found.
        scores: of the test cells, with the columns of `scores.COLUMNS`; None where there are none.
        panels: light level and picture.
        bootstrap: how intervals are drawn.
        levels: light levels of the test fields, from low to high.
        registered: what became of it at the registry.
    """
    sealed = None if scores is None else judge_sealed(scores, study.chosen, panels, bootstrap, levels)
    return Story(
        key=key,
        source=source,
        study=study,
        headline=sentences.headline(study),
        decision=sentences.decision(study),
        range_decision=sentences.range_decision(study),
        enough=sentences.enough(study),
        time_to_quality=sentences.time_to_quality(study),
        cost=sentences.cost(study),
        caveats=sentences.caveats(study),
        trials=sentences.trials(study),
        arms=_rows(study.arms, study.decision, lambda name: NOUNS[name]),
        finalists=_rows(study.finalists, study.range_decision, sentences.freezing),
        pictures=_pictures(study),
        sealed=sealed,
        test_sentence=""
        if sealed is None or scores is None
        else sentences.on_test(sealed.test, study.chosen, scores, bootstrap),
        paired=None if scores is None else _paired(scores, bootstrap, levels),
        registered=registered,
    )


def judge_sealed(
    scores: pd.DataFrame,
    arm: str,
    panels: list[tuple[str, str]],
    bootstrap: Bootstrap,
    levels: Sequence[str],
) -> Sealed:
    """What the test cells say of an arm."""
    table = blocks(scores, levels, bootstrap)
    reached = {row.arm: row.entries[0] for row in table[0].rows}[arm]
    assert reached is not None, "every arm has a PSNR"
    return Sealed(
        structure=str(scores["structure"].iloc[0]),
        arm=arm,
        test=reached.estimate,
        blocks=table,
        worse=worse(scores, arm, levels, bootstrap),
        panels=panels,
    )


def picture(path: Path) -> str:
    """An image as an address that holds it."""
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"


def templates() -> Environment:
    """Where pages are made."""
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "plain": sentences.plain,
        "number": number,
        "words": sentences.plainly,
        "interval": interval,
    }
    return made


def library() -> Markup:
    """What draws interactive figures; once a page."""
    return Markup(interactive.library())


def _rows(contenders: Iterable[Contender], decision: Decision, title: Callable[[str], str]) -> list[Row]:
    return [_row(each, decision, title(each.name)) for each in contenders]


def _row(each: Contender, decision: Decision, title: str) -> Row:
    low, high = each.spread
    compared = decision.of(each.name)
    is_best = each.name == decision.best
    return Row(
        title=title,
        details="" if each.learning_rate is None else _details(each),
        psnr=f"{number(each.val_psnr, 2)} dB" if each.sound else "diverged",
        seeds=f"{number(low, 2)} to {number(high, 2)}" if len(each.repeats) > 1 else "",
        steps=f"{each.steps:.0f}",
        tflop=f"{each.tflop:.3g}",
        seconds=f"{each.seconds:.0f}",
        difference="–" if is_best else f"{number(compared.to_best.mean, 2, signed=True)} dB",
        interval="" if is_best else sentences.signed_interval(compared.to_best),
        standing=sentences.standing(compared, decision),
        chosen=each.name == decision.chosen,
    )


def _details(each: Contender) -> str:
    frozen = "" if each.name in (each.frozen, "scratch") else f"{sentences.freezing(each.frozen)}, "
    return f"{frozen}learning rate {each.learning_rate:g}"


def _pictures(study: StudyRecord) -> Pictures:
    trials = _trials(study)
    return Pictures(
        offers=Markup(figures.quality_and_cost(_offers(study), study.decision.margin_db)),
        learning=Markup(figures.learning_curves(_sizes(study), study.arm("direct").val_psnr, _marks(study))),
        time_to_quality=Markup(
            figures.time_to_quality(_curves(study), study.arm("direct").val_psnr, _goal(study))
        ),
        trials=Markup(interactive.quality_and_compute(trials)),
        lattice=Markup(interactive.lattice(study.stages, trials)),
        curves=Markup(interactive.curves(trials)),
    )


def _offers(study: StudyRecord) -> list[figures.Offer]:
    to_best = {each.name: each.to_best for each in study.decision.comparisons}
    return [
        figures.Offer(
            arm.name, arm.tflop, to_best[arm.name].mean, to_best[arm.name].low, to_best[arm.name].high
        )
        for arm in study.arms
        if arm.sound
    ]


def _sizes(study: StudyRecord) -> list[figures.Size]:
    return [
        figures.Size(each.name, each.cells, each.val_psnr, *each.spread)
        for each in sorted(study.learning, key=lambda each: (each.name, each.cells))
        if each.sound
    ]


def _marks(study: StudyRecord) -> list[figures.Mark]:
    """Numbers of cells that `Enough` found, worth a ring; all of them is where every curve ends anyway."""
    all_cells = max(each.cells for each in study.learning)
    wanted = [
        mark
        for found in study.enough
        for mark in (
            (found.arm, found.matches_scratch, f"{NOUNS[found.arm]} as good as from scratch with all"),
            ("scratch", found.scratch_catches_up, f"from scratch catches up with {NOUNS[found.arm]}"),
        )
    ]
    return [
        figures.Mark(arm, cells, f"{said} (n = {cells})")
        for arm, cells, said in wanted
        if cells is not None and (cells < all_cells or arm == "scratch")
    ]


def _curves(study: StudyRecord) -> list[figures.Curve]:
    return [
        figures.Curve(name, tuple((step, psnr) for step, psnr, _ in each.curve))
        for name in ("scratch", "finetune", "finetune_equal")
        for each in study.arm(name).sound
    ]


def _goal(study: StudyRecord) -> figures.Goal:
    found = study.time_to_quality
    return figures.Goal(found.quality_db, found.steps, found.scratch_steps)


def _trials(study: StudyRecord) -> list[interactive.Trial]:
    """Those that came to something; a trial that diverged would stretch every scale."""
    front = {trial.number for trial in pareto(list(study.trials))}
    first_rung = min((trial.steps for trial in study.trials), default=0)
    return [
        _trial(trial, first_rung, trial.number in front)
        for trial in study.trials
        if trial.val_psnr > DIVERGED_DB
    ]


def _trial(trial: TrialRecord, first_rung: int, in_front: bool) -> interactive.Trial:
    first = [psnr for step, psnr in trial.curve if step <= first_rung and psnr > DIVERGED_DB]
    return interactive.Trial(
        number=trial.number,
        start=trial.frozen.start,
        end=trial.frozen.end,
        label=trial.label,
        learning_rate=trial.learning_rate,
        psnr=trial.val_psnr,
        first_psnr=max(first, default=trial.val_psnr),
        steps=trial.steps,
        tflop=trial.whole_tflop,
        trainable=trial.trainable,
        stopped=trial.pruned,
        pareto=in_front,
        curve=tuple((step, psnr) for step, psnr in trial.curve if psnr > DIVERGED_DB),
    )


def _paired(scores: pd.DataFrame, bootstrap: Bootstrap, levels: Sequence[str]) -> Markup:
    psnrs = scores[scores["metric"] == MAIN].pivot(index=["cell", "level"], columns="arm", values="value")
    others = [arm for arm in ("direct", "finetune_equal", "scratch", "reconstruction") if arm in psnrs]
    return Markup(
        figures.paired_differences(
            {
                other: (psnrs["finetune"] - psnrs[other]).dropna().reset_index(name="value")
                for other in others
            },
            {other: difference(scores, "finetune", other, MAIN, bootstrap) for other in others},
            "finetune",
            levels,
        )
    )
