"""One reply while it is generated: tokens in, events out, and what it comes to.

Knows tokens, text and calls: not prompts, caches or history.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from gemma_mlx.errors import MemoryPlanError
from gemma_mlx.generation.channels import ChannelStream
from gemma_mlx.generation.events import Draft, Event, Finished, FinishReason, Timing, Token, Usage
from gemma_mlx.generation.repetition import LoopGuard
from gemma_mlx.inputs.message import Message, Text, ToolCall

HELD_UP = 0.25
"""Seconds between two events after which the reader, not the model, was slow: an answer is held until it is wanted."""


@dataclass(frozen=True)
class Ending:
    """What ends a reply: `stop_ids`, and with `loop_guard` going round in circles."""

    stop_ids: frozenset[int]
    loop_guard: bool = True


class Answer:
    """Collects one reply. Its calls are numbered from `first_call`; `started`: `time.perf_counter()` when it was asked
    for."""

    def __init__(self, stream: ChannelStream, ending: Ending, started: float, first_call: int = 1) -> None:
        self.stream, self.ending, self.started = stream, ending, started
        self.tokens: list[int] = []
        self.reason: FinishReason = "length"
        self.notice: str | None = None
        self._guard = LoopGuard() if ending.loop_guard else None
        self._next_call = first_call
        self._calls: list[ToolCall] = []
        self._received = 0  # tokens, the stop token included
        self._first_at = self._last_at = started
        self._held_up = 0.0  # seconds in which nobody asked for the next event

    @property
    def thinking(self) -> str | None:
        return self.stream.text("thought").strip() or None

    @property
    def calls(self) -> tuple[ToolCall, ...]:
        """What is to be called: nothing before the reply has ended by itself."""
        return tuple(self._calls) if self.reason == "tool_calls" else ()

    @property
    def message(self) -> Message | None:
        """The reply as history keeps it, as far as it was shown; None if it says nothing.

        A call that cannot be read is text, so that the person and the model see what went wrong.
        """
        raw = [bad.raw for bad in self.stream.bad]
        said = self.stream.text()
        text = "\n".join([said, *raw] if said.strip() else raw)
        if not (text.strip() or self.calls):
            return None
        return Message("assistant", (Text(text),) if text.strip() else (), self.thinking, self.calls)

    def events(self, tokens: Iterator[Token]) -> Iterator[Event]:
        """Text and calls of the tokens up to the first that stops, or as far as memory goes."""
        try:
            for token in tokens:
                self._clock()
                if token.id in self.ending.stop_ids:
                    self.reason = "stop"
                    break
                self.tokens.append(token.id)
                for event in self._numbered(self.stream.push(token.id)):
                    handed = time.perf_counter()
                    yield event
                    if (away := time.perf_counter() - handed) > HELD_UP:
                        self._held_up += away
                if self._ends(token.id):
                    break
        except MemoryPlanError as fault:
            self.reason, self.notice = "memory", str(fault)
        yield from self._numbered(self.stream.finish())
        if self._calls and self.reason == "stop" and not self.stream.stopped:
            self.reason = "tool_calls"

    def finished(self, usage: Usage, draft: Draft) -> Finished:
        """The reply as a whole, with its timing."""
        ttft, decoding = self._first_at - self.started, self._last_at - self._first_at
        read = usage.prompt_tokens - usage.cached_tokens
        return Finished(
            reason=self.reason,
            text=self.stream.text(),
            thinking=self.thinking,
            tokens=tuple(self.tokens),
            usage=replace(usage, completion_tokens=len(self.tokens)),
            timing=Timing(ttft, read / ttft if ttft else 0.0, (self._received - 1) / decoding if decoding else 0.0),
            draft=draft,
            calls=self.calls,
            notice=self.notice,
        )

    def _clock(self) -> None:
        self._last_at = time.perf_counter() - self._held_up
        self._received += 1
        if self._received == 1:
            self._first_at = self._last_at

    def _ends(self, token: int) -> bool:
        if self.stream.stopped:
            self.reason = "stop"
            return True
        if self._guard is not None and (loop := self._guard.push(token, self.stream.channel)):
            self.reason, self.notice = "loop", f"the reply repeats itself: {loop}"
            return True
        return False

    def _numbered(self, events: Sequence[Event]) -> Iterator[Event]:
        for event in events:
            if isinstance(event, ToolCall):
                event = replace(event, id=f"call-{self._next_call}")
                self._next_call += 1
                self._calls.append(event)
            yield event
