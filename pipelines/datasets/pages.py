"""A page for each dataset, from its definition: `python -m pipelines.datasets.pages docs/datasets`."""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from pipelines.datasets.licences import may_feed
from pipelines.shared.stage import exit_code, write_whole
from sim_models import datasets
from sim_models.config import BadInput
from sim_models.datasets.definition import Definition, File
from sim_models.datasets.download import in_words

OPTICS = {
    "numerical_aperture": "numerical aperture", "refractive_index": "refractive index",
    "excitation_um": "excitation in um", "emission_um": "emission in um", "pixel_um": "raw pixel in um",
    "camera": "camera",
}  # fmt: skip


def cells_of(definition: Definition) -> str:
    """Structures with their numbers of cells: microtubules 55."""
    return ", ".join(
        f"{structure} {cells if cells is not None else '?'}"
        for structure, cells in definition.structures.items()
    )


def size_of(definition: Definition) -> str:
    """Of all files: 1.6 GB; how many of unknown size."""
    if definition.size is not None:
        return in_words(definition.size)
    return f"? ({len(definition.files)} files)" if definition.files else "not to be fetched"


def page(definition: Definition, origin: str | None = None) -> str:
    """All that is known of a dataset, and what is not, in Markdown; `origin` says whence, if it is not public."""
    return "\n".join(_lines(definition, origin)).rstrip() + "\n"


def index(definitions: Iterable[Definition]) -> str:
    """One line for each dataset."""
    lines = [
        "# Datasets",
        "",
        "Written by `python -m pipelines.datasets.pages docs/datasets` from `sim_models/datasets/definitions`. How",
        "they are fetched: [data.md](../data.md). A question mark is what nobody has read where it was published.",
        "",
        "| dataset | structures and cells | size | licence | not known |",
        "| --- | --- | --- | --- | --- |",
    ]
    for each in definitions:
        licence, unknown = each.licence or "?", len(each.unknown())
        lines.append(
            f"| [{each.name}]({each.name}.md) | {cells_of(each)} | {size_of(each)} | {licence} | {unknown} fields |"
        )
    return "\n".join(lines) + "\n"


def pages() -> dict[str, str]:
    """Every page by its file name."""
    definitions = [datasets.find(name) for name in datasets.names()]
    return {f"{each.name}.md": page(each) for each in definitions} | {"README.md": index(definitions)}


def _lines(definition: Definition, origin: str | None) -> Iterator[str]:
    fetched = f"`sim-models data fetch {definition.name}`"
    cannot = f"`{definition.name}` cannot be fetched by name: no file of it is known by its URL."
    yield from (f"# {definition.title}", "", origin or (fetched if definition.reachable else cannot), "")
    yield from _bullets(
        {
            "structures and cells": cells_of(definition),
            "doi": definition.doi,
            "page": definition.url,
            "licence": definition.licence,
            "licence read in": definition.licence_from,
            "cite": definition.cite,
            "may feed a registered model": "yes"
            if may_feed(definition)[0]
            else "no, for no licence is known",
            "layout": definition.layout and definition.layout["name"],
            "a cell is named": definition.cells,
        }
    )
    yield from ("", "## Images", "")
    yield from _bullets(
        {f"raw {key.replace('_', ' ')}": value for key, value in definition.raw if value is not None}
    )
    yield from _bullets({f"levels, {key}": value for key, value in definition.levels if value is not None})
    yield from _bullets({OPTICS[key]: value for key, value in definition.optics if value is not None})
    targets = definition.targets
    yield from _bullets(
        {"scale": targets.scale} | {f"target `{role}`": file for role, file in targets.files.items()}
    )
    if targets.never:
        yield f"* never a target: {', '.join(targets.never)}"
    if definition.splits:
        yield from ("", "## Splits in the literature", "")
        for name, split in definition.splits.items():
            yield f"* {name}: {'; '.join(f'{key} {cells}' for key, cells in split.sets.items())}. {split.source}."
    if definition.files:
        yield from ("", "## Files", "")
        for file in definition.files:
            yield from _file(file)
    if definition.notes:
        yield from ("", "## Notes", "")
        yield from (f"* {note}" for note in definition.notes)
    yield from (
        "",
        "## Not known",
        "",
        ", ".join(f"`{name}`" for name in definition.unknown()) or "Nothing is missing.",
    )


def _file(file: File) -> Iterator[str]:
    size = "size not known" if file.bytes is None else f"{file.bytes:,} bytes"
    kept = "unpacked" if file.unpack else "kept as it is"
    yield f"* **{file.name}**, {size}, {kept}{', single cells can be fetched' if file.cells else ''}"
    for key in ("md5", "sha256"):
        if value := getattr(file, key):
            yield f"  * {key} `{value}`"
    yield from (f"  * <{url}>" for url in file.urls)


def _bullets(values: dict[str, object]) -> Iterator[str]:
    for key, value in values.items():
        if value is not None:
            shown = " to ".join(f"{each:g}" for each in value) if isinstance(value, tuple) else value
            yield f"* {key}: {shown}"


def main() -> None:
    """Write all pages into a folder, and remove those of datasets that are no more."""
    if len(sys.argv) != 2:
        raise BadInput("expected one folder: python -m pipelines.datasets.pages docs/datasets")
    folder, written = Path(sys.argv[1]), pages()
    for name, text in written.items():
        write_whole(folder / name, text)
    for path in folder.glob("*.md"):
        if path.name not in written:
            path.unlink()


if __name__ == "__main__":
    sys.exit(exit_code(main))
