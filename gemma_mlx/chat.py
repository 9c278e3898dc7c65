"""A conversation: history, and the caches that have read it.

`add(part)` reads a picture or recording at once, `reply()` yields events, `settle()` re-reads the finished reply as
history renders it (without empty or old thoughts). The history is rendered by the checkpoint's own template each time
and compared with what the caches hold, so no turn format is known here.
"""

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace

from gemma_mlx.context import Context, keys_of
from gemma_mlx.errors import InputError
from gemma_mlx.generation.events import Event, Finished, FinishReason, Timing, Token, Usage
from gemma_mlx.generation.loop import DecodeOptions
from gemma_mlx.generation.sampling import Sampler
from gemma_mlx.generation.text import TextStream
from gemma_mlx.inputs.message import Message, Part, Text
from gemma_mlx.inputs.prompt import Prompt
from gemma_mlx.loading import Gemma


class Chat:
    """One conversation with a loaded model. Not for use by several threads at once."""

    def __init__(
        self, gemma: Gemma, system: str | None = None, *, enable_thinking: bool = False, context: int | None = None
    ) -> None:
        self.gemma = gemma
        self.enable_thinking = enable_thinking
        self.context = Context(gemma.model, context or gemma.context)
        self.history: list[Message] = [Message.of("system", system)] if system else []
        self.pending: tuple[Part, ...] = ()  # the user's open turn

    def add(self, part: Part) -> None:
        """Add to the user's open turn; everything up to its last picture or recording is read now.

        Raises `ContextError` if it does not fit, and `InputError` if it cannot be placed; the turn is then as before.
        """
        pending = (*self.pending, part)
        if not isinstance(part, Text):
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

        Closing the iterator early, or an exception such as Ctrl-C, keeps the answer as far as it was yielded.
        """
        started = time.perf_counter()
        parts = (*self.pending, Text(text)) if text is not None and text.strip() else self.pending
        if not parts:
            raise InputError("there is nothing to answer: give a prompt or an attachment")
        asked = [*self.history, Message("user", parts)]
        prompt = self._prompt(asked, reply=True)
        boundary = self._reply_start(asked, prompt)
        read = self.context.read(prompt, stop=boundary)
        self.context.mark()
        cached = read.cached
        if boundary < prompt.n_tokens:
            read = self.context.read(prompt)
        assert read.hidden is not None, "an uninterrupted read ends in a hidden state"
        self.history, self.pending = asked, ()
        answer = _Answer(TextStream(self.gemma.tokenizer, stop), started)
        room = self.context.limit - prompt.n_tokens
        options = DecodeOptions(self._sampler(sampler), max(1, min(max_tokens, room)))
        tokens = self.context.decode(read.hidden, options)
        try:
            yield from answer.events(tokens, self.gemma.stop_ids)
        finally:
            tokens.close()
            if answer.stream.text():
                thinking = answer.stream.text("thought") or None
                self.history.append(Message("assistant", (Text(answer.stream.text()),), thinking))
        yield answer.finished(_usage(prompt, cached))
        self.settle()

    def settle(self, interrupted: Callable[[], bool] = lambda: False) -> None:
        """Read the conversation as history renders it, so that the next turn begins where a cold prompt would.

        Asks `interrupted` between pieces and leaves the rest to the next turn if it says so.
        """
        if not self.history:
            return
        prompt = self._prompt(self.history, reply=False)
        if prompt.n_tokens <= self.context.limit:  # a full context is the next turn's fault, not this answer's
            self.context.read(prompt, interrupted=interrupted)

    def _sampler(self, chosen: Sampler | None) -> Sampler:
        """The caller's settings; what the checkpoint suppresses is suppressed with any of them."""
        default = self.gemma.sampler
        if chosen is None:
            return default
        return replace(chosen, suppress_tokens=chosen.suppress_tokens + default.suppress_tokens)

    def _prompt(self, messages: Sequence[Message], *, reply: bool) -> Prompt:
        # Thoughts are shown, never read again: the format strips them as soon as the next turn begins.
        stripped = [replace(message, thinking=None) for message in messages]
        return self.gemma.prompts.build(stripped, enable_thinking=self.enable_thinking, add_generation_prompt=reply)

    def _reply_start(self, asked: Sequence[Message], prompt: Prompt) -> int:
        """Where a reply begins in history: the generation prompt may go on with a thought that history drops."""
        answered = keys_of(self._prompt([*asked, Message.of("assistant", "…")], reply=False).segments)
        keys = keys_of(prompt.segments)
        return next((i for i, (a, b) in enumerate(zip(keys, answered, strict=False)) if a != b), len(keys))


class _Answer:
    """Collects one reply while it is yielded."""

    def __init__(self, stream: TextStream, started: float) -> None:
        self.stream, self.started = stream, started
        self.tokens: list[int] = []
        self.reason: FinishReason = "length"
        self.first_at = self.last_at = started

    def events(self, tokens: Iterator[Token], stop_ids: frozenset[int]) -> Iterator[Event]:
        for token in tokens:
            self.last_at = time.perf_counter()
            self.first_at = self.first_at if self.tokens else self.last_at
            if token.id in stop_ids:
                self.reason = "stop"
                break
            self.tokens.append(token.id)
            yield from self.stream.push(token.id)
            if self.stream.stopped:
                self.reason = "stop"
                break
        yield from self.stream.finish()

    def finished(self, usage: Usage) -> Finished:
        ttft, decoding = self.first_at - self.started, self.last_at - self.first_at
        read = usage.prompt_tokens - usage.cached_tokens
        return Finished(
            reason=self.reason,
            text=self.stream.text(),
            thinking=self.stream.text("thought") or None,
            tokens=tuple(self.tokens),
            usage=replace(usage, completion_tokens=len(self.tokens)),
            timing=Timing(ttft, read / ttft if ttft else 0.0, (len(self.tokens) - 1) / decoding if decoding else 0.0),
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
