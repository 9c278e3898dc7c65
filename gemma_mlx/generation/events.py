"""What generation yields: tokens inside, text, calls and an end outside. Values only."""

from dataclasses import dataclass, field
from typing import Literal

from gemma_mlx.inputs.message import ToolCall

Channel = Literal["answer", "thought"]
FinishReason = Literal["stop", "length", "memory", "tool_calls", "loop"]


@dataclass(frozen=True)
class Token:
    """One generated id; `logprob` (natural log, after suppression, before sampling filters) only if asked for."""

    id: int
    logprob: float | None = None


@dataclass(frozen=True)
class TextDelta:
    """New text, whole characters only. `thought` is what the model thinks before it answers."""

    text: str
    channel: Channel = "answer"


@dataclass(frozen=True)
class BadCall:
    """A tool call that cannot be read: its text as generated, without markers, and what is wrong with it."""

    raw: str
    fault: str


@dataclass(frozen=True)
class Notice:
    """One line that the person should see beside the answer: what is read again, what was dropped."""

    text: str


@dataclass(frozen=True)
class Usage:
    """Counts of tokens. `cached_tokens`: prompt tokens that were already read when the reply was asked for."""

    prompt_tokens: int = 0
    image_tokens: int = 0
    audio_tokens: int = 0
    video_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True)
class Timing:
    """Seconds and tokens per second. `ttft_s`: from asking for the reply to its first token."""

    ttft_s: float = 0.0
    prefill_tok_s: float = 0.0
    decode_tok_s: float = 0.0


@dataclass(frozen=True)
class Draft:
    """What drafting came to: rounds with drafts, drafts proposed, drafts accepted."""

    rounds: int = 0
    drafted: int = 0
    accepted: int = 0


@dataclass(frozen=True)
class Finished:
    """The end of a reply. `tokens`: generated ids without the stop token; `thinking` None without a thought; `notice`:
    what keeps the reply from going on, if it ended for want of memory or in a loop; `calls`: what the model wants to
    have called before it goes on, with the reason "tool_calls"."""

    reason: FinishReason
    text: str
    thinking: str | None = None
    tokens: tuple[int, ...] = ()
    usage: Usage = field(default_factory=Usage)
    timing: Timing = field(default_factory=Timing)
    draft: Draft = field(default_factory=Draft)
    calls: tuple[ToolCall, ...] = ()
    notice: str | None = None


Event = TextDelta | ToolCall | BadCall | Notice | Finished
