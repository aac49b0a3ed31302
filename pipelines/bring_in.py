"""Stage `bring_in`: the stacks of a dataset, as its definition says they are, become prepared fields."""

import sys

from pipelines.onboarding.dataset import Dataset
from pipelines.shared.params import read_params
from pipelines.shared.stage import DATA, run
from sim_models import datasets


def main(key: str) -> None:
    """Read the folder of the dataset `key`, write `data/fields/<key>` with its `split.json`."""
    params = read_params()
    entry = params.dataset(key)
    dataset = Dataset(datasets.read(entry.definition), entry.folder, entry.structure)
    into = DATA / "fields" / key
    brought = dataset.bring_in(params.reconstruction, params.split, into, lambda _done, _all: None)
    for cell, reason in brought.left_out.items():
        print(f"warning: {cell} is left out: {reason}", file=sys.stderr)
    for note in brought.notes:
        print(f"note: {note}", file=sys.stderr)


if __name__ == "__main__":
    run(main)
