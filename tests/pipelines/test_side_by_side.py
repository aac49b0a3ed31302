"""Work on many things comes to the same whether other processes help or not, and leaves none of them behind."""

import os

import psutil
import pytest

from pipelines.shared import side_by_side
from pipelines.shared.side_by_side import in_order
from sim_models.config import WorkFailed

PID = "__import__('os').getpid()"
KILLED = f"__import__('os').kill({PID}, 9)"


def helpers() -> list[psutil.Process]:
    """Processes that were started to help; Python starts another, which sees to shared memory, and keeps it."""
    return [each for each in psutil.Process().children() if "spawn_main" in " ".join(each.cmdline())]


@pytest.fixture
def helped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is worth a helper."""
    monkeypatch.setattr(side_by_side, "ALONE_S", -1.0)
    monkeypatch.setattr(side_by_side, "WORTH_S", -1.0)
    monkeypatch.setattr(side_by_side, "processors", lambda: 2)


def test_little_work_is_done_here() -> None:
    assert list(in_order(eval, [PID] * 3)) == [os.getpid()] * 3


def test_helpers_give_results_in_order(helped: None) -> None:
    pids = set(in_order(eval, [PID] * 20))
    assert os.getpid() not in pids
    things = [f"{number} ** 2" for number in range(50)]
    assert list(in_order(eval, things)) == [number**2 for number in range(50)]
    assert not helpers()


def test_what_goes_wrong_is_told_where_it_is_met(helped: None) -> None:
    results = in_order(eval, ["1", "1 / 0", "2"])
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert not helpers()


def test_a_helper_that_is_killed_is_one_sentence(helped: None) -> None:
    with pytest.raises(WorkFailed, match="ended from outside"):
        list(in_order(eval, ["1", KILLED]))


def test_who_stops_early_leaves_no_helper(helped: None) -> None:
    results = in_order(eval, [PID] * 20)
    next(results)
    assert helpers()
    results.close()
    assert not helpers()
