"""Stage `report`: one page that tells what was done and what came out."""

import base64
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from pipelines import sentences
from pipelines.params import Params, read_params
from pipelines.register import Registered
from pipelines.stage import DATA, MODELS, REPORTS, TRANSFERS, project_root, run, write_whole
from sim_models.evaluation import figures
from sim_models.evaluation.intervals import Estimate
from sim_models.evaluation.report import (
    COLUMNS,
    MAIN,
    NOUNS,
    Block,
    blocks,
    difference,
    interval,
    number,
    worse,
)
from sim_models.restorer import Restorer
from sim_models.sources.prepared import Prepared
from sim_models.tracking.runs import code_version, data_version
from sim_models.transfer.search import best
from sim_models.transfer.study import StudyRecord

TEMPLATES = Path(__file__).with_name("templates")
RUNS_ON = ("sim-models", "torch", "ray", "optuna", "mlflow", "dvc", "numpy", "scikit-image")
"""what a person needs to know to get the same numbers"""
DECISIONS = {"direct": "Use it as it is", "finetune": "Fine-tune", "scratch": "Train from scratch"}


@dataclass(frozen=True)
class Outcome:
    """What the sealed test cells and the registry said of a model, or of the chosen arm of a transfer."""

    key: str
    structure: str
    arm: str
    test: Estimate
    blocks: list[Block]
    worse: list[str]
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
    templates.filters |= {
        "plain": sentences.plain,
        "number": number,
        "words": sentences.plainly,
        "interval": interval,
    }
    outcomes = [story.outcome for story in models] + [story.outcome for story in transfers]
    return templates.get_template("report.html").render(
        params=params,
        levels=_levels(params),
        confidence=f"{100 * params.evaluation.bootstrap.confidence:g} %",
        columns=COLUMNS,
        decisions=DECISIONS,
        nouns=NOUNS,
        models=models,
        transfers=transfers,
        parts_of_data=_parts(params),
        family=_family([outcome.registered for outcome in outcomes]),
        code=code_version(project_root()),
        versions={"Python": platform.python_version(), **{name: version(name) for name in RUNS_ON}},
    )


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
        num_parameters=restorer.network.num_parameters,
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
        why=sentences.plainly(study.why),
        test_sentence=sentences.on_test(outcome.test, study.chosen, scores, params.evaluation.bootstrap),
        cost_sentence=sentences.cost(study),
        caveats=sentences.caveats(study),
        trials_sentence=sentences.trials(study, params.transfer(key).study.margin_db),
        passed=passed,
        freeze=Markup(figures.freeze_study(study.stages, bars)),
        shares=Markup(figures.quality_and_share(bars)),
        paired=Markup(_paired(params, scores)),
    )


def _outcome(params: Params, kind: str, key: str, scores: pd.DataFrame, learning: str) -> Outcome:
    levels, bootstrap = _levels(params), params.evaluation.bootstrap
    registered = Registered.model_validate_json((REPORTS / "registered" / f"{key}.json").read_text())
    table = blocks(scores, levels, bootstrap)
    reached = {row.arm: row.entries[0] for row in table[0].rows}[registered.arm]
    assert reached is not None, "every arm has a PSNR"
    details = REPORTS / kind / key / "details"
    return Outcome(
        key=key,
        structure=str(scores["structure"].iloc[0]),
        arm=registered.arm,
        test=reached.estimate,
        blocks=table,
        worse=worse(scores, registered.arm, levels, bootstrap),
        panels=[(level, _picture(details / f"panel_{level}.png")) for level in levels],
        registered=registered,
        learning=Markup(learning),
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
    others = [arm for arm in ("direct", "scratch", "reconstruction") if arm in psnrs]
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


def _family(registered: Sequence[Registered]) -> dict[str | None, list[Registered]]:
    """Children by parent; None for those whose parent is not on this page."""
    known = {f"{each.name} version {each.version}" for each in registered}
    family: dict[str | None, list[Registered]] = {}
    for each in registered:
        family.setdefault(each.parent if each.parent in known else None, []).append(each)
    return family


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


if __name__ == "__main__":
    run(main)
