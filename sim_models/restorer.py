"""A restorer: a trained recipe in a plain folder.

    <folder>/weights.safetensors   the network
    <folder>/restorer.json         recipe, fitted normaliser, card, SHA-256 of the weights

A compressed one holds `network.onnx` in place of the weights, and its record says how it was made and what it lost.
Nothing in the folder is code, so one from a stranger can be read safely.
"""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import NonNegativeInt, PositiveInt
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from sim_models.config import BadInput, Settings, parse
from sim_models.field import Image
from sim_models.networks import Network
from sim_models.normalise import Normaliser
from sim_models.onnx_network import Compression, OnnxNetwork
from sim_models.recipe import Recipe
from sim_models.samples import as_channels
from sim_models.tiles import restore_tiled

WEIGHTS = "weights.safetensors"
GRAPH = "network.onnx"
SETTINGS = "restorer.json"
MOST_COUNTS = 2.0**32
"""beyond it nothing is left of single precision"""


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


class _Shared(Settings):
    """What the JSON beside the weights says of every restorer."""

    weights_sha256: str
    channels_in: PositiveInt
    channels_out: PositiveInt
    recipe: Recipe
    normaliser: Normaliser
    card: Card


class _Record(_Shared):
    """Beside weights of ours."""

    format: Literal[1]


class _CompressedRecord(_Shared):
    """Beside a graph; `weights_sha256` is that of the file."""

    format: Literal[2]
    engine: Literal["onnx"]
    compression: Compression


@dataclass(frozen=True)
class Restorer:
    """A trained recipe that restores raw stacks."""

    recipe: Recipe
    network: Network
    normaliser: Normaliser
    card: Card
    channels: tuple[int, int]
    compression: Compression | None = None
    """of a network that is an `OnnxNetwork`"""

    def __call__(
        self, stack: Image, tile_px: int | None = None, progress: Callable[[int, int], None] | None = None
    ) -> NDArray[np.float32]:
        """Restore one stack, (A, P, Y, X) or (C, Y, X), to (scale * Y, scale * X) in the stack's unit.

        A field larger than `tile_px` is restored in tiles that see enough of their surroundings to
        equal the whole; `progress(done, all)` is told of each.

        Raises:
            BadInput: if the number of frames is wrong or the stack holds no image.
        """
        self._refuse(as_channels(stack))
        stack = self.recipe.task.chosen(stack)
        affine, back = self.normaliser.of(stack), self.normaliser.of_restored(stack)
        device = next(self.network.parameters()).device
        self.network.eval()

        def restore(window: NDArray[np.float32]) -> NDArray[np.float32]:
            with torch.inference_mode():
                batch = torch.from_numpy(np.ascontiguousarray(window))[None].to(device)
                restored: NDArray[np.float32] = (
                    self.recipe.method.restore(self.network, batch)[0].cpu().numpy()
                )
                return restored

        normalised = affine.normalise(stack.astype(np.float32))
        if tile_px is None:
            restored = restore(normalised)
        else:
            restored = restore_tiled(
                restore,
                normalised,
                scale=self.recipe.task.scale,
                tile_px=tile_px,
                halo_px=self.network.halo_px,
                divisor=self.network.divisor,
                progress=progress,
            )
        output: NDArray[np.float32] = back.restore(restored)[0]
        return output

    @property
    def num_frames(self) -> int:
        """How many frames it is given, of which it may choose some."""
        return self.card.angles * self.card.phases if self.recipe.task.input == "raw" else 1

    def _refuse(self, stack: Image) -> None:
        frames, role = stack.shape[0], self.recipe.task.input
        if frames != self.num_frames and role == "raw":
            raise BadInput(
                f"the stack has {frames} frames but the model restores {self.num_frames} "
                f"({self.card.angles} angles x {self.card.phases} phases); give a stack of that layout or another model"
            )
        if frames != self.num_frames:
            raise BadInput(f"{frames} images are given but the model restores one, a {role}; give that alone")
        if stack.dtype == bool or np.iscomplexobj(stack):
            raise BadInput(
                f"the stack holds values of type {stack.dtype}, which no camera gives; give raw frames"
            )
        if not np.isfinite(stack).all():
            raise BadInput(
                f"the stack holds {int((~np.isfinite(stack)).sum())} values that are NaN or infinite; "
                "export it again from the camera's own file"
            )
        if np.ptp(stack) == 0:
            raise BadInput(
                f"the stack is constant (every pixel is {stack.flat[0]}); the camera or the export went wrong"
            )
        if np.abs(stack).max() > MOST_COUNTS:
            raise BadInput(
                f"the stack holds values up to {np.abs(stack).max():.3g}, more than any camera counts; "
                "export it again from the camera's own file"
            )

    @property
    def weights_sha256(self) -> str:
        """SHA-256 of names and values of the weights; the identity by which children name a parent.

        Of a compressed network it is that of its file.
        """
        if isinstance(self.network, OnnxNetwork):
            return self.network.sha256
        digest = hashlib.sha256()
        for name, tensor in sorted(self.network.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def save(self, folder: Path) -> None:
        """Write the folder, whole or not at all."""
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as temporary:
            partial = Path(temporary) / "restorer"
            partial.mkdir()
            self._write(partial)
            if folder.exists():
                shutil.rmtree(folder)
            partial.rename(folder)

    def _write(self, folder: Path) -> None:
        shared: dict[str, Any] = {
            "weights_sha256": self.weights_sha256,
            "channels_in": self.channels[0],
            "channels_out": self.channels[1],
            "recipe": self.recipe,
            "normaliser": self.normaliser,
            "card": self.card,
        }
        record: _Shared
        if isinstance(self.network, OnnxNetwork):
            assert self.compression is not None
            record = _CompressedRecord(format=2, engine="onnx", compression=self.compression, **shared)
            (folder / GRAPH).write_bytes(self.network.content)
        else:
            record = _Record(format=1, **shared)
            weights = {
                name: tensor.detach().cpu().contiguous() for name, tensor in self.network.state_dict().items()
            }
            save_file(weights, folder / WEIGHTS)
        (folder / SETTINGS).write_text(record.model_dump_json(indent=2) + "\n")

    @staticmethod
    def load(folder: Path) -> "Restorer":
        """Read a folder back.

        Raises:
            BadInput: if a file is missing, damaged, or the weights are not those the record names.
        """
        record = _read_record(folder / SETTINGS)
        network: Network
        if isinstance(record, _CompressedRecord):
            file, compression = folder / GRAPH, record.compression
            network = _read_graph(file, record)
        else:
            file, compression = folder / WEIGHTS, None
            network = _read_weights(file, record)
        restorer = Restorer(
            record.recipe,
            network.eval(),
            record.normaliser,
            record.card,
            (record.channels_in, record.channels_out),
            compression,
        )
        if restorer.weights_sha256 != record.weights_sha256:
            raise BadInput(
                f"{file}: its SHA-256 is {restorer.weights_sha256[:12]}... but {SETTINGS} says "
                f"{record.weights_sha256[:12]}...; the file was changed, fetch it again"
            )
        return restorer


def _read_weights(file: Path, record: _Record) -> Network:
    network = record.recipe.network.build(record.channels_in, record.channels_out, record.recipe.task.scale)
    try:
        network.load_state_dict(load_file(file))
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise BadInput(f"{file}: not the weights of this restorer ({reason}); fetch it again") from None
    return network


def _read_graph(file: Path, record: _CompressedRecord) -> Network:
    """The graph in a file, which is compared with the record before anything looks into it."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise BadInput(f"{file}: cannot be read ({error.strerror}); fetch it again") from None
    if (found := hashlib.sha256(content).hexdigest()) != record.weights_sha256:
        raise BadInput(
            f"{file}: its SHA-256 is {found[:12]}... but {SETTINGS} says {record.weights_sha256[:12]}...; the file was "
            "changed, fetch it again"
        )
    with torch.device("meta"):  # its geometry is asked for, and no weights
        like = record.recipe.network.build(record.channels_in, record.channels_out, record.recipe.task.scale)
    try:
        return OnnxNetwork(content, like, record.compression.parameters, record.channels_in)
    except BadInput as refusal:
        raise BadInput(f"{file}: {refusal}") from None


def _read_record(path: Path) -> _Record | _CompressedRecord:
    try:
        values = json.loads(path.read_text())
    except (OSError, ValueError):
        raise BadInput(
            f"{path}: not found or not JSON; a restorer's folder holds {WEIGHTS} and {SETTINGS}"
        ) from None
    if isinstance(values, dict) and values.get("format") == 2:
        return parse(_CompressedRecord, values, str(path))
    return parse(_Record, values, str(path))
