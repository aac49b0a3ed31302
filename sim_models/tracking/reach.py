"""Whether runs can go to a server from here: asked once, without changing anything."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlflow.exceptions import MlflowException

from sim_models.config import BadInput, without_password
from sim_models.tracking.runs import client_of, tracking_uri

IMPATIENT = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "15"}
"""MLflow would try for minutes"""


def reach() -> None:
    """Ask the server at `MLFLOW_TRACKING_URI` for its experiments, with the credentials of the environment.

    Raises:
        BadInput: if it does not answer, or refuses.
    """
    uri = tracking_uri(Path())
    with _impatient():
        try:
            client_of(uri).search_experiments(max_results=1)
        except MlflowException as error:
            reason = str(error).splitlines()[0]
            raise BadInput(without_password(f"MLflow at {uri} refuses ({reason})")) from None


@contextmanager
def _impatient() -> Iterator[None]:
    before = {name: os.environ.get(name) for name in IMPATIENT}
    os.environ |= IMPATIENT
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
