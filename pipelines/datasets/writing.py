"""Definitions as files: written, for a person to fill in, and with a person's own words kept."""

import re
from collections.abc import Mapping
from textwrap import wrap
from typing import Any

import yaml

from sim_models.config import BadInput, parse
from sim_models.datasets.definition import Definition


def as_yaml(
    definition: Definition,
    head: str = "# Written by `sim-models data add`. What is not known is null; see docs/data.md.\n",
) -> str:
    """A definition as a file."""
    return head + _dump(definition.model_dump(mode="json"))


def to_fill_in(definition: Definition) -> str:
    """The same for a person who knows more: what is null is named above."""
    unknown = "\n".join(
        wrap(", ".join(definition.unknown()) or "nothing", 116, initial_indent="# ", subsequent_indent="# ")
    )
    return as_yaml(
        definition,
        f"# Written by `sim-models data show {definition.name} --yaml`. Save it beside your params.yaml, write what\n"
        f"# you know in place of null, and name it there as `definition` of a dataset. Not known is:\n{unknown}\n",
    )


def text_with(text: str, earlier: Definition, definition: Definition) -> str:
    """The text of an earlier definition with what has changed in it, so that a person's own words stay."""
    was, now = earlier.model_dump(mode="json"), definition.model_dump(mode="json")
    lines = text.splitlines(keepends=True)
    for key in (key for key in now if now[key] != was[key]):
        start = next((number for number, line in enumerate(lines) if line.startswith(f"{key}:")), None)
        if start is None:
            return as_yaml(definition)
        end = start + 1
        while end < len(lines) and re.match(r"[ \t-]|$", lines[end]):
            end += 1
        lines[start:end] = [_dump({key: now[key]})]
    try:
        good = parse(Definition, yaml.safe_load("".join(lines)), "definition") == definition
    except (BadInput, yaml.YAMLError):
        good = False
    return "".join(lines) if good else as_yaml(definition)


def _dump(values: Mapping[str, Any]) -> str:
    text: str = yaml.safe_dump(values, sort_keys=False, width=118, allow_unicode=True)
    return text
