"""What a conversation has read, in words.

Knows chats: not sessions or files.
"""

from typing import TYPE_CHECKING

from gemma_mlx.conversation import history as turns
from gemma_mlx.inputs.film import by_file
from gemma_mlx.inputs.message import Audio, Image, Video
from gemma_mlx.terminal.words import count

if TYPE_CHECKING:
    from gemma_mlx.chat import Chat, WhenFull


def overview(chat: "Chat", when_full: "WhenFull") -> str:
    """A few lines."""
    used, limit = len(chat.context.keys), chat.context.limit
    parts = [part for message in chat.history for part in message.parts] + [*chat.pending]
    attached = by_file(parts)
    counts = {
        "picture": sum(isinstance(part, Image) for part in parts),
        "recording": sum(all(isinstance(part, Audio) for part in group) for group in attached),
        "video": sum(any(isinstance(part, Video) for part in group) for group in attached),
    }
    held = [
        count(len(turns.turn_starts(chat.history)), "turn"),
        *(count(number, name) for name, number in counts.items() if number),
    ]
    lines = [f"{used:,} of {limit:,} tokens are read ({used / limit:.0%}): {', '.join(held)}"]
    if chat.dropped:
        lines.append(f"no longer read: the oldest {count(chat.dropped, 'message')}")
    if when_full == "drop":
        lines.append("once it is full, the oldest turns are dropped (/context stop: nothing more is read)")
    else:
        lines.append("once it is full, nothing more is read (/context drop: the oldest turns are dropped)")
    return "\n".join(lines)
