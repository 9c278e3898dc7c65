"""An hour beside a microphone in some minutes: `python -m tests.live.hour --minutes 60 --out result.jsonl`.

A script of speech, pauses, false starts, noise, faults of the device and typed lines is played to the program's own
listener, session, worker and loop, with the demo model, in a time that passes as fast as the model follows. Fails where
a sample is lost that nobody is told of, where the conversation is not what a cold one would be, where something waits
too long, and where memory, threads or open files grow. What a device, a voice and a terminal are like is not part of
it. Memory is what is held once both allocators, MLX's and C's, gave back what they keep for later. Prints one line
of results.
"""

import argparse
import ctypes
import faulthandler
import gc
import os
import platform
import random
import re
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import mlx.core as mx

from gemma_mlx.benchmarks.record import append, busy, command, line
from gemma_mlx.capture.activity import Ear
from gemma_mlx.commands.session import Keeping, Session
from gemma_mlx.commands.speaking import Person as Heard
from gemma_mlx.live.listener import Listener
from gemma_mlx.loading import load
from gemma_mlx.models import HOME_VARIABLE
from gemma_mlx.options import Settings
from gemma_mlx.worker import Worker
from tests.live.hour_person import Desk, Person, Talk, as_cold
from tests.live.hour_script import SETTLE, Ahead, Course, Hurry, Typed, course
from tests.live.hour_witness import Witness
from tests.live.simulation import RATE, Clock, FakeMicrophone, Loud

_LATE = 0.02  # seconds that a sleep may last too long on a machine with other work
_EXPECTED = ("turns", "withdrawn", "losses told", "typed", "spoken", "answers", "interrupted", "broken off")
_EXPECTED_LATER = ("turns dropped", "did not fit", "muted", "compared", "saved", "not saved", "returns seen")


@dataclass(frozen=True)
class Options:
    minutes: float
    seed: int = 0
    speed: float = 40.0  # times as fast as a clock while anything is done
    patience: float = 300.0  # seconds that anything may wait
    inbox: float = 15.0  # seconds of sound that may wait for the model
    context: int = 2000
    transcript: bool = False


@dataclass(frozen=True)
class Sample:
    """What the program holds at the beginning of a conversation, after so many minutes."""

    minute: float
    active: int
    anonymous: int  # of the process, where the system says it; what it moved to disk as well
    threads: int
    files: int


@dataclass
class Rehearsal:
    """Everything in one place; `fault` is the first one of any thread."""

    options: Options
    fault: BaseException | None = None
    samples: list[Sample] = field(default_factory=list)
    hurried: bool = False
    ahead: float = 3.0
    over: bool = False

    def __post_init__(self) -> None:
        self.clock = Clock()
        self.course = Course(course(self.options.seed, self.options.minutes), self._do)
        self.microphone = FakeMicrophone(self.course.scenes(), self.clock)
        most = round(self.options.inbox * RATE)
        self.witness = Witness(most, self.course, lambda: self.microphone.position)
        self.desk = Desk(self.witness, random.Random(self.options.seed + 1), broken_off=0.05)
        self.listener = Listener(self.microphone, Ear(Loud()), self.witness, clock=self.clock)
        self.played_at = self.paced_at = time.monotonic()

    def _do(self, step: Typed | Hurry | Ahead) -> None:
        """What the course wants of anything but the microphone."""
        match step:
            case Typed(line):
                self.desk.type(line)
            case Hurry(on):
                self.hurried = on
            case Ahead(seconds):
                self.ahead = seconds

    def play(self) -> None:
        """Listen to the whole course, then end the input. A thread of its own."""
        try:
            while not (self.over or self.microphone.over):
                self._wait()
                self.listener.step(0.1)
                self.played_at = time.monotonic()
            while not self.over and (self.witness.waiting or self.desk.waiting):
                time.sleep(0.01)
        except BaseException as fault:  # noqa: BLE001 - told by the main thread
            self.fault = fault
        self.desk.type(None)

    def _wait(self) -> None:
        """Let time pass no faster than the others can follow."""
        while not self.over and (self.desk.waiting > 2 or (not self.hurried and self.witness.backlog > self.ahead)):
            time.sleep(_LATE / 4)
        busy = self.desk.waiting or self.witness.waiting
        due = self.paced_at + self.microphone.block / RATE / self.options.speed if busy and not self.hurried else 0.0
        self.paced_at = max(due, time.monotonic() - _LATE)
        if due > time.monotonic() + _LATE:
            time.sleep(due - time.monotonic())

    def watch(self) -> None:
        """End the program with the stacks of all threads where nothing moves any more. A thread of its own."""
        while not self.over:
            time.sleep(0.2)
            since = {"the listener": self.played_at}
            since |= {"the model": self.witness.taken_at} if self.witness.waiting else {}
            since |= {"the person": self.desk.moved_at} if self.desk.waiting else {}
            if time.monotonic() - max(since.values()) > self.options.patience or (
                "the model" in since and time.monotonic() - since["the model"] > 2 * self.options.patience
            ):
                print(f"nothing moves after {self.clock.now:.1f} s: {since}, {self.desk.counts}", file=sys.stderr)
                faulthandler.dump_traceback(file=sys.stderr, all_threads=True)
                sys.stderr.flush()
                os._exit(70)

    def measured(self) -> Sample:
        gc.collect()
        mx.clear_cache()
        _give_back()
        files = len(os.listdir("/proc/self/fd" if Path("/proc/self/fd").exists() else "/dev/fd"))
        held = mx.get_active_memory(), _anonymous()
        return Sample(round(self.clock.now / 60, 2), *held, threading.active_count(), files)


def rehearse(options: Options) -> dict[str, Any]:
    """Live through it; figures. Raises where something is not as it must be."""
    plan = Rehearsal(options)
    settings = Settings(
        model="demo", context=str(options.context), image_tokens="70", max_tokens=16, temperature=0, seed=options.seed
    )
    prepared = settings.prepare()

    @contextmanager
    def own(worker: Worker[Session]) -> Iterator[Session]:
        yield Session(settings, prepared, load(prepared), Keeping(None, False, "drop"), worker.check)

    threads = [threading.Thread(target=plan.play, name="course"), threading.Thread(target=plan.watch, name="watch")]
    began = time.monotonic()
    with Worker(own, Session.rest) as worker:
        talk = Talk(worker, plan.desk, plan.listener, plan.clock)
        person = Person(talk, plan.desk, lambda what: _look(plan, worker, talk, what))
        heard = Heard(plan.desk.say, plan.desk.wake, options.transcript)
        worker.run(lambda session: session.listen(plan.witness, heard))
        for thread in threads:
            thread.start()
        try:
            assert person.run(), "the input ends the conversation"
            if plan.fault is not None:
                raise plan.fault
            worker.run(Session.leave)
        finally:
            plan.over = True
            plan.microphone.close()
    for thread in threads:
        thread.join()
    _judge(plan, talk)
    return _figures(plan, talk, time.monotonic() - began)


def _give_back() -> None:
    """What the C library keeps of memory that was freed: how much that is differs from minute to minute."""
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


def _anonymous() -> int:
    """Bytes that belong to this process alone; 0 where there is no /proc."""
    status = Path("/proc/self/status")
    text = status.read_text() if status.exists() else ""
    return 1024 * sum(int(size) for size in re.findall(r"^(?:RssAnon|VmSwap):\s+(\d+) kB", text, re.MULTILINE))


def _look(plan: Rehearsal, worker: Worker[Session], talk: Talk, what: str) -> None:
    """Compare the conversation, or begin another one and measure; what is said next is saved, or not, in turns."""
    if what == SETTLE:
        plan.desk.counts["compared"] += worker.run(as_cold)
        return

    def keep(session: Session, always: bool) -> None:
        session.keeping = replace(session.keeping, save_always=always)

    worker.run(lambda session: keep(session, False))
    talk.new()
    plan.samples.append(worker.run(lambda session: plan.measured()))
    saved = len(plan.samples) % 2 == 0
    plan.desk.counts["saved" if saved else "not saved"] += 1
    if saved:
        worker.run(lambda session: keep(session, True))
        talk.new()


def _judge(plan: Rehearsal, talk: Talk) -> None:
    """What must hold once all is over."""
    witness = plan.witness
    assert not witness.over, f"{len(witness.over)} turns were never answered"
    assert witness.lost == witness.lost_told, f"{witness.lost} samples were left out, {witness.lost_told} were told"
    assert not witness.untold or "earlier" in str(witness.untold), f"nobody was told of {witness.untold}"
    muted = [(round(on * RATE), min(plan.microphone.position, off * RATE)) for on, off in talk.muted]
    unheard = witness.unheard((first, round(last)) for first, last in muted)
    assert not unheard, f"nobody heard what was said from one of these samples to the other: {unheard[:5]}"
    assert len({(sample.threads, sample.files) for sample in plan.samples}) == 1, f"threads or files: {plan.samples}"
    plan.desk.counts["muted"] += len(talk.muted)


def _figures(plan: Rehearsal, talk: Talk, wall: float) -> dict[str, Any]:
    options, counts = plan.options, plan.desk.counts + plan.witness.counts
    warm = [sample for sample in plan.samples if sample.minute >= min(10, options.minutes / 3)] or plan.samples[-1:]
    grown = {name: _grown([getattr(sample, name) for sample in warm]) for name in ("active", "anonymous")}
    expected = (*_EXPECTED, *_EXPECTED_LATER) if options.minutes >= 30 else _EXPECTED[:1]
    return {
        "minutes": round(plan.clock.now / 60, 1),
        "wall_s": round(wall, 1),
        "seed": options.seed,
        "speech_s": round(sum(last - first for first, last in plan.course.spoken) / RATE, 1),
        "left_out_s": round(plan.witness.lost / RATE, 2),
        "counts": dict(sorted(counts.items())),
        "samples": [vars(sample) for sample in plan.samples],
        "grown": {name: round(value, 4) for name, value in grown.items()},
        "bars": {
            "memory flat within 2 %": all(value <= 0.02 for value in grown.values()),
            "everything happened": all(counts[name] > 0 for name in expected),
        },
    }


def _grown(held: list[int]) -> float:
    """The median of the last third over that of the first, less 1: single samples differ by some per cent."""
    third = -(-len(held) // 3)
    return statistics.median(held[-third:]) / max(1, statistics.median(held[:third])) - 1


def main() -> None:
    """Live through it and print a line of results; status 1 where a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--speed", type=float, default=Options.speed, help="times as fast as a clock, at most")
    parser.add_argument("--patience", type=float, default=Options.patience, help="seconds until nothing moves")
    parser.add_argument("--transcript", action="store_true", help="write down what was said")
    parser.add_argument("--out", type=Path, help="JSON lines file to append to")
    given = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    before = busy()
    with tempfile.TemporaryDirectory() as home:
        os.environ[HOME_VARIABLE] = home
        options = Options(given.minutes, given.seed, given.speed, given.patience, transcript=given.transcript)
        found = rehearse(options)
    shown = command("tests.live.hour", sys.argv[1:])
    append(given.out, line("live_hour", shown, {"load_before": before, **found}))
    sys.exit(not all(found["bars"].values()))


if __name__ == "__main__":
    main()
