"""What the report says of a transfer, in plain sentences with numbers."""

import re
from collections.abc import Callable, Sequence

import pandas as pd

from sim_models.evaluation.intervals import FEWEST_CELLS, Bootstrap, Estimate
from sim_models.evaluation.report import COLUMNS, MAIN, NOUNS, difference, in_words, interval, number
from sim_models.transfer.curves import Enough
from sim_models.transfer.decision import FEWEST_SEEDS, Comparison, Contender, Decision, Difference
from sim_models.transfer.search import best
from sim_models.transfer.study import StudyRecord

STRUCTURES = {"ccps": "clathrin-coated pits", "er": "endoplasmic reticulum", "f_actin": "F-actin"}
"""short keys that a reader may not know"""
DECISIONS = {
    "direct": "Use it as it is",
    "finetune": "Fine-tune",
    "finetune_equal": "Fine-tune for long",
    "scratch": "Train from scratch",
}
Noun = Callable[[str], str]
"""what is compared, as the subject of a sentence"""


def plain(structure: str) -> str:
    """A structure of `params.yaml` as people say it."""
    return STRUCTURES.get(structure, structure.replace("_", " "))


def plainly(text: str) -> str:
    """Names of arms and metrics as people say them, with true minus signs, beginning with a capital."""
    for arm, words in NOUNS.items():
        text = re.sub(rf"\b{arm}\b", words, text)
    for column in COLUMNS:
        text = text.replace(column.metric, column.name)
    text = re.sub(r"(?<![\w.])-(?=\d)", "−", text)
    return text[:1].upper() + text[1:]


def headline(study: StudyRecord) -> str:
    """The decision in a few words."""
    said = DECISIONS[study.chosen]
    if study.decision.verdict == "inconclusive":
        return f"Inconclusive; until it is settled: {_lower(said)}"
    if study.decision.verdict == "no difference":
        return f"No difference: {_lower(said)}"
    return said


def decision(study: StudyRecord) -> str:
    """Which arm to use, and how sure that is."""
    return _decision(study.decision, "arm", lambda name: NOUNS[name], instruction(study))


def range_decision(study: StudyRecord) -> str:
    """Which stages to freeze, and how sure that is."""
    return _decision(study.range_decision, "finalist", freezing, freezing(study.range_decision.chosen))


def instruction(study: StudyRecord) -> str:
    """What to do, as it begins a sentence."""
    arm = study.arm(study.chosen)
    if study.chosen == "direct":
        return "use the model as it is"
    if study.chosen == "scratch":
        return f"train from scratch, {arm.budget} steps at most"
    return (
        f"fine-tune, {freezing(arm.frozen)}, {arm.budget} steps{' at most' if arm.steps < arm.budget else ''}"
    )


def freezing(label: str) -> str:
    """A freeze range as the subject of a sentence."""
    return "freezing nothing" if label == "none" else f"freezing {label}"


def standing(compared: Comparison, found: Decision) -> str:
    """How a contender stands among all, for a table."""
    best_mean = "best mean; " if compared.name == found.best else ""
    if compared.diverged:
        return f"diverged with {_seeds(compared.diverged)}, so not to be relied on"
    if compared.standing == "not worse":
        return f"{best_mean}surely no more than {found.margin_db:g} dB below any other"
    if compared.standing == "worse":
        return f"surely more than {found.margin_db:g} dB worse"
    assert compared.doubt is not None, "what is unclear has something it cannot be told from"
    return f"{best_mean}cannot be told; {_needed(compared.doubt, found)}"


def in_db(difference: Difference) -> str:
    """A difference with its interval."""
    return f"{number(difference.mean, 2, signed=True)} dB {signed_interval(difference)}".strip()


def signed_interval(difference: Difference) -> str:
    """`[low, high]`, rounded; empty with too few cells."""
    if difference.low is None or difference.high is None:
        return ""
    return f"[{number(difference.low, 2, signed=True)}, {number(difference.high, 2, signed=True)}]"


def on_test(reached: Estimate, chosen: str, scores: pd.DataFrame, bootstrap: Bootstrap) -> str:
    """What the chosen arm came to on the sealed test cells, and how it compares to the other arms."""
    there = set(scores["arm"])
    compared = [
        in_words(difference(scores, chosen, other, MAIN, bootstrap), noun)
        for other, noun in NOUNS.items()
        if other != chosen and other in there
    ]
    psnr = f"{number(reached.mean, 2)} dB {interval(reached, 2)}".strip()
    cells = f"{reached.cells} sealed test cell{'s' if reached.cells > 1 else ''}"
    ending = f": {'; '.join(compared)}" if compared else ""
    return f"On the {cells} it comes to a PSNR of {psnr}{ending}."


def enough(study: StudyRecord) -> list[str]:
    """How many training cells are needed, as far as the learning curves tell."""
    all_cells = max(each.cells for each in study.learning)
    return [_enough(each, all_cells, f"{study.decision.margin_db:g} dB") for each in study.enough]


def time_to_quality(study: StudyRecord) -> str:
    """When fine-tuning is as good as training from scratch in the end."""
    found = study.time_to_quality
    goal = f"what training from scratch comes to in the end ({number(found.quality_db, 2)} dB)"
    if found.steps is None or found.seconds is None or found.share is None:
        steps = study.arm(found.arm).budget
        return (
            f"Fine-tuning does not reach {goal}: within its {steps} steps {found.reached} of {found.seeds} "
            f"seed{'s' if found.seeds > 1 else ''} did."
        )
    return (
        f"{plainly(found.arm)} reaches {goal} after {found.steps:.0f} steps and {found.seconds:.0f} s (median of "
        f"{found.seeds} seed{'s' if found.seeds > 1 else ''}, {found.reached} of which got there); from scratch it "
        f"took {found.scratch_steps:.0f} steps and {found.scratch_seconds:.0f} s. That is "
        f"{100 * found.share:.2g} % of the steps."
    )


def cost(study: StudyRecord) -> str:
    """Compute, steps and seconds of one training of each arm, and what finding out took."""
    arms = "; ".join(
        f"{NOUNS[arm.name]} {_tflop(arm.tflop)}, {arm.steps:.0f} steps, {arm.seconds:.0f} s"
        for arm in study.arms
        if arm.name != "direct"
    )
    names = {"search": "the search", "finalists": "its finalists", "learning": "arms and learning curves"}
    spent = [f"{_tflop(tflop)} for {names.get(name, name)}" for name, tflop in study.spent_tflop.items()]
    return (
        f"One training costs: {arms}; direct use nothing. Finding this out cost {_listed(spent)}, which need not be "
        "spent again."
    )


def caveats(study: StudyRecord) -> list[str]:
    """What keeps the comparison of arms from being fair or final."""
    told = [
        _hardly_learned(study),
        _still_rising(study.arm("scratch")),
        _few(study.decision),
        _optimism(study),
    ]
    return [each for each in told if each]


def trials(study: StudyRecord) -> str:
    """How much it means that one trial of the search came out on top."""
    margin_db = study.decision.margin_db
    ended = [trial for trial in study.trials if not trial.pruned]
    top = best(ended).val_psnr
    near = sum(trial.val_psnr >= top - margin_db for trial in ended)
    if len(ended) == 1:
        return "Only one of them ran to its end."
    if near == 1:
        return f"The best is more than {margin_db:g} dB above every other trial that ran to its end."
    return (
        f"{near} of the {len(ended)} trials that ran to their end lie within {margin_db:g} dB of the best: "
        "which of them is on top may be chance."
    )


def best_sources(table: pd.DataFrame) -> list[str]:
    """For each target of a transfer matrix the source that is best when fine-tuned, over all light levels.

    By the validation cells, on which a source may be chosen. The matrix has no interval between two sources, so a lead
    is told as a number and never as a certainty.
    """
    together = table[table["level"] == "all"] if "all" in set(table["level"]) else table
    foreign = together[~together["own"].astype(bool)]
    told = []
    for target, rows in foreign.groupby("target", sort=False):
        means = rows.groupby("source")["finetune"].mean().sort_values(ascending=False)
        lead = f"{number(float(means.iloc[0]), 2)} dB"
        if len(means) > 1:
            lead += f", {means.iloc[0] - means.iloc[1]:.2f} dB above {plain(str(means.index[1]))}"
        told.append(f"{plain(str(target))}: {plain(str(means.index[0]))} ({lead})")
    return told


def better_source(table: pd.DataFrame, study: StudyRecord) -> str:
    """Which other model of the transfer matrix would be worth a study; empty where none leads by the margin.

    Args:
        table: `reports/matrix.csv`, with sources and targets by their keys.
        study: of one of its sources on one of its targets.
    """
    rows = table[(table["target"] == study.structure) & (table["level"] == "all")]
    reached = rows.dropna(subset="finetune").groupby("source")["finetune"].mean()
    if study.source not in reached or reached.max() <= reached[study.source] + study.decision.margin_db:
        return ""
    return (
        f"After the same short fine-tune {reached.idxmax()} comes to {number(float(reached.max()), 2)} dB on the "
        f"validation cells, {study.source} to {number(float(reached[study.source]), 2)} dB (the transfer matrix; "
        "without an interval): it may be the better model to start from, and a study of its own would tell."
    )


def _decision(found: Decision, noun: str, name_of: Noun, do: str) -> str:
    """A decision of either kind; never a winner by noise."""
    margin = f"{found.margin_db:g} dB"
    if found.verdict == "no difference":
        return f"No {noun} is more than {margin} below another, so the cheapest will do: {do}."
    if found.verdict == "inconclusive":
        doubts = "; ".join(_doubt(each, found, name_of) for each in found.unclear)
        return f"Inconclusive: {doubts}. Until then: {do}."
    return f"{do[:1].upper()}{do[1:]}. {_reason(found, name_of)}"


def _reason(found: Decision, name_of: Noun) -> str:
    """Why the chosen one, where the evidence suffices."""
    chosen = found.of(found.chosen)
    if len(found.comparisons) == 1:
        return "There was nothing else to choose."
    why = f"It is the cheapest that is surely no more than {found.margin_db:g} dB below any other"
    if found.chosen != found.best:
        why += f"; to {name_of(found.best)}, which has the best mean, it is {in_db(chosen.to_best)}"
    if not found.cheaper:
        return f"{why}."
    worse = ", ".join(f"{name_of(each.name)} {_why_worse(each)}" for each in found.cheaper)
    return f"{why}. What is cheaper is surely worse: {worse}."


def _why_worse(compared: Comparison) -> str:
    return f"diverged with {_seeds(compared.diverged)}" if compared.diverged else in_db(compared.to_best)


def _doubt(compared: Comparison, found: Decision, name_of: Noun) -> str:
    assert compared.doubt is not None, "what is unclear has something it cannot be told from"
    rival = name_of(compared.doubt.against)
    return (
        f"whether {name_of(compared.name)} is within {found.margin_db:g} dB of {rival} cannot be told from "
        f"{_cells(found.cells)} ({in_db(compared.doubt)}); {_needed(compared.doubt, found)}"
    )


def _needed(doubt: Difference, found: Decision) -> str:
    if found.seeds < FEWEST_SEEDS:
        return "one seed does not tell how much of it is luck"
    if doubt.cells_needed is not None:
        return f"about {_rounded(doubt.cells_needed)} validation cells would most likely settle it"
    if doubt.low is None:
        return f"fewer than {FEWEST_CELLS} validation cells allow no interval"
    return "no number of cells would settle it, but more seeds might"


def _seeds(seeds: Sequence[int]) -> str:
    return f"seed{'s' if len(seeds) > 1 else ''} {_listed([str(seed) for seed in seeds])}"


def _rounded(cells: int) -> str:
    """Two digits: an estimate says no more."""
    return f"{int(float(f'{cells:.1e}'))}"


def _enough(found: Enough, all_cells: int, margin: str) -> str:
    """Of one of the fine-tunes."""
    itself = (
        f"{plainly(found.arm)} with {_cells(found.of_itself)} is surely no more than {margin} below the same with all "
        f"{all_cells}"
        if found.of_itself is not None
        else f"{plainly(found.arm)} with fewer than all {all_cells} cells is not surely as good as with all"
    )
    scratch = (
        f"with {_cells(found.matches_scratch)} it is surely no more than {margin} below training from scratch with all"
        if found.matches_scratch is not None
        else f"with no number of cells that was tried is it surely within {margin} of training from scratch with all"
    )
    caught = (
        f"training from scratch surely catches up with it at {_cells(found.scratch_catches_up)} each"
        if found.scratch_catches_up is not None
        else f"with as many cells each, up to {all_cells}, training from scratch does not surely catch up"
    )
    return f"{itself}; {scratch}; {caught}."


def _hardly_learned(study: StudyRecord) -> str:
    scratch, direct = study.arm("scratch"), study.arm("direct")
    if scratch.val_psnr >= direct.val_psnr:
        return ""
    return (
        f"After {scratch.steps:.0f} steps training from scratch is still below direct use, so it has hardly learned; "
        "what fine-tuning gains over it says little."
    )


def _still_rising(scratch: Contender) -> str:
    last = sum(each.best_step == each.steps for each in scratch.repeats)
    if not last:
        return ""
    seeds = len(scratch.repeats)
    where = f" with {last} of {seeds} seeds" if seeds > 1 else ""
    return f"Training from scratch was best at its very last step{where}; with more steps it may come closer."


def _few(found: Decision) -> str:
    told = []
    if found.cells < FEWEST_CELLS:
        told.append(
            f"Only {_cells(found.cells)} to choose by: at least {FEWEST_CELLS} are needed to say how sure anything is."
        )
    if found.seeds < FEWEST_SEEDS:
        told.append(
            "Each arm was trained once, so nothing says how much of a difference is the luck of a seed."
        )
    return " ".join(told)


def _optimism(study: StudyRecord) -> str:
    all_cells = max(each.cells for each in study.learning)
    return (
        f"Freeze range and learning rate were searched with all {all_cells} training cells, on the validation cells "
        "that also compare the arms; both flatter fine-tuning a little, most of all with few cells. Test cells do not: "
        "they judge of every arm the one training that was best on the validation cells."
    )


def _cells(number_of: int | None) -> str:
    return f"{number_of} cell{'' if number_of == 1 else 's'}"


def _tflop(tflop: float) -> str:
    return f"{float(f'{tflop:.3g}'):g} TFLOP"


def _listed(items: list[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]
