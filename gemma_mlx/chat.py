"""A conversation: history, and the caches that have read it.

`add(part)` reads a picture or recording at once, `reply()` yields events, `settle()` re-reads the finished reply as
history renders it (without empty or old thoughts). The history is rendered by the checkpoint's own template each time
and compared with what the caches hold, so no turn format is known here.
"""

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace

import mlx.core as mx

from gemma_mlx.context import Context, common_prefix, keys_of
from gemma_mlx.errors import InputError, MemoryPlanError
from gemma_mlx.generation.events import Event, Finished, FinishReason, Timing, Token, Usage
from gemma_mlx.generation.loop import DecodeOptions
from gemma_mlx.generation.sampling import Sampler
from gemma_mlx.generation.text import TextStream
from gemma_mlx.inputs.message import Message, Part, Text
from gemma_mlx.inputs.prompt import Prompt
from gemma_mlx.loading import Gemma, checked_context
from gemma_mlx.memory.guard import Guard


class Chat:
    """One conversation with a loaded model. Not for use by several threads at once."""

    def __init__(
        self, gemma: Gemma, system: str | None = None, *, enable_thinking: bool = False, context: int | None = None
    ) -> None:
        self.gemma = gemma
        self.enable_thinking = enable_thinking
        knobs = gemma.plan.knobs
        limit = knobs.context if context is None else checked_context(gemma.config, context)
        # It must not know this chat: what refers to itself is freed late, and the next conversation needs the memory.
        guard = Guard(gemma.sizes, gemma.plan, lambda: mx.get_active_memory() - gemma.weights_bytes)
        self.context = Context(gemma.model, limit, knobs.piece_tokens, knobs.snapshots, guard.admit)
        self.history: list[Message] = [Message.of("system", system)] if system else []
        self.pending: tuple[Part, ...] = ()  # the user's open turn
        self._replying: Generator[Event] | None = None

    def add(self, part: Part, *, read: bool = True) -> None:
        """Add to the user's open turn; everything up to its last picture or recording is read now, if `read`.

        Raises `ContextError` if it does not fit, and `InputError` if it cannot be placed; the turn is then as before.
        """
        self._end_reply()
        pending = (*self.pending, part)
        if read and not isinstance(part, Text):
            prompt = self._prompt([*self.history, Message("user", pending)], reply=False)
            self.context.read(prompt, stop=_end_of_media(prompt))
        self.pending = pending

    def reply(
        self,
        text: str | None = None,
        sampler: Sampler | None = None,
        *,
        max_tokens: int = 1024,
        stop: Sequence[str] = (),
    ) -> Generator[Event]:
        """Close the user's turn and answer it: text as it comes, then one `Finished`, then settle.

        Closing the iterator early, or an exception such as Ctrl-C, keeps the answer as far as it was yielded. What is
        asked of the chat next closes it as well.
        """
        self._end_reply()
        parts = (*self.pending, Text(text)) if text is not None and text.strip() else self.pending
        if not parts:
            raise InputError("there is nothing to answer: give a prompt or an attachment")
        options = DecodeOptions(self._sampler(sampler), max_tokens)
        self._replying = self._reply(Message("user", parts), options, TextStream(self.gemma.tokenizer, stop))
        return self._replying

    def _reply(self, turn: Message, options: DecodeOptions, stream: TextStream) -> Generator[Event]:
        started = time.perf_counter()
        asked = [*self.history, turn]
        prompt = self._prompt(asked, reply=True)
        boundary = self._reply_start(asked, prompt)
        read = self.context.read(prompt, stop=boundary)
        self.context.mark()
        cached = read.cached
        if boundary < prompt.n_tokens:
            read = self.context.read(prompt)
        assert read.hidden is not None, "an uninterrupted read ends in a hidden state"
        self.history, self.pending = asked, ()
        answer = _Answer(stream, started)
        room = max(1, self.context.limit - prompt.n_tokens)
        tokens = self.context.decode(read.hidden, replace(options, max_tokens=min(options.max_tokens, room)))
        try:
            yield from answer.events(tokens, self.gemma.stop_ids)
        finally:
            tokens.close()
            if stream.text().strip():
                self.history.append(Message("assistant", (Text(stream.text()),), answer.thinking))
        yield answer.finished(_usage(prompt, cached))
        self._settle(lambda: False)

    def settle(self, interrupted: Callable[[], bool] = lambda: False) -> None:
        """Read the conversation as history renders it, so that the next turn begins where a cold prompt would.

        Asks `interrupted` between pieces and leaves the rest to the next turn if it says so.
        """
        self._end_reply()
        self._settle(interrupted)

    def _settle(self, interrupted: Callable[[], bool]) -> None:
        if not self.history:
            return
        prompt = self._prompt(self.history, reply=False)
        # What is full, the context or memory, is told by the next turn: this answer is whole.
        if prompt.n_tokens <= self.context.limit:
            with suppress(MemoryPlanError):
                self.context.read(prompt, interrupted=interrupted)

    def _end_reply(self) -> None:
        """Two replies would write into the same caches: the open one ends where it is."""
        if self._replying is not None:
            self._replying.close()
            self._replying = None

    def _sampler(self, chosen: Sampler | None) -> Sampler:
        """The caller's settings, also with what the checkpoint suppresses; a seed moves on by turns."""
        default = self.gemma.sampler
        if chosen is None:
            return default
        turn = sum(message.role == "user" for message in self.history)
        seed = None if chosen.seed is None else (chosen.seed + turn) % 2**64
        return replace(chosen, seed=seed, suppress_tokens=(*chosen.suppress_tokens, *default.suppress_tokens))

    def _prompt(self, messages: Sequence[Message], *, reply: bool) -> Prompt:
        # Thoughts are shown, never read again: the format strips them as soon as the next turn begins.
        stripped = [replace(message, thinking=None) for message in messages]
        return self.gemma.prompts.build(stripped, enable_thinking=self.enable_thinking, add_generation_prompt=reply)

    def _reply_start(self, asked: Sequence[Message], prompt: Prompt) -> int:
        """Where a reply begins in history: the generation prompt may go on with a thought that history drops."""
        answered = keys_of(self._prompt([*asked, Message.of("assistant", "…")], reply=False).segments)
        return common_prefix(keys_of(prompt.segments), answered)


class _Answer:
    """Collects one reply while it is yielded."""

    def __init__(self, stream: TextStream, started: float) -> None:
        self.stream, self.started = stream, started
        self.tokens: list[int] = []
        self.received = 0  # tokens, the stop token included
        self.reason: FinishReason = "length"
        self.notice: str | None = None
        self.first_at = self.last_at = started

    @property
    def thinking(self) -> str | None:
        return self.stream.text("thought").strip() or None

    def events(self, tokens: Iterator[Token], stop_ids: frozenset[int]) -> Iterator[Event]:
        """Text of the tokens up to the first that stops, or as far as memory goes."""
        try:
            yield from self._text(tokens, stop_ids)
        except MemoryPlanError as fault:
            self.reason, self.notice = "memory", str(fault)
        yield from self.stream.finish()

    def _text(self, tokens: Iterator[Token], stop_ids: frozenset[int]) -> Iterator[Event]:
        for token in tokens:
            self.last_at = time.perf_counter()
            self.received += 1
            if self.received == 1:
                self.first_at = self.last_at
            if token.id in stop_ids:
                self.reason = "stop"
                break
            self.tokens.append(token.id)
            yield from self.stream.push(token.id)
            if self.stream.stopped:
                self.reason = "stop"
                break

    def finished(self, usage: Usage) -> Finished:
        """The reply as a whole, with its timing."""
        ttft, decoding = self.first_at - self.started, self.last_at - self.first_at
        read = usage.prompt_tokens - usage.cached_tokens
        return Finished(
            reason=self.reason,
            notice=self.notice,
            text=self.stream.text(),
            thinking=self.thinking,
            tokens=tuple(self.tokens),
            usage=replace(usage, completion_tokens=len(self.tokens)),
            timing=Timing(ttft, read / ttft if ttft else 0.0, (self.received - 1) / decoding if decoding else 0.0),
        )


def _usage(prompt: Prompt, cached: int) -> Usage:
    return Usage(prompt.n_tokens, prompt.count("image"), prompt.count("audio"), prompt.count("video"), cached)


def _end_of_media(prompt: Prompt) -> int:
    """One past the last position that a picture or recording fills."""
    end = at = 0
    for segment in prompt.segments:
        at += len(segment.ids)
        if segment.features is not None:
            end = at
    return end
