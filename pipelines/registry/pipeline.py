"""Models of the pipeline at the registry: how they are called, and by which test cells they are judged."""

from pathlib import Path

from pipelines.registry.judging import Court
from pipelines.shared.params import Params, read_params
from pipelines.shared.stage import project_root
from pipelines.shared.test_cells import Sealed
from sim_models.config import BadInput, Settings
from sim_models.evaluation.gate import Verdict
from sim_models.tracking.registry import Registry
from sim_models.tracking.runs import Tracker

PARAMS = "params.yaml"
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


def court_of(study: Path, name: str, registry: Registry) -> Court:
    """By what models called `name` are judged in the folder of a study, beside its `params.yaml`.

    Raises:
        BadInput: if that study registers no such model, or its fields are not there.
    """
    params = read_params(study / PARAMS)
    fields = (*params.structures, *params.derived)
    own = [key for key in fields if any(registered_name(params, key, gives) == name for gives in FAMILY)]
    if not own:
        raise BadInput(
            f"{study / PARAMS}: this study registers no '{name}' (its models are called {params.register_as}-"
            f"{fields[0]} and so on); give the folder of the study that made it with --study"
        )
    tracker = Tracker.open(params.study, project_root())
    return Court(registry, Sealed.of(params, own[0], study), params.gate, tracker)
