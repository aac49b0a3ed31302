"""What stands in the JSON of a restorer's folder."""

import json
from pathlib import Path
from typing import Literal

from pydantic import NonNegativeInt, PositiveInt

from sim_models.config import BadInput, Settings, parse
from sim_models.normalise import Normaliser
from sim_models.onnx_network import Compression
from sim_models.recipe import Recipe

WEIGHTS = "weights.safetensors"
GRAPH = "network.onnx"
SETTINGS = "restorer.json"
UPSTREAM = "upstream"


class Card(Settings):
    """What a restorer was made from, so that a person can tell whether it fits their images."""

    structure: str
    arm: Literal["scratch", "finetune"]
    angles: PositiveInt
    phases: PositiveInt
    pixel_um: float
    unit: Literal["counts", "photons"]
    light: dict[str, float]
    """level -> mean over its training fields of the 99.9 percentile of the wide-field, in `unit`"""
    training_cells: tuple[str, ...]
    split_hash: str
    steps: NonNegativeInt
    """optimiser steps up to the weights that were kept"""
    parent: str | None
    """SHA-256 of the weights it was fine-tuned from"""
    frozen_stages: tuple[str, ...]


class Shared(Settings):
    """What the JSON beside the weights says of every restorer."""

    weights_sha256: str
    channels_in: PositiveInt
    channels_out: PositiveInt
    recipe: Recipe
    normaliser: Normaliser
    card: Card
    full_modulation: bool | None


class Record(Shared):
    """Beside weights of ours."""

    format: Literal[2]


class CompressedRecord(Shared):
    """Beside a graph; `weights_sha256` is that of the file."""

    format: Literal[3]
    engine: Literal["onnx"]
    compression: Compression


def read_record(path: Path) -> Record | CompressedRecord:
    """Read the JSON.

    Raises:
        BadInput: if it is missing, damaged, or of another format.
    """
    try:
        values = json.loads(path.read_text())
    except (OSError, ValueError):
        raise BadInput(
            f"{path}: not found or not JSON; a restorer's folder holds {WEIGHTS} and {SETTINGS}"
        ) from None
    number = values.get("format") if isinstance(values, dict) else None
    if isinstance(number, int) and number not in (2, 3):
        raise BadInput(
            f"{path}: format: {number} is that of another release of sim-models, and this one reads 2 and 3; train the "
            "model again, or use the release it was made with"
        )
    if number == 3:
        return parse(CompressedRecord, values, str(path))
    return parse(Record, values, str(path))
