"""A conversation: history, and the caches that have read it.

`add(part)` reads a picture or recording at once, `reply()` yields events, `settle()` re-reads the finished reply as
history renders it (without empty or old thoughts). What changes history changes nothing else: the next read goes back
to where it differs. History is rendered by the checkpoint's own template each time and compared with what the caches
hold, so no turn format is known here. Calls of tools are yielded, never executed.
"""

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import suppress
from copy import copy
from dataclasses import replace
from typing import Any, Literal

import mlx.core as mx

from gemma_mlx.context.context import Context, never
from gemma_mlx.conversation import history as turns
from gemma_mlx.conversation.answer import Answer, Ending
from gemma_mlx.conversation.boundaries import Boundaries
from gemma_mlx.conversation.excerpt import Excerpt, end_of_media, usage_of
from gemma_mlx.conversation.history import History
from gemma_mlx.conversation.options import ReplyOptions
from gemma_mlx.conversation.pace import Pace
from gemma_mlx.errors import InputError, MemoryPlanError
from gemma_mlx.generation.channels import ChannelStream, open_channel
from gemma_mlx.generation.events import Event, Notice
from gemma_mlx.generation.loop import DecodeOptions
from gemma_mlx.generation.sampling import Sampler
from gemma_mlx.inputs.message import Message, Part, Text, ToolCall
from gemma_mlx.inputs.prompt import Prompt
from gemma_mlx.loading import Gemma, checked_context
from gemma_mlx.memory.caches import snapshot_bytes
from gemma_mlx.memory.guard import Guard
from gemma_mlx.model.cache import SLACK

SETTLE_TOKENS = 64  # of a piece of settling: as long as the next input waits at most
WhenFull = Literal["stop", "drop"]
Keep = Callable[[History, tuple[Part, ...]], None]


class Chat:
    """One conversation with a loaded model. Not for use by several threads at once.

    `history`: the messages so far; `pending`: the user's open turn; `dropped`: how many of the oldest messages, after
    the system's, are no longer read because the context was full. `keep(history, pending)` is called before anything is
    read, and after each reply, whole or interrupted: what it stores survives a crash.
    """

    def __init__(
        self,
        gemma: Gemma,
        system: str | None = None,
        *,
        enable_thinking: bool = False,
        context: int | None = None,
        tools: Sequence[Mapping[str, Any]] = (),
        when_full: WhenFull = "stop",
    ) -> None:
        """`tools`: declarations with `name`, `description` and `parameters`, a JSON schema. `when_full`: raise
        `ContextError`, or no longer read the oldest turns."""
        self.gemma = gemma
        self.enable_thinking, self.tools, self.when_full = enable_thinking, tuple(tools), when_full
        knobs = gemma.plan.knobs
        limit = knobs.context if context is None else checked_context(gemma.config, context)
        # It must not know this chat: what refers to itself is freed late, and the next conversation needs the memory.
        guard = Guard(gemma.sizes, gemma.plan, lambda: mx.get_active_memory() - gemma.weights_bytes)
        marks = knobs.snapshots * snapshot_bytes(gemma.config.text_config, knobs.context, gemma.sizes.item)
        self.context = Context(gemma.model, limit, knobs.piece_tokens, marks, guard.admit)
        self.history: History = (Message.of("system", system),) if system else ()
        self.pending: tuple[Part, ...] = ()
        self.dropped = 0
        self.keep: Keep | None = None
        self._replying: Generator[Event] | None = None
        self._boundaries = Boundaries()
        self._notices: list[str] = []  # for the next reply
        self._retries = 0
        self._pace = Pace(gemma)

    @property
    def unanswered(self) -> tuple[ToolCall, ...]:
        """The calls that `respond` must answer before the model goes on."""
        return turns.unanswered(self.history)

    @property
    def n_tokens(self) -> int:
        """What was said and attached takes in the context, read or not."""
        messages = (*self.history, Message("user", self.pending)) if self.pending else self.history
        return self._excerpt.prompt(messages, reply=False).n_tokens if self._excerpt.reads(messages) else 0

    def add(self, part: Part, *, read: bool = True) -> None:
        """Add to the user's open turn; everything up to its last picture or recording is read now, if `read`, else by
        `read_ahead` or with the reply.

        Raises `ContextError` if it does not fit, and `InputError` if it cannot be placed; the turn is then as before.
        """
        self._end_reply()
        self._refuse_unanswered()
        pending = (*self.pending, part)
        if not isinstance(part, Text):
            prompt = self._open_turn(pending)
            self._tell(pending)
            if read:
                self.context.read(prompt, end_of_media(prompt), marks=[self._turn_start(prompt)])
        self.pending = pending

    def read_ahead(self, interrupted: Callable[[], bool] = never, back: int = 0) -> None:
        """Read the open turn up to its last picture or recording, if that was not done yet.

        Asks `interrupted` before each piece. `back`: this many positions before that end is one to come back to.
        Raises `ContextError` if it does not fit.
        """
        self._end_reply()
        if not all(isinstance(part, Text) for part in self.pending):
            prompt = self._open_turn(self.pending)
            end = end_of_media(prompt)
            if not self.context.holds(prompt, end):
                marks = [self._turn_start(prompt), *([end - back] if back else ())]
                self.context.read(prompt, end, interrupted, marks)

    def reply(
        self,
        text: str | None = None,
        sampler: Sampler | None = None,
        *,
        max_tokens: int = 1024,
        stop: str | Sequence[str] = (),
        draft_depth: int | None = None,
        loop_guard: bool = True,
    ) -> Generator[Event]:
        """Close the user's turn and answer it: notices, text and calls as they come, then one `Finished`.

        Without anything new from the user, the model goes on after the results of its calls, or answers the last
        message if that has no reply yet. `draft_depth`: drafts a round, 0 for none, None for as many as pay. Closing
        the iterator early, or an exception such as Ctrl-C, keeps the answer as far as it was yielded. What is asked of
        the chat next closes it as well.
        """
        self._end_reply()
        self._refuse_unanswered()
        parts = (*self.pending, Text(text)) if text is not None and text.strip() else self.pending
        if not parts and not (self.history and self.history[-1].role in ("user", "tool")):
            raise InputError("there is nothing to answer: give a prompt or an attachment")
        self._retries = 0 if parts else self._retries
        options = ReplyOptions(sampler, max_tokens, stop, draft_depth, loop_guard)
        return self._begin_reply(parts, options, self.history)

    def respond(self, call: ToolCall, result: str | Mapping[str, Any] | Sequence[Part]) -> None:
        """The result of a call, as text, as a mapping of JSON values, or as parts with pictures.

        Once every call has one, `reply()` goes on. Raises `InputError` for a call that does not wait for a result, or a
        result that the model cannot take, `ContextError` for one that does not fit: the call then waits for another.
        """
        self._end_reply()
        if call.id not in {each.id for each in self.unanswered}:
            raise InputError(f"no call {call.id!r} waits for a result: answer those in Chat.unanswered, each once")
        answered = (*self.history, turns.result_of(call, result))
        self._excerpt.fitting(answered, self.context.limit, 0 if self.when_full == "drop" else None, reply=True)
        self.history = answered

    def settle(self, interrupted: Callable[[], bool] = never) -> None:
        """Read the conversation as history renders it, so that the next turn begins where a cold prompt would.

        Asks `interrupted` before each small piece and leaves the rest to the next turn if it says so. What does not
        fit is left to the next turn as well, which tells.
        """
        self._end_reply()
        if not self._excerpt.reads(self.history):
            return
        prompt = self._excerpt.prompt(self.history, reply=False)
        if not turns.goes_on(self.history):
            self._boundaries.ends(self._excerpt, self.history, prompt.n_tokens)
        beyond = len(self.context.keys) - prompt.n_tokens
        if self.context.holds(prompt) and (beyond == 0 or self.pending):
            return
        if prompt.n_tokens <= self.context.limit:
            with suppress(MemoryPlanError):
                self.context.read(prompt, None, interrupted, [prompt.n_tokens], SETTLE_TOKENS)

    def undo(self) -> Message | None:
        """Take back the user's open turn if there is one, else the last turn with its reply. Returns what the user
        had said; None if there is nothing to take back."""
        self._end_reply()
        if self.pending:
            taken = Message("user", self.pending)
            self._change(self.history)
            return taken
        if not turns.turn_starts(self.history):
            return None
        left = turns.before_last_turn(self.history)
        taken = self.history[len(left)]
        self._change(left)
        return taken

    def edit(self, text: str) -> None:
        """Open the user's last turn again, with another text and the same media; its reply is dropped. `reply()`
        answers it. Raises `InputError` if there is none, if another one is open, or if nothing is left of it."""
        self._end_reply()
        self._refuse_pending()
        left = turns.before_last_turn(self.history)
        parts = turns.with_text(self.history[len(left)], text)
        if not parts:
            raise InputError("the text is empty: give a prompt, or undo the turn")
        self._change(left, parts)

    def regenerate(
        self,
        sampler: Sampler | None = None,
        *,
        max_tokens: int = 1024,
        stop: str | Sequence[str] = (),
        draft_depth: int | None = None,
        loop_guard: bool = True,
    ) -> Generator[Event]:
        """Drop the last reply and make another, which draws with other numbers if a seed is given.

        Raises `InputError` if nothing was asked, or if the user's next turn is open.
        """
        self._end_reply()
        self._refuse_pending()
        asked = turns.asked(self.history)
        options = ReplyOptions(sampler, max_tokens, stop, draft_depth, loop_guard)
        self._retries += 1
        events = self._begin_reply((), options, asked)
        self._change(asked)
        return events

    def branch(self) -> "Chat":
        """Another conversation that begins like this one. Raises `MemoryPlanError` if its caches do not fit."""
        self._end_reply()
        other = copy(self)
        other.context, other.keep, other._notices = self.context.fork(), None, []
        other._pace = Pace(self.gemma)
        return other

    def _begin_reply(self, parts: tuple[Part, ...], options: ReplyOptions, history: History) -> Generator[Event]:
        decoding = options.decoding(self.gemma.sampler, turns.steps(history) + 2**32 * self._retries)
        self._replying = self._reply(parts, options, decoding)
        return self._replying

    def _reply(self, parts: tuple[Part, ...], options: ReplyOptions, decoding: DecodeOptions) -> Generator[Event]:
        started = time.perf_counter()
        asked = (*self.history, Message("user", parts)) if parts else self.history
        prompt = self._fitting(asked, min(options.max_tokens, self.context.limit // 4), reply=True)
        self._tell(parts)
        while self._notices:
            yield Notice(self._notices.pop(0))
        reply_start = self._boundaries.reply_start(self._excerpt, asked, prompt)
        marks = [*([self._turn_start(prompt)] if parts else ()), reply_start]
        read = self.context.read(prompt, marks=marks)
        drafting = self._pace.drafting(options.draft_depth)
        assert read.hidden is not None, "an uninterrupted read ends in a hidden state"
        self.history, self.pending = asked, ()
        stream = ChannelStream(self.gemma.tokenizer, options.stops, open_channel(prompt.ids, self.gemma.tokenizer))
        answer = Answer(stream, Ending(self.gemma.stop_ids, options.loop_guard), started, turns.next_call(self.history))
        room = max(1, self.context.limit - prompt.n_tokens)
        decoding = replace(decoding, max_tokens=min(options.max_tokens, room))
        tokens = self.context.decode(read.hidden, decoding, drafting)
        try:
            yield from answer.events(tokens)
        finally:
            tokens.close()
            if answer.message is not None:
                self.history = (*self.history, answer.message)
            self._tell(())
        yield answer.finished(usage_of(prompt, read.cached), self._pace.done())

    def _open_turn(self, parts: tuple[Part, ...]) -> Prompt:
        """The conversation with these parts of a turn that is not over yet."""
        return self._fitting((*self.history, Message("user", parts)), 0, reply=False)

    def _turn_start(self, prompt: Prompt) -> int:
        """Where the user's turn begins in its prompt."""
        return self._boundaries.turn_start(self._excerpt, self.history, prompt)

    def _change(self, history: History, pending: tuple[Part, ...] = ()) -> None:
        """Go on with a beginning of this history; what was dropped returns if nothing else is left."""
        self.history, self.pending = history, pending
        if not pending and turns.beginning(history) + self.dropped >= len(history):
            self.dropped = 0

    def _end_reply(self) -> None:
        """Two replies would write into the same caches: the open one ends where it is."""
        if self._replying is not None:
            self._replying.close()
            self._replying = None

    def _refuse_unanswered(self) -> None:
        if calls := self.unanswered:
            names = ", ".join(f"{call.name} ({call.id})" for call in calls)
            raise InputError(f"the model waits for the result of {names}: respond to it, or undo the turn")

    def _refuse_pending(self) -> None:
        if self.pending:
            raise InputError("the next turn is open already: reply to it, or undo it first")

    def _tell(self, pending: tuple[Part, ...]) -> None:
        if self.keep is not None:
            self.keep(self.history, pending)

    @property
    def _excerpt(self) -> Excerpt:
        return Excerpt(self.gemma.prompts, self.tools, self.enable_thinking, self.dropped)

    def _fitting(self, messages: History, room: int, *, reply: bool) -> Prompt:
        """The prompt, with room for so many tokens after it if the oldest turns may be dropped for that."""
        free = room if self.when_full == "drop" else None
        excerpt, prompt = self._excerpt.fitting(messages, self.context.limit, free, reply=reply)
        if excerpt.dropped > self.dropped:
            self.dropped = excerpt.dropped
            many = f"the {self.dropped} oldest messages are no longer read"
            self._notices.append(f"the context of {self.context.limit} tokens is full: {many}")
        if (lost := self.context.lost(prompt)) > SLACK:
            line = f"{lost} tokens are read again: nothing that was kept leads back to where they end"
            self._notices += [] if line in self._notices else [line]  # it is if the last try was ended
        return prompt
