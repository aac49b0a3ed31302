"""A recipe: everything that turns a network into a way to restore, but for its weights."""

from typing import TYPE_CHECKING, Self

from pydantic import model_validator

from sim_models import methods, networks
from sim_models.config import Settings, choice_of
from sim_models.normalise import ZERO_IS_DARK, NormaliserSettings
from sim_models.task import Task

if TYPE_CHECKING:
    from sim_models.methods import Method
    from sim_models.networks import NetworkSettings

    AnyMethod = Method
    AnyNetwork = NetworkSettings
else:
    AnyMethod = choice_of(methods)
    AnyNetwork = choice_of(networks)


OF_VOLUMES = ("rcan3d",)
"""networks that take slices"""


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

    @model_validator(mode="after")
    def _network_and_residual_fit_task(self) -> Self:
        task, residual = self.task, getattr(self.method, "residual", "none")
        if (self.network.name in OF_VOLUMES) != (task.input == "volume"):
            raise ValueError(f"network '{self.network.name}' does not fit the input '{task.input}'")
        if residual == "reconstruction" and task.input != "raw_and_reconstruction":
            raise ValueError(f"residual 'reconstruction' does not fit the input '{task.input}'")
        if residual == "noisy" and (task.target, task.scale) != ("raw_clean", 1):
            raise ValueError(
                f"residual 'noisy' does not fit the target '{task.target}' at scale {task.scale}"
            )
        if needs_zero(self.method) and self.normaliser.kind not in ZERO_IS_DARK:
            raise ValueError(
                f"method '{self.method.name}' needs zero to be no light: normaliser kind {' or '.join(ZERO_IS_DARK)}, "
                f"not '{self.normaliser.kind}'"
            )
        return self


def needs_zero(method: AnyMethod) -> bool:
    """Whether it matters to a method how bright nothing is."""
    return method.learns_from == "images"
