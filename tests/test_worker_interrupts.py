"""Jobs that end early: Ctrl-C, readers that have left, workers that close."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from gemma_mlx.worker import Interrupted, InterruptedJob, Worker
from tests.owned import WAIT, Owned, owner


@pytest.mark.parametrize("taken", [1, 2, 64, 65, 66])
def test_an_interrupted_job_is_closed_before_the_caller_goes_on(taken: int) -> None:
    owned = Owned()

    def job(owned: Owned) -> Iterator[int]:
        try:
            yield from range(10_000)
        finally:
            owned.note("closed")

    held = job(owned)  # or the end of the last reference would close it
    with Worker(owner(owned)) as worker:
        with closing(worker.stream(lambda owned: held)) as events:
            for _ in range(taken):
                next(events)
        assert owned.log == ["made", "closed"]
        worker.run(lambda mine: mine.note("next"))
    assert owned.log == ["made", "closed", "next", "given up"]


def test_a_long_step_ends_at_its_next_check() -> None:
    begun = threading.Event()

    def job(owned: Owned) -> Iterator[int]:
        yield 0
        try:
            begun.set()
            while True:
                worker.check()
        finally:
            owned.note("closed")

    owned = Owned()
    with Worker(owner(owned)) as worker:
        with closing(worker.stream(job)) as events:
            next(events)
            assert begun.wait(WAIT)
        assert owned.log == ["made", "closed"]
        worker.run(lambda mine: worker.check())  # a new job is not interrupted by what ended the last


def test_ctrl_c_ends_the_job_and_loses_no_event() -> None:
    begun, given = threading.Event(), []

    def job(owned: Owned) -> Iterator[int]:
        try:
            for number in range(10_000_000):
                given.append(number)
                yield number
                begun.set()
        finally:
            owned.note("closed")

    def press() -> None:
        assert begun.wait(WAIT)
        os.kill(os.getpid(), signal.SIGINT)

    owned = Owned()
    shown = []
    with Worker(owner(owned)) as worker:
        threading.Thread(target=press).start()
        with pytest.raises(KeyboardInterrupt):
            for number in worker.stream(job):
                shown.append(number)
        assert owned.log == ["made", "closed"]
        assert shown == given
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)  # as ever while nothing runs


def test_a_second_ctrl_c_does_not_wait_for_the_job_to_notice() -> None:
    def job(owned: Owned) -> Iterator[int]:
        os.kill(os.getpid(), signal.SIGINT)
        while not job_stopped():
            pass
        os.kill(os.getpid(), signal.SIGINT)
        yield 1

    def job_stopped() -> bool:
        return worker._current.interrupted

    with Worker(owner(Owned())) as worker:
        with pytest.raises(KeyboardInterrupt):
            list(worker.stream(job))
        assert worker.run(lambda owned: 1) == 1


def test_idle_work_goes_on_after_an_interrupted_job() -> None:
    rested = threading.Event()

    def idle(owned: Owned, interrupted: Interrupted) -> None:
        worker.check()
        rested.set()

    with Worker(owner(Owned()), idle) as worker:
        with closing(worker.stream(lambda owned: iter(range(10_000)))) as events:
            next(events)
        assert rested.wait(WAIT)


def test_ctrl_c_while_the_owner_is_made() -> None:
    ended = []

    @contextmanager
    def own(worker: Worker[int]) -> Iterator[int]:
        try:
            threading.Timer(0.05, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
            while True:
                worker.check()
        except InterruptedJob:
            ended.append(True)
            raise
        yield 1

    with pytest.raises(KeyboardInterrupt), Worker(own):
        pass
    assert ended == [True]


def test_closing_in_the_middle_of_a_job_ends_it() -> None:
    owned = Owned()

    def job(owned: Owned) -> Iterator[int]:
        try:
            yield from range(10_000)
        finally:
            owned.note("closed")

    with Worker(owner(owned)) as worker:
        events = worker.stream(job)
        next(events)
    assert owned.log == ["made", "closed", "given up"]
    worker.close()
    with pytest.raises(RuntimeError, match="closed"):
        worker.run(lambda mine: 1)
