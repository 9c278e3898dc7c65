"""A conversation as JSON and back. Media are names of files here: not pixels, not samples.

Everything that is read is checked, so that a record which `decode` returns has the types that it says.
"""

import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import MAXYEAR, MINYEAR, datetime
from typing import Any, Literal, TypeVar, get_args

from gemma_mlx.inputs.json_values import plain
from gemma_mlx.inputs.message import Text, ToolCall

VERSION = 1
RECORD = "conversation.json"
_MEDIUM_FILE = re.compile(r"[0-9a-f]{32}\.(png|wav)")
_T = TypeVar("_T")

MediumKind = Literal["image", "audio", "video"]


@dataclass(frozen=True)
class Medium:
    """A picture, recording or video by the files that hold it, one for each frame, with the frames' seconds."""

    kind: MediumKind
    name: str
    files: tuple[str, ...]
    timestamps: tuple[float, ...] = ()


StoredPart = Text | Medium


@dataclass(frozen=True)
class StoredMessage:
    """`inputs.message.Message`, its media by their files."""

    role: str
    parts: tuple[StoredPart, ...]
    thinking: str | None = None
    calls: tuple[ToolCall, ...] = ()
    answers: str | None = None
    value: Mapping[str, Any] | None = None

    @property
    def text(self) -> str:
        """The text parts, joined without anything between them."""
        return "".join(part.text for part in self.parts if isinstance(part, Text))


@dataclass(frozen=True)
class Conversation:
    """All that is kept of a conversation. Of a `Chat`: `messages` its history, `pending` the parts of the open turn,
    `thinking` whether the model thinks first, `tools` their declarations, `dropped` how many messages at the start
    are no longer read. `model`: what `--model` takes. Times are of a zone."""

    model: str
    created: datetime
    updated: datetime
    messages: tuple[StoredMessage, ...] = ()
    pending: tuple[StoredPart, ...] = ()
    thinking: bool = False
    tools: tuple[Mapping[str, Any], ...] = ()
    dropped: int = 0

    @property
    def media(self) -> Iterator[Medium]:
        """Every medium, in order."""
        for parts in (*(message.parts for message in self.messages), self.pending):
            yield from (part for part in parts if isinstance(part, Medium))

    @property
    def turns(self) -> int:
        """How often the person said something."""
        return sum(message.role == "user" for message in self.messages)

    @property
    def first_words(self) -> str:
        """The first text that the person wrote, in one line, empty if there was none."""
        asked = (*(message.parts for message in self.messages if message.role == "user"), self.pending)
        written = ("".join(part.text for part in parts if isinstance(part, Text)) for parts in asked)
        return next(filter(None, (" ".join(text.split()) for text in written)), "")


class NewerVersion(ValueError):
    """A record of a version that this program does not know."""


def encode(conversation: Conversation) -> bytes:
    """The content of `conversation.json`."""
    fields = {
        "version": VERSION,
        "model": conversation.model,
        "created": conversation.created.isoformat(),
        "updated": conversation.updated.isoformat(),
        "thinking": conversation.thinking,
        "tools": plain(conversation.tools),
        "dropped": conversation.dropped,
        "messages": [_message_fields(message) for message in conversation.messages],
        "pending": [_part_fields(part) for part in conversation.pending],
    }
    # Half of a surrogate pair, as it comes from undecodable input, is no UTF-8 but has an escape in JSON: the same.
    return json.dumps(fields, ensure_ascii=False, indent=1).encode("utf-8", "backslashreplace")


def decode(content: bytes) -> Conversation:
    """The record in the content of a file. Raises `ValueError` that says what is wrong with it in a few words."""
    try:
        fields = json.loads(content)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except ValueError as fault:
        raise ValueError(f"no JSON: {fault}") from None
    if not isinstance(fields, dict):
        raise ValueError("no object")
    version = _typed(fields, "version", int)
    if version != VERSION:
        raise NewerVersion(f"its version is {version}, this program knows {VERSION}")
    messages = tuple(_message(each) for each in _objects(fields, "messages"))
    dropped = _typed(fields, "dropped", int)
    if not 0 <= dropped <= len(messages):
        raise ValueError(f"dropped is {dropped} of {len(messages)} messages")
    return Conversation(
        model=_typed(fields, "model", str),
        created=_time(fields, "created"),
        updated=_time(fields, "updated"),
        messages=messages,
        pending=tuple(_part(each) for each in _objects(fields, "pending")),
        thinking=_typed(fields, "thinking", bool),
        tools=tuple(_objects(fields, "tools")),
        dropped=dropped,
    )


def _message_fields(message: StoredMessage) -> dict[str, Any]:
    """Of what a message may have, that which it has."""
    fields: dict[str, Any] = {"role": message.role, "parts": [_part_fields(part) for part in message.parts]}
    if message.thinking is not None:
        fields["thinking"] = message.thinking
    if message.calls:
        fields["calls"] = [{"name": c.name, "arguments": plain(c.arguments), "id": c.id} for c in message.calls]
    if message.answers is not None:
        fields["answers"] = message.answers
    if message.value is not None:
        fields["value"] = plain(message.value)
    return fields


def _part_fields(part: StoredPart) -> dict[str, Any]:
    if isinstance(part, Text):
        return {"text": part.text}
    times = {"timestamps": list(part.timestamps)} if part.kind == "video" else {}
    return {part.kind: part.name, "files": list(part.files), **times}


def _message(fields: dict[str, Any]) -> StoredMessage:
    return StoredMessage(
        role=_typed(fields, "role", str),
        parts=tuple(_part(each) for each in _objects(fields, "parts")),
        thinking=_optional(fields, "thinking", str),
        calls=tuple(_call(each) for each in _objects(fields, "calls")) if "calls" in fields else (),
        answers=_optional(fields, "answers", str),
        value=_optional(fields, "value", dict),
    )


def _call(fields: dict[str, Any]) -> ToolCall:
    return ToolCall(_typed(fields, "name", str), _typed(fields, "arguments", dict), _typed(fields, "id", str))


def _part(fields: dict[str, Any]) -> StoredPart:
    if "text" in fields:
        return Text(_typed(fields, "text", str))
    kinds: tuple[MediumKind, ...] = get_args(MediumKind)
    kind = next((kind for kind in kinds if kind in fields), None)
    if kind is None:
        raise ValueError(f"a part is none of text, {', '.join(kinds)}")
    files = _list(fields, "files", lambda file: isinstance(file, str) and _MEDIUM_FILE.fullmatch(file) is not None)
    times = _list(fields, "timestamps", _is_number) if kind == "video" else ()
    if not files or len(files) != (len(times) if kind == "video" else 1):
        raise ValueError(f"a part of {kind} has {len(files)} files")
    return Medium(kind, _typed(fields, kind, str), files, tuple(map(float, times)))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def _typed(fields: Mapping[str, Any], key: str, expected: type[_T]) -> _T:
    value = fields.get(key)
    if not isinstance(value, expected) or (isinstance(value, bool) and expected is not bool):
        raise ValueError(f"{key} is no {expected.__name__}")
    return value


def _optional(fields: Mapping[str, Any], key: str, expected: type[_T]) -> _T | None:
    return _typed(fields, key, expected) if key in fields else None


def _list(fields: Mapping[str, Any], key: str, fits: Callable[[Any], bool]) -> tuple[Any, ...]:
    values = _typed(fields, key, list)
    if not all(fits(value) for value in values):
        raise ValueError(f"{key} holds something else than it should")
    return tuple(values)


def _objects(fields: Mapping[str, Any], key: str) -> tuple[dict[str, Any], ...]:
    return _list(fields, key, lambda value: isinstance(value, dict))


def _time(fields: Mapping[str, Any], key: str) -> datetime:
    time = datetime.fromisoformat(_typed(fields, key, str))
    if time.tzinfo is None:
        raise ValueError(f"{key} has no time zone")
    if not MINYEAR < time.year < MAXYEAR:  # it has a local time everywhere
        raise ValueError(f"{key} is in the year {time.year}")
    return time
