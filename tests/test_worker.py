"""The thread that owns a model, driven by plain functions; once with the demo model."""

import threading
import traceback
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from gemma_mlx.worker import Interrupted, Worker
from tests.owned import WAIT, Owned, owner


def test_the_owner_is_made_used_and_given_up_on_one_thread() -> None:
    owned = Owned()
    with Worker(owner(owned)) as worker:
        assert worker.run(lambda mine: mine.note("used")) is None
        assert worker.run(lambda mine: len(mine.log)) == 2
    assert owned.log == ["made", "used", "given up"]
    assert owned.threads == {"model"}
    assert "model" not in {thread.name for thread in threading.enumerate()}


def test_events_come_while_the_job_goes_on() -> None:
    go_on = threading.Event()

    def job(owned: Owned) -> Iterator[int]:
        yield 1
        assert go_on.wait(WAIT)
        yield 2

    with Worker(owner(Owned())) as worker, closing(worker.stream(job)) as events:
        assert next(events) == 1
        go_on.set()
        assert list(events) == [2]


@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 1000])
def test_no_event_is_lost(count: int) -> None:
    with Worker(owner(Owned())) as worker:
        assert list(worker.stream(lambda owned: range(count))) == list(range(count))


def test_a_job_is_ahead_of_its_reader_by_a_bounded_number_of_events() -> None:
    made = []

    def job(owned: Owned) -> Iterator[int]:
        for number in range(10_000):
            made.append(number)
            yield number

    with Worker(owner(Owned())) as worker:
        with closing(worker.stream(job)) as events:
            assert next(events) == 0
        assert len(made) <= 70
        assert worker.run(lambda owned: "next") == "next"


def test_what_a_job_raises_reaches_its_caller_with_the_traceback() -> None:
    def culprit(owned: Owned) -> int:
        raise LookupError("here")

    with Worker(owner(Owned())) as worker:
        with pytest.raises(LookupError, match="here") as caught:
            worker.run(culprit)
        assert "culprit" in "".join(traceback.format_tb(caught.value.__traceback__))
        assert worker.run(lambda owned: 1) == 1


def test_events_before_the_fault_still_come() -> None:
    def job(owned: Owned) -> Iterator[int]:
        yield 1
        raise KeyboardInterrupt

    with Worker(owner(Owned())) as worker:
        events = worker.stream(job)
        assert next(events) == 1
        with pytest.raises(KeyboardInterrupt):
            next(events)


def test_idle_work_follows_every_job_and_yields_to_the_next() -> None:
    resting = threading.Event()

    def idle(owned: Owned, interrupted: Interrupted) -> None:
        owned.note("rests")
        resting.set()
        while not interrupted():
            pass
        owned.note("yields")

    owned = Owned()
    with Worker(owner(owned), idle) as worker:
        for _ in range(2):
            resting.clear()
            worker.run(lambda mine: mine.note("job"))
            assert resting.wait(WAIT)
    assert owned.log == ["made", *["job", "rests", "yields"] * 2, "given up"]


def test_what_idle_work_raises_reaches_the_next_caller() -> None:
    rested = threading.Event()

    def idle(owned: Owned, interrupted: Interrupted) -> None:
        if not rested.is_set():
            rested.set()
            raise LookupError("idle")

    with Worker(owner(Owned()), idle) as worker:
        worker.run(lambda owned: 1)
        assert rested.wait(WAIT)
        with pytest.raises(LookupError, match="idle"):
            while True:  # the fault is noted just after the event
                worker.run(lambda owned: 1)
        assert worker.run(lambda owned: 2) == 2


def test_what_the_last_idle_work_raises_is_not_lost() -> None:
    def idle(owned: Owned, interrupted: Interrupted) -> None:
        while not interrupted():
            pass
        raise LookupError("idle")

    with pytest.raises(LookupError, match="idle"), Worker(owner(Owned()), idle) as worker:
        worker.run(lambda owned: 1)


def test_an_owner_that_cannot_be_made_is_the_fault_of_entering() -> None:
    @contextmanager
    def own(worker: Worker[int]) -> Iterator[int]:
        raise LookupError("no model")
        yield 1

    with pytest.raises(LookupError, match="no model"), Worker(own):
        pass
    assert "model" not in {thread.name for thread in threading.enumerate()}


def test_an_owner_that_cannot_be_given_up_is_the_fault_of_leaving() -> None:
    @contextmanager
    def own(worker: Worker[int]) -> Iterator[int]:
        yield 1
        raise LookupError("stuck")

    with pytest.raises(LookupError, match="stuck"), Worker(own):
        pass


def test_several_callers_take_turns() -> None:
    found: list[list[int]] = []
    with Worker(owner(Owned())) as worker:

        def call(number: int) -> None:
            found.append(list(worker.stream(lambda owned: [number] * 200)))

        callers = [threading.Thread(target=call, args=(number,)) for number in range(5)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join(WAIT)
    assert sorted(found) == [[number] * 200 for number in range(5)]


def test_the_demo_answers_and_settles_on_the_thread() -> None:
    from gemma_mlx.chat import Chat
    from gemma_mlx.generation.events import Finished
    from gemma_mlx.generation.sampling import Sampler
    from gemma_mlx.loading import load

    @contextmanager
    def own(worker: Worker[Chat]) -> Iterator[Chat]:
        import mlx.core as mx

        yield Chat(load("demo"))
        mx.synchronize()  # a thread must not end while its stream works

    settled = threading.Event()

    def settle(chat: Chat, interrupted: Interrupted) -> None:
        chat.settle(interrupted)
        settled.set()

    with Worker(own, settle) as worker:
        cached = []
        for _ in range(2):
            settled.clear()
            *_, last = worker.stream(lambda chat: chat.reply("hello", Sampler(temperature=0)))
            assert isinstance(last, Finished)
            assert last.text.startswith("Hello")
            cached.append(last.usage.cached_tokens)
            assert settled.wait(WAIT)
    assert cached[1] > cached[0]
