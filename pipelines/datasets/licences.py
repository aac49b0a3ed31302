"""Whose data they are, how they want to be cited, and what may be made of them."""

from collections.abc import Iterable
from pathlib import Path

from pipelines.onboarding.dataset import licence_of
from sim_models.datasets.definition import Definition

UNKNOWN = "not known"


def may_feed(definition: Definition) -> tuple[bool, str]:
    """Whether a model made of this dataset may be registered, and the sentence that says so."""
    name, licence = definition.name, licence_of(definition)
    if definition.licence is not None:
        return True, f"{name}: {licence}, read in {definition.licence_from}"
    if licence is not None:
        return True, f"{name}: declared as one's own, so nobody else's licence is needed"
    return False, (
        f"{name}: no licence is known, so no registered model may be made of it; look at "
        f"{definition.url or definition.doi or 'where it comes from'}, ask who published it, and write what you "
        "find into its definition as `licence` and `licence_from`"
    )


def table(definitions: Iterable[Definition], fetched: Iterable[str]) -> str:
    """A page in Markdown: licence, origin and citation of each, and which lie here."""
    here = set(fetched)
    lines = [
        "# Licences of datasets",
        "",
        "Written by `sim-models data licences`. A licence is an SPDX identifier; where none was read, none is",
        "named, and no registered model may be made of the dataset.",
        "",
        "| dataset | licence | read in | cite | where | fetched here |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for each in definitions:
        cells = (
            each.name,
            each.licence or ("one's own" if each.origin == "own" else UNKNOWN),
            each.licence_from or "-",
            each.cite or UNKNOWN,
            each.doi or each.url or UNKNOWN,
            "yes" if each.name in here else "no",
        )
        lines.append(f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |")
    return "\n".join(lines) + "\n"


def fetched_names(root: Path) -> list[str]:
    """The datasets that were fetched into folders of `root`."""
    from sim_models.datasets.receipt import read_receipt

    folders = sorted(path for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
    receipts = [read_receipt(folder) for folder in folders]
    return [receipt.dataset for receipt in receipts if receipt is not None]
