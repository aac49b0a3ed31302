"""Mistakes in settings: all at once, by address, in words of the person who made them."""

from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import PositiveInt, ValidationError

from sim_models import networks
from sim_models.config import BadInput, Settings, choice_of, parse, read_yaml


class Training(Settings):
    steps: PositiveInt
    rate: float


class Tree(Settings):
    network: choice_of(networks)  # type: ignore[valid-type]
    training: dict[str, Training]


def values(**changes: Any) -> dict[str, Any]:
    network = {"name": "rednet", "filters": 4, "pairs": 2, "output": "linear", "skips": "symmetric"}
    return {"network": network, "training": {"short": {"steps": 5, "rate": 0.1}}} | changes


def mistakes(given: object) -> str:
    with pytest.raises(BadInput) as refusal:
        parse(Tree, given, "params.yaml")
    assert "\n" not in str(refusal.value)
    return str(refusal.value)


def test_what_is_right_passes() -> None:
    assert parse(Tree, values(), "params.yaml").training["short"].steps == 5


def test_every_mistake_is_told_at_once_by_its_address() -> None:
    network = {"name": "unet", "width": -1, "depth": 2, "batch_norm": "no", "up": "nearest", "skip": "add"}
    told = mistakes({"network": network, "training": {"short": {"steps": 0, "rat": 0.1}}})
    assert told.startswith("params.yaml: ")
    for mistake in (
        "network.width: Input should be greater than or equal to 1 (found -1)",
        "network.batch_norm: Input should be 'none', 'running' or 'own' (found 'no')",
        "network.output: Field required",
        "training.short.steps: Input should be greater than 0 (found 0)",
        "training.short.rate: Field required",
        "training.short.rat: unknown key; remove it or mend its spelling",
    ):
        assert mistake in told


def test_an_unknown_network_is_told_the_choices() -> None:
    told = mistakes(values(network={"name": "unett"}))
    assert "network: " in told
    assert "'rednet'" in told
    assert "'unet'" in told
    assert "unett" in told


@pytest.mark.parametrize("wrong", ["5", 5.5, True, None])
def test_types_are_not_bent(wrong: object) -> None:
    assert "training.short.steps: " in mistakes(values(training={"short": {"steps": wrong, "rate": 0.1}}))


@pytest.mark.parametrize("given", [None, [], "text", 3])
def test_what_is_no_mapping_is_refused_as_a_whole(given: object) -> None:
    assert mistakes(given).startswith("params.yaml: the whole file: ")


def test_settings_do_not_change_once_they_are_read() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        parse(Training, {"steps": 1, "rate": 1.0}, "here").steps = 2


def test_settings_survive_json_with_the_chosen_kind() -> None:
    tree = parse(Tree, values(), "params.yaml")
    assert Tree.model_validate_json(tree.model_dump_json()) == tree


def test_yaml_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"nowhere.yaml: cannot be read \(No such file or directory\)"):
        read_yaml(tmp_path / "nowhere.yaml")
    broken = tmp_path / "broken.yaml"
    broken.write_text("a: [1, 2\nb: 3")
    with pytest.raises(BadInput, match=r"broken.yaml: not valid YAML: .*line 2") as refusal:
        read_yaml(broken)
    assert "\n" not in str(refusal.value)


def test_yaml_that_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "good.yaml").write_text(yaml.safe_dump(values()))
    assert read_yaml(tmp_path / "good.yaml") == values()


# ---- YAML of people


def yaml_of(tmp_path: Path, text: str | bytes) -> object:
    (tmp_path / "a.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_yaml(tmp_path / "a.yaml")


def test_merged_keys_may_come_twice(tmp_path: Path) -> None:
    given = yaml_of(tmp_path, "a: &a {x: 1, y: 2}\nb: {<<: *a, x: 3}\nc: {<<: *a, x: 4}\n")
    assert given == {"a": {"x": 1, "y": 2}, "b": {"x": 3, "y": 2}, "c": {"x": 4, "y": 2}}


BOMB = "b0: &b0 [1, 2, 3]\n" + "".join(
    f"b{i}: &b{i} [{', '.join([f'*b{i - 1}'] * 9)}]\n" for i in range(1, 12)
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\nb: 2\na: 3\n", r"the key 'a' stands twice in one mapping \(line 3\)"),
        ("c:\n  - {a: 1, a: 2}\n", "the key 'a' stands twice"),
        (BOMB, "its aliases unfold into .* values"),
        ("a: &a [*a]", "its aliases unfold into"),
        ("a: " + "[" * 5000, "nested more than 50 deep"),
        (b"a: \xe9", r"is no text in UTF-8 \(byte 3\)"),
        ("# " + "x" * 2**20, "far more than settings need"),
        ("a: 2020-13-45", "month must be in 1..12"),
        ("? [1, 2]\n: 3", "unhashable key"),
        ("a: !!python/object/apply:os.system [true]", "could not determine a constructor"),
    ],
)
def test_yaml_that_is_refused(tmp_path: Path, text: str | bytes, said: str) -> None:
    with pytest.raises(BadInput, match=said) as refusal:
        yaml_of(tmp_path, text)
    assert str(refusal.value).startswith(str(tmp_path / "a.yaml"))
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 400


def test_dates_are_no_settings() -> None:
    with pytest.raises(
        BadInput, match=r"holds what no setting can be .* put dates and other words into quotes"
    ):
        parse(Tree, values(training={"short": {"steps": date(2020, 1, 1), "rate": 0.1}}), "params.yaml")
