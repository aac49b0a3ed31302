"""What goes into a network and what comes out, in terms of the images of a field.

Samples are arrays (N, C, Y, X), or (N, C, Z, Y, X) of volumes. N is one for a whole stack, or the number of angles
where each angle is a sample of its own.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from typing import Literal, NamedTuple, Self

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import PositiveInt, model_validator
from torch import Tensor

from sim_models.config import BadInput, Settings
from sim_models.field import Image, Role

ROLES: Mapping[str, tuple[Role, ...]] = {
    "raw": ("raw",),
    "widefield": ("widefield",),
    "reconstruction": ("reconstruction",),
    "raw_and_reconstruction": ("raw", "reconstruction"),
    "raw_and_synthetic": ("synthetic", "raw"),
    "volume": ("volume",),
    "blinking": ("blinking",),
}
"""the images behind each kind of input, in the order of the channels they become"""

FEW = 5
"""frames of `first_five`"""

SUBPIXELS = 4
"""channels that a reconstruction beside raw frames has, the last ones: see `subpixels`"""


class Symmetry(NamedTuple):
    """A change of input and target after which they are still such a pair: of axes, and of the order of channels."""

    mirror: bool
    quarter_turns: int
    input_order: tuple[int, ...] | None = None
    target_order: tuple[int, ...] | None = None

    def of(self, images: Tensor, order: tuple[int, ...] | None) -> Tensor:
        """Images (C, ..., Y, X), changed."""
        if order is not None:
            images = images[list(order)]
        if self.mirror:
            images = images.flip(-1)
        return images.rot90(self.quarter_turns, (-2, -1)) if self.quarter_turns else images


class Task(Settings):
    """Which images of a field go in, which comes out, and how much finer its grid is."""

    input: Literal[
        "raw", "widefield", "reconstruction", "raw_and_reconstruction", "raw_and_synthetic", "volume", "blinking"
    ]  # fmt: skip
    """of two images, both; a reconstruction beside raw frames is cut into the sub-pixels of every raw pixel, which
    become channels (Shi et al., CVPR 2016)"""
    frames: Literal["all", "first_phase", "first_phase_and_mean", "first_five"]
    """which of a raw stack: all; the first phase of every angle; these and the mean of all (U-Net-SIM3 and -SIM4 of
    Jin et al., Nat. Commun. 11:1934, 2020); the first five of blinking frames (their U-Net-SRRF5)"""
    light: Literal["all", "brightest", "dimmest"]
    """which light levels of a dataset are learned from"""
    per: Literal["stack", "angle"]
    """what a sample is: a whole stack, or the frames of one angle"""
    target: Literal["raw_clean", "reconstruction", "reference", "srrf", "none"]
    """`none`: the network learns from noisy images alone"""
    scale: PositiveInt

    @model_validator(mode="after")
    def _possible(self) -> Self:
        of_raw, of_angles = self.frames.startswith("first_phase"), ("raw", "raw_and_synthetic")
        if (of_raw and self.input != "raw") or (self.frames == "first_five" and self.input != "blinking"):
            other = "a raw stack" if of_raw else "blinking frames"
            raise ValueError(f"frames '{self.frames}' chooses from {other}, but the input is '{self.input}'")
        if self.per == "angle" and (self.input not in of_angles or self.target != "raw_clean"):
            raise ValueError("per 'angle' needs raw frames that go in and 'raw_clean' that comes out")
        if self.input == "raw_and_reconstruction" and (self.target == "raw_clean" or self.scale != 2):
            raise ValueError(
                "raw frames with their reconstruction give an image twice as fine, no 'raw_clean'"
            )
        if self.target == "none" and self.scale != 1:
            raise ValueError(
                f"without a target the scale must be 1, not {self.scale}: nothing shows finer detail"
            )
        return self

    @property
    def roles(self) -> tuple[Role, ...]:
        """The images that go in."""
        return ROLES[self.input]

    @property
    def gives(self) -> Literal["image", "frames", "denoised"]:
        """What comes out: an image, raw frames to be reconstructed, or the input with less noise."""
        if self.target == "raw_clean":
            return "frames"
        return "denoised" if self.target == "none" else "image"

    @property
    def truth(self) -> Role:
        """The image by which it is judged: its target; of frames, their reconstruction is, against the reference. What
        has learned without a target is judged by the field without noise."""
        if self.gives == "image":
            return self.target  # type: ignore[return-value] # a task that gives an image names a role
        if self.gives == "frames" or self.input == "reconstruction":
            return "reference"
        return "volume_clean" if self.input == "volume" else "raw_clean"

    def missing_to_judge(self, images: Iterable[Role]) -> list[Role]:
        """The images that learning and judging need, but for those there are."""
        there = set(images)
        return [*self.missing(there), *(role for role in (self.truth,) if role not in {*there, self.target})]

    def missing(self, images: Iterable[Role]) -> list[Role]:
        """The images that learning needs, but for those there are."""
        needed = (*self.roles, *(() if self.target == "none" else (self.target,)))
        return [role for role in needed if role not in set(images)]

    def inputs_of(self, images: Mapping[Role, Image]) -> Image:
        """What goes in, of the images of a field by role: samples (N, C, Y, X), or (N, T, Z, Y, X) of a volume.

        Raises:
            BadInput: if frames to be chosen from do not tell angles from phases, or sizes do not fit.
        """
        parts = [self._channels(role, images[role]) for role in self.roles]
        for role, part in zip(self.roles, parts, strict=True):
            if part.shape[-2:] != parts[0].shape[-2:]:
                first, other = (
                    " x ".join(map(str, images[each].shape[-2:])) for each in (self.roles[0], role)
                )
                raise BadInput(
                    f"'{self.roles[0]}' is {first} and '{role}' {other} pixels, which do not go together; give both "
                    "of the same field"
                    + (", the reconstruction twice as fine" if role == "reconstruction" else "")
                )
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1, dtype=np.float32)

    def targets_of(self, images: Mapping[Role, Image]) -> Image:
        """What should come out (N, C', sY, sX); without a target, what goes in."""
        if self.target == "none":
            return self.inputs_of(images)
        image = images[self.target]
        if self.target != "raw_clean":
            return image[None, None]
        samples = _samples(image, self.per)
        return enlarged(samples, self.scale) if self.scale > 1 else samples

    def channels(self, angles: int, phases: int, times: int = 1) -> tuple[int, int]:
        """How many go in and come out, for raw stacks of so many angles and phases, or volumes of so many times."""
        each = phases if self.per == "angle" else angles * phases
        frames = {"all": each, "first_phase": angles, "first_phase_and_mean": angles + 1, "first_five": FEW}
        given = {
            "raw": frames[self.frames], "raw_and_synthetic": 2 * each, "raw_and_reconstruction": each + SUBPIXELS,
            "volume": times, "blinking": FEW if self.frames == "first_five" else times,
        }.get(self.input, 1)  # fmt: skip
        if self.target == "none":
            return given, given
        return given, each if self.target == "raw_clean" else 1

    def _channels(self, role: Role, image: Image) -> Image:
        """One image as samples (N, C, ...)."""
        if role == "volume":
            return image[None]
        if role == "blinking":
            return image[None, :FEW] if self.frames == "first_five" else image[None]
        if role == "reconstruction" and self.input == "raw_and_reconstruction":
            return subpixels(image)[None]
        if role in ("raw", "synthetic"):
            return _samples(self._chosen(image), self.per)
        return image.reshape(1, -1, *image.shape[-2:])

    def _chosen(self, stack: Image) -> Image:
        """The chosen frames of a stack (A, P, Y, X)."""
        if self.frames == "all":
            return stack
        if stack.ndim != 4:
            raise BadInput(
                f"an array of {' x '.join(map(str, stack.shape))} does not tell angles from phases, but the model "
                "takes the first phase of every angle; give angles x phases x rows x columns"
            )
        first = stack[:, 0]
        if self.frames == "first_phase":
            return first
        return np.concatenate([first, stack.mean(axis=(0, 1), dtype=np.float64)[None].astype(stack.dtype)])

    def symmetries(self, layout: tuple[int, int] | None) -> Sequence[Symmetry]:
        """The changes under which a pair stays a pair, the identity first.

        Images without stripes may be turned and mirrored. A raw stack may not: its stripes would run along other
        angles than the microscope's. But half a turn keeps their angles and makes phases run backwards, and which
        phase is the first of an angle is chance. `layout` is angles and phases of the raw stack.
        """
        if layout is None or "raw" not in self.roles:
            return [Symmetry(mirror, turns) for mirror in (False, True) for turns in range(4)]
        angles, phases = layout
        if self.frames != "all":
            return [Symmetry(False, 0), Symmetry(False, 2)]
        found = []
        for half_turn in (False, True):
            for starts in product(range(phases), repeat=1 if self.per == "angle" else angles):
                order = _frame_order(starts, phases, backwards=half_turn)
                target_order = order if self.target == "raw_clean" else None
                turns = 2 if half_turn else 0
                found.append(Symmetry(False, turns, self._input_order(order, half_turn), target_order))
        return found

    def _input_order(self, order: tuple[int, ...], half_turn: bool) -> tuple[int, ...]:
        """Channels of the input, where its raw frames take another order."""
        frames = len(order)
        if self.input == "raw_and_synthetic":
            return (*order, *(frames + index for index in order))
        if self.input == "raw_and_reconstruction":
            parts = range(SUBPIXELS)
            return (*order, *(frames + index for index in (reversed(parts) if half_turn else parts)))
        return order


def _frame_order(starts: Sequence[int], phases: int, backwards: bool) -> tuple[int, ...]:
    """Frames angle by angle, each from its start, around, forwards or backwards."""
    step = -1 if backwards else 1
    return tuple(
        angle * phases + (start + step * phase) % phases
        for angle, start in enumerate(starts)
        for phase in range(phases)
    )


def _samples(stack: Image, per: str) -> Image:
    """Frames (A, P, Y, X) as one sample, or as one for every angle; other stacks as one."""
    if per == "angle":
        return stack
    return stack.reshape(1, -1, *stack.shape[-2:])


def subpixels(image: Image) -> Image:
    """An image (2 Y, 2 X) as the four sub-pixels (4, Y, X) of every raw pixel; the inverse of a pixel shuffle."""
    if image.shape[-2] % 2 or image.shape[-1] % 2:
        raise BadInput(
            f"a reconstruction of {image.shape[-2]} x {image.shape[-1]} pixels is not twice as fine as raw ones"
        )
    rows, columns = image.shape[-2] // 2, image.shape[-1] // 2
    blocks: Image = image.reshape(rows, 2, columns, 2).transpose(1, 3, 0, 2)
    return blocks.reshape(4, rows, columns)


def enlarged(images: Image, scale: int) -> Image:
    """Images (N, C, Y, X) on a grid that is `scale` times as fine, by bicubic interpolation."""
    tensor = torch.from_numpy(np.ascontiguousarray(images, dtype=np.float32))
    fine: Image = F.interpolate(tensor, scale_factor=scale, mode="bicubic", align_corners=False).numpy()
    return fine
