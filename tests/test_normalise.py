import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from sim_models.config import BadInput
from sim_models.normalise import Affine, Normaliser, NormaliserSettings

MINMAX = NormaliserSettings(
    scope="stack", kind="minmax", low_percent=None, high_percent=None, of="mean", target="as_input"
)
KINDS = {
    "minmax": MINMAX,
    "standardise": MINMAX.model_copy(update={"kind": "standardise"}),
    "percentile": MINMAX.model_copy(update={"kind": "percentile", "low_percent": 1.0, "high_percent": 99.5}),
}


def of_dataset(settings: NormaliserSettings) -> NormaliserSettings:
    return settings.model_copy(update={"scope": "dataset"})


def stacks(number: int = 3) -> list[np.ndarray]:
    return list(np.random.default_rng(0).gamma(2.0, 50.0, (number, 3, 3, 16, 16)).astype(np.float32))


@pytest.mark.parametrize("kind", KINDS)
@given(gain=st.floats(0.01, 100), offset=st.floats(-1000, 1000))
def test_restoring_follows_the_gain_and_offset_of_the_stack(kind: str, gain: float, offset: float) -> None:
    """Whatever the network does, a stack with another gain and offset is restored with just these."""
    normaliser, stack = Normaliser.fit(KINDS[kind], [], []), stacks()[0].astype(np.float64)

    def restore(stack: np.ndarray) -> np.ndarray:
        affine = normaliser.of(stack)
        return affine.restore(np.tanh(affine.normalise(stack)))

    brighter = restore(gain * stack + offset)
    np.testing.assert_allclose(brighter, gain * restore(stack) + offset, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "offset", "scale"), [("minmax", 10, 90), ("standardise", 55, 45), ("percentile", 10, 90)]
)
def test_statistics_are_those_of_the_mean_over_frames(kind: str, offset: float, scale: float) -> None:
    widefield = np.repeat([[10.0], [100.0]], 10, axis=1)
    frames = widefield + np.array([-9.0, 0.0, 9.0])[:, None, None]
    affine = Normaliser.fit(KINDS[kind], [], []).of(frames)
    assert (affine.offset, affine.scale) == pytest.approx((offset, scale))


@pytest.mark.parametrize("kind", KINDS)
def test_input_and_target_come_back_in_their_unit(kind: str) -> None:
    stack = stacks()[0]
    affine = Normaliser.fit(KINDS[kind], [], []).of(stack)
    np.testing.assert_allclose(affine.restore(affine.normalise(stack)), stack, rtol=1e-4)
    assert affine.normalise(stack).dtype == np.float32
    batch = torch.from_numpy(stack)
    torch.testing.assert_close(affine.restore(affine.normalise(batch)), batch)


@pytest.mark.parametrize("kind", KINDS)
def test_dataset_scope_remembers_and_stack_scope_does_not(kind: str) -> None:
    first, second, third = stacks()
    by_stack = Normaliser.fit(KINDS[kind], [first, second], [])
    assert by_stack.of(third) == Normaliser.fit(KINDS[kind], [third], []).of(third)
    by_dataset = Normaliser.fit(of_dataset(KINDS[kind]), [first, second], [])
    assert by_dataset.of(third) == by_dataset.of(7 * third) == by_dataset.fitted


@pytest.mark.parametrize("kind", KINDS)
def test_a_dataset_of_one_stack_is_that_stack(kind: str) -> None:
    stack = stacks()[0]
    alone = Normaliser.fit(KINDS[kind], [], []).of(stack)
    assert Normaliser.fit(of_dataset(KINDS[kind]), [stack], []).fitted == alone


def test_a_dataset_does_not_depend_on_the_order_of_its_stacks() -> None:
    settings = of_dataset(KINDS["percentile"])
    assert Normaliser.fit(settings, stacks(), []) == Normaliser.fit(settings, stacks()[::-1], [])


@pytest.mark.parametrize("scope", ["stack", "dataset"])
@pytest.mark.parametrize("kind", KINDS)
def test_json_round_trip(kind: str, scope: str) -> None:
    normaliser = Normaliser.fit(KINDS[kind].model_copy(update={"scope": scope}), stacks(), [])
    assert Normaliser.model_validate_json(normaliser.model_dump_json()) == normaliser


def test_unsigned_counts_below_the_offset_do_not_wrap_around() -> None:
    assert Affine(offset=100.0, scale=2.0).normalise(np.array([96], np.uint16)).item() == -2


@pytest.mark.parametrize("value", [0.0, 0.1, 1e6 / 3])
@pytest.mark.parametrize("kind", KINDS)
def test_a_constant_stack_is_refused(kind: str, value: float) -> None:
    with pytest.raises(BadInput, match="mean over frames is constant"):
        Normaliser.fit(KINDS[kind], [], []).of(np.full((9, 31, 17), value))


@pytest.mark.parametrize(
    ("kind", "low", "high"), [("percentile", None, 99.0), ("percentile", 9.0, 1.0), ("minmax", 1.0, None)]
)
def test_percentiles_that_do_not_fit_the_kind_are_refused(kind: str, low: float, high: float) -> None:
    with pytest.raises(ValidationError, match="low_percent"):
        NormaliserSettings.model_validate(
            {
                "scope": "stack",
                "kind": kind,
                "low_percent": low,
                "high_percent": high,
                "of": "mean",
                "target": "as_input",
            }
        )


def test_the_maximum_leaves_zero_where_it_is() -> None:
    affine = Normaliser.fit(MINMAX.model_copy(update={"kind": "maximum", "of": "frames"}), [], []).of(
        stacks()[0]
    )
    assert (affine.offset, affine.scale) == (0.0, pytest.approx(float(stacks()[0].max())))


def test_statistics_may_be_those_of_all_frames() -> None:
    stack = stacks()[0]
    affine = Normaliser.fit(MINMAX.model_copy(update={"of": "frames"}), [], []).of(stack)
    assert affine.normalise(stack).min() == 0
    assert affine.normalise(stack).max() == pytest.approx(1)


@pytest.mark.parametrize("scope", ["stack", "dataset"])
def test_targets_may_have_numbers_of_their_own(scope: str) -> None:
    inputs, targets = stacks(), [1000 + 3 * stack[0, :1] for stack in stacks()]
    settings = MINMAX.model_copy(update={"scope": scope, "of": "frames", "target": "own"})
    normaliser = Normaliser.fit(settings, inputs, targets)
    mapped = [normaliser.of_target(*pair).normalise(pair[1]) for pair in zip(inputs, targets, strict=True)]
    if scope == "stack":
        assert [image.max() for image in mapped] == pytest.approx([1] * 3)
        assert normaliser.of_restored(inputs[0]) == normaliser.of(inputs[0])  # nobody knows better
    else:
        assert (min(image.min() for image in mapped), max(image.max() for image in mapped)) == pytest.approx(
            (0, 1)
        )
        assert normaliser.of_restored(inputs[0]).restore(mapped[0]) == pytest.approx(targets[0])


def test_what_is_fitted_has_to_fit_the_settings() -> None:
    settings = of_dataset(MINMAX).model_copy(update={"target": "own"})
    with pytest.raises(
        ValidationError, match="fitted_target must be present for scope 'dataset' and target 'own'"
    ):
        Normaliser(settings=settings, fitted=Affine(offset=0.0, scale=1.0), fitted_target=None)
