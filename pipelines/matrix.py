"""Stage `matrix`: the transfer matrix, every source on every target."""

import json

import pandas as pd

from pipelines.shared.digits import DIGITS
from pipelines.shared.params import read_params
from pipelines.shared.stage import REPORTS, run, write_whole
from sim_models.evaluation.intervals import Bootstrap, paired_differences

CARRIED = REPORTS / "carried"
COLUMNS = (
    "source", "target", "own", "metric", "level", "direct", "finetune", "gain_mean", "gain_low", "gain_high", "cells",
)  # fmt: skip


def main() -> None:
    """Write `reports/matrix.csv` (by light level and for `all`) and `reports/matrix.json`: PSNR in dB.

    It is that on the validation cells, so the name of the metric begins with `val_`.
    """
    params = read_params()
    rows = []
    for source in params.matrix.sources:
        for target in params.matrix.targets:
            own = params.model(source).structure == target
            scores = pd.read_csv(CARRIED / source / f"{target}.csv")
            rows += rows_of(source, target, own, scores, params.evaluation.bootstrap)
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    write_whole(REPORTS / "matrix.csv", table.to_csv(index=False, float_format="%.4f"))
    write_whole(REPORTS / "matrix.json", json.dumps(metrics(table), indent=2) + "\n")


def rows_of(
    source: str, target: str, own: bool, scores: pd.DataFrame, bootstrap: Bootstrap
) -> list[dict[str, object]]:
    """What a source is worth on a target, for all light levels together and for each."""
    levels = {"all": scores, **{str(level): table for level, table in scores.groupby("level")}}
    rows = []
    for level, table in levels.items():
        means = table.groupby("arm")["value"].mean()
        row: dict[str, object] = {
            "source": source,
            "target": target,
            "own": own,
            "metric": table["metric"].iloc[0],
            "level": level,
            "direct": means["direct"],
            "cells": table["cell"].nunique(),
        }
        if not own:
            (gain,) = paired_differences(table, "finetune", "direct", bootstrap).values()
            row |= {
                "finetune": means["finetune"],
                "gain_mean": gain.mean,
                "gain_low": gain.low,
                "gain_high": gain.high,
            }
        rows.append(row)
    return rows


Arms = dict[str, float]


def metrics(table: pd.DataFrame) -> dict[str, dict[str, dict[str, Arms]]]:
    """Means over all light levels, by metric, source and target."""
    together = table[table["level"] == "all"]
    found: dict[str, dict[str, dict[str, Arms]]] = {}
    for row in together.to_dict("records"):
        arms = {arm: round(row[arm], DIGITS) for arm in ("direct", "finetune") if pd.notna(row[arm])}
        by_source = found.setdefault(str(row["metric"]), {})
        by_source.setdefault(str(row["source"]), {})[str(row["target"])] = arms
    return found


if __name__ == "__main__":
    run(main)
