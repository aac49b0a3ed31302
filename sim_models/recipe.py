"""A recipe: everything that turns a network into a way to restore, but for its weights."""

from typing import TYPE_CHECKING, Self

from pydantic import model_validator

from sim_models import methods, networks
from sim_models.config import Settings, choice_of
from sim_models.normalise import NormaliserSettings
from sim_models.task import Task

if TYPE_CHECKING:
    from sim_models.methods import Method
    from sim_models.networks import NetworkSettings

    AnyMethod = Method
    AnyNetwork = NetworkSettings
else:
    AnyMethod = choice_of(methods)
    AnyNetwork = choice_of(networks)


class Recipe(Settings):
    """Task, network, method and normaliser, complete."""

    task: Task
    network: AnyNetwork
    method: AnyMethod
    normaliser: NormaliserSettings

    @model_validator(mode="after")
    def _method_fits_task(self) -> Self:
        needs, task = self.method.learns_from, self.task
        if (needs == "pairs") == (task.target == "none"):
            raise ValueError(
                f"method '{self.method.name}' learns from {needs}, but the target of the task is '{task.target}'"
            )
        if (needs in ("times", "slices")) != (task.input == "volume"):
            raise ValueError(
                f"method '{self.method.name}' learns from {needs}, but the input is '{task.input}'"
            )
        if needs == "images" and task.input not in ("widefield", "reconstruction"):
            raise ValueError(
                f"method '{self.method.name}' learns from single images, but the input is '{task.input}'"
            )
        return self
