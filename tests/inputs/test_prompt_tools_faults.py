"""Calls, results and declarations that do not fit each other or are no JSON."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from gemma_mlx.config import ModelConfig
from gemma_mlx.errors import InputError
from gemma_mlx.inputs.message import Message, Part, Text, ToolCall
from gemma_mlx.inputs.prompt import PromptBuilder
from gemma_mlx.inputs.template import ChatTemplate
from gemma_mlx.inputs.tokenizer import load_tokenizer

DEMO = Path(__file__).parents[2] / "gemma_mlx" / "assets" / "demo"
USER = Message.of("user", "Q")
WEATHER: dict[str, Any] = {
    "name": "weather",
    "description": "Get weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


@pytest.fixture(scope="module")
def builder() -> PromptBuilder:
    return PromptBuilder(load_tokenizer(DEMO), ChatTemplate.load(DEMO), ModelConfig.load(DEMO))


def _call(name: str, call_id: str, **arguments: object) -> ToolCall:
    return ToolCall(name, arguments, call_id)


def _result(call_id: str, *parts: Part, value: Mapping[str, Any] | None = None) -> Message:
    return Message("tool", parts, answers=call_id, value=value)


def _calling(*calls: ToolCall) -> Message:
    return Message("assistant", (), calls=calls)


DEEP: dict[str, Any] = {}
DEEP["again"] = DEEP
ONE = _calling(_call("f", "1"))
BAD: dict[str, tuple[list[Message], list[Any], str]] = {
    "no call before": ([USER, _result("1", Text("x"))], [], "answers the call '1', which is not in the message"),
    "first of all": ([_result("1", Text("x"))], [], "which is not in the message"),
    "another call": ([USER, ONE, _result("2", Text("x"))], [], "answers the call '2'"),
    "of no call": ([USER, ONE, Message("tool", (Text("x"),))], [], "answers the call None"),
    "after the answer": (
        [USER, ONE, Message.of("assistant", "A"), _result("1", Text("x"))],
        [],
        "answers the call '1'",
    ),
    "two results": ([USER, ONE, _result("1", Text("x")), _result("1", Text("y"))], [], "two results answer .* '1'"),
    "one id twice": ([USER, _calling(_call("f", "1"), _call("g", "1"))], [], "two calls have the id '1'"),
    "one id later": ([USER, ONE, _result("1"), ONE], [], "two calls have the id '1'"),
    "calls of a user": ([Message("user", (Text("Q"),), calls=(_call("f", "1"),))], [], "the role user has calls"),
    "no mapping": ([USER, _calling(ToolCall("f", [1], "1"))], [], "a call of f: a mapping is needed.*list"),  # type: ignore[arg-type]
    "nan": ([USER, _calling(_call("f", "1", x=[1, {"y": float("nan")}]))], [], "a call of f, x, 1, y: .*nan"),
    "infinity": ([USER, ONE, _result("1", value={"x": float("-inf")})], [], "a result of f, x: .*-inf"),
    "bytes": ([USER, _calling(_call("f", "1", x=b"x"))], [], "a call of f, x: .*bytes"),
    "a set": ([USER, ONE, _result("1", value={"x": {1}})], [], "a result of f, x: .*set"),
    "number as key": ([USER, ONE, _result("1", value={"x": {1: 2}})], [], "a result of f, x: the key 1 must be text"),
    "endless": ([USER, ONE, _result("1", value=DEEP)], [], "a result of f: more than 64"),
    "too many digits": ([USER, _calling(_call("f", "1", x=10**5000))], [], "a call of f, x: an integer of 16610 bits"),
    "mapping and text": ([USER, ONE, _result("1", Text("x"), value={"a": 1})], [], "a mapping and a text"),
    "a tool without a name": ([USER], [{"description": "d"}], '"name" None'),
    "wrapped": ([USER], [{"type": "function", "function": WEATHER}], '"name" None'),
    "a name that cannot be called": ([USER], [WEATHER | {"name": "my tool"}], "'my tool'"),
    "two of one name": ([USER], [WEATHER, WEATHER], "two tools have the name weather"),
    "a schema that is no JSON": ([USER], [WEATHER | {"parameters": {"type": str}}], "parameters, type: .*a type"),
    "no declaration": ([USER], ["weather"], "mapping is needed, this is a str"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_does_not_fit_is_told_in_one_line(name: str, builder: PromptBuilder) -> None:
    messages, tools, words = BAD[name]
    with pytest.raises(InputError, match=words) as refused:
        builder.build(messages, tools=tools)
    assert len(str(refused.value)) < 200


def test_the_deepest_value_that_is_allowed(builder: PromptBuilder) -> None:
    value: Any = 1
    for _ in range(63):
        value = [value]
    assert builder.build([USER, ONE, _result("1", value={"x": value})]).n_tokens
    with pytest.raises(InputError, match="more than 64"):
        builder.build([USER, ONE, _result("1", value={"x": [value]})])
