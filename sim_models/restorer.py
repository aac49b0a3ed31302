"""A restorer: a trained recipe in a plain folder.

    <folder>/weights.safetensors   the network
    <folder>/restorer.json         recipe, fitted normaliser, card, SHA-256 of the weights
    <folder>/upstream/             only where it takes frames that another restorer's images were made into: that one

A compressed one holds `network.onnx` in place of the weights, and its record says how it was made and what it lost.
Nothing in the folder is code, so one from a stranger can be read safely.
"""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
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
from sim_models.field import AXES, Image, Role
from sim_models.networks import Network
from sim_models.normalise import Normaliser
from sim_models.onnx_network import Compression, OnnxNetwork
from sim_models.recipe import Recipe
from sim_models.tiles import restore_tiled

WEIGHTS = "weights.safetensors"
GRAPH = "network.onnx"
SETTINGS = "restorer.json"
UPSTREAM = "upstream"
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
    full_modulation: bool | None


class _Record(_Shared):
    """Beside weights of ours."""

    format: Literal[2]


class _CompressedRecord(_Shared):
    """Beside a graph; `weights_sha256` is that of the file."""

    format: Literal[3]
    engine: Literal["onnx"]
    compression: Compression


@dataclass(frozen=True)
class Restorer:
    """A trained recipe that restores the images of a field."""

    recipe: Recipe
    network: Network
    normaliser: Normaliser
    card: Card
    channels: tuple[int, int]
    upstream: "Restorer | None" = None
    """whose images the role `synthetic` is made from"""
    full_modulation: bool | None = None
    """of the stripes of that role"""
    compression: Compression | None = None
    """of a network that is an `OnnxNetwork`"""

    def __call__(
        self,
        given: Image | Mapping[Role, Image],
        tile_px: int | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> NDArray[np.float32]:
        """Restore one field, in the unit of what is given.

        Args:
            given: the images it takes by role, or where it takes one, that one: a raw stack is (A, P, Y, X) or
                (C, Y, X), others have the axes of `field.AXES`.
            tile_px: a larger field is restored in tiles that see enough of their surroundings to equal the whole.
            progress: told of each tile, as (done, all).

        Returns:
            (scale * Y, scale * X); raw frames (A, P, Y, X) where those are restored, volumes (T, Z, Y, X); with a
            first axis more where the method gives several images (`Method.gives`).

        Raises:
            BadInput: if an image is missing, holds the wrong number of frames or no image.
        """
        inputs = self.recipe.task.inputs_of(self._by_role(given))
        back = self.normaliser.of_restored(inputs)
        samples = list(self._taken(inputs))
        parts: list[NDArray[np.float32]] = []
        for number, sample in enumerate(samples):

            def told(done: int, total: int, number: int = number) -> None:
                if progress is not None:
                    progress(number * total + done, len(samples) * total)

            parts.append(back.restore(self._restore(sample, tile_px, told)))
        return self._put_together(parts, inputs.shape)

    def samples(self, given: Image | Mapping[Role, Image]) -> list[NDArray[np.float32]]:
        """What its method is given of one field, normalised (C, ..., Y, X): a stack, its angles, or its times."""
        return list(self._taken(self.recipe.task.inputs_of(self._by_role(given))))

    def _taken(self, inputs: Image) -> Iterator[NDArray[np.float32]]:
        normalised = self.normaliser.of(inputs).normalise(np.ascontiguousarray(inputs, np.float32))
        for sample in normalised:
            for span in self._spans(len(sample)):
                yield sample[span]

    def _restore(
        self, sample: NDArray[np.float32], tile_px: int | None, progress: Callable[[int, int], None]
    ) -> NDArray[np.float32]:
        """One normalised sample (C, ..., Y, X), whole or in tiles."""
        device = next(self.network.parameters()).device
        self.network.eval()

        def restore(window: NDArray[np.float32]) -> NDArray[np.float32]:
            with torch.inference_mode():
                batch = torch.from_numpy(np.ascontiguousarray(window))[None].to(device)
                restored: NDArray[np.float32] = (
                    self.recipe.method.restore(self.network, batch)[0].cpu().numpy()
                )
                return restored

        if tile_px is None or max(sample.shape[-2:]) <= tile_px:
            return restore(sample)
        return restore_tiled(
            restore,
            sample,
            scale=self.recipe.task.scale,
            tile_px=tile_px,
            halo_px=self.network.halo_px + self.recipe.method.halo_px,
            divisor=self.network.divisor,
            progress=progress,
        )

    def _spans(self, channels: int) -> Iterator[slice]:
        """Channels that are restored together: all, or as many times of a longer series as it has learned from."""
        if self.recipe.method.learns_from != "times":
            yield slice(None)
            return
        together = 2 * self.channels[0]
        for start in range(0, channels, together):
            start = min(start, channels - together)
            yield slice(start, start + together)

    def _put_together(self, parts: list[NDArray[np.float32]], given: tuple[int, ...]) -> NDArray[np.float32]:
        """The image of one field from those of its samples."""
        if self.recipe.task.input == "volume":
            volume = np.empty((given[1], *parts[0].shape[1:]), np.float32)
            for part, span in zip(parts, self._spans(given[1]), strict=True):
                volume[span] = part
            return volume
        size = parts[0].shape[-2:]
        if self.recipe.task.gives == "frames":
            return np.concatenate(parts).reshape(self.card.angles, self.card.phases, *size)
        return parts[0] if len(parts[0]) > 1 else parts[0][0]

    @property
    def num_frames(self) -> int:
        """Frames of the raw stack it takes, of which it may choose some."""
        return self.card.angles * self.card.phases

    @property
    def axes(self) -> str:
        """Of what it gives for one field; C are the images of a method that gives several."""
        task = self.recipe.task
        if task.input == "volume":
            return "TZYX"
        if task.gives == "frames":
            return "APYX"
        return "CYX" if len(self.recipe.method.gives) > 1 else "YX"

    def _by_role(self, given: Image | Mapping[Role, Image]) -> Mapping[Role, Image]:
        """What is given by role, each looked at, raw frames as angles x phases where they are one after another."""
        roles = self.recipe.task.roles
        if not isinstance(given, Mapping):
            if len(roles) > 1:
                raise BadInput(
                    f"the model takes {' and '.join(roles)}, but one image is given; give each by its role"
                )
            given = {roles[0]: given}
        if missing := [role for role in roles if role not in given]:
            raise BadInput(
                f"the model takes {' and '.join(roles)}, but {missing[0]} is not given; give it as well"
            )
        return {role: self._looked_at(role, given[role]) for role in roles}

    def _looked_at(self, role: Role, image: Image) -> Image:
        _refuse_values(image)
        if AXES[role] == "APYX":
            frames = image.reshape(-1, *image.shape[-2:]).shape[0]
            if frames != self.num_frames or image.ndim not in (3, 4):
                raise BadInput(
                    f"the stack has {frames} frames but the model restores {self.num_frames} ({self.card.angles} "
                    f"angles x {self.card.phases} phases); give a stack of that layout or another model"
                )
            chosen = self.recipe.task.frames != "all"
            if image.ndim == 3 and not chosen:
                return image.reshape(self.card.angles, self.card.phases, *image.shape[-2:])
            return image
        if AXES[role] == "YX":
            if image.shape[:-2] not in ((), (1,)):
                raise BadInput(
                    f"{image.shape[0]} images are given but the model restores one, a {role}; give that alone"
                )
            return image.reshape(image.shape[-2:])
        fewest = {"volume": 2 * self.channels[0] if self.recipe.method.learns_from == "times" else 1}
        fewest["blinking"] = self.channels[0]
        if role == "blinking" and self.recipe.task.frames == "all":
            image = image[: self.channels[0]]  # as many as it has learned from
        if image.ndim != len(AXES[role]) or len(image) < fewest[role]:
            raise BadInput(
                f"an array of {' x '.join(map(str, image.shape))} is given, but the model takes {role} frames with "
                f"axes {AXES[role]}, at least {fewest[role]} of {AXES[role][0]}"
            )
        return image

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
            if self.upstream is not None:
                self.upstream.save(partial / UPSTREAM)
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
            "full_modulation": self.full_modulation,
        }
        record: _Shared
        if isinstance(self.network, OnnxNetwork):
            assert self.compression is not None
            record = _CompressedRecord(format=3, engine="onnx", compression=self.compression, **shared)
            (folder / GRAPH).write_bytes(self.network.content)
        else:
            record = _Record(format=2, **shared)
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
            Restorer.load(folder / UPSTREAM) if (folder / UPSTREAM).is_dir() else None,
            record.full_modulation,
            compression,
        )
        if restorer.weights_sha256 != record.weights_sha256:
            raise BadInput(
                f"{file}: its SHA-256 is {restorer.weights_sha256[:12]}... but {SETTINGS} says "
                f"{record.weights_sha256[:12]}...; the file was changed, fetch it again"
            )
        return restorer


def _refuse_values(image: Image) -> None:
    """Refuse what is no image."""
    if image.dtype == bool or np.iscomplexobj(image):
        raise BadInput(
            f"the stack holds values of type {image.dtype}, which no camera gives; give raw frames"
        )
    if not np.isfinite(image).all():
        raise BadInput(
            f"the stack holds {int((~np.isfinite(image)).sum())} values that are NaN or infinite; "
            "export it again from the camera's own file"
        )
    if np.ptp(image) == 0:
        raise BadInput(
            f"the stack is constant (every pixel is {image.flat[0]}); the camera or the export went wrong"
        )
    if np.abs(image).max() > MOST_COUNTS:
        raise BadInput(
            f"the stack holds values up to {np.abs(image).max():.3g}, more than any camera counts; "
            "export it again from the camera's own file"
        )


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
    if isinstance(values, dict) and values.get("format") == 3:
        return parse(_CompressedRecord, values, str(path))
    return parse(_Record, values, str(path))
