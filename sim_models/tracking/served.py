"""The script behind every registered model (MLflow's "models from code"): nothing is pickled.

MLflow runs this file when somebody calls `mlflow models predict` or `mlflow.pyfunc.load_model`.
The command line does not: it reads weights and settings from the same folder and runs no code.
"""

import os
from pathlib import Path
from typing import Any

os.environ.setdefault("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")

import mlflow.models
import numpy as np
from mlflow.pyfunc.model import PythonModel, PythonModelContext
from numpy.typing import NDArray

from sim_models.config import BadInput
from sim_models.restorer import Restorer


class ServedRestorer(PythonModel):
    """Restores batches of fields, as `Restorer` restores one."""

    def load_context(self, context: PythonModelContext) -> None:
        """Read the restorer's folder."""
        self.restorer = Restorer.load(Path(context.artifacts["restorer"]))

    def predict(  # type: ignore[no-untyped-def] # MLflow would hold a type of the input to rules of its own
        self,
        context: PythonModelContext,  # noqa: ARG002 - MLflow's signature
        model_input,
        params: dict[str, Any] | None = None,  # noqa: ARG002
    ) -> NDArray[np.float32]:
        """Restore each field of a batch: an array, or one by role where several images go in."""
        roles = self.restorer.recipe.task.roles
        by_role = model_input if isinstance(model_input, dict) else {roles[0]: model_input}
        if missing := [role for role in roles if role not in by_role]:
            raise BadInput(
                f"the model takes {' and '.join(roles)}, but {missing[0]} is not given; give a dict of arrays by role"
            )
        batches = [np.asarray(by_role[role], np.float32) for role in roles]
        return np.stack(
            [self.restorer(dict(zip(roles, each, strict=True))) for each in zip(*batches, strict=True)]
        )


mlflow.models.set_model(ServedRestorer())
