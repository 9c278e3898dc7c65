"""How soon an answer begins after somebody spoke: live listening, on a model as slow as a Mac's.

    python -m gemma_mlx.benchmarks.live --speech recordings --peer-python python --out result.jsonl

A virtual microphone plays speech in real time to the thread that listens; the model's thread reads it meanwhile, each
pass held up as `throttle` says. What was heard of the longest utterance is then answered in two other ways: as if it
had been recorded first, at the same rate; and by mlx-vlm, which nothing holds up, from a file. The demo model in
float32, greedy, no drafter, each utterance in a conversation of its own. The last rounds are without the early close: a
turn is closed, and its answer begun, when it is certainly over. Rates are estimates for the 12B in 4 bits on an M1 and
an M4 with 16 GB. A line of results for each answer, and a summary.
"""

import argparse
import json
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from gemma_mlx.benchmarks.live_figures import Case, Measured, summary
from gemma_mlx.benchmarks.live_peer import Peer
from gemma_mlx.benchmarks.peer_speed import environment
from gemma_mlx.benchmarks.record import append, busy, command, line
from gemma_mlx.benchmarks.spoken import Player, Scene, recordings, scene, utterance
from gemma_mlx.benchmarks.throttle import Rate, throttled
from gemma_mlx.capture.activity import Ear, Kind, activity
from gemma_mlx.capture.vad import FRAME_SAMPLES, Timing
from gemma_mlx.chat import Chat
from gemma_mlx.generation.events import Finished, TextDelta
from gemma_mlx.generation.sampling import Sampler
from gemma_mlx.inputs.message import Audio
from gemma_mlx.live.hearing import Events, Hearing
from gemma_mlx.live.inbox import Closed, Inbox, Item, Paused, Resumed
from gemma_mlx.live.listener import Listener
from gemma_mlx.loading import Gemma, LoadOptions, load
from gemma_mlx.models import find_model
from gemma_mlx.worker import Worker

_WRITTEN = 6  # tokens of an answer
_PATIENCE = 10.0  # seconds after what is played in which a turn must be over
_TIMING = Timing()


@dataclass(frozen=True)
class Room:
    """A conversation that answers briefly."""

    chat: Chat

    def reply(self) -> Events:
        return self.chat.reply(None, Sampler(temperature=0), max_tokens=_WRITTEN, draft_depth=0)

    def tell(self, line: str) -> None:
        print(line, file=sys.stderr)


class Log(Inbox):
    """Notes when the first turn was over and how much of it was unread then; without `early` it hides pauses."""

    def __init__(self, chat: Chat, early: bool) -> None:
        super().__init__()
        self.decided: float | None = None
        self.unread = 0
        self._chat, self._early = chat, early

    def put(self, item: Item) -> None:
        if isinstance(item, Closed) and self.decided is None:
            self.decided = time.monotonic()
            held = [*self._chat.context.keys]  # the model's thread goes on changing the list
            self.unread = max(0, item.stop // FRAME_SAMPLES - sum(isinstance(key, tuple) for key in held))
        if self._early or not isinstance(item, Paused | Resumed):
            super().put(item)


class Desk:
    """What the model's thread owns: the model, and the turn that is being spoken."""

    def __init__(self, gemma: Gemma) -> None:
        self._gemma = gemma
        self._hearing: Hearing | None = None
        self._spoken: Callable[[], None] = lambda: None

    def listen(self, case: Case, spoken: Callable[[], None]) -> Log:
        """Hear a new conversation's first turn from now on; `spoken` is called when it is over."""
        room = self._room(case.rate)
        log = Log(room.chat, case.early)
        self._hearing, self._spoken = Hearing(room, log), spoken
        return log

    def rest(self, interrupted: Callable[[], bool]) -> None:
        """While nothing is asked for."""
        hearing = self._hearing
        while hearing is not None and not (hearing.closed or interrupted()):
            hearing.listen(interrupted)
            if hearing.closed:
                self._spoken()

    def answer(self) -> Events:
        """To the turn that is over."""
        assert self._hearing is not None, "somebody has spoken"
        yield from self._hearing.answer()

    def heard(self) -> tuple[Audio, ...]:
        """The recordings of the turn that was answered."""
        assert self._hearing is not None, "somebody has spoken"
        asked = next(each for each in self._hearing.room.chat.history if each.role == "user")
        return tuple(part for part in asked.parts if isinstance(part, Audio))

    def answer_recorded(self, heard: tuple[Audio, ...], rate: Rate | None) -> Events:
        """To recordings, in a new conversation."""
        room = self._room(rate)
        room.chat.pending = heard
        yield from room.reply()

    def _room(self, rate: Rate | None) -> Room:
        return Room(Chat(throttled(self._gemma, rate) if rate else self._gemma))


@contextmanager
def desk(worker: object) -> Iterator[Desk]:
    """The owner of the worker's thread."""
    yield Desk(load("demo", LoadOptions(dtype="float32", draft="off")))


def timed(events: Iterable[object]) -> tuple[float, Finished]:
    """When the first text came, or the end if there was none, and the end."""
    first = 0.0
    for event in events:
        if isinstance(event, TextDelta | Finished):
            first = first or time.monotonic()
        if isinstance(event, Finished):
            return first, event
    raise AssertionError("every answer ends")


@dataclass(frozen=True)
class Plan:
    """What is played. `late_rounds` are those without the early close."""

    lengths: tuple[float, ...]
    rates: tuple[Rate, ...]
    rounds: int
    late_rounds: int
    vad: Kind = "auto"


def speak(worker: Worker[Desk], played: Scene, ear: Ear, case: Case, number: int) -> Measured | None:
    """Play it and measure the answer; None if not all of it was one turn."""
    over = threading.Event()
    log = worker.run(lambda own: own.listen(case, over.set))
    player = Player(played.samples)
    with Listener(player, ear, log):
        if not over.wait(played.seconds + _PATIENCE):
            return None
        first, end = timed(worker.stream(Desk.answer))
    assert log.decided is not None, "the turn is over"
    silence = log.decided - player.when(played.end)
    if silence < 0:
        return None
    spoken, waited = played.speech_seconds, _TIMING.end_ms / 1000
    prompt = end.usage.prompt_tokens
    return Measured(case, number, spoken, first - log.decided, prompt, end.text, silence, waited, log.unread)


def read_later(worker: Worker[Desk], heard: tuple[Audio, ...], like: Measured) -> Measured:
    """Answer a recording at the same rate."""
    case = Case("recorded first", like.case.seconds, like.case.rate)
    asked = time.monotonic()
    first, end = timed(worker.stream(lambda own: own.answer_recorded(heard, case.rate)))
    return Measured(case, like.round, like.speech_s, first - asked, end.usage.prompt_tokens, end.text)


def ask_peer(peer: Peer, heard: tuple[Audio, ...], like: Measured) -> Measured:
    """Let mlx-vlm answer it."""
    case = Case("mlx-vlm", like.case.seconds, None)
    told = peer.answer(np.concatenate([part.samples for part in heard]))
    return Measured(case, like.round, like.speech_s, told.first_s, told.prompt_tokens, told.text)


def measure(
    worker: Worker[Desk], plan: Plan, said: Sequence[np.ndarray], peer: Peer | None
) -> Iterator[Measured | None]:
    """Round by round; None for what was not one turn. The first answer of each program warms up."""

    def heard_live(case: Case, number: int) -> Measured | None:
        played = scene(utterance(said, case.seconds, number), number)
        return speak(worker, played, Ear(activity(plan.vad), _TIMING), case, number)

    heard_live(Case("live", min(plan.lengths), plan.rates[0], True), 0)
    if peer is not None:
        peer.answer(utterance(said, max(plan.lengths), 0))
    for number in range(plan.rounds + plan.late_rounds):
        for rate, seconds in product(plan.rates, plan.lengths):
            case = Case("live", seconds, rate, early=number < plan.rounds)
            yield (found := heard_live(case, number))
            if found is not None and case.early and seconds == max(plan.lengths):
                heard = worker.run(Desk.heard)
                yield read_later(worker, heard, found)
                if peer is not None:
                    yield ask_peer(peer, heard, found)


def compare(plan: Plan, speech: Sequence[Path], peer_python: Path | None, out: Path | None) -> dict[str, Any]:
    """Measure everything, write a line for each answer, and sum it up."""
    found, spoiled, said = list[Measured](), 0, recordings(speech)
    with ExitStack() as stack:
        peer = None
        if peer_python is not None:
            peer = Peer(peer_python, find_model("demo"), Path(stack.enter_context(tempfile.TemporaryDirectory())))
            stack.callback(peer.close)
        worker = stack.enter_context(Worker(desk, Desk.rest))
        for each in measure(worker, plan, said, peer):
            if each is None:
                spoiled += 1
                print("left out: it was not heard as one turn", file=sys.stderr)
                continue
            found.append(each)
            print(json.dumps(each.fields), file=sys.stderr)
            if out is not None:
                with out.open("a") as file:
                    file.write(json.dumps({"benchmark": "live", **each.fields}) + "\n")
    left_out = [] if peer_python is not None else ["mlx-vlm: no --peer-python was given"]
    return {"left_out": left_out, "not_one_turn": spoiled, "recordings": len(said), **summary(found)}


def rate(text: str) -> Rate:
    """As typed."""
    prefill, decode = (float(number) for number in text.split(":"))
    if min(prefill, decode) <= 0:
        raise ValueError(text)
    return Rate(prefill, decode)


def main() -> None:
    """Measure; a line for each answer and one that sums up."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lengths", type=float, nargs="+", default=[2, 10, 29], help="of speech, in seconds")
    rates = [Rate(70, 8), Rate(130, 13)]
    parser.add_argument("--rates", type=rate, nargs="+", default=rates, help="tokens a second, PREFILL:DECODE")
    parser.add_argument("--rounds", type=int, default=6, help="each plays every length at every rate")
    parser.add_argument("--late-rounds", type=int, default=1, help="more of them, without the early close")
    parser.add_argument("--speech", type=Path, nargs="+", default=[], help="recordings, or directories with .wav files")
    parser.add_argument("--peer-python", type=Path, help="an interpreter with mlx-vlm; without, that is left out")
    parser.add_argument("--out", type=Path, help="JSON lines file to append to")
    parser.add_argument("--vad", choices=("auto", "silero", "energy"), default="auto", help="what tells speech")
    options = parser.parse_args()
    plan = Plan(tuple(options.lengths), tuple(options.rates), options.rounds, options.late_rounds, options.vad)
    before = busy()
    found = compare(plan, options.speech, options.peer_python, options.out)
    judge = type(activity(plan.vad)).__name__.lower()
    fields = {**environment(), "load_before": before, "voice_activity": judge, "silence_ms": _TIMING.end_ms, **found}
    append(options.out, line("live", command("gemma_mlx.benchmarks.live", sys.argv[1:]), fields))


if __name__ == "__main__":
    main()
