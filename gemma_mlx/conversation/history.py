"""What a conversation's messages say about its turns. Pure functions of tuples of messages.

A turn begins with a message of the user and ends before the next one; within it, the model may call tools, be answered
and go on. Knows messages: not models, tokens or caches.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from gemma_mlx.errors import InputError
from gemma_mlx.inputs.json_values import check_mapping
from gemma_mlx.inputs.message import Message, Part, Text, ToolCall

History = tuple[Message, ...]


def steps(history: History) -> int:
    """How often the model was asked to speak, or to go on."""
    return sum(message.role in ("user", "tool") for message in history)


def beginning(history: History) -> int:
    """Messages before the first turn: the system's, if there is one."""
    return int(bool(history) and history[0].role == "system")


def turn_starts(history: History) -> list[int]:
    """Index of the user's message in each turn."""
    return [index for index, message in enumerate(history) if message.role == "user"]


def asked(history: History) -> History:
    """All up to the user's last message: without the reply to it. Raises `InputError` if nothing was asked."""
    return history[: _last_turn(history) + 1]


def before_last_turn(history: History) -> History:
    """All before the user's last message. Raises `InputError` if nothing was asked."""
    return history[: _last_turn(history)]


def _last_turn(history: History) -> int:
    if not (found := turn_starts(history)):
        raise InputError("nothing was asked in this conversation yet: ask something first")
    return found[-1]


def with_text(message: Message, text: str) -> tuple[Part, ...]:
    """The parts of a message with its media and another text, which stands where the last text stood."""
    last = max((index for index, part in enumerate(message.parts) if isinstance(part, Text)), default=None)
    new = (Text(text),) if text.strip() else ()
    if last is None:
        return (*message.parts, *new)
    before, after = message.parts[:last], message.parts[last + 1 :]
    return (*_media(before), *new, *_media(after))


def _media(parts: tuple[Part, ...]) -> tuple[Part, ...]:
    return tuple(part for part in parts if not isinstance(part, Text))


def unanswered(history: History) -> tuple[ToolCall, ...]:
    """The calls that wait for a result."""
    answered = {message.answers for message in history if message.role == "tool"}
    return tuple(call for message in history for call in message.calls if call.id not in answered)


def goes_on(history: History) -> bool:
    """Whether the last turn is the model's to continue: it called tools, and has not answered since."""
    return bool(history) and (history[-1].role == "tool" or bool(history[-1].calls))


def next_call(history: History) -> int:
    """A number that no call of the conversation has in its id."""
    numbers = (call.id.rpartition("-")[2] for message in history for call in message.calls)
    return max((int(number) for number in numbers if number.isdecimal()), default=0) + 1


def as_read(history: History, dropped: int = 0) -> History:
    """What the model reads: without the `dropped` oldest messages of the turns, and without thoughts.

    Only a turn that goes on keeps its thoughts, until it is over.
    """
    start = beginning(history)
    left = history[:start] + history[start + dropped :]
    kept = turn_starts(left)[-1] if goes_on(left) else len(left)
    return tuple(replace(each, thinking=None) if index < kept else each for index, each in enumerate(left))


def without_oldest_turn(history: History, dropped: int) -> int | None:
    """`dropped` with the oldest turn that is read; None if that is the only one."""
    start = beginning(history)
    following = [index for index in turn_starts(history) if index > start + dropped]
    return following[0] - start if following else None


def result_of(call: ToolCall, result: str | Mapping[str, Any] | Sequence[Part]) -> Message:
    """The message that answers a call. Raises `InputError` for a mapping of other than JSON values, and for a sequence
    of other than parts."""
    if isinstance(result, Mapping):
        check_mapping(result, f"the result of {call.name}")
        return Message("tool", (), answers=call.id, value=result)
    parts = (Text(result),) if isinstance(result, str) else tuple(result)
    for part in parts:
        if not isinstance(part, Part):
            raise InputError(f"the result of {call.name} has a {type(part).__name__}: give text, a mapping or parts")
    return Message("tool", parts, answers=call.id)
