#!/usr/bin/env python3
"""Is the service in this container well? `healthy.py mlflow`, `healthy.py ray` (any node), `healthy.py ray-head`.

Exit code 0 means yes. These addresses answer without token or account, and say nothing but that they answer.
"""

import os
import sys
import urllib.request

ADDRESSES = {
    "mlflow": [f"http://127.0.0.1:{os.environ.get('MLFLOW_PORT', '5000')}/health"],
    # Ray's agent of this node; on the head also what holds the cluster together.
    "ray": ["http://127.0.0.1:52365/api/local_raylet_healthz"],
    "ray-head": ["http://127.0.0.1:52365/api/local_raylet_healthz", "http://127.0.0.1:8265/api/gcs_healthz"],
}


def main() -> None:
    """Ask every address of a service."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for address in ADDRESSES[sys.argv[1]]:
        try:
            direct.open(address, timeout=5).close()
        except OSError as error:
            sys.exit(f"{address}: {error}")


if __name__ == "__main__":
    main()
