"""A restorer: a trained recipe in a plain folder.

    <folder>/weights.safetensors   the network
    <folder>/restorer.json         recipe, fitted normaliser, card, SHA-256 of the weights
    <folder>/upstream/             only where it takes frames that another restorer's images were made into: that one

A compressed one holds `network.onnx` in place of the weights, and its record says how it was made and what it lost.
Nothing in the folder is code, so one from a stranger can be read safely.
"""

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sim_models.config import BadInput
from sim_models.field import AXES, Image, Role
from sim_models.networks import Network
from sim_models.normalise import Normaliser
from sim_models.onnx_network import Compression
from sim_models.recipe import Recipe
from sim_models.restorer.folder import read_network, sha256_of, write_network
from sim_models.restorer.given import as_plane, as_series, as_stack, refuse_values
from sim_models.restorer.record import (
    GRAPH,
    SETTINGS,
    UPSTREAM,
    WEIGHTS,
    Card,
    CompressedRecord,
    Record,
    Shared,
    read_record,
)
from sim_models.tiles import restore_tiled

__all__ = ["GRAPH", "SETTINGS", "UPSTREAM", "WEIGHTS", "Card", "Restorer"]


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
            tile_px: a larger field is restored in tiles that see enough of their surroundings to equal the whole, or
                to come near it where a network looks at averages over the field (channel attention).
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
        refuse_values(image)
        task, layout = self.recipe.task, (self.card.angles, self.card.phases)
        if AXES[role] == "APYX":
            return as_stack(image, layout, telling=task.frames != "all")
        if AXES[role] == "YX":
            return as_plane(image, role)
        if role == "blinking":
            frames = as_series(image, role, self.channels[0])
            return (
                frames[: self.channels[0]] if task.frames == "all" else frames
            )  # as many as it has learned from
        return as_series(
            image, role, 2 * self.channels[0] if self.recipe.method.learns_from == "times" else 1
        )

    @property
    def weights_sha256(self) -> str:
        """SHA-256 of names and values of the weights; the identity by which children name a parent.

        Of a compressed network it is that of its file.
        """
        return sha256_of(self.network)

    def save(self, folder: Path) -> None:
        """Write the folder, whole or not at all."""
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as temporary:
            partial = Path(temporary) / "restorer"
            partial.mkdir()
            write_network(self.network, partial)
            (partial / SETTINGS).write_text(self._record().model_dump_json(indent=2) + "\n")
            if self.upstream is not None:
                self.upstream.save(partial / UPSTREAM)
            if folder.exists():
                shutil.rmtree(folder)
            partial.rename(folder)

    def _record(self) -> Shared:
        shared: dict[str, Any] = {
            "weights_sha256": self.weights_sha256,
            "channels_in": self.channels[0],
            "channels_out": self.channels[1],
            "recipe": self.recipe,
            "normaliser": self.normaliser,
            "card": self.card,
            "full_modulation": self.full_modulation,
        }
        if self.compression is None:
            return Record(format=2, **shared)
        return CompressedRecord(format=3, engine="onnx", compression=self.compression, **shared)

    @staticmethod
    def load(folder: Path) -> "Restorer":
        """Read a folder back.

        Raises:
            BadInput: if a file is missing, damaged, or the weights are not those the record names.
        """
        record = read_record(folder / SETTINGS)
        if "synthetic" in record.recipe.task.roles and not (folder / UPSTREAM).is_dir():
            raise BadInput(
                f"{folder}: the model that its frames are derived from is missing ({UPSTREAM}/); fetch it again"
            )
        return Restorer(
            record.recipe,
            read_network(folder, record),
            record.normaliser,
            record.card,
            (record.channels_in, record.channels_out),
            Restorer.load(folder / UPSTREAM) if (folder / UPSTREAM).is_dir() else None,
            record.full_modulation,
            record.compression if isinstance(record, CompressedRecord) else None,
        )
