"""How a version is judged: it and the champion are scored on the same sealed test fields, and the gate decides."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from pipelines.shared.params import Params
from sim_models.config import BadInput, Settings
from sim_models.evaluation.gate import CHAMPION as CHAMPION_ARM
from sim_models.evaluation.gate import Verdict, judge
from sim_models.evaluation.scores import restore, score
from sim_models.restorer import Restorer
from sim_models.sources.prepared import Prepared
from sim_models.tracking.registry import Registry

SPLIT = "sim.split"
"""tag: hash of the split a version was made with"""
SEEN = "the champion was made with another split, so it may have learned from these test cells"

Judge = Callable[[int | None], Verdict]
"""what the gate says of a version that would replace a champion, if there is one"""
FAMILY = {"image": "", "frames": "-frames", "denoised": "-denoised"}
"""ends the name of models that give something else than an image: they have champions of their own"""


class Registered(Settings):
    """What became of a model at the registry."""

    name: str
    version: int
    arm: str
    champion: bool
    champion_before: int | None
    parent: str | None
    """`NAME version N` of the registered model it came from"""
    verdict: Verdict


def registered_name(params: Params, structure: str, gives: str) -> str:
    """Name of the registered model whose versions restore a structure and give an image, frames or denoised ones."""
    return f"{params.register_as}-{structure}{FAMILY[gives]}"


def judge_by(registry: Registry, name: str, prepared: Prepared, params: Params, own: pd.DataFrame) -> Judge:
    """The gate for a model with these scores: the champion it is given is scored anew on the same test fields.

    For the champion may come from other data.
    """

    def gate(champion: int | None) -> Verdict:
        tables = [own]
        if champion is not None:
            model = fetched(registry, name, champion)
            tables.append(scored(model, CHAMPION_ARM, prepared, params, baselines=False))
        table = pd.concat(tables, ignore_index=True)
        verdict = judge(table, params.gate, params.evaluation.bootstrap)
        if champion is None or registry.version(name, champion).tags.get(SPLIT) == prepared.split.hash:
            return verdict
        return verdict.model_copy(update={"notes": (*verdict.notes, SEEN)})

    return gate


def scored(restorer: Restorer, arm: str, prepared: Prepared, params: Params, baselines: bool) -> pd.DataFrame:
    """Scores of a restorer on the test fields under the name `arm`, with or without those of the baselines."""
    restored = restore(prepared.fields("test"), {arm: restorer}, params.reconstruction)
    table = pd.concat([score(each, params.evaluation.border_px) for each in restored], ignore_index=True)
    return table if baselines else table[table["arm"] == arm]


def fetched(registry: Registry, name: str, version: int) -> Restorer:
    """A registered version, read back.

    Raises:
        BadInput: if it is not there or cannot be read; then nothing can be compared with it.
    """
    model = f"models:/{name}/{version}"
    with tempfile.TemporaryDirectory() as temporary:
        folder = registry.fetch(model, Path(temporary))
        try:
            return Restorer.load(folder)
        except BadInput as error:
            raise BadInput(str(error).replace(str(folder), model)) from None
