"""What a worker needs to log to a run that the driver made.

A logger travels through every process of Ray Train, and most of them only pass it on; so MLflow, which
takes seconds to import, is imported where the first metric is logged.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Logger:
    """Logs the metrics of one run, from whichever process it is sent to."""

    uri: str
    run_id: str

    def __call__(self, step: int, metrics: Mapping[str, float]) -> None:
        """Log metrics of a step, unless this run already holds them: a resumed worker repeats itself."""
        from mlflow.entities import Metric

        from sim_models.tracking.runs import client_of

        client = client_of(self.uri)
        logged = client.get_metric_history(self.run_id, next(iter(metrics)))
        if step > max((metric.step for metric in logged), default=-1):
            now_ms = time.time_ns() // 1_000_000
            client.log_batch(
                self.run_id, metrics=[Metric(name, value, now_ms, step) for name, value in metrics.items()]
            )
