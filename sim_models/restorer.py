"""A restorer: a trained recipe in a plain folder.

    <folder>/weights.safetensors   the network
    <folder>/restorer.json         recipe, fitted normaliser, card, SHA-256 of the weights
    <folder>/upstream/             only where it takes frames that another restorer's images were made into: that one

Nothing in the folder is code, so one from a stranger can be read safely.
"""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

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
from sim_models.recipe import Recipe
from sim_models.tiles import restore_tiled

WEIGHTS = "weights.safetensors"
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


class _Record(Settings):
    """The JSON beside the weights."""

    format: Literal[2]
    weights_sha256: str
    channels_in: PositiveInt
    channels_out: PositiveInt
    recipe: Recipe
    normaliser: Normaliser
    card: Card
    full_modulation: bool | None


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
        affine, back = self.normaliser.of(inputs), self.normaliser.of_restored(inputs)
        normalised = affine.normalise(np.ascontiguousarray(inputs, np.float32))
        spans = list(self._spans(normalised.shape[1]))
        parts: list[NDArray[np.float32]] = []
        for number, (sample, span) in enumerate((each, span) for each in normalised for span in spans):

            def told(done: int, total: int, number: int = number) -> None:
                if progress is not None:
                    progress(number * total + done, len(normalised) * len(spans) * total)

            parts.append(back.restore(self._restore(sample[span], tile_px, told)))
        return self._put_together(parts, spans, inputs.shape)

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

    def _put_together(
        self, parts: list[NDArray[np.float32]], spans: list[slice], given: tuple[int, ...]
    ) -> NDArray[np.float32]:
        """The image of one field from those of its samples."""
        if self.recipe.task.input == "volume":
            volume = np.empty((given[1], *parts[0].shape[1:]), np.float32)
            for part, span in zip(parts, spans, strict=True):
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
        """SHA-256 of names and values of the weights; the identity by which children name a parent."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.network.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def save(self, folder: Path) -> None:
        """Write the folder, whole or not at all."""
        record = _Record(
            format=2,
            weights_sha256=self.weights_sha256,
            channels_in=self.channels[0],
            channels_out=self.channels[1],
            recipe=self.recipe,
            normaliser=self.normaliser,
            card=self.card,
            full_modulation=self.full_modulation,
        )
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as temporary:
            partial = Path(temporary) / "restorer"
            partial.mkdir()
            weights = {
                name: tensor.detach().cpu().contiguous() for name, tensor in self.network.state_dict().items()
            }
            save_file(weights, partial / WEIGHTS)
            (partial / SETTINGS).write_text(record.model_dump_json(indent=2) + "\n")
            if self.upstream is not None:
                self.upstream.save(partial / UPSTREAM)
            if folder.exists():
                shutil.rmtree(folder)
            partial.rename(folder)

    @staticmethod
    def load(folder: Path) -> "Restorer":
        """Read a folder back.

        Raises:
            BadInput: if a file is missing, damaged, or the weights are not those the record names.
        """
        record = _read_record(folder / SETTINGS)
        network = record.recipe.network.build(
            record.channels_in, record.channels_out, record.recipe.task.scale
        )
        try:
            network.load_state_dict(load_file(folder / WEIGHTS))
        except (OSError, SafetensorError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            raise BadInput(
                f"{folder / WEIGHTS}: not the weights of this restorer ({reason}); fetch it again"
            ) from None
        restorer = Restorer(
            record.recipe,
            network.eval(),
            record.normaliser,
            record.card,
            (record.channels_in, record.channels_out),
            Restorer.load(folder / UPSTREAM) if (folder / UPSTREAM).is_dir() else None,
            record.full_modulation,
        )
        if restorer.weights_sha256 != record.weights_sha256:
            raise BadInput(
                f"{folder / WEIGHTS}: its SHA-256 is {restorer.weights_sha256[:12]}... but {SETTINGS} says "
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


def _read_record(path: Path) -> _Record:
    try:
        values = json.loads(path.read_text())
    except (OSError, ValueError):
        raise BadInput(
            f"{path}: not found or not JSON; a restorer's folder holds {WEIGHTS} and {SETTINGS}"
        ) from None
    return parse(_Record, values, str(path))
