"""`sim-models registry` on a registry without models in it: what is printed, and what is refused."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sim_models.evaluation.gate import Check, Verdict
from sim_models.tracking.champions import Champions
from sim_models.tracking.registry import Registry
from sim_models.tracking.runs import client_of

Run = Callable[..., Any]
NAME = "sim-discs"
GOOD = Verdict(checks=(Check(rule="good", found="good", passed=True),))


@pytest.fixture
def champions(mlflow_root: Path) -> Champions:
    """Two versions, the second one champion."""
    registry = Registry.open(mlflow_root)
    client = client_of(registry.uri)
    client.create_registered_model(NAME)
    for number in (1, 2):
        client.create_model_version(NAME, (mlflow_root / "nothing").as_uri())
        Champions(registry, NAME).promote(number, lambda _: GOOD, "ann", f"number {number}")
    return Champions(registry, NAME)


def test_an_empty_registry(run: Run, mlflow_root: Path) -> None:
    assert run("registry", "tree").out == "nothing is registered yet\n"
    unknown = run("registry", "history", NAME)
    assert (unknown.code, unknown.out) == (2, "")
    assert unknown.err.startswith(f"error: no model '{NAME}' is registered at ")
    assert unknown.err.endswith("there are none yet\n")


def test_the_tree_of_one_model(run: Run, champions: Champions) -> None:
    client_of(champions.registry.uri).create_registered_model("sim-other")
    client_of(champions.registry.uri).create_model_version("sim-other", Path("nothing").absolute().as_uri())
    assert len(run("registry", "tree").out.splitlines()) == 3
    told = run("registry", "tree", NAME)
    assert (told.code, [line.split()[:2] for line in told.out.splitlines()]) == (
        0,
        [[NAME, "v1"], [NAME, "v2"]],
    )
    assert run("registry", "tree", "sim-nobody").code == 2


def test_history_for_people_and_for_machines(run: Run, champions: Champions) -> None:
    told = run("registry", "history", NAME)
    assert (told.code, told.err) == (0, "")
    first, second = told.out.splitlines()
    assert "version 1 promoted, the first, by ann: number 1" in first
    assert "version 2 promoted in place of 1, by ann: number 2" in second
    records = json.loads(run("registry", "history", NAME, "--json").out)
    assert [(each["what"], each["before"], each["version"]) for each in records] == [
        ("promoted", None, 1),
        ("promoted", 1, 2),
    ]


def test_who_was_champion_at_a_date(run: Run, champions: Champions) -> None:
    today = datetime.now(UTC).strftime("%Y-%m-%d")
    assert run("registry", "history", NAME, "--at", today).out.endswith("UTC: version 2\n")
    between = champions.history()[0].moment
    assert run("registry", "history", NAME, "--at", between).out.endswith("UTC: version 1\n")
    assert run("registry", "history", NAME, "--at", "2020-01-01").out.endswith("no champion on record\n")
    asked = json.loads(run("registry", "history", NAME, "--at", today, "--json").out)
    assert (asked["name"], asked["champion"]) == (NAME, 2)


def test_a_date_that_is_none(run: Run, champions: Champions) -> None:
    done = run("registry", "history", NAME, "--at", "yesterday")
    assert (done.code, done.err) == (
        2,
        "error: --at yesterday: is no date; write it as 2026-11-27 or 2026-11-27T14:30, in UTC\n",
    )


def test_an_alias_changed_by_hand_is_told(run: Run, champions: Champions) -> None:
    client_of(champions.registry.uri).set_registered_model_alias(NAME, "champion", "1")
    done = run("registry", "history", NAME)
    assert done.code == 0
    assert done.err.startswith(f"warning: {NAME}: version 1 holds the alias, but the history says version 2")


def test_rollback_and_its_end(run: Run, champions: Champions) -> None:
    done = run("registry", "rollback", NAME, "--reason", "stripes on camera 2")
    assert done.code == 0, done.err
    assert done.out == f"{NAME} version 1 is champion again; version 2 was rolled back\n"
    assert "@champion" in run("registry", "tree").out.splitlines()[0]
    assert "rolled back on" in run("registry", "tree").out.splitlines()[1]
    again = run("registry", "rollback", NAME, "--reason", "more")
    assert (again.code, again.out) == (3, "")
    assert again.err.startswith(f"error: {NAME}: version 1 has no champion before it")
    assert run("registry", "history", NAME).out.splitlines()[-1].endswith(": stripes on camera 2")


def test_a_reason_must_be_given(run: Run, champions: Champions) -> None:
    for command in (("rollback", NAME), ("promote", NAME, 1)):
        done = run("registry", *command, "--reason", " ")
        assert done.code == 2
        assert "--reason is empty" in done.err


def test_promotion_needs_a_study_to_judge_by(run: Run, champions: Champions) -> None:
    done = run("registry", "promote", NAME, 1, "--reason", "better")
    assert done.code == 2
    assert "is no folder of a study, so there are no test cells to judge sim-discs version 1 by" in done.err
    assert "--study" in done.err
    assert len(champions.history()) == 2


@pytest.mark.parametrize(
    ("model", "told"),
    [
        (NAME, f"'{NAME}' names no registered model; say NAME@champion or NAME/VERSION"),
        (f"{NAME}@best", f"{NAME}: no version holds the alias 'best'"),
        (f"{NAME}/7", f"{NAME} has no version 7; there are 1, 2"),
    ],
)
def test_a_card_of_nothing(run: Run, champions: Champions, model: str, told: str) -> None:
    done = run("registry", "card", model)
    assert (done.code, done.out) == (2, "")
    assert told in done.err
