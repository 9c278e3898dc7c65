"""The line under the prompt: context used, speed, acceptance, model. Values and words only."""

from dataclasses import dataclass

from gemma_mlx.generation.events import Draft, Finished
from gemma_mlx.terminal.words import count


@dataclass(frozen=True)
class Status:
    """What the line says; `last`: how the last reply ended, if there was one; `saved_as`: the conversation's name."""

    model: str
    used: int  # positions of the context
    limit: int
    last: Finished | None = None
    saved_as: str | None = None


def line(status: Status, width: int) -> str:
    """The status in at most `width` characters: what is less important is left out first."""
    parts = [f"{status.used:,} of {status.limit:,} tokens"]
    if status.last is not None and status.last.timing.decode_tok_s:
        parts.append(f"{status.last.timing.decode_tok_s:.1f} tokens/s")
    if status.last is not None and (share := acceptance(status.last.draft)) is not None:
        parts.append(f"{share:.0%} of drafts accepted")
    parts += [part for part in (status.model, status.saved_as) if part]
    while len(text := " · ".join(parts)) > width and len(parts) > 1:
        parts.pop()
    return text[:width]


def acceptance(draft: Draft) -> float | None:
    """The share of drafts that were accepted, None without any."""
    return draft.accepted / draft.drafted if draft.drafted else None


def figures(last: Finished) -> str:
    """One reply in figures, a few lines."""
    usage, timing, draft = last.usage, last.timing, last.draft
    lines = [
        f"prompt   {usage.prompt_tokens:,} tokens, {usage.cached_tokens:,} of them read before",
        f"waited   {timing.ttft_s:.2f} s for the first token, reading {timing.prefill_tok_s:,.0f} tokens/s",
        f"answer   {usage.completion_tokens:,} tokens, {timing.decode_tok_s:.1f} tokens/s",
    ]
    share = acceptance(draft)
    if share is None:
        lines.append("drafts   none")
    else:
        lines.append(
            f"drafts   {draft.accepted:,} of {draft.drafted:,} accepted ({share:.0%}), {count(draft.rounds, 'round')}"
        )
    return "\n".join(lines)
