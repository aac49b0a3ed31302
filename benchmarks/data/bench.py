"""DVC with many cells: added, pushed, pulled, prepared; then one more; and why patches are not its units.

    python benchmarks/data/bench.py [--cells N] [--out OUT.md] [--again]

Serves a stand-in for S3 here, and makes a project of this repository's code in the folder for temporary files, of which
1,000 cells take 3 GB. What was found is kept in build/data/; `--again` writes the page of that, and measures nothing.
"""

import argparse
import os
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from cells_page import Found, page
from measuring import PUSHED, as_cells, as_patches, the_way
from project import store
from pydantic import TypeAdapter

from pipelines.shared.side_by_side import processors

KEPT = Path("build/data/found.json")
FOUND = TypeAdapter(Found)


def measure(cells: int) -> Found:
    """All of it, one after the other."""
    load, start, clock = os.getloadavg()[0], datetime.now(UTC), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, store(Path(folder)) as remote:
        way = the_way(Path(folder), remote, cells)
        whole = as_cells(Path(folder), remote, cells, push=True)
        cut = as_patches(Path(folder), remote, cells, push=cells <= PUSHED)
        few = cut if cells <= PUSHED else as_patches(Path(folder), remote, PUSHED, push=True)
    return Found(
        cells=cells,
        way=way,
        whole=whole,
        cut=cut,
        few=few,
        few_cells=min(cells, PUSHED),
        processors=processors(),
        start=f"{start:%Y-%m-%d %H:%M} UTC",
        minutes=(time.perf_counter() - clock) / 60,
        load=(load, os.getloadavg()[0]),
    )


def main() -> None:
    """Measure and write."""
    asked = argparse.ArgumentParser()
    asked.add_argument("--cells", type=int, default=1000)
    asked.add_argument("--out", type=Path, default=Path("docs/benchmark_data.md"))
    asked.add_argument("--again", action="store_true", help="only write the page of what was found before")
    given = asked.parse_args()
    if not given.again:
        KEPT.parent.mkdir(parents=True, exist_ok=True)
        KEPT.write_bytes(FOUND.dump_json(measure(given.cells), indent=1))
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(page(FOUND.validate_json(KEPT.read_bytes())))
    print(given.out)


if __name__ == "__main__":
    main()
