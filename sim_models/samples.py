"""Crops for learning, made on the fly from whole fields."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Self

import numpy as np
import torch
from pydantic import PositiveInt, model_validator
from torch import Tensor

from sim_models.config import BadInput, Settings
from sim_models.field import Field, Image
from sim_models.normalise import Normaliser


class Task(Settings):
    """Which image of a field goes in, which comes out, and how much finer its grid is."""

    input: Literal["raw", "widefield", "reconstruction"]
    frames: Literal["all", "first_phase", "first_phase_and_mean"]
    """which of a raw stack: all; the first phase of every angle; these and the mean of all (U-Net-SIM3 and -SIM4 of
    Jin et al., Nat. Commun. 11:1934, 2020)"""
    target: Literal["raw_clean", "reconstruction", "reference"]
    scale: PositiveInt

    @model_validator(mode="after")
    def _frames_are_of_a_stack(self) -> Self:
        if self.frames != "all" and self.input != "raw":
            raise ValueError(
                f"frames '{self.frames}' chooses from a raw stack, but the input is '{self.input}'"
            )
        return self

    def input_of(self, field: Field) -> Image:
        """The input of a field as channels: (A, P, Y, X) becomes (C, Y, X), angle-major."""
        return self.chosen(field.image(self.input))

    def chosen(self, stack: Image) -> Image:
        """The chosen frames of a stack (A, P, Y, X) as channels (C, Y, X); other images as they are.

        Raises:
            BadInput: if angles and phases of frames to be chosen from are not told apart.
        """
        if self.frames == "all":
            return as_channels(stack)
        if stack.ndim != 4:
            raise BadInput(
                f"an array of {' x '.join(map(str, stack.shape))} does not tell angles from phases, but the model "
                "takes the first phase of every angle; give angles x phases x rows x columns"
            )
        first = stack[:, 0]
        if self.frames == "first_phase":
            return first
        return np.concatenate([first, stack.mean(axis=(0, 1), dtype=np.float64)[None].astype(stack.dtype)])

    def target_of(self, field: Field) -> Image:
        """The target of a field as channels (C, scale * Y, scale * X)."""
        return as_channels(field.image(self.target))


def as_channels(image: Image) -> Image:
    """View an image (Y, X), (C, Y, X) or (A, P, Y, X) as (C, Y, X)."""
    return image.reshape(-1, *image.shape[-2:])


class Sample(NamedTuple):
    """What a method learns from, normalised: input (N, C, Y, X) and target (N, C', sY, sX)."""

    input: Tensor
    target: Tensor

    def to(self, device: torch.device) -> "Sample":
        """The same sample on another device."""
        return Sample(self.input.to(device), self.target.to(device))


@dataclass(frozen=True)
class Share:
    """The part of every global batch, and of the validation fields, that one worker takes."""

    rank: int = 0
    workers: int = 1

    def of(self, size: int) -> range:
        """The indices in `range(size)` that belong to this worker."""
        return range(self.rank, size, self.workers)


class Samples:
    """Whole fields, normalised once and kept in memory, from which crops are cut.

    A batch depends on the seed and the step alone. So a run that was interrupted goes on with
    the very crops it would have had, and any number of workers shares the same global batch.
    """

    def __init__(self, fields: Sequence[Field], task: Task, normaliser: Normaliser):
        """Normalise every field.

        Raises:
            BadInput: if there is none, if one lacks an image the task needs, or if a target is
                not `task.scale` times as large as its input.
        """
        if not fields:
            raise BadInput(
                "there is no field to learn from; give the dataset more cells or the split another share"
            )
        self.task = task
        self.pairs = [self._pair(field, normaliser) for field in fields]

    def _pair(self, field: Field, normaliser: Normaliser) -> Sample:
        stack = self.task.input_of(field)
        target = self.task.target_of(field)
        expected = tuple(edge * self.task.scale for edge in stack.shape[-2:])
        if target.shape[-2:] != expected:
            raise BadInput(
                f"{field.name}: '{self.task.target}' is {_size(target)} but '{self.task.input}' is {_size(stack)}; "
                f"a task of scale {self.task.scale} needs {expected[0]} x {expected[1]}"
            )
        affines = normaliser.of(stack), normaliser.of_target(stack, target)
        return Sample(
            *(
                torch.from_numpy(affine.normalise(image.astype(np.float32)))
                for affine, image in zip(affines, (stack, target), strict=True)
            )
        )

    @property
    def channels(self) -> tuple[int, int]:
        """How many channels go in and come out."""
        return self.pairs[0].input.shape[0], self.pairs[0].target.shape[0]

    def batch(self, step: int, size: int, crop_px: int, seed: int, share: Share) -> Sample:
        """This worker's share of the global batch of one step: random crops of random fields."""
        random = np.random.default_rng([seed, step])
        crops = [self._crop(crop_px, random) for _ in range(size)]
        mine = [crops[index] for index in share.of(size)]
        return Sample(*(torch.stack(images) for images in zip(*mine, strict=True)))

    def _crop(self, crop_px: int, random: np.random.Generator) -> Sample:
        pair = self.pairs[random.integers(len(self.pairs))]
        top, left = (int(random.integers(edge - crop_px + 1)) for edge in pair.input.shape[-2:])
        return Sample(
            _window(pair.input, top, left, crop_px, 1),
            _window(pair.target, top, left, crop_px, self.task.scale),
        )

    def whole(self, share: Share) -> Iterator[Sample]:
        """This worker's share of the whole fields, each a batch of one."""
        for index in share.of(len(self.pairs)):
            yield Sample(*(image[None] for image in self.pairs[index]))

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


def _window(image: Tensor, top: int, left: int, edge: int, scale: int) -> Tensor:
    return image[..., top * scale : (top + edge) * scale, left * scale : (left + edge) * scale]


def _size(image: Image) -> str:
    return f"{image.shape[-2]} x {image.shape[-1]}"
