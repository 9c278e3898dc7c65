"""A conversation for other programs: Markdown to read, or JSON with everything, the media files beside it.

Knows records and files: not where conversations are kept. What people and the model wrote stays as it is, it is
Markdown already.
"""

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gemma_mlx.errors import StoreError
from gemma_mlx.inputs.message import Text
from gemma_mlx.store.media import DIRECTORY
from gemma_mlx.store.record import RECORD, Conversation, Medium, StoredMessage, StoredPart, encode

MARKDOWN = "conversation.md"
_SPEAKERS = {"system": "System", "user": "You", "assistant": "Gemma"}


def export(
    home: Path, conversation: Conversation, output: Path, *, as_json: bool, force: bool
) -> tuple[Path, list[str]]:
    """Write a conversation of the directory `home` into the directory `output`. Returns the file to open, and the
    media that are gone.

    Raises `StoreError` if `output` is in `home`, if it holds something, unless `force` replaces files of the same
    names, or if it cannot be written.
    """
    try:
        if home.resolve() in (output.resolve(), *output.resolve().parents):
            raise StoreError(f"{output} is where the conversation is kept: choose another place with -o")
        if output.exists() and (not output.is_dir() or any(output.iterdir())) and not (force and output.is_dir()):
            raise StoreError(f"{output} exists: choose another place with -o, or write into it with --force")
        media = {file for medium in conversation.media for file in medium.files}
        (output / DIRECTORY if media else output).mkdir(parents=True, exist_ok=True)
        gone = [file for file in sorted(media) if not (home / DIRECTORY / file).exists()]
        for file in media.difference(gone):
            shutil.copyfile(home / DIRECTORY / file, output / DIRECTORY / file)
        content = encode(conversation) if as_json else markdown(conversation, home.name).encode("utf-8", "replace")
        target = output / (RECORD if as_json else MARKDOWN)
        target.write_bytes(content)
    except OSError as fault:
        place = fault.filename or output
        raise StoreError(f"{place} cannot be exported to {output} ({fault.strerror}): choose another place") from None
    return target, gone


def markdown(conversation: Conversation, name: str, media: str = DIRECTORY) -> str:
    """The conversation as Markdown, with links to its files in the directory `media`."""
    called = {call.id: call.name for message in conversation.messages for call in message.calls}
    blocks = [f"# {name}", f"With {conversation.model}, {_span(conversation)}."]
    for message in conversation.messages:
        blocks += [f"## {_speaker(message, called)}", *_blocks(message, media)]
    if conversation.pending:
        blocks += ["## You, not sent yet", *_parts(conversation.pending, media)]
    return "\n\n".join(blocks) + "\n"


def _span(conversation: Conversation) -> str:
    first, last = (f"{time.astimezone():%Y-%m-%d %H:%M}" for time in (conversation.created, conversation.updated))
    return first if first == last else f"{first} to {last}"


def _speaker(message: StoredMessage, called: Mapping[str, str]) -> str:
    if message.role == "tool":
        return f"Result of `{called.get(message.answers or '', 'a tool')}`"
    return _SPEAKERS.get(message.role, message.role)


def _blocks(message: StoredMessage, media: str) -> Iterator[str]:
    if message.thinking is not None:
        yield f"<details><summary>Thought</summary>\n\n{message.thinking.strip()}\n\n</details>"
    if message.role == "tool":
        yield from _result(message, media)
    else:
        yield from _parts(message.parts, media)
    for call in message.calls:
        yield f"Calls `{call.name}`:"
        yield _json(call.arguments)


def _result(message: StoredMessage, media: str) -> Iterator[str]:
    if message.value is not None:
        yield _json(message.value)
    if message.text:
        yield _fenced(message.text, "")
    yield from _parts(tuple(part for part in message.parts if isinstance(part, Medium)), media)


def _parts(parts: tuple[StoredPart, ...], media: str) -> Iterator[str]:
    for part in parts:
        if isinstance(part, Text):
            if part.text.strip():
                yield part.text.strip("\n")
        else:
            yield "\n".join(_links(part, media))


def _links(medium: Medium, media: str) -> Iterator[str]:
    name = re.sub(r"([\\\[\]])", r"\\\1", " ".join(medium.name.split()))
    places = [f"<{media}/{file}>" if re.search(r"[\s()]", media) else f"{media}/{file}" for file in medium.files]
    match medium.kind:
        case "image":
            yield f"![{name}]({places[0]})"
        case "audio":
            yield f"[{name}]({places[0]})"
        case "video":
            for place, seconds in zip(places, medium.timestamps, strict=True):
                yield f"![{name} at {seconds:.1f} s]({place})"


def _json(value: Mapping[str, Any]) -> str:
    return _fenced(json.dumps(dict(value), ensure_ascii=False, indent=2), "json")


def _fenced(text: str, language: str) -> str:
    """A code block whose fence is longer than any in the text."""
    longest = max(map(len, re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"
