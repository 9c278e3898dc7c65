"""Conversations with tools: calls to write, results to tell, and questions that need no tool or one that is missing.

`draw` makes examples to learn, `held_out` tasks to check the model with; both are drawn alike, from wordings and
strings of their own split. Prompts are spelt here, since a template would be slow in a training loop; that they are
what `gemma_mlx.inputs` builds is tested. Knows no weights and no media.
Source: the published prompt format of Gemma 4; wordings in `calling_tools` and `calling_words`.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from gemma_mlx.conversation.history import result_of
from gemma_mlx.inputs.message import Message, ToolCall

from . import answers, conversations
from .answers import Split
from .calling_tools import KINDS, Arguments, Kind, failed, question
from .examples import Example

Declaration = Mapping[str, Any]
EXPECTED = ("call", "answer", "fallback", "talk")
SYSTEMS = ("Use tools.", "You can use tools.", "You are a helpful assistant.", "Use the tools.")
ANSWERED, FAILED = "The tool has answered.", "The tool did not work."
_SHARES = (0.55, 0.25, 0.1, 0.1)
_EMPTY_THOUGHT = "<|channel>thought\n<channel|>"


@dataclass(frozen=True)
class Task:
    """What the model reads, and what it has to reply: the call `name` with `arguments`, or the text `answer`.

    `expected` is one of EXPECTED: a call, an answer from a tool's result, the fallback where the right tool is
    missing, or an answer that needs no tool. `thought` is what is taught to be thought before, if `thinking`.
    """

    expected: str
    messages: tuple[Message, ...]
    tools: tuple[Declaration, ...]
    thinking: bool
    thought: str
    name: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    answer: str = ""


@dataclass(frozen=True)
class _Tool:
    """A kind of tool under one of its names."""

    kind: Kind
    declaration: Declaration
    parameters: Mapping[str, str]  # slot -> the name of the parameter

    def call(self, given: Arguments, number: int) -> ToolCall:
        arguments = {self.parameters[slot]: value for slot, value in given.items()}
        return ToolCall(self.declaration["name"], arguments, f"call-{number}")


def draw(rng: random.Random, split: Split, kinds: Sequence[str] = EXPECTED) -> Example:
    """One example of one of these kinds, in their shares; `split` is "train" or "held_out"."""
    shares = [_SHARES[EXPECTED.index(kind)] for kind in kinds]
    return example(_task(rng, split, rng.choices(kinds, shares)[0]))


def held_out(count: int, seed: int) -> list[Task]:
    """Tasks of the held-out split, the four kinds in fixed shares."""
    rng = random.Random(seed)
    order = ("call", "call", "answer", "call", "call", "fallback", "call", "answer", "call", "talk")
    return [_task(rng, "held_out", order[index % len(order)]) for index in range(count)]


def example(task: Task) -> Example:
    """The prompt and the reply, up to the token at which the model has to stop."""
    thought = ""
    if task.thinking:
        thought = f"<|channel>thought\n{task.thought}\n<channel|>"
    if task.expected == "answer":  # its prompt has opened the channel already
        thought = thought.removeprefix("<|channel>thought\n")
    if task.expected == "call":
        return Example(prompt(task), f"{thought}{call_text(task.name, task.arguments)}<|tool_response>")
    return Example(prompt(task), f"{thought}{task.answer}<turn|>")


def is_right(task: Task, calls: Sequence[ToolCall], text: str) -> bool:
    """Whether a reply with these calls and this text is what the task expects."""
    expected = [(task.name, task.arguments)] if task.expected == "call" else []
    return [(call.name, call.arguments) for call in calls] == expected and text.strip() == task.answer


def prompt(task: Task) -> str:
    """What `PromptBuilder` builds for the same messages, as text."""
    text, messages = "<bos>", list(task.messages)
    system = messages.pop(0).text if messages[0].role == "system" else ""
    if system or task.tools or task.thinking:
        declared = "".join(map(_declaration_text, task.tools))
        think = "<|think|>\n" if task.thinking else ""
        text += f"<|turn>system\n{think}{system}{declared}<turn|>\n"
    names, going_on = {call.id: call.name for each in messages for call in each.calls}, False
    for message in messages:
        if message.role == "user":
            text += f"<|turn>user\n{message.text}<turn|>\n"
        elif message.role == "tool":
            result = {"value": message.text} if message.value is None else message.value
            text += f"<|tool_response>response:{names[message.answers or '']}{_value(result)}<tool_response|>"
        else:
            text += "" if going_on else "<|turn>model\n"
            text += f"<|channel>thought\n{message.thinking}\n<channel|>" if message.thinking else ""
            text += "".join(call_text(call.name, call.arguments) for call in message.calls)
            going_on = bool(message.calls)
            text += "" if going_on else f"{message.text}<turn|>\n"
    if going_on:
        return text + ("<|channel>thought\n" if task.thinking else "")
    return text + "<|turn>model\n" + ("" if task.thinking else _EMPTY_THOUGHT)


def call_text(name: str, arguments: Mapping[str, Any]) -> str:
    """A call as the model writes it."""
    return f"<|tool_call>call:{name}{_value(arguments)}<tool_call|>"


def _declaration_text(tool: Declaration) -> str:
    fields = {"description": tool["description"], "parameters": _upper(tool["parameters"])}
    return f"<|tool>declaration:{tool['name']}{_value(fields)}<tool|>"


def _upper(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema with its types in capitals."""
    upper = dict(schema) | {"type": schema["type"].upper()}
    if "properties" in schema:
        upper["properties"] = {name: _upper(each) for name, each in schema["properties"].items()}
    return upper


def _value(value: object) -> str:
    """A JSON value. Keys are sorted; all here are in lower case, the template does not regard it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        return f'<|"|>{value}<|"|>'
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{_value(value[key])}" for key in sorted(value)) + "}"
    return "[" + ",".join(map(_value, value)) + "]" if isinstance(value, list) else str(value)


def _declared(rng: random.Random, kind: Kind) -> _Tool:
    variant = int(rng.random() < 0.25)
    parameters = {slot: names[variant] for slot, names in kind.slots.items()}
    example_of = kind.arguments(rng, "train")
    properties: dict[str, dict[str, str]] = {}
    described = rng.random() < 0.15
    for slot, parameter in parameters.items():
        properties[parameter] = {"type": "string" if isinstance(example_of[slot], str) else "integer"}
        if described:
            properties[parameter]["description"] = rng.choice((slot.capitalize(), f"The {slot}."))
    declaration = {
        "name": kind.names[0] if rng.random() < 0.6 else rng.choice(kind.names[1:]),
        "description": rng.choice(kind.descriptions),
        "parameters": {"type": "object", "properties": properties, "required": list(properties)},
    }
    return _Tool(kind, declaration, parameters)


def _others(rng: random.Random, kind: Kind, count: int) -> list[_Tool]:
    return [_declared(rng, each) for each in rng.sample([other for other in KINDS if other != kind], count)]


def _task(rng: random.Random, split: Split, expected: str) -> Task:
    kind = rng.choice(KINDS)
    right = _declared(rng, kind)
    if expected == "fallback":
        tools = _others(rng, kind, rng.choice((0, 1, 1, 1, 2)))
    else:
        tools = [right, *_others(rng, kind, rng.choice((0, 0, 0, 0, 1, 1, 1, 2)))]
        rng.shuffle(tools)
    system = rng.choice(SYSTEMS) if rng.random() < 0.1 else conversations.draw_system(rng) or ""
    before = _turn_before(rng, split, tools) if rng.random() < 0.1 else ()
    start = (Message.of("system", system),) if system else ()
    task = Task(expected, (*start, *before), tuple(each.declaration for each in tools), rng.random() < 0.25, "")
    return _styled(_ASKED[expected](rng, split, task, right), system)


def _asked_talk(rng: random.Random, split: Split, task: Task, tool: _Tool) -> Task:
    turn = conversations.plain_turn(rng, split)
    return _with(replace(task, thought=turn.thought, answer=turn.answer), Message.of("user", turn.question.strip()))


def _asked_in_vain(rng: random.Random, split: Split, task: Task, tool: _Tool) -> Task:
    asked = question(rng, split, tool.kind, tool.kind.arguments(rng, split))
    return _with(replace(task, thought=answers.FALLBACK_THOUGHT, answer=answers.FALLBACK), Message.of("user", asked))


def _asked_to_call(rng: random.Random, split: Split, task: Task, tool: _Tool) -> Task:
    follows = bool(tool.kind.follow_ups) and rng.random() < 0.15
    if follows:
        system = tuple(message for message in task.messages if message.role == "system")
        task = replace(task, messages=(*system, *_turn_with(rng, split, tool)))
    given = tool.kind.arguments(rng, split)
    call = tool.call(given, 2)
    asked = Message.of("user", question(rng, split, tool.kind, given, follows=follows))
    return _with(replace(task, thought=tool.kind.thought, name=call.name, arguments=call.arguments), asked)


def _asked_to_tell(rng: random.Random, split: Split, task: Task, tool: _Tool) -> Task:
    messages, answer, thought = _called(rng, split, tool, task.thinking)
    return _with(replace(task, thought=thought, answer=answer), *messages)


_ASKED: Mapping[str, Callable[[random.Random, Split, Task, _Tool], Task]] = {
    "call": _asked_to_call,
    "answer": _asked_to_tell,
    "fallback": _asked_in_vain,
    "talk": _asked_talk,
}


def _styled(task: Task, system: str) -> Task:
    """The task with every answer as the system text asks for it."""

    def styled(text: str) -> str:
        return conversations.styled(conversations.Turn("", text, ""), system).answer if text else ""

    messages = (
        Message.of("assistant", styled(message.text)) if message.role == "assistant" and message.text else message
        for message in task.messages
    )
    return replace(task, messages=tuple(messages), answer=styled(task.answer))


def _with(task: Task, *messages: Message) -> Task:
    return replace(task, messages=(*task.messages, *messages))


def _called(
    rng: random.Random, split: Split, tool: _Tool, thinking: bool, number: int = 2
) -> tuple[tuple[Message, ...], str, str]:
    """A question, the call and what it returned; the answer, and the thought before it."""
    given = tool.kind.arguments(rng, split)
    call = tool.call(given, number)
    fails = rng.random() < 0.2
    result, answer = failed(rng, split, call.name) if fails else tool.kind.report(rng, split, given)
    asked = Message.of("user", question(rng, split, tool.kind, given))
    calling = Message("assistant", (), tool.kind.thought if thinking else None, (call,))
    return (asked, calling, result_of(call, result)), answer, FAILED if fails else ANSWERED


def _turn_with(rng: random.Random, split: Split, tool: _Tool) -> tuple[Message, ...]:
    """An earlier turn with a tool, without its thoughts."""
    messages, answer, _ = _called(rng, split, tool, False, 1)
    return (*messages, Message.of("assistant", answer))


def _turn_before(rng: random.Random, split: Split, tools: Sequence[_Tool]) -> tuple[Message, ...]:
    """An earlier turn: a tool's, or one without."""
    if tools and rng.random() < 0.5:
        return _turn_with(rng, split, rng.choice(tools))
    turn = conversations.plain_turn(rng, split)
    return (Message.of("user", turn.question.strip()), Message.of("assistant", turn.answer))
