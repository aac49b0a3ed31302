"""Whose data they are, how they want to be cited, and what may be made of them."""

from collections.abc import Iterable
from pathlib import Path

from pipelines.datasets.finding import Known
from pipelines.onboarding.dataset import licence_of
from sim_models.datasets.definition import Definition
from sim_models.datasets.receipt import read_receipt

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


def licence_in_words(definition: Definition, unknown: str) -> str:
    """Its licence, or that it needs none."""
    return definition.licence or ("one's own" if definition.origin == "own" else unknown)


def table(found: Iterable[tuple[Known, bool]]) -> str:
    """A page in Markdown: licence, origin and citation of each, and whether it is here."""
    lines = [
        "# Licences of datasets",
        "",
        "Written by `sim-models data licences`. A licence is an SPDX identifier; where none was read, none is",
        "named, and no registered model may be made of the dataset.",
        "",
        "| dataset | licence | read in | cite | where | here |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for known, here in found:
        each = known.definition
        cells = (
            known.called,
            licence_in_words(each, UNKNOWN),
            each.licence_from or "-",
            each.cite or UNKNOWN,
            each.doi or each.url or UNKNOWN,
            "yes" if here else "no",
        )
        lines.append(f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |")
    return "\n".join(lines) + "\n"


def with_here(found: Iterable[Known], into: Path) -> list[tuple[Known, bool]]:
    """Each with whether it was fetched, or is one's own and there."""
    fetched = _fetched_names(into)

    def is_here(known: Known) -> bool:
        added = known.file is not None and not known.definition.files
        return known.definition.name in fetched or (added and known.folder(into).is_dir())

    return [(known, is_here(known)) for known in found]


def _fetched_names(root: Path) -> list[str]:
    """The datasets that were fetched into folders of `root`."""
    folders = sorted(path for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
    receipts = [read_receipt(folder) for folder in folders]
    return [receipt.dataset for receipt in receipts if receipt is not None]
