"""MLflow behind accounts: what the image runs, on the PostgreSQL and the S3 beside it."""

from collections.abc import Mapping
from pathlib import Path

import requests

from infra.local.processes import Service

CLIENT = {
    # Else the server sends clients to S3 by the address that it uses itself, which may be out of their reach.
    "MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD": "false",
    "MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD": "false",
}
"""what a client needs in its environment beside address and account"""
SCRIPT = Path(__file__).parents[1] / "mlflow.sh"


def service(port: int, environment: Mapping[str, str], log: Path) -> Service:
    """Say how to serve it; `environment` names database, store and secrets as infra/mlflow.sh wants them."""
    return Service(
        name="mlflow",
        command=[SCRIPT],
        environment=environment,
        log=log,
        healthy=lambda: requests.get(f"http://127.0.0.1:{port}/health", timeout=2).ok,
    )
