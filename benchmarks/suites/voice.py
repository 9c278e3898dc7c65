"""A turn that is spoken: how soon the first text comes after the end of speech, and what happened when.

A virtual microphone plays the package's own recording in real time to the program's own listener, as `live` does; the
model reads while it is played. Other programs take the same speech from a file, once it is over, and so does ours for
comparison; these run after the live turns, in alternation with each other. Needs no microphone.
"""

import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import mlx.core as mx

from gemma_mlx.benchmarks.live import Desk, timed
from gemma_mlx.benchmarks.live_figures import Case
from gemma_mlx.benchmarks.peers.link import Generated, Linked
from gemma_mlx.benchmarks.schema import OURS, Result
from gemma_mlx.benchmarks.spoken import BEFORE_SECONDS, Player, Scene, recordings, scene, utterance
from gemma_mlx.benchmarks.suites.bench import Bench, programs
from gemma_mlx.benchmarks.suites.media import write_sound
from gemma_mlx.benchmarks.throttle import Rate, Throttled
from gemma_mlx.capture.activity import Ear, activity
from gemma_mlx.device import memory_limits
from gemma_mlx.inputs.audio import SAMPLE_RATE
from gemma_mlx.live.listener import Listener
from gemma_mlx.loading import load
from gemma_mlx.model.cache import Caches
from gemma_mlx.model.gemma import GemmaModel
from gemma_mlx.model.masks import Block
from gemma_mlx.worker import Worker

LENGTHS, QUICK = (2, 10, 29), (2,)  # seconds
_PATIENCE = 20.0  # seconds after what is played in which a turn must be over
_TRIES = 3  # for each turn that counts: a pause may be heard as its end
_WRITTEN = 6  # tokens that another program writes


Pass = tuple[float, float, int]
"""When a pass of the model began and ended, in seconds, and its tokens."""


@dataclass(frozen=True)
class Turn:
    """Seconds from the beginning of speech: its end, when it was known to be over, and the first text."""

    spoken: float
    decided: float
    first: float
    unread: int
    passes: tuple[Pass, ...] = ()

    @property
    def timeline(self) -> list[dict[str, Any]]:
        spans = [("speaking", 0.0, self.spoken), ("silence", self.spoken, self.decided)]
        spans += [("prefill", start, stop) for start, stop, tokens in self.passes if tokens > 1 and stop > 0]
        spans += [("first text", self.first, self.first)]
        return [{"what": what, "from": round(start, 4), "to": round(stop, 4)} for what, start, stop in spans]


def voice(bench: Bench, wanted: frozenset[str]) -> Iterator[Result]:
    """Suite `voice`."""
    lengths = QUICK if bench.quick else LENGTHS
    live = dict[int, list[Turn]]()
    passes: list[Pass] = []

    @contextmanager
    def own(worker: object) -> Iterator[Desk]:
        with memory_limits(bench.prepared.plan, bench.prepared.weights_bytes):
            gemma = load(bench.prepared)
            yield Desk(replace(gemma, model=Noted(gemma.model, passes.append)))

    with Worker(own, Desk.rest) as worker:
        for seconds in lengths:
            bench.tell(f"voice: {seconds} s spoken, {bench.repetitions + 1} times in real time")
            turns = [_spoken(worker, seconds, number, passes) for number in range(bench.repetitions + 1)]
            live[seconds] = [turn for turn in turns[1:] if turn is not None]
            if not live[seconds]:
                bench.skip(f"voice, {seconds} s", "what was played was not heard as one turn")
    mx.clear_cache()  # other programs have processes of their own
    for seconds, heard in live.items():
        if heard:
            yield from _results(bench, seconds, heard)


def _results(bench: Bench, seconds: int, heard: list[Turn]) -> Iterator[Result]:
    details = {"timeline": heard[0].timeline, "unread_tokens": max(turn.unread for turn in heard)}
    waits = tuple(turn.first - turn.spoken for turn in heard)
    yield Result("voice", f"{seconds} s, from the end of speech", OURS, "s", waits, x=seconds, details=details)
    case = f"{seconds} s, after the turn is known to be over"
    yield Result("voice", case, OURS, "s", tuple(turn.first - turn.decided for turn in heard), x=seconds)
    if not bench.peers:
        return
    file = bench.folder / f"spoken {seconds}.wav"
    write_sound(file, seconds)
    with programs(bench, bench.settings()) as running:

        def take(linked: Linked) -> Generated:
            return linked.ask("", [file], _WRITTEN)

        found = running.alternate(take, len(heard))
    for name, runs in found.items():
        times = tuple(run.first for run in runs)
        yield Result("voice", f"{seconds} s, recorded first, then read", name, "s", times, x=seconds)


def _spoken(worker: Worker[Desk], seconds: int, number: int, passes: list[Pass]) -> Turn | None:
    """One turn, tried again if it was heard as several."""
    for attempt in range(_TRIES):
        played = scene(utterance(recordings([]), seconds, number), number + 100 * attempt)  # another noise
        if (turn := _turn(worker, played, passes)) is not None:
            return turn
    return None


def _turn(worker: Worker[Desk], played: Scene, passes: list[Pass]) -> Turn | None:
    over, case = threading.Event(), Case("live", played.speech_seconds, None, early=True)
    log = worker.run(lambda own: own.listen(case, over.set))
    player = Player(played.samples)
    passes.clear()
    with Listener(player, Ear(activity("auto")), log):
        if not over.wait(played.seconds + _PATIENCE):
            return None
        first, _ = timed(worker.stream(Desk.answer))
    assert log.decided is not None, "the turn is over"
    began = player.when(round(BEFORE_SECONDS * SAMPLE_RATE))
    if log.decided < player.when(played.end):
        return None
    read = tuple((start - began, stop - began, tokens) for start, stop, tokens in passes if start < first)
    return Turn(played.speech_seconds, log.decided - began, first - began, log.unread, read)


class Noted(Throttled):
    """The same model, held up by nothing; each pass is noted."""

    def __init__(self, model: GemmaModel, note: Callable[[Pass], None]) -> None:
        super().__init__(model, Rate(math.inf, math.inf))
        self._note = note

    def __call__(
        self, embeddings: mx.array, caches: Caches, blocks: Sequence[Block] = (), *, last: bool = False
    ) -> mx.array:
        began = time.monotonic()
        hidden = super().__call__(embeddings, caches, blocks, last=last)
        self._note((began, time.monotonic(), embeddings.shape[1]))
        return hidden
