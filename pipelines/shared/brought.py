"""What is left beside fields that were brought in from someone's stacks."""

from pathlib import Path

from sim_models.config import Settings

BROUGHT = "brought_in.json"


class Brought(Settings):
    """What a person should know of fields that were brought in."""

    left_out: dict[str, str]
    """cell -> why"""
    notes: tuple[str, ...]
    licence: str | None
    """of the data, as a model card may say; None: nobody has said"""


def what_was_brought(into: Path) -> Brought:
    """What was said when a folder was written."""
    return Brought.model_validate_json((into / BROUGHT).read_text())
