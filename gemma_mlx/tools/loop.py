"""A reply with tools: the model asks for functions, they are run here and nowhere else, it is told what came of it.

What goes wrong with a call (an unknown name, arguments that do not fit, an exception, a result that cannot be shown)
is told to the model as the call's result: it can try again. A call that cannot be read is none: with no other call in
its reply, the loop ends there. However the loop ends, every call has a result if there is room for one, so the
conversation can go on.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing, suppress
from typing import Any, Protocol

from gemma_mlx.errors import GemmaError, InputError
from gemma_mlx.generation.events import Event, Finished, Notice
from gemma_mlx.generation.sampling import Sampler
from gemma_mlx.inputs.json_values import check_mapping
from gemma_mlx.inputs.message import Part, Text, ToolCall
from gemma_mlx.tools.declaration import Tool
from gemma_mlx.tools.schema import fitted_object

Result = str | Mapping[str, Any] | Sequence[Part]


class Conversation(Protocol):
    """What is needed of a `Chat`."""

    def reply(
        self, text: str | None = None, sampler: Sampler | None = None, *, max_tokens: int = 1024
    ) -> Generator[Event]:
        """Answer the user, or go on after the results of calls."""

    def respond(self, call: ToolCall, result: Result) -> None:
        """Take the result of a call."""

    @property
    def unanswered(self) -> tuple[ToolCall, ...]:
        """The calls that wait for a result."""


def run_tools(
    chat: Conversation,
    text: str | None = None,
    sampler: Sampler | None = None,
    *,
    tools: Sequence[Tool[..., Any]],
    max_steps: int = 8,
    max_tokens: int = 1024,
) -> Generator[Event]:
    """Reply, run what is asked for, go on: yields the events of all replies, the last of them a `Finished`.

    `tools` must be declared to the chat as well. A function returns text, a mapping, a picture, recording or video, a
    list of those and of text, or any other JSON value. `max_steps` bounds the replies whose calls are run, `max_tokens`
    each reply. Calls beyond the steps are answered as not run, with a `Notice`; so are those that are left when the
    iterator is closed or a function is interrupted. Raises `InputError` for two tools of one name.
    """
    functions = {tool.name: tool for tool in tools}
    if len(functions) < len(tools):
        raise InputError(f"{len(tools)} tools have {len(functions)} names: give each its own")
    if max_steps < 0:
        raise InputError(f"max_steps is {max_steps}: give 0 or more")

    def reply(asked: str | None) -> Generator[Event]:
        return chat.reply(asked, sampler, max_tokens=max_tokens)

    return _steps(chat, reply, text, functions, max_steps)


def _steps(
    chat: Conversation,
    reply: Callable[[str | None], Generator[Event]],
    text: str | None,
    functions: Mapping[str, Tool[..., Any]],
    max_steps: int,
) -> Generator[Event]:
    for left in range(max_steps, -1, -1):
        events = reply(text)
        text = None
        try:
            finished = yield from _until_finished(events)
            if left or not finished.calls:
                yield finished
            if not finished.calls:
                return
            for call in finished.calls if left else ():
                _respond(chat, call, _result(functions, call))
        finally:
            why = "interrupted" if left else "too many calls in a row"
            with suppress(GemmaError):  # where not even that fits, the call waits on: what ended the loop is told
                for call in chat.unanswered:
                    chat.respond(call, f"{call.name} was not run: {why}")
    yield Notice(f"the last calls were not run: {max_steps} steps are the limit (max_steps)")
    yield finished


def _until_finished(events: Generator[Event]) -> Generator[Event, None, Finished]:
    """Passes on all events but the last, which is returned once the reply is over."""
    with closing(events):
        finished = None
        for event in events:
            if isinstance(event, Finished):
                finished = event
            else:
                yield event
    assert finished is not None, "a reply ends with Finished"
    return finished


def _respond(chat: Conversation, call: ToolCall, result: Result) -> None:
    try:
        chat.respond(call, result)
    except GemmaError as fault:  # a picture that the model cannot take, or for which there is no room
        chat.respond(call, f"the result cannot be shown: {fault}")


def _result(functions: Mapping[str, Tool[..., Any]], call: ToolCall) -> Result:
    tool = functions.get(call.name)
    if tool is None:
        return f"there is no tool {call.name!r}, there is {', '.join(functions) or 'none'}"
    try:
        arguments = _arguments(tool, call)
    except ValueError as fault:
        return f"{call.name} was not run: {fault}"
    try:
        returned = tool.function(**arguments)
    except Exception as fault:  # noqa: BLE001 - whatever it is, the model is told
        return f"{type(fault).__name__}: {fault}"
    return _as_result(call.name, returned)


def _arguments(tool: Tool[..., Any], call: ToolCall) -> dict[str, Any]:
    known = tool.parameters.get("properties", {})
    for name in call.arguments:
        if name not in known:
            raise ValueError(f"it has no parameter {name!r}, it has {', '.join(known) or 'none'}")
    return fitted_object(call.arguments, tool.parameters)


def _as_result(name: str, returned: object) -> Result:
    """Text and media as they are, any other JSON value as a mapping."""
    if isinstance(returned, str):
        return returned
    parts = returned if isinstance(returned, list | tuple) else (returned,)
    if any(isinstance(part, Part) for part in parts):
        return tuple(part if isinstance(part, Part) else Text(str(part)) for part in parts)
    mapping = returned if isinstance(returned, Mapping) else {"value": returned}
    try:
        check_mapping(mapping, name)
    except InputError as fault:
        return f"{name} was run, its result cannot be shown: {fault}"
    return mapping
