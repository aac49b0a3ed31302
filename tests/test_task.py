"""What goes in and comes out: the channels a task promises, of the right frames and in the right order."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import ValidationError

from sim_models.config import BadInput
from sim_models.field import Image, Role
from sim_models.task import ROLES, Task, enlarged, subpixels

ANGLES, PHASES, TIMES, SLICES, ROWS, COLUMNS = 3, 5, 7, 4, 6, 8


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


def numbered(*shape: int) -> NDArray[np.float32]:
    """Frames that hold their number, from 0 on, in every pixel."""
    numbers = np.arange(np.prod(shape), dtype=np.float32).reshape(*shape, 1, 1)
    return np.broadcast_to(numbers, (*shape, ROWS, COLUMNS)).copy()


def fine(value: float, scale: int = 2) -> NDArray[np.float32]:
    return np.full((scale * ROWS, scale * COLUMNS), value, np.float32)


@pytest.fixture
def images() -> dict[Role, Image]:
    """Every role: raw frames hold 0 to 14, others numbers from a hundred of their own on."""
    return {
        "raw": numbered(ANGLES, PHASES),
        "raw_clean": numbered(ANGLES, PHASES) + 100,
        "synthetic": numbered(ANGLES, PHASES) + 200,
        "widefield": numbered(1)[0] + 300,
        "reconstruction": fine(400),
        "reference": fine(500),
        "srrf": fine(600, 5),
        "volume": numbered(TIMES, SLICES) + 700,
        "blinking": numbered(TIMES) + 800,
    }


def values(samples: Image) -> list[list[float]]:
    """What the frames of every sample hold."""
    return [[float(channel.flat[0]) for channel in sample] for sample in samples]


FRAMES = list(range(ANGLES * PHASES))
GIVES: dict[str, tuple[dict[str, Any], list[list[int]], list[list[int]]]] = {
    "raw": ({}, [FRAMES], [[500]]),
    "first phase": ({"frames": "first_phase"}, [[0, 5, 10]], [[500]]),
    "first phase and mean": ({"frames": "first_phase_and_mean"}, [[0, 5, 10, 7]], [[500]]),
    "wide-field": ({"input": "widefield"}, [[300]], [[500]]),
    "reconstruction": ({"input": "reconstruction", "scale": 1}, [[400]], [[500]]),
    "raw and reconstruction": ({"input": "raw_and_reconstruction"}, [[*FRAMES, 400, 400, 400, 400]], [[500]]),
    "raw frames": (
        {"target": "raw_clean", "scale": 1},
        [FRAMES],
        [[100 + frame for frame in FRAMES]],
    ),
    "raw frames by angle": (
        {"target": "raw_clean", "scale": 1, "per": "angle"},
        [FRAMES[:5], FRAMES[5:10], FRAMES[10:]],
        [[100 + frame for frame in FRAMES[start : start + 5]] for start in (0, 5, 10)],
    ),
    "raw and synthetic": (
        {"input": "raw_and_synthetic", "target": "raw_clean", "scale": 1},
        [[*(200 + frame for frame in FRAMES), *FRAMES]],
        [[100 + frame for frame in FRAMES]],
    ),
    "raw and synthetic by angle": (
        {"input": "raw_and_synthetic", "target": "raw_clean", "scale": 1, "per": "angle"},
        [[*(200 + f for f in FRAMES[s : s + 5]), *FRAMES[s : s + 5]] for s in (0, 5, 10)],
        [[100 + frame for frame in FRAMES[start : start + 5]] for start in (0, 5, 10)],
    ),
    "blinking": ({"input": "blinking", "target": "srrf", "scale": 5}, [[*range(800, 807)]], [[600]]),
    "first five": (
        {"input": "blinking", "frames": "first_five", "target": "srrf", "scale": 5},
        [[*range(800, 805)]],
        [[600]],
    ),
    "no target": ({"input": "widefield", "target": "none", "scale": 1}, [[300]], [[300]]),
}


@pytest.mark.parametrize("kind", GIVES)
def test_frames_become_channels_in_order(images: dict[Role, Image], kind: str) -> None:
    changes, given, wanted = GIVES[kind]
    chosen = task(**changes)
    inputs, targets = chosen.inputs_of(images), chosen.targets_of(images)
    assert values(inputs) == given
    assert values(targets) == wanted
    assert (inputs.shape[1], targets.shape[1]) == chosen.channels(ANGLES, PHASES, TIMES)
    assert targets.shape[-2:] == tuple(chosen.scale * edge for edge in inputs.shape[-2:])


def test_volumes_keep_their_slices(images: dict[Role, Image]) -> None:
    chosen = task(input="volume", target="none", scale=1)
    inputs = chosen.inputs_of(images)
    assert inputs.shape == (1, TIMES, SLICES, ROWS, COLUMNS)
    assert np.array_equal(inputs[0], images["volume"])
    assert np.array_equal(chosen.targets_of(images), inputs)
    assert chosen.channels(ANGLES, PHASES, TIMES) == (TIMES, TIMES)


def test_subpixels_are_what_a_pixel_shuffle_puts_together() -> None:
    image = np.random.default_rng(0).random((2 * ROWS, 2 * COLUMNS)).astype(np.float32)
    cut = torch.from_numpy(subpixels(image).copy())
    assert cut.shape == (4, ROWS, COLUMNS)
    assert torch.equal(F.pixel_shuffle(cut, 2)[0], torch.from_numpy(image))
    assert torch.equal(cut, F.pixel_unshuffle(torch.from_numpy(image)[None], 2))


def test_a_finer_target_of_frames_is_the_clean_one_enlarged(images: dict[Role, Image]) -> None:
    """A ramp stays in its place, but near borders; cubic interpolation is nearly straight between pixels."""
    ramp = np.broadcast_to(np.arange(16.0, dtype=np.float32), (1, 1, 12, 16))
    wide = enlarged(ramp, 2)
    assert wide.shape == (1, 1, 24, 32)
    np.testing.assert_allclose(wide[0, 0, 8, 6:-6], (np.arange(32) / 2 - 0.25)[6:-6], atol=0.05)
    targets = task(target="raw_clean").targets_of(images)
    assert targets.shape == (1, 15, 2 * ROWS, 2 * COLUMNS)
    np.testing.assert_allclose(targets[0, :, 3, 3], 100 + np.arange(15), rtol=1e-6)


def test_the_mean_frame_is_of_the_type_of_the_others() -> None:
    counts = (numbered(3, 3) * 1000).astype(np.uint16)
    chosen = task(frames="first_phase_and_mean").inputs_of({"raw": counts})
    assert chosen.dtype == np.uint16
    assert chosen[0, 3, 0, 0] == 4000


def test_frames_cannot_be_chosen_where_angles_are_not_told_from_phases() -> None:
    with pytest.raises(BadInput, match="9 x 4 x 5 does not tell angles from phases"):
        task(frames="first_phase").inputs_of({"raw": np.zeros((9, 4, 5))})


@pytest.mark.parametrize("kind", ROLES)
@pytest.mark.parametrize("target", ["raw_clean", "reference", "none"])
def test_what_is_missing_is_told_in_order(kind: str, target: str) -> None:
    chosen = task(input="widefield").model_copy(update={"input": kind, "target": target})
    needed = [*ROLES[kind], *([] if target == "none" else [target])]
    assert chosen.missing(()) == needed
    assert chosen.missing(needed) == []
    assert chosen.missing(needed[1:]) == needed[:1]


@pytest.mark.parametrize(
    ("target", "gives"),
    [("reference", "image"), ("srrf", "image"), ("raw_clean", "frames"), ("none", "denoised")],
)
def test_the_target_decides_what_comes_out(target: str, gives: str) -> None:
    assert task(target=target, scale=1).gives == gives


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"input": "widefield", "frames": "first_phase"},
            "'first_phase' chooses from a raw stack, but the input is 'widefield'",
        ),
        ({"frames": "first_five"}, "'first_five' chooses from blinking frames, but the input is 'raw'"),
        ({"per": "angle"}, "per 'angle' needs raw frames that go in and 'raw_clean' that comes out"),
        (
            {"per": "angle", "input": "widefield", "target": "raw_clean"},
            "per 'angle' needs raw frames that go in and 'raw_clean' that comes out",
        ),
        (
            {"input": "raw_and_reconstruction", "target": "raw_clean"},
            "raw frames with their reconstruction give an image twice as fine, no 'raw_clean'",
        ),
        ({"target": "none"}, "without a target the scale must be 1, not 2"),
        ({"light": "bright"}, "light"),
        ({"scale": 0}, "scale"),
    ],
)
def test_what_cannot_be_is_refused(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        task(**changes)
