"""One thread that owns what no other thread may touch: a model and its arrays.

The owner is made, used and given up on that thread. Callers hand it jobs and wait for what comes of them: one value
(`run`), or events while they come (`stream`). Ctrl-C ends the running job at its next event, or wherever the job asks
`check`; the caller still gets every event until then, so that what was shown is what the job has done. While no job
waits, idle work goes on. Knows threads and functions: no model, no conversation, no MLX.
"""

import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, Queue, SimpleQueue
from types import FrameType, TracebackType
from typing import Any, Generic, Self, TypeVar

_TICK = 0.1  # seconds after which a wait looks for signals
_AHEAD = 64  # events of a job that may wait for their reader

Owner = TypeVar("Owner")
Value = TypeVar("Value")
Interrupted = Callable[[], bool]  # asked on the worker's thread: is there something better to do?


class InterruptedJob(BaseException):
    """Raised by `check` inside of a job that nobody waits for any more; like Ctrl-C no `Exception`."""


@dataclass(frozen=True)
class _End:
    """The last thing that comes out of a job: how it failed, if it did."""

    fault: BaseException | None = None


@dataclass
class _Job:
    """A job and its events on their way out."""

    body: Callable[[Any], Iterable[Any]]
    out: "SimpleQueue[Any]" = field(default_factory=SimpleQueue)
    room: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(_AHEAD - 1))
    stopped: bool = False
    interrupted: bool = False  # stopped by Ctrl-C

    def stop(self) -> None:
        """From any thread: the job should end."""
        self.stopped = True
        self.room.release()

    def next(self) -> Any:
        """From any thread: wait for the next event. Ctrl-C that comes just before a wait does not end it, so that it
        must not be a long one."""
        while True:
            with suppress(Empty):
                return self.out.get(timeout=_TICK)

    def put(self, event: object) -> bool:
        """On the worker's thread: hand on an event and wait until there is room for another; False if it should end."""
        self.out.put(event)
        self.room.acquire()
        return not self.stopped


class Worker(Generic[Owner]):
    """The thread. `owner` makes what it owns, `idle(owner, interrupted)` is called after each job and should return as
    soon as `interrupted()` is true. A context manager: entered, the owner exists; left, it has been given up.

    What a job or the making of the owner raises, its caller gets, with the traceback. What idle work raises, the next
    caller gets.
    """

    def __init__(
        self,
        owner: Callable[["Worker[Owner]"], AbstractContextManager[Owner]],
        idle: Callable[[Owner, Interrupted], None] = lambda owner, interrupted: None,
    ) -> None:
        self._owner, self._idle = owner, idle
        self._jobs: Queue[_Job | None] = Queue(maxsize=1)
        self._current = _Job(lambda owner: ())  # making the owner is the first job
        self._closing = False
        self._fault: BaseException | None = None  # of idle work
        self._thread = threading.Thread(target=self._main, name="model")

    def __enter__(self) -> Self:
        self._thread.start()
        made = False
        try:
            for _ in _events(self._current):
                pass
            made = True
        finally:
            if not made:
                self.close()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        if kind is None:
            self._raise_fault()

    def close(self) -> None:
        """End the running job or idle work, give up the owner, wait for the thread. A second call does nothing."""
        if self._closing:
            return
        self._closing = True
        self._current.stop()
        self._jobs.put(None)
        self._thread.join()
        _wait_for_end(self._thread)

    def check(self) -> None:
        """For long steps of a job: raises `InterruptedJob` if it was interrupted or the worker is closing."""
        if self._closing or self._current.stopped:
            raise InterruptedJob

    def run(self, job: Callable[[Owner], Value]) -> Value:
        """What `job` returns."""

        def body(owner: Owner) -> Iterator[Value]:
            yield job(owner)

        with closing(self.stream(body)) as values:
            return next(values)

    def stream(self, job: Callable[[Owner], Iterable[Value]]) -> Generator[Value, None, None]:
        """What `job` yields, while it goes on; the job begins with the first `next`.

        Ctrl-C ends the job; the events until then still come, and then KeyboardInterrupt. A second Ctrl-C is one at
        once. Closing the iterator ends the job as well. In any case, the job's own iterator is closed when this
        returns.
        """
        self._raise_fault()
        if self._closing:
            raise _closed()
        handed = _Job(job)
        try:
            self._jobs.put(handed)
            yield from _events(handed)
        finally:
            handed.stop()

    def _raise_fault(self) -> None:
        if self._fault is not None:
            fault, self._fault = self._fault, None
            raise fault

    def _main(self) -> None:
        made = self._current
        try:
            with self._owner(self) as owner:
                made.out.put(_End())
                while (job := self._jobs.get()) is not None:
                    self._do(job, owner)
                    del job  # what it holds of the owner must not outlive it
                    self._rest(owner)
        except InterruptedJob:
            made.out.put(_End())
        except BaseException as fault:  # noqa: BLE001 - goes to whoever waits for the owner, or leaves the worker
            self._fault = fault
            made.out.put(_End(fault))

    def _do(self, job: _Job, owner: Owner) -> None:
        self._current = job
        end = _End()
        try:
            if self._closing:
                raise _closed()
            if not job.stopped:
                _feed(job, owner)
        except InterruptedJob:
            pass
        except BaseException as fault:  # noqa: BLE001 - goes to the caller
            end = _End(fault)
        job.out.put(end)

    def _rest(self, owner: Owner) -> None:
        self._current = _Job(lambda owner: ())  # interrupted by nothing but a job that waits
        try:
            self._idle(owner, lambda: self._closing or not self._jobs.empty())
        except InterruptedJob:
            pass
        except BaseException as fault:  # noqa: BLE001 - goes to the next caller
            self._fault = fault


def _wait_for_end(thread: threading.Thread) -> None:
    """Until the system's thread has ended. Before Python 3.13, `join` returns a moment earlier; in that moment
    libraries free what they keep by thread, MLX its compiled functions, and the interpreter must still run."""
    while sys.version_info < (3, 13) and _runs(thread):
        time.sleep(0.001)


def _runs(thread: threading.Thread) -> bool:
    if Path("/proc/self/task").exists():
        return Path(f"/proc/self/task/{thread.native_id}").exists()
    assert thread.ident is not None, "only what was started is waited for"
    try:
        signal.pthread_kill(thread.ident, 0)  # macOS knows which threads there are, and tells without harm
    except ProcessLookupError:
        return False
    return True


def _closed() -> RuntimeError:
    return RuntimeError("the worker is closed")


def _feed(job: _Job, owner: object) -> None:
    """Hand on the events of a job until they end or none is wanted; its iterator is closed then."""
    events = iter(job.body(owner))
    try:
        for event in events:
            if not job.put(event):
                break
    finally:
        if isinstance(events, Generator):
            events.close()


def _events(job: _Job) -> Generator[Any, None, None]:
    """What comes out of a job, until its end; whatever ends this earlier ends the job, and waits for that."""
    ended = False
    try:
        with _interruptible(job):
            while not isinstance(event := job.next(), _End):
                yield event
                job.room.release()
        ended = True
        if event.fault is not None:
            raise event.fault
        if job.interrupted:
            raise KeyboardInterrupt
    finally:
        if not ended:
            job.stop()
            while not isinstance(job.next(), _End):
                pass


@contextmanager
def _interruptible(job: _Job) -> Iterator[None]:
    """The first Ctrl-C stops the job instead of its caller. Signals reach the main thread only."""
    usual = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(usual):
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, usual)
        job.interrupted = True
        job.stop()

    signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)
