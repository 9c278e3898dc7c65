"""Messages and tool declarations -> the dictionaries that chat templates take, with all text from outside marked.

Published templates look for the results of tools in two places. They print every kind of result from `tool_responses`
of the message that calls, but no pictures; from messages of the role "tool" they print text and pictures, but fail on
a mapping. They look in one place only for each message that calls. So its results go into `tool_responses` if one of
them is a mapping and none has pictures, and into messages of their own otherwise, a mapping then as JSON text.
They also print text after calls and results, though the model says it before: a message with both is given as two,
with a joint at the end of the first, and what the template prints between them is cut out by `without_joints`.
Nothing here knows tokens.
Source: the chat templates that were published for Gemma 4 from April to July 2026.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gemma_mlx.errors import InputError
from gemma_mlx.inputs.json_values import check_mapping, plain, strings
from gemma_mlx.inputs.marking import Marking
from gemma_mlx.inputs.message import Message, Part, Text, ToolCall

ROLES = ("system", "user", "assistant", "tool")
_NAME = re.compile(r"[\w.-]+")
_CALL = "<|tool_call>"

Kinds = Callable[[Part], Sequence[str]]  # the placeholders of a part, none for text


@dataclass(frozen=True)
class Step:
    """A message, and the results of its calls in the order in which they came."""

    message: Message
    results: tuple[Message, ...] = ()

    def call_of(self, result: Message) -> ToolCall:
        return next(call for call in self.message.calls if call.id == result.answers)


def texts(messages: Sequence[Message], tools: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Everything that a template may print of them."""
    for message in messages:
        yield message.text
        yield message.thinking or ""
        yield message.answers or ""
        yield from strings(message.value)
        for call in message.calls:
            yield from (call.id, call.name, *strings(call.arguments))
    yield from strings(tools)


def check_tools(tools: Sequence[Mapping[str, Any]]) -> None:
    """Raises `InputError` for a declaration without a name that a model can call, two of one name, and values that
    JSON has not."""
    names: set[str] = set()
    for tool in tools:
        check_mapping(tool, "the declaration of a tool")
        name = tool.get("name")
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise InputError(f'a tool has the "name" {name!r}: give one of letters, digits, "_", "-" and "."')
        if name in names:
            raise InputError(f"two tools have the name {name}: give each its own")
        names.add(name)


def template_tools(tools: Sequence[Mapping[str, Any]], marking: Marking) -> list[dict[str, Any]]:
    """Declarations `{"name", "description", "parameters"}` as a template takes them."""
    return [{"type": "function", "function": marking.value(tool)} for tool in tools]


def template_messages(steps: Sequence[Step], kinds: Kinds, marking: Marking) -> list[dict[str, Any]]:
    """The messages as a template takes them."""
    return [entry for step in steps for entry in _entries(step, kinds, marking)]


def without_joints(rendered: str, marking: Marking) -> str:
    """What the template printed, each message with text and calls in one piece."""
    return re.sub(f"{marking.joint}.*?(?={re.escape(_CALL)})", "", rendered, flags=re.DOTALL)


def checked_steps(messages: Sequence[Message]) -> list[Step]:
    """Each message with the results of its calls.

    Raises `InputError` for an unknown role, results without their call or calls that cannot be told apart, and values
    that JSON has not.
    """
    steps: list[Step] = []
    ids: set[str] = set()
    for message in messages:
        if message.role not in ROLES:
            raise InputError(f"a message has the role {message.role!r}: it must be one of {', '.join(ROLES)}")
        if message.role == "tool":
            _check_result(message, steps)
            steps[-1] = replace(steps[-1], results=(*steps[-1].results, message))
            continue
        if message.calls and message.role != "assistant":
            raise InputError(f"a message of the role {message.role} has calls: only the assistant can call tools")
        for call in message.calls:
            if call.id in ids:
                raise InputError(f"two calls have the id {call.id!r}: give each call of a conversation its own")
            ids.add(call.id)
            check_mapping(call.arguments, f"a call of {call.name}")
        steps.append(Step(message))
    return steps


def _check_result(result: Message, steps: Sequence[Step]) -> None:
    step = steps[-1] if steps else Step(result)
    if result.answers in {earlier.answers for earlier in step.results}:
        raise InputError(f"two results answer the call {result.answers!r}: give one")
    if result.answers not in {call.id for call in step.message.calls}:
        raise InputError(f"a result answers the call {result.answers!r}, which is not in the message before it")
    if result.value is not None:
        check_mapping(result.value, f"a result of {step.call_of(result).name}")
        if result.text:
            raise InputError(f"the result of the call {result.answers!r} is a mapping and a text: give one of them")


def _entries(step: Step, kinds: Kinds, marking: Marking) -> Iterator[dict[str, Any]]:
    message = step.message
    content = _content(message, kinds, marking)
    said: dict[str, Any] = {"role": message.role, "content": content}
    if message.thinking is not None:
        said["reasoning_content"] = marking.text(message.thinking)
    if not message.calls:
        yield said
        return
    calling = {"role": message.role, "content": "", "tool_calls": [_call(call, marking) for call in message.calls]}
    if isinstance(content, list):
        yield said | {"content": [*content, {"type": "text", "text": marking.joint}]}
    elif content.strip():
        yield said | {"content": content.strip() + marking.joint}
    else:
        calling = said | calling
    yield from _with_results(calling, step, kinds, marking)


def _with_results(calling: dict[str, Any], step: Step, kinds: Kinds, marking: Marking) -> Iterator[dict[str, Any]]:
    mappings = any(result.value is not None for result in step.results)
    media = any(kinds(part) for result in step.results for part in result.parts)
    if mappings and not media:
        responses = [
            {
                "name": marking.text(step.call_of(result).name),
                "response": marking.value(result.text if result.value is None else result.value),
            }
            for result in step.results
        ]
        yield calling | {"tool_responses": responses}
        return
    yield calling
    for result in step.results:
        if result.value is not None:
            as_text = Text(json.dumps(plain(result.value), ensure_ascii=False))
            result = replace(result, parts=(as_text, *result.parts))
        call_id = marking.text(step.call_of(result).id)
        yield {"role": "tool", "tool_call_id": call_id, "content": _content(result, kinds, marking)}


def _call(call: ToolCall, marking: Marking) -> dict[str, Any]:
    function = {"name": marking.text(call.name), "arguments": marking.value(call.arguments)}
    return {"id": marking.text(call.id), "type": "function", "function": function}


def _content(message: Message, kinds: Kinds, marking: Marking) -> str | list[dict[str, str]]:
    # As a list, the template ends each text of a system turn in a space; as a string, it does not.
    if all(isinstance(part, Text) for part in message.parts):
        return marking.text(message.text)
    entries: list[dict[str, str]] = []
    for part in message.parts:
        if isinstance(part, Text):
            entries.append({"type": "text", "text": marking.text(part.text)})
        entries.extend({"type": kind} for kind in kinds(part))
    return entries
