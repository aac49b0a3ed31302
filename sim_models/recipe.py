"""A recipe: everything that turns a network into a way to restore, but for its weights."""

from typing import TYPE_CHECKING

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
