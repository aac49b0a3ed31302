"""Stage `report`: one page that tells what was done and what came out."""

import platform
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version

import pandas as pd
from markupsafe import Markup

from pipelines.page import sentences
from pipelines.page.setups import setups
from pipelines.page.story import Sealed, Story, judge_sealed, library, picture, tell, templates
from pipelines.page.study_page import confidence, read_study
from pipelines.registry.pipeline import Registered
from pipelines.shared.params import Params, read_params
from pipelines.shared.stage import DATA, MODELS, REPORTS, TRANSFERS, project_root, run, write_whole
from sim_models.evaluation import figures, interactive
from sim_models.evaluation.report import COLUMNS, NOUNS
from sim_models.restorer import Restorer
from sim_models.sources.prepared import Prepared
from sim_models.tracking.runs import code_version, data_version

RUNS_ON = ("sim-models", "torch", "ray", "optuna", "mlflow", "dvc", "numpy", "scikit-image")
"""what a person needs to know to get the same numbers"""


@dataclass(frozen=True)
class ModelStory:
    """A model trained from scratch."""

    key: str
    sealed: Sealed
    registered: Registered
    network: str
    num_parameters: int
    steps: int
    learning: Markup


@dataclass(frozen=True)
class Part:
    """How the cells of a structure were dealt out."""

    structure: str
    prepared: Prepared
    data_version: str
    levels: list[str]


def main() -> None:
    """Write `reports/index.html`, with everything it shows inside."""
    write_whole(REPORTS / "index.html", page(read_params()))


def page(params: Params) -> str:
    """The page of the study in this folder, as HTML."""
    models = [_model(params, key) for key in params.models]
    transfers = [_transfer(params, key) for key in params.transfers]
    transfer_matrix, parts = matrix(params), _parts(params)
    registered = [story.registered for story in models]
    registered += [story.registered for story in transfers if story.registered]
    return (
        templates()
        .get_template("report.html")
        .render(
            params=params,
            setups=setups(params, [part.structure for part in parts]),
            confidence=confidence(params.evaluation.bootstrap),
            columns=COLUMNS,
            nouns=NOUNS,
            models=models,
            transfers=transfers,
            matrix=transfer_matrix,
            library=library() if transfers or transfer_matrix else "",
            parts_of_data=parts,
            family=_family(registered),
            code=code_version(project_root()),
            versions={"Python": platform.python_version(), **{name: version(name) for name in RUNS_ON}},
        )
    )


def matrix(params: Params) -> Markup | None:
    """Every source on every target, from `reports/matrix.csv`; None where the study has none."""
    table = _matrix_table()
    if table is None or params.matrix.finetune is None:
        return None
    after = f"after {params.matrix.finetune.steps} steps"
    named = table.assign(
        source=_called({key: params.model(key).structure for key in dict.fromkeys(table["source"])}, table),
        target=table["target"].map(sentences.plain),
    )
    drawn, best = Markup(interactive.transfer_matrix(named, after)), sentences.best_sources(named)
    return Markup(templates().get_template("matrix.html").render(figure=drawn, best=best, after=after))


def _called(structures: dict[str, str], table: pd.DataFrame) -> "pd.Series[str]":
    """Sources by what they were trained on, or by their keys where two were trained on the same."""
    alone = len(set(structures.values())) == len(structures)
    return table["source"].map(lambda key: sentences.plain(structures[key]) if alone else str(key))


def _model(params: Params, key: str) -> ModelStory:
    restorer, scores = Restorer.load(MODELS / key), _scores("models", key)
    levels, registered = _levels(params, params.model(key).structure), _registered(key)
    panels = _panels("models", key, levels)
    curve = pd.read_csv(REPORTS / "curves" / f"{key}.csv")
    return ModelStory(
        key=key,
        sealed=judge_sealed(scores, registered.arm, panels, params.evaluation.bootstrap, levels),
        registered=registered,
        network=restorer.recipe.network.name,
        num_parameters=restorer.network.num_parameters,
        steps=restorer.card.steps,
        learning=Markup(figures.training_curve(curve)),
    )


def _transfer(params: Params, key: str) -> Story:
    study = read_study(TRANSFERS / key / "study.json")
    levels = _levels(params, params.transfer(key).structure)
    story = tell(
        key,
        sentences.plain(params.model(study.source).structure),
        study,
        _scores("transfers", key),
        _panels("transfers", key, levels),
        params.evaluation.bootstrap,
        levels,
        _registered(key),
    )
    table = _matrix_table()
    other = "" if table is None else sentences.better_source(table, study)
    return replace(story, caveats=[*story.caveats, other]) if other else story


def _matrix_table() -> pd.DataFrame | None:
    path = REPORTS / "matrix.csv"
    table = pd.read_csv(path) if path.is_file() else pd.DataFrame()
    return None if table.empty else table


def _parts(params: Params) -> list[Part]:
    used = [model.structure for model in params.models.values()]
    used += [transfer.structure for transfer in params.transfers.values()]
    folders = {structure: DATA / "fields" / structure for structure in used}
    return [
        Part(structure, Prepared.open(folder), data_version(folder), _levels(params, structure))
        for structure, folder in folders.items()
    ]


def _family(registered: Sequence[Registered]) -> dict[str | None, list[Registered]]:
    """Children by parent; None for those whose parent is not on this page."""
    known = {f"{each.name} version {each.version}" for each in registered}
    family: dict[str | None, list[Registered]] = {}
    for each in registered:
        family.setdefault(each.parent if each.parent in known else None, []).append(each)
    return family


def _levels(params: Params, structure: str) -> list[str]:
    """Light levels of a structure or dataset, from low to high."""
    if params.under(structure) in params.datasets:
        return Prepared.open(DATA / "fields" / structure).levels
    levels = params.acquisition.levels
    return sorted(levels, key=levels.__getitem__)


def _scores(kind: str, key: str) -> pd.DataFrame:
    return pd.read_csv(REPORTS / kind / key / "details" / "scores.csv")


def _panels(kind: str, key: str, levels: Sequence[str]) -> list[tuple[str, str]]:
    details = REPORTS / kind / key / "details"
    return [(level, picture(details / f"panel_{level}.png")) for level in levels]


def _registered(key: str) -> Registered:
    return Registered.model_validate_json((REPORTS / "registered" / f"{key}.json").read_text())


if __name__ == "__main__":
    run(main)
