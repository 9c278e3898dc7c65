"""The loop that runs tools, with a conversation whose replies are written down."""

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from inspect import GEN_CLOSED, getgeneratorstate
from typing import Any, Literal

import numpy as np
import pytest

import gemma_mlx as gm
from gemma_mlx.errors import ContextError, InputError
from gemma_mlx.generation.events import BadCall, Event, Finished, Notice, TextDelta
from gemma_mlx.generation.sampling import Sampler
from gemma_mlx.inputs.message import Part, Text, ToolCall
from gemma_mlx.tools.loop import Result

TEXT = Text("as a part")
PICTURE = gm.Image("a.png", np.zeros((48, 48, 3), np.uint8))


@dataclass
class Scripted:
    """A conversation that keeps to the contract of `Chat` and says what it was told to say."""

    replies: list[list[Event]]
    asked: list[str | None] = field(default_factory=list)
    results: dict[str, Result] = field(default_factory=dict)
    calls: dict[str, ToolCall] = field(default_factory=dict)
    over: int = 0  # replies that were read to their end
    replying: Generator[Event] | None = None
    refuses: type[Part] | None = None

    @property
    def unanswered(self) -> tuple[ToolCall, ...]:
        return tuple(call for call in self.calls.values() if call.id not in self.results)

    def reply(
        self, text: str | None = None, sampler: Sampler | None = None, *, max_tokens: int = 1024
    ) -> Generator[Event]:
        if self.unanswered:
            raise InputError("the model waits for results")
        self.asked.append(text)
        self.replying = self._reply(self.replies[len(self.asked) - 1])
        return self.replying

    def _reply(self, events: list[Event]) -> Generator[Event]:
        for event in events:
            if isinstance(event, Finished):
                self.calls |= {call.id: call for call in event.calls}
            yield event
        self.over += 1

    def respond(self, call: ToolCall, result: Result) -> None:
        if call not in self.unanswered:
            raise InputError(f"{call.id} does not wait")
        if self.refuses and isinstance(result, tuple) and any(isinstance(part, self.refuses) for part in result):
            raise InputError("this model does not see")
        self.results[call.id] = result


def _calling(*calls: ToolCall) -> list[Event]:
    return [TextDelta("…"), *calls, Finished("tool_calls", "…", calls=calls)]


def _call(name: str, call_id: str = "1", /, **arguments: object) -> ToolCall:
    return ToolCall(name, arguments, call_id)


END: list[Event] = [TextDelta("done"), Finished("stop", "done")]
RETURNED: dict[str, Any] = {
    "text": "21 degrees",
    "mapping": {"t": 21},
    "list": [1, "a", None],
    "picture": PICTURE,
    "pictures": ["see", PICTURE, PICTURE],
    "part": TEXT,
    "parts": (TEXT, 21, PICTURE),
}


@gm.tool
def add(a: int, b: int = 1) -> int:
    """Add."""
    return a + b


@gm.tool
def give(what: str) -> Any:
    """Give what is written down, or fail."""
    return RETURNED[what]


@gm.tool
def stop(how: Literal["type", "interrupt", "nan", "object", "endless"]) -> Any:
    """Go wrong."""
    endless: list[Any] = []
    endless.append(endless)
    match how:
        case "type":
            raise TypeError("two\nlines")
        case "interrupt":
            raise KeyboardInterrupt
        case "nan":
            return {"x": float("nan")}
        case "endless":
            return endless
    return object()


TOOLS = (add, give, stop)


def _result(call: ToolCall, chat: Scripted | None = None) -> Result:
    chat = chat or Scripted([_calling(call), END])
    list(gm.run_tools(chat, "Q", tools=TOOLS))
    return chat.results[call.id]


def test_events_of_all_replies_pass_and_the_last_is_finished() -> None:
    first, second = _call("add", "1", a=1), _call("add", "2", a=1, b=2)
    third = _call("give", "3", what="text")
    chat = Scripted([_calling(first, second), _calling(third), END])
    events = list(gm.run_tools(chat, "Q", Sampler(), tools=TOOLS))
    assert events == [*_calling(first, second), *_calling(third), *END]
    assert chat.asked == ["Q", None, None]
    assert chat.results == {"1": {"value": 2}, "2": {"value": 3}, "3": "21 degrees"}
    assert chat.over == 3


def test_a_reply_without_calls_is_passed_on() -> None:
    chat = Scripted([END])
    assert list(gm.run_tools(chat, tools=())) == END
    assert chat.asked == [None]


def test_functions_are_run_after_their_reply_has_ended() -> None:
    chat = Scripted([_calling(_call("add", a=1)), END])
    for event in gm.run_tools(chat, "Q", tools=TOOLS):
        if isinstance(event, Finished) and event.calls:
            assert chat.results == {}
            assert chat.over == 1
    assert chat.results == {"1": {"value": 2}}


@pytest.mark.parametrize(
    ("what", "result"),
    [
        ("text", "21 degrees"),
        ("mapping", {"t": 21}),
        ("list", {"value": [1, "a", None]}),
        ("picture", (PICTURE,)),
        ("part", (TEXT,)),
    ],
)
def test_results(what: str, result: Result) -> None:
    assert _result(_call("give", what=what)) == result


def test_text_and_pictures_keep_their_order() -> None:
    result = _result(_call("give", what="pictures"))
    assert isinstance(result, tuple)
    assert isinstance(result[0], Text)
    assert result[1:] == (PICTURE, PICTURE)
    result = _result(_call("give", what="parts"))
    assert [part.text if isinstance(part, Text) else part for part in result] == ["as a part", "21", PICTURE]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (_call("nothing"), "there is no tool 'nothing', there is add, give, stop"),
        (_call("add"), "add was not run: a is missing"),
        (_call("add", a="1"), "add was not run: a must be of the type integer, '1' is not"),
        (_call("add", a=1, c=2), "add was not run: it has no parameter 'c', it has a, b"),
        (_call("stop", how="x"), "stop was not run: how must be one of"),
        (_call("give", what="unknown"), "KeyError: 'unknown'"),
        (_call("stop", how="type"), "TypeError: two\nlines"),
        (_call("stop", how="nan"), "its result cannot be shown: stop, x: JSON has no number nan"),
        (_call("stop", how="object"), "its result cannot be shown: stop, value: JSON cannot hold a object"),
        (_call("stop", how="endless"), "its result cannot be shown: stop: more than 64"),
    ],
    ids=str,
)
def test_what_goes_wrong_is_told_to_the_model(call: ToolCall, words: str) -> None:
    result = _result(call)
    assert isinstance(result, str)
    assert words in result


def test_a_picture_that_the_model_cannot_take_is_told_to_it() -> None:
    call = _call("give", what="picture")
    result = _result(call, Scripted([_calling(call), END], refuses=gm.Image))
    assert result == "the result cannot be shown: this model does not see"


def test_calls_beyond_the_limit_are_answered_but_not_run() -> None:
    calls = [_call("add", str(number), a=number) for number in range(3)]
    chat = Scripted([_calling(call) for call in calls])
    *_, before, last = gm.run_tools(chat, "Q", tools=TOOLS, max_steps=2)
    assert isinstance(before, Notice)
    assert "2 steps" in before.text
    assert last == chat.replies[2][-1]
    assert chat.results == {"0": {"value": 1}, "1": {"value": 2}, "2": "add was not run: too many calls in a row"}
    assert chat.unanswered == ()


def test_no_steps_at_all() -> None:
    chat = Scripted([_calling(_call("add", a=1))])
    events = list(gm.run_tools(chat, "Q", tools=TOOLS, max_steps=0))
    assert [type(event) for event in events] == [TextDelta, ToolCall, Notice, Finished]
    assert chat.unanswered == ()


def test_an_interrupted_function_leaves_no_call_open() -> None:
    calls = (_call("add", "1", a=1), _call("stop", "2", how="interrupt"), _call("add", "3", a=1))
    chat = Scripted([_calling(*calls)])
    with pytest.raises(KeyboardInterrupt):
        list(gm.run_tools(chat, "Q", tools=TOOLS))
    assert chat.results == {
        "1": {"value": 2},
        "2": "stop was not run: interrupted",
        "3": "add was not run: interrupted",
    }


class Full(Scripted):
    """One whose context has no room for any result."""

    def respond(self, call: ToolCall, result: Result) -> None:
        raise ContextError("the context is full")


def test_an_interrupt_is_told_even_where_no_result_has_room() -> None:
    chat = Full([_calling(_call("stop", how="interrupt"))])
    with pytest.raises(KeyboardInterrupt):
        list(gm.run_tools(chat, "Q", tools=TOOLS))
    assert [call.name for call in chat.unanswered] == ["stop"]


def test_a_full_context_is_told() -> None:
    with pytest.raises(ContextError, match="full"):
        list(gm.run_tools(Full([_calling(_call("add", a=1))]), "Q", tools=TOOLS))


def _closed_after(events: Generator[Event], kind: type[Event]) -> None:
    for event in events:
        if isinstance(event, kind):
            events.close()


@pytest.mark.parametrize(("kind", "answered"), [(TextDelta, {}), (Finished, {"1": "add was not run: interrupted"})])
def test_closing_the_iterator_leaves_no_call_open(kind: type[Event], answered: Mapping[str, Result]) -> None:
    chat = Scripted([_calling(_call("add", a=1)), END])
    _closed_after(gm.run_tools(chat, "Q", tools=TOOLS), kind)
    assert chat.results == answered
    assert chat.asked == ["Q"]
    assert chat.replying is not None
    assert getgeneratorstate(chat.replying) == GEN_CLOSED


def test_a_call_that_cannot_be_read_ends_the_loop_unless_another_can() -> None:
    bad = BadCall("call:add{", "nothing follows")
    chat = Scripted([[bad, *END]])
    assert list(gm.run_tools(chat, "Q", tools=TOOLS)) == [bad, *END]
    chat = Scripted([[bad, *_calling(_call("add", a=1))], END])
    assert list(gm.run_tools(chat, "Q", tools=TOOLS))[-1] == END[-1]
    assert chat.results == {"1": {"value": 2}}


def test_calls_that_wait_already_are_not_answered_by_mistake() -> None:
    chat = Scripted([_calling(_call("add", a=1)), END])
    list(chat.reply("Q"))
    with pytest.raises(InputError, match="waits"):
        list(gm.run_tools(chat, "Q", tools=TOOLS))
    assert chat.results == {}


@pytest.mark.parametrize(
    ("tools", "steps", "words"), [((add, add), 8, "2 tools have 1 names"), ((add,), -1, "max_steps is -1")]
)
def test_wrong_settings(tools: Sequence[gm.Tool[..., Any]], steps: int, words: str) -> None:
    with pytest.raises(InputError, match=words):
        gm.run_tools(Scripted([]), "Q", tools=tools, max_steps=steps)


def test_a_tool_without_a_decorator() -> None:
    schema = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
    shout = gm.Tool("shout", "Say it loudly.", schema, lambda text: f"{text.upper()}!")
    chat = Scripted([_calling(_call("shout", text="hey")), END])
    list(gm.run_tools(chat, "Q", tools=[shout]))
    assert chat.results == {"1": "HEY!"}


def test_every_name_is_exported() -> None:
    names: Iterator[str] = iter(("BadCall", "Notice", "Tool", "ToolCall", "run_tools", "tool"))
    assert all(name in gm.__all__ and getattr(gm, name) is not None for name in names)
