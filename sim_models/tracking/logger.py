"""What a worker needs to log to a run that the driver made.

A logger travels through every process of Ray Train, and most of them only pass it on; so MLflow, which
takes seconds to import, is imported where the first metric is logged.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache


@dataclass(frozen=True)
class Logger:
    """Logs the metrics of one run, from whichever process it is sent to."""

    uri: str
    run_id: str

    def __call__(self, step: int, metrics: Mapping[str, float]) -> None:
        """Log metrics of a step, unless this run already holds them: a resumed worker repeats itself."""
        from mlflow.entities import Metric

        from sim_models.tracking.runs import client_of

        client, first, last = client_of(self.uri), next(iter(metrics)), _last_steps(self.uri, self.run_id)
        if first not in last:
            logged = client.get_metric_history(self.run_id, first)
            last[first] = max((metric.step for metric in logged), default=-1)
        if step > last[first]:
            now_ms = time.time_ns() // 1_000_000
            client.log_batch(
                self.run_id, metrics=[Metric(name, value, now_ms, step) for name, value in metrics.items()]
            )
            last[first] = step


@cache
def _last_steps(uri: str, run_id: str) -> dict[str, int]:  # noqa: ARG001 - by which it is kept
    """The last step by metric, as this process has read or logged it.

    A metric of a run is logged by one process at a time, so its history is read once and not for every point: that of a
    long training would be read as often as it has points.
    """
    return {}
