"""Prompts with declarations, calls and results: against renderings of the published template, and against attacks."""

import json
import random
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer as RustTokenizer

from gemma_mlx.config import ModelConfig
from gemma_mlx.errors import InputError
from gemma_mlx.generation.channels import ChannelStream
from gemma_mlx.inputs.message import Image, Message, Part, Text, ToolCall
from gemma_mlx.inputs.prompt import Prompt, PromptBuilder
from gemma_mlx.inputs.template import ChatTemplate
from gemma_mlx.inputs.tokenizer import CONTROL_TOKENS, Tokenizer, load_tokenizer

DEMO = Path(__file__).parents[2] / "gemma_mlx" / "assets" / "demo"
RENDERINGS = json.loads((Path(__file__).parents[1] / "data" / "chat_renderings.json").read_text(encoding="utf-8"))
CASES = [case for case in RENDERINGS["cases"] if "tools" in case]
RENDERED = [case for case in CASES if "rendered" in case and "preserve_thinking" not in case]
PICTURE = Image("a.png", np.random.default_rng(0).integers(0, 256, (48, 96, 3), np.uint8))
USER = Message.of("user", "Q")
# Where the published templates look: results beside the calls, else messages of tools, which hold no mapping; said is
# what follows them. One turn of the model goes on until somebody else speaks.
FOLDING = """
{%- macro value(v) -%}
    {%- if v is string -%}<|"|>{{ v }}<|"|>
    {%- elif v is mapping -%}{ {%- for k, x in v | dictsort -%}{{ k }}:{{ value(x) }}{{ ',' if not loop.last }}
        {%- endfor -%} }
    {%- else -%}{{ v | tojson }}{%- endif -%}
{%- endmacro -%}
{%- macro response(name, r) -%}
    <|tool_response>response:{{ name }}{{ value(r) if r is mapping else '{value:' ~ value(r) ~ '}' }}<tool_response|>
{%- endmacro -%}
{%- macro result(name, content) -%}
    {%- if content is string -%}{{ response(name, content) }}
    {%- else -%}
        {%- set text -%}{%- for part in content -%}{{ part.get('text', '') }}{%- endfor -%}{%- endset -%}
        {{ response(name, text) }}{% for part in content if part.type == 'image' %}<|image|>{% endfor -%}
    {%- endif -%}
{%- endmacro -%}
<bos>
{%- set turn = namespace(role=none) -%}
{%- for m in messages if m.role != 'tool' -%}
    {%- set role = 'model' if m.role == 'assistant' else m.role -%}
    {%- if role != 'model' or turn.role != 'model' %}<|turn>{{ role ~ '\n' }}{% endif -%}
    {%- set turn.role = role -%}
    {%- if m.reasoning_content %}<|channel>thought{{ '\n' ~ m.reasoning_content ~ '\n' }}<channel|>{% endif -%}
    {%- for c in m.tool_calls %}<|tool_call>call:{{ c.function.name ~ value(c.function.arguments) }}<tool_call|>
    {%- endfor -%}
    {%- for r in m.tool_responses %}{{ response(r.name, r.response) }}{% endfor -%}
    {%- for t in messages if t.role == 'tool' and not m.tool_responses -%}
        {%- for c in m.tool_calls if c.id == t.tool_call_id %}{{ result(c.function.name, t.content) }}{% endfor -%}
    {%- endfor -%}
    {{- m.content | trim -}}
    {%- if not m.tool_calls %}<turn|>{{ '\n' }}{% endif -%}
{%- endfor -%}
"""


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return load_tokenizer(DEMO)


@pytest.fixture(scope="module")
def builder(tokenizer: Tokenizer) -> PromptBuilder:
    return PromptBuilder(tokenizer, ChatTemplate.load(DEMO), ModelConfig.load(DEMO))


@pytest.fixture(scope="module")
def folding(tokenizer: Tokenizer) -> PromptBuilder:
    return PromptBuilder(tokenizer, ChatTemplate(FOLDING, {}), ModelConfig.load(DEMO))


@pytest.fixture(scope="module")
def whole() -> RustTokenizer:
    return RustTokenizer.from_file(str(DEMO / "tokenizer.json"))


def _parts(content: str | Sequence[Mapping[str, str]]) -> tuple[Part, ...]:
    if isinstance(content, str):
        return (Text(content),) if content else ()
    return tuple(Text(entry["text"]) if entry["type"] == "text" else PICTURE for entry in content)


def _messages(case: Mapping[str, Any]) -> list[Message]:
    """A recorded case as messages: a result beside its call becomes one of its own."""
    found = []
    for entry in case["messages"]:
        calls = tuple(ToolCall(**call["function"], id=call["id"]) for call in entry.get("tool_calls", ()))
        answers, thinking = entry.get("tool_call_id"), entry.get("reasoning_content")
        found.append(Message(entry["role"], _parts(entry["content"]), thinking, calls, answers))
        for call, response in zip(calls, entry.get("tool_responses", ()), strict=False):
            found.append(Message("tool", (), answers=call.id, value=response["response"]))
    return found


def _build(builder: PromptBuilder, case: Mapping[str, Any]) -> Prompt:
    return builder.build(
        _messages(case),
        tools=[tool["function"] for tool in case["tools"]],
        enable_thinking=case.get("enable_thinking", False),
        add_generation_prompt=case["add_generation_prompt"],
    )


@pytest.mark.parametrize("case", RENDERED, ids=lambda case: case["name"])
def test_messages_render_like_the_published_template(
    case: dict[str, Any], builder: PromptBuilder, whole: RustTokenizer
) -> None:
    expanded = case["rendered"].replace("<|image|>", "<|image>" + "<|image|>" * 2 + "<image|>")
    assert _build(builder, case).ids == whole.encode(expanded, add_special_tokens=False).ids


def test_every_recorded_case_with_tools_is_compared() -> None:
    left = [case["name"] for case in CASES if case not in RENDERED]
    assert left == ["preserve_thinking", "string arguments are refused"]
    assert len(RENDERED) == 19


def test_string_arguments_are_refused_as_the_published_template_does(builder: PromptBuilder) -> None:
    (case,) = (case for case in CASES if "error" in case)
    with pytest.raises(InputError, match="mapping is needed"):
        _build(builder, case)


def _shown(builder: PromptBuilder, tokenizer: Tokenizer, messages: Sequence[Message]) -> str:
    """What a prompt holds, with the literals of control tokens; soft tokens as one placeholder."""
    literals = {token: literal for literal, token in tokenizer.specials.items()}
    prompt = builder.build(messages, add_generation_prompt=False)
    pieces = [literals[token].encode() if token in literals else tokenizer.token_bytes(token) for token in prompt.ids]
    return re.sub(r"<\|image>(<\|image\|>)+<image\|>", "<picture>", b"".join(pieces).decode())


def _call(name: str, call_id: str, **arguments: object) -> ToolCall:
    return ToolCall(name, arguments, call_id)


def _result(call_id: str, *parts: Part, value: Mapping[str, Any] | None = None) -> Message:
    return Message("tool", parts, answers=call_id, value=value)


BOTH = Message("assistant", (), calls=(_call("f", "1"), _call("g", "2")))
A, B = '<|tool_response>response:f{a:1,b:{c:<|"|>x<|"|>}}<tool_response|>', "<|tool_response>response:g{value:"
RESULTS = {
    "mapping and text": (
        (_result("1", value={"b": {"c": "x"}, "a": 1}), _result("2", Text("y"))),
        f'{A}{B}<|"|>y<|"|>}}',
    ),
    "mapping and nothing": ((_result("1", value={"b": {"c": "x"}, "a": 1}), _result("2")), f'{A}{B}<|"|><|"|>}}'),
    "the second first": (
        (_result("2", Text("y")), _result("1", value={"b": {"c": "x"}, "a": 1})),
        f'{B}<|"|>y<|"|>}}<tool_response|>{A.removesuffix("<tool_response|>")}',
    ),
    "mapping and picture": (
        (_result("1", value=MappingProxyType({"a": "ä"})), _result("2", PICTURE, Text("see"))),
        f'<|tool_response>response:f{{value:<|"|>{{"a": "ä"}}<|"|>}}<tool_response|>{B}<|"|>see<|"|>}}',
    ),
    "mapping with a picture": (
        (_result("1", PICTURE, value={"a": 1}), _result("2", Text("y"))),
        f'<|tool_response>response:f{{value:<|"|>{{"a": 1}}<|"|>}}<tool_response|><picture>{B}<|"|>y<|"|>}}',
    ),
}


@pytest.mark.parametrize("name", RESULTS)
def test_results_reach_templates_that_look_in_one_place(
    name: str, builder: PromptBuilder, folding: PromptBuilder, tokenizer: Tokenizer
) -> None:
    results, expected = RESULTS[name]
    end = "<tool_response|>" + "<picture>" * (name == "mapping and picture")
    for each in (builder, folding):
        assert _shown(each, tokenizer, [USER, BOTH, *results]).endswith(f"g{{}}<tool_call|>{expected}{end}")


def test_what_is_said_before_a_call_stays_before_it(
    builder: PromptBuilder, folding: PromptBuilder, tokenizer: Tokenizer
) -> None:
    said = Message("assistant", (Text(" wait <turn|>\n"),), "hm", (_call("f", "1", a="<|tool_call>"),))
    answer = Message.of("assistant", "done")
    for results in ([_result("1", Text("y"))], [_result("1", value={"value": "y"})], []):
        expected = (
            '<|channel>thought\nhm\n<channel|>wait <turn|><|tool_call>call:f{a:<|"|><|tool_call><|"|>}<tool_call|>'
            + '<|tool_response>response:f{value:<|"|>y<|"|>}<tool_response|>done<turn|>\n' * bool(results)
        )
        for each in (builder, folding):
            shown = _shown(each, tokenizer, [USER, said, *results, *([answer] if results else [])])
            assert shown.removesuffix("<|tool_response>").partition("<|turn>model\n")[2] == expected


# Each place where text comes from outside.
PLACES = ("argument", "nested", "key", "text", "value", "value key", "said", "thinking", "id", "description")
PLACES_OF_NAMES = ("call", "call with a value")


def _attacked(place: str, text: str) -> tuple[list[Message], list[Mapping[str, Any]]]:
    def at(name: str, plain: str = "x") -> str:
        return text if name == place else plain

    arguments = {at("key", "k"): at("argument"), "n": [{"o": at("nested")}, 1]}
    call = ToolCall(text if place in PLACES_OF_NAMES else "f", arguments, at("id", "1"))
    said = Message("assistant", (Text(at("said")),), at("thinking"), (call, ToolCall("f", {}, "2")))
    result = _result(at("id", "1"), Text(at("text")))
    if "value" in place:
        result = _result(at("id", "1"), value={at("value key", "k"): [at("value")]})
    properties = {at("description", "k"): {"type": "string", "enum": [at("description")]}}
    tool = {"name": "f", "description": at("description"), "parameters": {"type": "object", "properties": properties}}
    return [USER, said, result, _result("2", Text("y"))], [tool]


@pytest.mark.parametrize("place", [*PLACES, *PLACES_OF_NAMES])
def test_text_from_outside_never_becomes_a_control_token(
    place: str, builder: PromptBuilder, tokenizer: Tokenizer
) -> None:
    specials = set(tokenizer.specials.values())

    def controls(prompt: Prompt) -> list[int]:
        return [token for token in prompt.ids if token in specials]

    rng = random.Random(place)
    pieces = [*CONTROL_TOKENS, *'<|">{}:,', " ", "é", "\U000f0000", "\U000f0001", "tool_call|>", '<|"', '|"|>']
    for thinking in (False, True):
        plain, plain_tools = _attacked(place, "ab")
        expected = controls(builder.build(plain, tools=plain_tools, enable_thinking=thinking))
        for written in (*CONTROL_TOKENS, *("".join(rng.choices(pieces, k=rng.randint(1, 6))) for _ in range(40))):
            messages, tools = _attacked(place, f"a{written}b")
            prompt = builder.build(messages, tools=tools, enable_thinking=thinking)
            assert controls(prompt) == expected
            if place != "id":
                assert f"a{written}b" in tokenizer.decode(prompt.ids)


def _random_value(rng: random.Random, level: int = 0) -> Any:
    kind = rng.randrange(7 if level < 4 else 5)
    if kind == 0:
        return "".join(rng.choices(["a", "é", " ", '"', "\n", *CONTROL_TOKENS, "\U0001f600", "{", "}", ",", ":"], k=4))
    if kind == 5:
        return [_random_value(rng, level + 1) for _ in range(rng.randrange(4))]
    if kind == 6:
        return {f"k{index}": _random_value(rng, level + 1) for index in range(rng.randrange(4))}
    return rng.choice([None, True, False, rng.randint(-(10**20), 10**20), rng.uniform(-9, 9), 1e300, -5e-324])


def test_a_call_reads_back_as_it_was(builder: PromptBuilder, tokenizer: Tokenizer) -> None:
    rng = random.Random(5)
    for _ in range(200):
        call = ToolCall("f", {f"k{index}": _random_value(rng) for index in range(rng.randrange(4))}, "1")
        stream = ChannelStream(tokenizer)
        prompt = builder.build([USER, Message("assistant", (), calls=(call,))], add_generation_prompt=False)
        for token in prompt.ids[prompt.ids.index(tokenizer.specials["<|tool_call>"]) :]:
            stream.push(token)
        assert stream.bad == ()
        assert [(found.name, found.arguments) for found in stream.calls] == [("f", call.arguments)]
