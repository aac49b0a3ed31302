"""Changed crops are still what a microscope could have seen: held against the forward model, not against the code."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sim_models.field import Field, Illumination, Microscope, Role
from sim_models.normalise import Normaliser, NormaliserSettings
from sim_models.optics.forward import frames_of
from sim_models.samples import Augment, Sample, Samples, Share
from sim_models.task import Symmetry, Task

MICROSCOPE = Microscope(
    numerical_aperture=1.4, refractive_index=1.518, emission_um=0.525, pixel_um=0.065, camera=None
)
EDGE, SCALE = 20, 2
LAYOUTS = [(3, 3), (2, 5)]
STARTS = torch.tensor([0.4, 1.9, -2.1], dtype=torch.float64)


def task(**changes: Any) -> Task:
    usual = {
        "input": "raw",
        "frames": "all",
        "light": "all",
        "per": "stack",
        "target": "reference",
        "scale": 2,
    }
    return Task.model_validate(usual | changes)


def stripes(angles: int, phases: int, starts: Tensor) -> Illumination:
    """Equal phase steps from any start; two harmonics and depths of their own for every angle."""
    steps = 2 * math.pi * torch.arange(phases) / phases
    return Illumination(
        angle_rad=tuple(0.3 + math.pi * angle / angles for angle in range(angles)),
        spacing_um=tuple(0.2 + 0.01 * angle for angle in range(angles)),
        phase_rad=tuple(tuple((start + steps).tolist()) for start in starts),
        modulation=tuple((0.7 - 0.1 * angle, 0.2) for angle in range(angles)),
    )


def seen(specimen: Tensor, illumination: Illumination) -> Tensor:
    """Frames as channels, angle by angle."""
    return frames_of(specimen, MICROSCOPE, illumination, SCALE).flatten(0, 1)


@pytest.fixture
def specimen() -> Tensor:
    """Not symmetric in any way."""
    return torch.rand(SCALE * EDGE, SCALE * EDGE, generator=torch.Generator().manual_seed(1)).double()


def under_any_start(specimen: Tensor, layout: tuple[int, int]) -> Callable[[Tensor], Tensor]:
    """What is seen (A, P, Y, X) under stripes that start anywhere.

    With two harmonics it is a trigonometric polynomial of the starts, which five of them settle.
    """
    knots = 2 * math.pi * torch.arange(5, dtype=torch.float64) / 5
    taken = torch.stack([seen(specimen, stripes(*layout, knot.expand(layout[0]))) for knot in knots])
    taken = taken.unflatten(1, layout)

    def at(starts: Tensor) -> Tensor:
        away = starts - knots[:, None]
        weights = (1 + 2 * torch.cos(away) + 2 * torch.cos(2 * away)) / 5
        return torch.einsum("ka,kapyx->apyx", weights, taken)

    return at


def unexplained(frames: Tensor, at: Callable[[Tensor], Tensor], layout: tuple[int, int]) -> float:
    """The largest error that is left of frames under the best start of the stripes of every angle."""
    starts, width = torch.zeros(layout[0], dtype=torch.float64), math.pi
    for _ in range(12):
        tried = starts + width * torch.linspace(-1, 1, 13, dtype=torch.float64)[:, None]
        errors = torch.stack(
            [(at(each) - frames.unflatten(0, layout)).abs().amax((1, 2, 3)) for each in tried]
        )
        starts = tried.gather(0, errors.argmin(0, keepdim=True))[0]
        width /= 4
    return float(errors.min(0).values.max())


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_changed_stack_is_one_the_microscope_could_have_taken(
    specimen: Tensor, layout: tuple[int, int]
) -> None:
    """Of the changed object, under stripes of the same angles, spacings and depths that only start elsewhere."""
    frames = seen(specimen, stripes(*layout, STARTS[: layout[0]]))
    turned = specimen.rot90(2, (0, 1))
    by_turn = {0: under_any_start(specimen, layout), 2: under_any_start(turned, layout)}
    for symmetry in task().symmetries(layout):
        assert torch.equal(
            symmetry.of(specimen[None], None)[0], turned if symmetry.quarter_turns else specimen
        )
        changed = symmetry.of(frames, symmetry.input_order)
        assert unexplained(changed, by_turn[symmetry.quarter_turns], layout) < 1e-4 * frames.max()


@pytest.mark.parametrize("change", [Symmetry(False, 1), Symmetry(True, 0), Symmetry(False, 2)])
def test_other_changes_of_a_stack_are_not(specimen: Tensor, change: Symmetry) -> None:
    """A quarter turn, a mirror, and half a turn that leaves the order of phases: what the last test can tell."""
    frames = seen(specimen, stripes(3, 3, STARTS))
    at = under_any_start(change.of(specimen[None], None)[0], (3, 3))
    assert unexplained(change.of(frames, None), at, (3, 3)) > 0.01 * frames.max()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_all_of_them_are_there_once(layout: tuple[int, int]) -> None:
    angles, phases = layout
    for chosen, number in (
        (task(), 2 * phases**angles),
        (task(per="angle", target="raw_clean", scale=1), 2 * phases),
        (task(frames="first_phase"), 2),
        (task(input="widefield"), 8),
        (task(input="volume", target="none", scale=1), 8),
    ):
        found = chosen.symmetries(layout)
        assert len(set(found)) == len(found) == number
        assert found[0].quarter_turns == 0
        assert found[0].mirror is False
        images = torch.rand(angles * phases, 3, 3)
        assert torch.equal(
            found[0].of(images, found[0].input_order), images[: len(found[0].input_order or images)]
        )


@pytest.mark.parametrize("frames", ["first_phase", "first_phase_and_mean"])
def test_single_phases_are_turned_by_half_a_turn_alone(specimen: Tensor, frames: str) -> None:
    """The phase that was taken runs backwards, which no other frame has to know."""
    chosen = task(frames=frames)
    assert chosen.symmetries((3, 3)) == [Symmetry(False, 0), Symmetry(False, 2)]


def test_images_without_stripes_are_turned_and_mirrored() -> None:
    image = torch.arange(6.0).reshape(1, 2, 3)
    found = task(input="widefield").symmetries((3, 3))
    made = {str(each.of(image, each.input_order).tolist()) for each in found}
    turns = [each.rot90(k, (1, 2)) for each in (image, image.flip(2)) for k in range(4)]
    assert made == {str(turn.tolist()) for turn in turns}
    assert len(made) == 8


def test_sub_pixels_go_where_those_of_the_changed_image_are() -> None:
    chosen = task(input="raw_and_reconstruction")
    random = np.random.default_rng(0)
    raw = random.random((3, 3, EDGE, EDGE)).astype(np.float32)
    image = random.random((2 * EDGE, 2 * EDGE)).astype(np.float32)
    given = torch.from_numpy(chosen.inputs_of({"raw": raw, "reconstruction": image})[0])
    symmetries = chosen.symmetries((3, 3))
    assert {each.quarter_turns for each in symmetries} == {0, 2}
    for symmetry in symmetries:
        assert symmetry.input_order is not None
        assert symmetry.target_order is None
        frames = symmetry.of(torch.from_numpy(raw).flatten(0, 1), symmetry.input_order[:9])
        turned = symmetry.of(torch.from_numpy(image)[None], None)[0]
        expected = chosen.inputs_of(
            {"raw": frames.reshape(3, 3, EDGE, EDGE).numpy(), "reconstruction": turned.numpy()}
        )
        assert torch.equal(symmetry.of(given, symmetry.input_order), torch.from_numpy(expected[0]))


@pytest.mark.parametrize("kind", ["raw", "raw_and_synthetic"])
@pytest.mark.parametrize("per", ["stack", "angle"])
def test_frames_that_come_out_are_changed_as_those_that_go_in(kind: str, per: str) -> None:
    chosen = task(input=kind, per=per, target="raw_clean", scale=1)
    raw = np.random.default_rng(0).random((3, 3, 6, 6)).astype(np.float32)
    images: dict[Role, np.ndarray] = {"raw": raw, "synthetic": raw + 10, "raw_clean": raw + 20}
    for given, wanted in zip(chosen.inputs_of(images), chosen.targets_of(images), strict=True):
        for symmetry in chosen.symmetries((3, 3)):
            changed = symmetry.of(torch.from_numpy(given), symmetry.input_order)
            target = symmetry.of(torch.from_numpy(wanted), symmetry.target_order)
            frames = changed[-len(target) :]
            torch.testing.assert_close(frames + 20, target)
            if kind == "raw_and_synthetic":
                torch.testing.assert_close(frames + 10, changed[: len(target)])


# Batches

ALONE = Share()


def samples_of(chosen: Task) -> Samples:
    settings = NormaliserSettings(
        scope="dataset", kind="minmax", low_percent=None, high_percent=None, of="mean", target="as_input"
    )
    images: dict[Role, np.ndarray] = {
        "raw": np.arange(9 * EDGE * EDGE, dtype=np.float32).reshape(3, 3, EDGE, EDGE),
        "widefield": np.arange(EDGE * EDGE, dtype=np.float32).reshape(EDGE, EDGE),
    }
    images["raw_clean"] = images["raw"]
    field = Field("", "", "", "", images, MICROSCOPE)
    fields = [field, replace(field, images={role: 2 * image for role, image in images.items()})]
    return Samples(fields, chosen, Normaliser.fit(settings, [np.array([[0.0, 1.0]])], []))


BATCHED = [
    task(target="raw_clean", scale=1),
    task(per="angle", target="raw_clean", scale=1),
    task(input="widefield", target="none", scale=1),
]


def same(first: Sample, second: Sample) -> bool:
    return all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


@pytest.mark.parametrize("chosen", BATCHED)
@pytest.mark.parametrize("augment", ["turns", "symmetries"])
def test_a_changed_batch_depends_on_seed_and_step_alone(chosen: Task, augment: Augment) -> None:
    samples = samples_of(chosen)
    whole = samples.batch(5, 6, 8, 1, ALONE, augment)
    samples.batch(6, 6, 8, 1, ALONE, augment)
    assert same(samples_of(chosen).batch(5, 6, 8, 1, ALONE, augment), whole)
    assert not same(samples.batch(6, 6, 8, 1, ALONE, augment), whole)
    assert not same(samples.batch(5, 6, 8, 2, ALONE, augment), whole)
    assert not torch.equal(samples.batch(5, 6, 8, 1, ALONE, "none").input, whole.input)
    for workers in (2, 3):
        shares = [samples.batch(5, 6, 8, 1, Share(rank, workers), augment) for rank in range(workers)]
        for image, parts in zip(whole, zip(*shares, strict=True), strict=True):
            assert torch.equal(torch.stack(parts, dim=1).flatten(0, 1), image)


@pytest.mark.parametrize("chosen", BATCHED)
def test_input_and_target_of_a_batch_are_changed_alike(chosen: Task) -> None:
    """Here they are equal in every pixel before."""
    sample = samples_of(chosen).batch(0, 40, 8, 1, ALONE, "symmetries")
    assert torch.equal(sample.input, sample.target)


def mirrored(crop: Tensor) -> bool:
    """Of a crop of a ramp whose steps along x are small and down are large: whether its corner turns the other way."""
    down, right = crop[1, 0] - crop[0, 0], crop[0, 1] - crop[0, 0]
    # Turning keeps the sense from the larger step to the smaller one.
    unit, row = min(abs(down), abs(right)), max(abs(down), abs(right))
    assert row > 2 * unit
    return bool((down * right > 0) == (abs(down) < abs(right)))


@pytest.mark.parametrize(
    ("augment", "found"), [("none", {False}), ("turns", {False}), ("symmetries", {False, True})]
)
def test_turns_mirror_nothing(augment: Augment, found: set[bool]) -> None:
    sample = samples_of(task(input="widefield", target="none", scale=1)).batch(0, 60, 8, 1, ALONE, augment)
    assert {mirrored(crop[0]) for crop in sample.input} == found
    ways = {
        (bool(crop[0, 1, 0] > crop[0, 0, 0]), bool(crop[0, 0, 1] > crop[0, 0, 0])) for crop in sample.input
    }
    assert len(ways) == (1 if augment == "none" else 4)


def test_raw_stacks_of_a_batch_are_turned_by_half_a_turn_alone() -> None:
    """Steps along x are one count or two, in either direction, and never those of rows."""
    sample = samples_of(task(target="raw_clean", scale=1)).batch(0, 60, 8, 1, ALONE, "symmetries")
    steps = (sample.input[:, 0, 0, 1] - sample.input[:, 0, 0, 0]).round().unique()
    assert steps.tolist() == [-2, -1, 1, 2]


def test_crops_of_a_batch_have_chances_of_their_own() -> None:
    samples = samples_of(task(input="widefield", target="none", scale=1))
    first, second = (samples.batch(step, 30, 8, 1, ALONE).chance for step in (0, 1))
    assert len(torch.cat([first, second]).unique()) == 60
    assert first.dtype == torch.int64
