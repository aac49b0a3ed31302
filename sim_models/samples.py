"""Crops for learning, made on the fly from whole fields."""

import math
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from sim_models.config import BadInput
from sim_models.field import Field, Image
from sim_models.normalise import Normaliser
from sim_models.task import Symmetry, Task

Augment = Literal["none", "turns", "symmetries"]


class Sample(NamedTuple):
    """What a method learns from, normalised: input (N, C, Y, X), target (N, C', sY, sX); volumes (N, T, Z, Y, X)."""

    input: Tensor
    target: Tensor
    chance: Tensor
    """(N,) whole numbers from which a method that draws has to draw, so that a batch depends on seed and step alone"""

    def to(self, device: torch.device) -> "Sample":
        """The same sample on another device; from pinned memory nobody waits for the copy."""
        given, wanted = (images.to(device, non_blocking=True) for images in (self.input, self.target))
        return Sample(given, wanted, self.chance)


class Pair(NamedTuple):
    """Input and target of one whole field, or of one angle of it, normalised."""

    input: Tensor
    target: Tensor
    symmetries: Sequence[Symmetry]


class _Cut(NamedTuple):
    """What was drawn for one crop."""

    pair: Pair
    top: int
    left: int
    symmetry: Symmetry | None


@dataclass(frozen=True)
class Share:
    """The part of every global batch, and of the validation fields, that one worker takes."""

    rank: int = 0
    workers: int = 1

    def of(self, size: int) -> range:
        """The indices in `range(size)` that belong to this worker."""
        return range(self.rank, size, self.workers)

    def weight(self, size: int) -> float:
        """What a mean over this worker's part of `size` counts, so that the mean over workers is that over all."""
        return len(self.of(size)) * self.workers / size


class Shelf:
    """Keeps tensors: in memory up to so many bytes, what comes after them in files.

    The files have no names, so nothing is left of them when the process has ended, however it ends. They are mapped:
    what is read of them stays in the memory that nobody else needs, and is given up first. They lie in the folder of
    temporary files (`TMPDIR`), which should be a disk of this machine.
    """

    def __init__(self, limit_bytes: float) -> None:
        self.limit_bytes = limit_bytes
        self.bytes = 0

    def keep(self, tensor: Tensor) -> Tensor:
        """The same values, in memory or in a file.

        Raises:
            BadInput: if the folder of temporary files has no room.
        """
        self.bytes += tensor.nbytes
        return tensor if self.bytes <= self.limit_bytes else _on_disk(tensor)


def _on_disk(tensor: Tensor) -> Tensor:
    try:
        with tempfile.NamedTemporaryFile(prefix="sim-models-", suffix=".fields") as file:
            tensor.numpy().tofile(file)
            file.flush()
            mapped = torch.from_file(file.name, shared=True, size=tensor.numel(), dtype=tensor.dtype)
    except OSError as error:
        raise BadInput(
            f"{tempfile.gettempdir()}: cannot hold the fields that do not fit into memory ({error.strerror or error}); "
            "let TMPDIR name a folder with room, or allow more memory by SIM_MODELS_MEMORY_GB"
        ) from None
    return mapped.reshape(tensor.shape)


class Samples:
    """Whole fields, normalised once, from which crops are cut.

    A batch depends on the seed and the step alone. So a run that was interrupted goes on with
    the very crops it would have had, and any number of workers shares the same global batch.
    """

    def __init__(
        self,
        fields: Iterable[Field],
        task: Task,
        normaliser: Normaliser,
        limit_bytes: float = math.inf,
    ):
        """Normalise every field, one after another; beyond `limit_bytes` they are kept in files, see `Shelf`.

        Raises:
            BadInput: if there is none, if one lacks an image the task needs, or if a target is
                not `task.scale` times as large as its input.
        """
        self.task = task
        shelf = Shelf(limit_bytes)
        self.pairs = [pair for field in fields for pair in self._pairs(field, normaliser, shelf)]
        if not self.pairs:
            raise BadInput(
                "there is no field to learn from; give the dataset more cells or the split another share"
            )

    def _pairs(self, field: Field, normaliser: Normaliser, shelf: Shelf) -> list[Pair]:
        for role in self.task.missing(field.images):
            field.image(role)  # which refuses
        inputs, targets = self.task.inputs_of(field.images), self.task.targets_of(field.images)
        expected = tuple(edge * self.task.scale for edge in inputs.shape[-2:])
        if targets.shape[-2:] != expected:
            raise BadInput(
                f"{field.name}: '{self.task.target}' is {_size(targets)} but '{self.task.input}' is {_size(inputs)}; "
                f"a task of scale {self.task.scale} needs {expected[0]} x {expected[1]}"
            )
        affines = normaliser.of(inputs), normaliser.of_target(inputs, targets)
        layout = field.image("raw").shape[:2] if "raw" in field.images else None
        symmetries = self.task.symmetries(layout)
        tensors = [
            shelf.keep(torch.from_numpy(affine.normalise(np.ascontiguousarray(images, np.float32))))
            for affine, images in zip(affines, (inputs, targets), strict=True)
        ]
        return [Pair(given, wanted, symmetries) for given, wanted in zip(*tensors, strict=True)]

    @property
    def channels(self) -> tuple[int, int]:
        """How many channels go in and come out."""
        return self.pairs[0].input.shape[0], self.pairs[0].target.shape[0]

    def batch(
        self,
        step: int,
        size: int,
        crop_px: int,
        seed: int,
        share: Share,
        augment: Augment = "none",
        pinned: bool = False,
    ) -> Sample:
        """This worker's share of the global batch of one step: random crops of random fields.

        With `augment` each is changed by one of the symmetries of its task: any, or those that mirror nothing.
        `pinned` cuts into memory that a GPU fetches by itself, and that torch uses again and again.
        """
        random = np.random.default_rng([seed, step])
        # All are drawn by every worker, so that they agree; only its own are touched, which may lie on a disk.
        drawn = [self._draw(crop_px, random, augment) for _ in range(size)]
        chance = torch.from_numpy(random.integers(2**62, size=size))
        mine = list(share.of(size))
        inputs, targets = zip(*(self._crop(crop_px, drawn[index]) for index in mine), strict=True)
        return Sample(_stacked(inputs, pinned), _stacked(targets, pinned), chance[mine])

    def _draw(self, crop_px: int, random: np.random.Generator, augment: Augment) -> _Cut:
        pair = self.pairs[random.integers(len(self.pairs))]
        top, left = (int(random.integers(edge - crop_px + 1)) for edge in pair.input.shape[-2:])
        if augment == "none":
            return _Cut(pair, top, left, None)
        allowed = [each for each in pair.symmetries if augment == "symmetries" or not each.mirror]
        return _Cut(pair, top, left, allowed[int(random.integers(len(allowed)))])

    def _crop(self, crop_px: int, cut: _Cut) -> tuple[Tensor, Tensor]:
        given = _window(cut.pair.input, cut.top, cut.left, crop_px, 1)
        wanted = _window(cut.pair.target, cut.top, cut.left, crop_px, self.task.scale)
        if cut.symmetry is None:
            return given, wanted
        symmetry = cut.symmetry
        return symmetry.of(given, symmetry.input_order), symmetry.of(wanted, symmetry.target_order)

    def whole(self, share: Share) -> Iterator[Sample]:
        """This worker's share of the whole fields, each a batch of one."""
        for index in share.of(len(self.pairs)):
            pair = self.pairs[index]
            yield Sample(pair.input[None], pair.target[None], torch.tensor([index]))

    def refuse_crop(self, crop_px: int) -> None:
        """Refuse a crop that is larger than the smallest field.

        Raises:
            BadInput: with the size of that field.
        """
        smallest = min((pair.input.shape[-2:] for pair in self.pairs), key=min)
        if crop_px > min(smallest):
            raise BadInput(
                f"training.crop_px is {crop_px} but the smallest field is {smallest[0]} x {smallest[1]} pixels; "
                f"choose at most {min(smallest)}"
            )


def _stacked(images: Sequence[Tensor], pinned: bool) -> Tensor:
    shape = (len(images), *images[0].shape)
    return torch.stack(images, out=torch.empty(shape, dtype=images[0].dtype, pin_memory=pinned))  # type: ignore[arg-type]


def _window(image: Tensor, top: int, left: int, edge: int, scale: int) -> Tensor:
    return image[..., top * scale : (top + edge) * scale, left * scale : (left + edge) * scale]


def _size(image: Image) -> str:
    return f"{image.shape[-2]} x {image.shape[-1]}"
