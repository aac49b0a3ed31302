"""Stage `report`: one page that tells what was done and what came out."""

import base64
import platform
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from pipelines.params import Params, read_params
from pipelines.register import Registered
from pipelines.stage import DATA, MODELS, REPORTS, TRANSFERS, project_root, run, write_whole
from sim_models.evaluation import figures
from sim_models.evaluation.intervals import Estimate
from sim_models.evaluation.report import (
    COLUMNS,
    MAIN,
    Block,
    blocks,
    difference,
    in_words,
    interval,
    number,
    worse,
)
from sim_models.restorer import Restorer
from sim_models.sources.prepared import Prepared
from sim_models.tracking.runs import code_version, data_version
from sim_models.transfer.search import best
from sim_models.transfer.study import Arm, StudyRecord

TEMPLATES = Path(__file__).with_name("templates")
RUNS_ON = ("sim-models", "torch", "ray", "optuna", "mlflow", "dvc", "numpy", "scikit-image")
"""what a person needs to know to get the same numbers"""
DECISIONS = {"direct": "Use it as it is", "finetune": "Fine-tune", "scratch": "Train from scratch"}
STRUCTURES = {"ccps": "clathrin-coated pits", "er": "endoplasmic reticulum", "f_actin": "F-actin"}
"""short keys that a reader may not know"""
ARMS = {"direct": "direct use", "finetune": "fine-tuning", "scratch": "training from scratch"}


@dataclass(frozen=True)
class Outcome:
    """What the sealed test cells and the registry said of a model, or of the chosen arm of a transfer."""

    key: str
    structure: str
    arm: str
    test: Estimate
    blocks: list[Block]
    worse: list[str]
    knows_stripes: bool
    """whether classical SIM is among the baselines, with the stripes as they were simulated"""
    panels: list[tuple[str, str]]
    """light level and picture, as a data URI"""
    registered: Registered
    learning: Markup


@dataclass(frozen=True)
class ModelStory:
    """A model trained from scratch."""

    outcome: Outcome
    network: str
    num_parameters: int
    steps: int


@dataclass(frozen=True)
class TransferStory:
    """A transfer: what was decided, what it cost, and how it was found."""

    outcome: Outcome
    study: StudyRecord
    source_structure: str
    decision: str
    why: str
    test_sentence: str
    cost_sentence: str
    caveats: list[str]
    """what keeps the comparison of arms from being fair or final"""
    trials_sentence: str
    passed: int | None
    """step at which the fine-tune reached the best of training from scratch, if it did"""
    freeze: Markup
    shares: Markup
    paired: Markup


@dataclass(frozen=True)
class Part:
    """How the cells of a structure were dealt out."""

    structure: str
    prepared: Prepared
    data_version: str


def main() -> None:
    """Write `reports/index.html`, with everything it shows inside."""
    write_whole(REPORTS / "index.html", page(read_params()))


def page(params: Params) -> str:
    """The page of the study in this folder, as HTML."""
    models = [_model(params, key) for key in params.models]
    transfers = [_transfer(params, key) for key in params.transfers]
    templates = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= {"plain": plain, "number": number, "words": _words, "interval": interval}
    outcomes = [story.outcome for story in models] + [story.outcome for story in transfers]
    registered = [outcome.registered for outcome in outcomes]
    return templates.get_template("report.html").render(
        params=params,
        levels=_levels(params),
        confidence=f"{100 * params.evaluation.bootstrap.confidence:g} %",
        columns=COLUMNS,
        decisions=DECISIONS,
        arms=ARMS,
        models=models,
        transfers=transfers,
        parts_of_data=_parts(params),
        family={
            parent: [each for each in registered if each.parent == parent] for parent in _parents(registered)
        },
        code=code_version(project_root()),
        versions={"Python": platform.python_version(), **{name: version(name) for name in RUNS_ON}},
    )


def plain(name: str) -> str:
    """A structure of `params.yaml` as people say it."""
    return STRUCTURES.get(name, name.replace("_", " "))


def passes(curves: pd.DataFrame, psnr: float) -> int | None:
    """The first step at which the fine-tune is at least as good as `psnr` (dB) on the validation cells."""
    steps = curves.loc[(curves["arm"] == "finetune") & (curves["val_psnr"] >= psnr), "step"]
    return None if steps.empty else int(steps.min())


def _model(params: Params, key: str) -> ModelStory:
    restorer, scores = Restorer.load(MODELS / key), _scores("models", key)
    learning = figures.learning_curves(_curves(key), direct_psnr=None, passed=None)
    return ModelStory(
        outcome=_outcome(params, "models", key, scores, learning),
        network=restorer.recipe.network.name,
        num_parameters=sum(parameter.numel() for parameter in restorer.network.parameters()),
        steps=restorer.card.steps,
    )


def _transfer(params: Params, key: str) -> TransferStory:
    study = StudyRecord.model_validate_json((TRANSFERS / key / "study.json").read_text())
    scores, curves, bars = _scores("transfers", key), _curves(key), _bars(study)
    arms = {arm.name: arm for arm in study.arms}
    passed = passes(curves, arms["scratch"].val_psnr)
    learning = figures.learning_curves(curves, arms["direct"].val_psnr, passed)
    outcome = _outcome(params, "transfers", key, scores, learning)
    return TransferStory(
        outcome=outcome,
        study=study,
        source_structure=params.model(study.source).structure,
        decision=DECISIONS[study.chosen],
        why=_words(study.why),
        test_sentence=_test_sentence(params, outcome, scores),
        cost_sentence=_cost_sentence(study, arms["finetune"], arms["scratch"]),
        caveats=list(_caveats(arms["direct"], arms["scratch"])),
        trials_sentence=_trials_sentence(study, params.transfer(key).study.margin_db),
        passed=passed,
        freeze=Markup(figures.freeze_study(study.stages, bars)),
        shares=Markup(figures.quality_and_share(bars)),
        paired=Markup(_paired(params, scores)),
    )


def _outcome(params: Params, kind: str, key: str, scores: pd.DataFrame, learning: str) -> Outcome:
    levels, bootstrap = _levels(params), params.evaluation.bootstrap
    registered = Registered.model_validate_json((REPORTS / "registered" / f"{key}.json").read_text())
    table = blocks(scores, levels, bootstrap)
    rows = {row.arm: row for row in table[0].rows}
    details = REPORTS / kind / key / "details"
    return Outcome(
        key=key,
        structure=str(scores["structure"].iloc[0]),
        arm=registered.arm,
        test=rows[registered.arm].entries[0].estimate,
        blocks=table,
        worse=worse(scores, registered.arm, levels, bootstrap),
        knows_stripes="wiener" in rows,
        panels=[(level, _picture(details / f"panel_{level}.png")) for level in levels],
        registered=registered,
        learning=Markup(learning),
    )


def _test_sentence(params: Params, outcome: Outcome, scores: pd.DataFrame) -> str:
    others = [arm for arm in ARMS if arm != outcome.arm]
    compared = [
        in_words(difference(scores, outcome.arm, other, MAIN, params.evaluation.bootstrap), ARMS[other])
        for other in others
    ]
    reached = f"{number(outcome.test.mean, 2)} dB {interval(outcome.test, 2)}".strip()
    cells = f"{outcome.test.cells} sealed test cell{'s' if outcome.test.cells > 1 else ''}"
    return f"On the {cells} it comes to a PSNR of {reached}: {'; '.join(compared)}."


def _cost_sentence(study: StudyRecord, finetune: Arm, scratch: Arm) -> str:
    steps = sum(trial.steps for trial in study.trials)
    seconds = sum(trial.seconds for trial in study.trials)
    return (
        f"Fine-tuning took {finetune.steps} steps ({finetune.seconds:.0f} s) after a search of {len(study.trials)} "
        f"short trials ({steps} steps, {seconds:.0f} s); training from scratch {scratch.steps} steps "
        f"({scratch.seconds:.0f} s); direct use none."
    )


def _caveats(direct: Arm, scratch: Arm) -> Iterator[str]:
    if scratch.val_psnr < direct.val_psnr:
        yield (
            f"Training from scratch ended below direct use: {scratch.steps} steps were too few for it, and what "
            "fine-tuning gains over it says little."
        )
    elif scratch.best_step == scratch.steps:
        yield "Training from scratch was best at its very last step; with more steps it may come closer."


def _trials_sentence(study: StudyRecord, margin_db: float) -> str:
    ended = [trial for trial in study.trials if not trial.pruned]
    top = best(ended).val_psnr
    near = sum(trial.val_psnr >= top - margin_db for trial in ended)
    if near == 1:
        return f"The best is more than {margin_db:g} dB above every other trial that ran to its end."
    return (
        f"{near} of the {len(ended)} trials that ran to their end lie within {margin_db:g} dB of the best: "
        "which of them is on top may be chance."
    )


def _bars(study: StudyRecord) -> list[figures.Bar]:
    winner = best(list(study.trials))
    return [
        figures.Bar(
            start=trial.frozen.start,
            end=trial.frozen.end,
            learning_rate=trial.learning_rate,
            trainable=trial.trainable,
            val_psnr=trial.val_psnr,
            pruned=trial.pruned,
            chosen=trial is winner,
        )
        for trial in study.trials
    ]


def _paired(params: Params, scores: pd.DataFrame) -> str:
    psnrs = scores[scores["metric"] == MAIN].pivot(index=["cell", "level"], columns="arm", values="value")
    others = [arm for arm in ("direct", "scratch", "wiener") if arm in psnrs]
    bootstrap = params.evaluation.bootstrap
    return figures.paired_differences(
        {other: (psnrs["finetune"] - psnrs[other]).dropna().reset_index(name="value") for other in others},
        {other: difference(scores, "finetune", other, MAIN, bootstrap) for other in others},
        "finetune",
        _levels(params),
    )


def _parts(params: Params) -> list[Part]:
    used = [model.structure for model in params.models.values()]
    used += [transfer.structure for transfer in params.transfers.values()]
    folders = {structure: DATA / "fields" / structure for structure in used}
    return [
        Part(structure, Prepared.open(folder), data_version(folder)) for structure, folder in folders.items()
    ]


def _parents(registered: Sequence[Registered]) -> set[str | None]:
    return {None, *(each.parent for each in registered)}


def _levels(params: Params) -> list[str]:
    """Light levels from low to high."""
    levels = params.acquisition.levels
    return sorted(levels, key=lambda level: levels[level])


def _scores(kind: str, key: str) -> pd.DataFrame:
    return pd.read_csv(REPORTS / kind / key / "details" / "scores.csv")


def _curves(key: str) -> pd.DataFrame:
    return pd.read_csv(REPORTS / "curves" / f"{key}.csv")


def _picture(path: Path) -> str:
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"


def _words(text: str) -> str:
    """Names of arms and metrics as people say them, with true minus signs, beginning with a capital."""
    for arm, words in ARMS.items():
        text = re.sub(rf"\b{arm}\b", words, text)
    for column in COLUMNS:
        text = text.replace(column.metric, column.name)
    text = re.sub(r"(?<![\w.])-(?=\d)", "−", text)
    return text[:1].upper() + text[1:]


if __name__ == "__main__":
    run(main)
