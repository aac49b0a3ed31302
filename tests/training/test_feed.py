"""Batches cut ahead are those that would be cut when they are asked for."""

import threading
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from sim_models.samples import Sample, Share
from sim_models.training import feed as feed_module
from sim_models.training.feed import AHEAD, feeding
from sim_models.training.job import Job, lay_out

CPU = torch.device("cpu")


def numbered(step: int) -> Sample:
    return Sample(torch.full((1,), float(step)), torch.zeros(1), torch.zeros(1))


def cutter(job: Job, share: Share) -> Callable[[int], Sample]:
    samples, training = lay_out(job).samples, job.training
    return lambda step: samples.batch(
        step, training.batch, training.crop_px, training.seed, share, "symmetries"
    )


@pytest.mark.parametrize("share", [Share(), Share(1, 2)])
@pytest.mark.parametrize("first", [0, 5])
def test_batches_are_bit_for_bit_those_cut_at_once(job: Job, share: Share, first: int) -> None:
    """From the start, and from the step at which a training is taken up again."""
    make, steps = cutter(job, share), range(first, first + 12)
    with feeding(make, steps, CPU) as feed:
        ahead = [feed.next() for _ in steps]
    for step, sample in zip(steps, ahead, strict=True):
        for one, other in zip(sample, make(step), strict=True):
            assert torch.equal(one, other)


def test_what_layers_draw_is_not_touched(job: Job) -> None:
    """Batches have generators of their own; else what a step draws would depend on when the next one is cut."""

    def drawn(steps: range) -> Tensor:
        torch.manual_seed(0)
        with feeding(cutter(job, Share()), steps, CPU) as feed:
            for _ in steps:
                feed.next()
            return torch.rand(4)

    assert torch.equal(drawn(range(0)), drawn(range(9)))


def test_they_are_cut_by_another_thread_and_not_all_at_once() -> None:
    cut: list[int] = []
    threads: set[int] = set()

    def make(step: int) -> Sample:
        cut.append(step)
        threads.add(threading.get_ident())
        return numbered(step)

    with feeding(make, range(100), CPU) as feed:
        assert [float(feed.next().input) for _ in range(3)] == [0.0, 1.0, 2.0]
    assert threading.get_ident() not in threads
    assert cut == list(range(len(cut)))
    assert len(cut) <= 3 + AHEAD


def test_the_steps_end() -> None:
    cut: list[int] = []
    with feeding(lambda step: cut.append(step) or numbered(step), range(2), CPU) as feed:  # type: ignore[func-returns-value]
        feed.next(), feed.next()
    assert cut == [0, 1]


def test_what_goes_wrong_while_cutting_is_told_at_its_step() -> None:
    def make(step: int) -> Sample:
        if step == 1:
            raise OSError("the disk is gone")
        return numbered(step)

    with feeding(make, range(5), CPU) as feed:
        feed.next()
        with pytest.raises(OSError, match="the disk is gone"):
            feed.next()


def test_waiting_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what the step waited for: here ten seconds by a clock that the cutting sets forward."""
    now = [0.0]
    monkeypatch.setattr(feed_module.time, "perf_counter", lambda: now[0])
    held = threading.Event()

    def make(step: int) -> Sample:
        if step == 1:
            held.wait(10)
            now[0] += 10.0
        return numbered(step)

    with feeding(make, range(2), CPU) as feed:
        feed.next()
        before = feed.waited
        threading.Timer(0.05, held.set).start()
        feed.next()
    assert feed.waited - before == pytest.approx(10.0)
