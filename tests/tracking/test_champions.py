"""Who becomes champion: never a worse one, in whatever order and however many ask at once; and all of it on record."""

import json
import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from sim_models.config import BadInput, Refused
from sim_models.evaluation.gate import Check, Verdict
from sim_models.tracking import history, lock
from sim_models.tracking.champions import ROLLED_BACK, Champions
from sim_models.tracking.history import Change, before_present, champion_at
from sim_models.tracking.registry import CHAMPION, Registry
from sim_models.tracking.runs import client_of

NAME = "sim-discs"
QUALITY = {1: 30.0, 2: 35.0, 3: 33.0, 4: 38.0}
"""PSNR of each version"""
MARGIN = 0.1


@pytest.fixture
def champions(mlflow_root: Path) -> Champions:
    """Four versions without a model in them, none of them champion."""
    registry = Registry.open(mlflow_root)
    client = client_of(registry.uri)
    client.create_registered_model(NAME)
    for _ in QUALITY:
        client.create_model_version(NAME, (mlflow_root / "nothing").as_uri())
    return Champions(registry, NAME)


def judge_of(version: int) -> Callable[[int | None], Verdict]:
    """As good as the champion but for the margin."""

    def judge(champion: int | None) -> Verdict:
        gain = QUALITY[version] - QUALITY.get(champion or 0, 0.0)
        return Verdict(checks=(Check(rule="as good", found=f"{gain:+.1f}", passed=gain >= -MARGIN),))

    return judge


def ask(champions: Champions, version: int, again: bool = False) -> bool:
    return champions.promote(version, judge_of(version), "ann", "because", again).champion


def story(champions: Champions) -> list[tuple[str, int | None, int | None]]:
    return [(change.what, change.before, change.version) for change in champions.history()]


def holder(champions: Champions) -> int | None:
    return champions.registry.holder(NAME, CHAMPION)


def by_hand(champions: Champions, version: int) -> None:
    client_of(champions.registry.uri).set_registered_model_alias(NAME, CHAMPION, str(version))


@pytest.mark.parametrize("seed", range(4))
def test_whatever_the_order_a_worse_one_never_gets_the_alias(champions: Champions, seed: int) -> None:
    order = random.Random(seed).sample([*QUALITY, *QUALITY], 2 * len(QUALITY))
    best = 0.0
    for version in order:
        ask(champions, version)
        best = max(best, QUALITY[version])
        now = holder(champions)
        assert now is not None
        assert QUALITY[now] == best
    assert champions.unrecorded() is None


def test_a_refusal_is_on_record_with_its_reason_and_verdict(champions: Champions) -> None:
    assert ask(champions, 2)
    assert not ask(champions, 1)
    assert story(champions) == [("promoted", None, 2), ("refused", 2, 1)]
    refusal = champions.history()[-1]
    assert (refusal.by, refusal.reason, refusal.champion) == ("ann", "because", 2)
    assert refusal.verdict == "refused: must be as good, found -5.0"


def test_asking_again_for_the_champion_changes_nothing(champions: Champions) -> None:
    ask(champions, 2)
    assert ask(champions, 2)
    assert len(champions.history()) == 1


def test_a_champion_stays_even_where_the_gate_would_refuse_it_now(champions: Champions) -> None:
    ask(champions, 2)
    refusing = Verdict(checks=())
    decision = champions.promote(2, lambda champion: refusing, "ann", "stricter gate")
    assert decision.champion
    assert not decision.judgement.passed  # type: ignore[union-attr]
    assert holder(champions) == 2


def test_rollback_goes_back_and_further_back_and_then_refuses(champions: Champions) -> None:
    for version in (1, 2, 4):
        ask(champions, version)
    assert champions.rollback("bob", "stripes on camera 2").version == 2
    assert champions.rollback("bob", "still").version == 1
    with pytest.raises(Refused, match="version 1 has no champion before it"):
        champions.rollback("bob", "more")
    assert holder(champions) == 1
    assert story(champions)[3:] == [("rolled back", 4, 2), ("rolled back", 2, 1)]


def test_what_was_rolled_back_does_not_come_back_unless_one_says_so(champions: Champions) -> None:
    for version in (2, 4):
        ask(champions, version)
    champions.rollback("bob", "stripes on camera 2")
    assert not ask(champions, 4)
    assert holder(champions) == 2
    assert "rolled back on" in champions.history()[-1].verdict
    assert "by bob: stripes on camera 2" in champions.history()[-1].verdict
    assert ask(champions, 4, again=True)
    assert holder(champions) == 4
    assert ROLLED_BACK not in champions.registry.version(NAME, 4).tags


def test_again_does_not_lead_past_the_gate(champions: Champions) -> None:
    for version in (1, 2):
        ask(champions, version)
    champions.rollback("bob", "wrong")
    ask(champions, 4)
    assert not ask(champions, 2, again=True)
    assert holder(champions) == 4


def test_nothing_to_roll_back(champions: Champions) -> None:
    with pytest.raises(BadInput, match="has no champion, so there is nothing to go back from"):
        champions.rollback("bob", "why not")
    ask(champions, 1)
    with pytest.raises(Refused, match="promote another version instead"):
        champions.rollback("bob", "why not")


def test_a_deleted_version_is_not_gone_back_to(champions: Champions) -> None:
    for version in (1, 2, 4):
        ask(champions, version)
    client_of(champions.registry.uri).delete_model_version(NAME, "2")
    assert champions.rollback("bob", "bad").version == 1


def test_an_alias_given_by_hand_is_detected_and_written_down(champions: Champions) -> None:
    ask(champions, 2)
    by_hand(champions, 1)
    doubt = champions.unrecorded()
    assert doubt is not None
    assert doubt.startswith("version 1 holds the alias, but the history says version 2")
    assert ask(champions, 3)  # judged against who holds it, not against who the history says
    assert story(champions) == [("promoted", None, 2), ("found", 2, 1), ("promoted", 1, 3)]
    assert champions.unrecorded() is None


def test_a_champion_from_before_there_was_a_history_can_be_gone_back_to(champions: Champions) -> None:
    by_hand(champions, 2)
    assert champions.unrecorded() == "version 2 holds the alias since before this history began"
    ask(champions, 4)
    assert champions.rollback("bob", "bad").version == 2


def test_an_alias_removed_by_hand_is_detected(champions: Champions) -> None:
    ask(champions, 2)
    client_of(champions.registry.uri).delete_registered_model_alias(NAME, CHAMPION)
    assert (champions.unrecorded() or "").startswith(
        "no version holds the alias, but the history says version 2"
    )


def test_the_champion_of_any_moment_is_known_from_the_history_alone(champions: Champions) -> None:
    moments = [datetime.now(UTC)]
    for act in (lambda: ask(champions, 2), lambda: ask(champions, 1), lambda: ask(champions, 4)):
        act()
        moments.append(datetime.now(UTC))
    champions.rollback("bob", "bad")
    moments.append(datetime.now(UTC))
    by_hand(champions, 1)
    assert [champions.at(moment) for moment in moments] == [None, 2, 2, 4, 2]
    assert champions.at(datetime(2100, 1, 1)) == 2


def test_a_moment_without_a_zone_is_utc() -> None:
    past = [change("promoted", None, 1, "2026-01-01T12:00:00.000000+00:00")]
    assert champion_at(past, datetime(2026, 1, 1, 11, 59)) is None
    assert champion_at(past, datetime(2026, 1, 1, 12, 0)) == 1


def change(what: str, before: int | None, version: int | None, moment: str = "") -> Change:
    return Change.model_validate(
        {
            "moment": moment,
            "by": "",
            "what": what,
            "before": before,
            "version": version,
            "reason": "",
            "verdict": "",
        }
    )


@pytest.mark.parametrize(
    ("past", "unwanted", "expected"),
    [
        ([("promoted", None, 1), ("promoted", 1, 2), ("refused", 2, 3)], set(), 1),
        ([("promoted", None, 1), ("promoted", 1, 2), ("rolled back", 2, 1)], {2}, None),
        ([("promoted", None, 1), ("promoted", 1, 2), ("promoted", 2, 3)], {2}, 1),
        ([("found", None, 1), ("promoted", 1, 2)], set(), 1),
        ([("promoted", None, 1), ("found", 1, None), ("promoted", None, 2)], set(), 1),
        ([], set(), None),
    ],
)
def test_who_was_before_the_present_one(
    past: list[tuple[str, int | None, int | None]], unwanted: set[int], expected: int | None
) -> None:
    assert before_present([change(*each) for each in past], unwanted) == expected


def test_records_sort_whatever_the_clocks_say(champions: Champions, monkeypatch: pytest.MonkeyPatch) -> None:
    ask(champions, 1)
    earlier = (datetime.now(UTC) - timedelta(hours=3)).isoformat()
    monkeypatch.setattr(history, "now", lambda: earlier)
    ask(champions, 2)
    assert [each.version for each in champions.history()] == [1, 2]


def test_a_record_is_short_enough_for_every_database(champions: Champions) -> None:
    champions.promote(1, judge_of(1), "ann", "ä" * 6000)
    tags = client_of(champions.registry.uri).get_registered_model(NAME).tags
    assert max(len(value) for value in tags.values()) < 5000


def test_a_damaged_record_is_told(champions: Champions) -> None:
    ask(champions, 1)
    client = client_of(champions.registry.uri)
    (key,) = client.get_registered_model(NAME).tags
    client.set_registered_model_tag(NAME, key, "promoted, I think")
    with pytest.raises(BadInput, match=rf"{NAME}: tag {key}: is no record of this program"):
        champions.history()


def test_nobody_else_gives_the_alias(champions: Champions) -> None:
    with pytest.raises(BadInput, match="a champion must pass the gate"):
        champions.registry.give(NAME, CHAMPION, 1)


def test_unknown_models_and_versions_are_told(champions: Champions) -> None:
    with pytest.raises(BadInput, match=f"no model 'sim-er' is registered at .*; there are {NAME}"):
        Champions(champions.registry, "sim-er").history()
    with pytest.raises(BadInput, match=f"{NAME} has no version 9; there are 1, 2, 3, 4"):
        ask(champions, 9)


def test_a_judge_that_fails_leaves_nothing_and_frees_the_lock(champions: Champions) -> None:
    def breaks(champion: int | None) -> Verdict:
        raise BadInput("fields are missing")

    with pytest.raises(BadInput, match="fields are missing"):
        champions.promote(1, breaks, "ann", "")
    assert champions.history() == []
    assert ask(champions, 1)


ASK = """
import multiprocessing, sys, time
from pathlib import Path
from sim_models.evaluation.gate import Check, Verdict
from sim_models.tracking import champions, lock
from sim_models.tracking.registry import Registry
from sim_models.tracking.runs import client_of
way, uri, name, folder, *orders = sys.argv[1:]
lock.LOOK_S = 0.02
if way == "claim":
    lock.file_lock = lock.claim
quality = {1: 30.0, 2: 35.0, 3: 33.0, 4: 38.0}
def judge_of(version):
    def judge(champion):
        time.sleep(0.1)
        gain = quality[version] - quality.get(champion or 0, 0.0)
        return Verdict(checks=(Check(rule="as good", found="", passed=gain >= -0.1),))
    return judge
def work(versions):
    one = champions.Champions(Registry(uri), name)
    client_of(uri).get_registered_model(name)
    (Path(folder) / f"ready_{versions[0]}").touch()
    while len(list(Path(folder).glob("ready_*"))) < len(orders):
        time.sleep(0.005)
    for version in map(int, versions):
        one.promote(version, judge_of(version), f"process {version}", "at once")
# To import MLflow takes seconds, so it is done once; nothing was opened yet that processes might share.
with multiprocessing.get_context("fork").Pool(len(orders)) as pool:
    pool.map(work, map(str.split, orders), chunksize=1)
"""


@pytest.mark.parametrize("way", ["file", "claim"])
def test_of_several_processes_at_once_none_makes_a_worse_one_champion(
    champions: Champions, tmp_path: Path, way: str
) -> None:
    """Each is judged against the one before, so the records are a chain and the best is champion at the end."""
    orders = ["2 1", "3 2", "4 1"]
    command = [sys.executable, "-W", "ignore", "-c", ASK, way, champions.registry.uri, NAME, str(tmp_path)]
    done = subprocess.run([*command, *orders], stderr=subprocess.PIPE, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert holder(champions) == 4
    past = champions.history()
    for earlier, later in pairwise(past):
        assert later.before == earlier.champion
        assert later.moment > earlier.moment
    for each in past:
        if each.what == "promoted":
            assert QUALITY[each.version or 0] >= QUALITY.get(each.before or 0, 0.0) - MARGIN
    assert {each.what for each in past} <= {"promoted", "refused"}
    tags = client_of(champions.registry.uri).get_registered_model(NAME).tags
    assert not [key for key in tags if key.startswith(lock.CLAIM)]


@pytest.mark.parametrize("held", [lock.file_lock, lock.claim])
def test_one_at_a_time(
    champions: Champions, monkeypatch: pytest.MonkeyPatch, held: Callable[..., lock.Any], capfd: lock.Any
) -> None:
    monkeypatch.setattr(lock, "LOOK_S", 0.01)
    monkeypatch.setattr(lock, "TELL_S", 0.02)
    monkeypatch.setattr(lock, "WAIT_S", 0.1)
    uri = champions.registry.uri
    with held(uri, NAME):
        told = rf"{NAME}: .*@.* \(process {os.getpid()}\) has been changing"
        with pytest.raises(BadInput, match=told), held(uri, NAME):
            pass
        assert "waiting for" in capfd.readouterr().err
    with held(uri, NAME) as still_mine:
        still_mine()


def test_claims_of_the_dead_do_not_count(champions: Champions, monkeypatch: pytest.MonkeyPatch) -> None:
    client = client_of(champions.registry.uri)
    dead = {"ticket": 1, "who": "a ghost", "since": 0.0}
    client.set_registered_model_tag(NAME, f"{lock.CLAIM}ghost", json.dumps(dead))
    with lock.claim(champions.registry.uri, NAME) as still_mine:
        still_mine()


class Clock:
    """Time that passes only in sleep, and where a test says so."""

    def __init__(self, woken: Callable[[], None]) -> None:
        self.now, self.woken = 1e9, woken

    def time(self) -> float:
        return self.now

    monotonic = time

    def sleep(self, _seconds: float) -> None:
        self.now += 300
        self.woken()


@pytest.fixture
def waited(champions: Champions, monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A lock of somebody who gives it back after ten minutes."""
    client, key = client_of(champions.registry.uri), f"{lock.CLAIM}bob"

    def woken() -> None:
        if clock.now >= 1e9 + 600:
            client.delete_registered_model_tag(NAME, key)

    clock = Clock(woken)
    client.set_registered_model_tag(NAME, key, json.dumps({"ticket": 1, "who": "bob", "since": clock.now}))
    monkeypatch.setattr(lock, "time", clock)
    return clock


def test_waiting_is_no_time_of_holding(champions: Champions, waited: Clock) -> None:
    with lock.claim(champions.registry.uri, NAME) as still_mine:
        waited.now += lock.EXPIRES_S / 2 - 1
        still_mine()
        waited.now += 2
        with pytest.raises(BadInput, match="held for too long"):
            still_mine()


def test_a_claim_that_expired_while_it_waited_is_not_revived(
    champions: Champions, waited: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "EXPIRES_S", 200.0)
    with pytest.raises(BadInput, match="was taken away"), lock.claim(champions.registry.uri, NAME):
        pass


def test_who_held_a_claim_for_too_long_changes_nothing(
    champions: Champions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "file_lock", lock.claim)

    def slow(champion: int | None) -> Verdict:
        monkeypatch.setattr(lock, "EXPIRES_S", 0.0)
        return judge_of(1)(champion)

    with pytest.raises(BadInput, match="held for too long"):
        champions.promote(1, slow, "ann", "")
    assert holder(champions) is None
    assert champions.history() == []


def test_a_number_that_is_still_being_drawn_is_waited_for() -> None:
    """Else two could draw the same one after the other and both go in."""
    drawing = {"a": {"ticket": 0, "who": "a"}, "b": {"ticket": 3, "who": "b"}}
    assert lock._ahead(drawing, "b") == "a"
    assert lock._ahead({"a": {"ticket": 3, "who": "a"}, "b": {"ticket": 3, "who": "b"}}, "a") is None
    assert lock._ahead({"a": {"ticket": 4, "who": "a"}, "b": {"ticket": 3, "who": "b"}}, "a") == "b"


def test_threads_that_claim_at_once_go_in_one_by_one(
    champions: Champions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "LOOK_S", 0.005)
    inside, most = 0, 0

    def work() -> None:
        nonlocal inside, most
        with lock.claim(champions.registry.uri, NAME):
            inside += 1
            most = max(most, inside)
            threading.Event().wait(0.02)
            inside -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
