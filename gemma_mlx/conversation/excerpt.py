"""What of a conversation the model is given to read: messages as one prompt, within the context.

Rendered by the checkpoint's own template; where turns and replies begin is found by comparing two renderings, so no
turn format is known here. Knows messages and prompts: not caches or models.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from gemma_mlx.context.context import common_prefix, keys_of
from gemma_mlx.conversation import history as turns
from gemma_mlx.conversation.history import History
from gemma_mlx.errors import ContextError
from gemma_mlx.generation.events import Usage
from gemma_mlx.inputs.message import Message
from gemma_mlx.inputs.prompt import Prompt, PromptBuilder


@dataclass(frozen=True)
class Excerpt:
    """How a conversation is rendered. `dropped`: how many of the oldest messages, after the system's, are left out."""

    builder: PromptBuilder
    tools: tuple[Mapping[str, Any], ...]
    enable_thinking: bool
    dropped: int

    def reads(self, history: History) -> bool:
        """Whether there is anything to render: templates do not take nothing."""
        return bool(turns.as_read(history, self.dropped))

    def prompt(self, history: History, *, reply: bool) -> Prompt:
        """The conversation, and with `reply` what makes the model speak. Raises `InputError`: see `PromptBuilder`."""
        messages = turns.as_read(history, self.dropped)
        return self.builder.build(
            messages, tools=self.tools, enable_thinking=self.enable_thinking, add_generation_prompt=reply
        )

    def fitting(self, history: History, limit: int, room: int | None, *, reply: bool) -> "tuple[Excerpt, Prompt]":
        """A prompt of at most `limit` tokens. With `room`, turns are dropped, the oldest first, where that many tokens
        would not be left: until half of the context is free, so that the turns to come need not do it again.

        Raises `ContextError` if it does not fit.
        """
        excerpt, prompt = self, self.prompt(history, reply=reply)
        if room is not None and prompt.n_tokens > limit - room:
            while prompt.n_tokens > limit // 2:
                dropped = turns.without_oldest_turn(history, excerpt.dropped)
                if dropped is None:
                    break
                excerpt = replace(excerpt, dropped=dropped)
                prompt = excerpt.prompt(history, reply=reply)
        if prompt.n_tokens <= limit:
            return excerpt, prompt
        held = f"is {prompt.n_tokens} tokens long, the context holds {limit}"
        if turns.without_oldest_turn(history, excerpt.dropped) is None:
            raise ContextError(f"the prompt {held}: shorten it, attach less, or raise --context")
        ways = "start a new one, undo a turn, let the oldest turns go, or raise --context"
        raise ContextError(f"the conversation {held}: {ways}")

    def end(self, history: History, prompt: Prompt) -> int:
        """Where `history` ends in the prompt of a longer one."""
        if not self.reads(history):
            return 0
        return common_prefix(keys_of(prompt.segments), keys_of(self.prompt(history, reply=False).segments))

    def reply_start(self, asked: History, prompt: Prompt) -> int:
        """Where the reply to a prompt begins in history: the prompt may go on with a thought that history drops."""
        return self.end((*asked, Message.of("assistant", "…")), prompt)


def usage_of(prompt: Prompt, cached: int) -> Usage:
    """What a prompt counts, `cached` of it read before."""
    return Usage(prompt.n_tokens, prompt.count("image"), prompt.count("audio"), prompt.count("video"), cached)


def end_of_media(prompt: Prompt) -> int:
    """One past the last position that a picture or recording fills."""
    end = at = 0
    for segment in prompt.segments:
        at += len(segment.ids)
        if segment.features is not None:
            end = at
    return end
