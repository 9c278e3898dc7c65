"""The grammar of calls: every JSON value comes back as the template prints it, everything else is a fault in words."""

import json
import random
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from gemma_mlx.generation.calls import CallText
from gemma_mlx.generation.channels import ChannelStream
from gemma_mlx.generation.events import BadCall
from gemma_mlx.inputs.json_values import MOST_BITS, MOST_LEVELS, check_mapping
from gemma_mlx.inputs.message import ToolCall
from gemma_mlx.inputs.template import ChatTemplate
from gemma_mlx.inputs.tokenizer import Tokenizer, load_tokenizer
from tests.generation.pieces import fed, random_text

DEMO = Path(__file__).parents[2] / "gemma_mlx" / "assets" / "demo"
MARK = "\U0010fffd"  # breaks what spells a control token in text


def read(call: str) -> ToolCall | BadCall:
    """A call in which `"` stands for the delimiter."""
    text = CallText()
    for index, run in enumerate(call.split('"')):
        if index:
            text.delimiter()
        text.add(run.encode())
    return text.end()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("{}", {}),
        ('{s:""}', {"s": ""}),
        ('{a:"x",b:"y"}', {"a": "x", "b": "y"}),
        ('{s:"{a:1},[2]"}', {"s": "{a:1},[2]"}),
        ('{s:" a\n "}', {"s": " a\n "}),
        ("{a:0,b:-1,c:12345678901234567890}", {"a": 0, "b": -1, "c": 12345678901234567890}),
        (
            "{a:1.5,b:-0.25,c:1e3,d:1E-7,e:2.5e+20,f:-0.0}",
            {"a": 1.5, "b": -0.25, "c": 1e3, "d": 1e-7, "e": 2.5e20, "f": -0.0},
        ),
        ("{a:true,b:false,c:null}", {"a": True, "b": False, "c": None}),
        ('{a:[],b:[1,"2",[3]],c:{},d:{e:{f:[{}]}}}', {"a": [], "b": [1, "2", [3]], "c": {}, "d": {"e": {"f": [{}]}}}),
        (' { a : [ 1 , 2 ] ,\n\tb : "c" , d : { } , e : [ ] } \r\n', {"a": [1, 2], "b": "c", "d": {}, "e": []}),
        ('{"a":1,"b:{":2,"":3," c ":4}', {"a": 1, "b:{": 2, "": 3, " c ": 4}),
        ("{\u00a0a:1}", {"\u00a0a": 1}),  # white space of another kind is text
        ("{a b:1,ü-ß.1:2,3:4,true:5,'q':6,a\nb:7}", {"a b": 1, "ü-ß.1": 2, "3": 4, "true": 5, "'q'": 6, "a\nb": 7}),
    ],
)
def test_arguments(arguments: str, expected: dict[str, Any]) -> None:
    call = read(f"call:f{arguments}")
    assert call == ToolCall("f", expected)
    assert json.dumps(call.arguments) == json.dumps(expected)  # 1 is not 1.0 and not True


@pytest.mark.parametrize("name", ["f", "get_weather", "mcp-server.find_2", "größe", "_", "3d"])
def test_names(name: str) -> None:
    assert read(f"call:{name}{{}}") == ToolCall(name, {})
    assert read(f" call : {name} {{}}") == ToolCall(name, {})


@pytest.mark.parametrize(
    ("call", "fault"),
    [
        ("", "it does not begin with 'call:'"),
        ("f{}", "it does not begin with 'call:'"),
        ("Call:f{}", "it does not begin with 'call:'"),
        ('"call":f{}', "it does not begin with 'call:'"),
        ("call{}", "':' is expected, '{' found"),
        ("call:{}", "a function's name is expected, '{' found"),
        ('call:"f"{}', "a function's name is expected, the string 'f' found"),
        ("call:a b{}", "a function's name is expected, 'a b' found"),
        ("call:a/b{}", "a function's name is expected, 'a/b' found"),
        ("call:f", "'{' is expected, nothing found"),
        ("call:f[]", "'{' is expected, '[' found"),
        ("call:f{", "a key is expected, nothing found"),
        ("call:f{a", "':' is expected, nothing found"),
        ("call:f{a:", "a value is expected, nothing found"),
        ("call:f{a:1", "'}' is expected, nothing found"),
        ("call:f{a:[1", "']' is expected, nothing found"),
        ("call:f{a:[1}", "']' is expected, '}' found"),
        ("call:f{}}", "'}' follows the arguments"),
        ("call:f{}call:g{}", "'call' follows the arguments"),
        ('call:f{}"a"', "the string 'a' follows the arguments"),
        ("call:f{a:1,}", "a key is expected, '}' found"),
        ("call:f{,}", "a key is expected, ',' found"),
        ("call:f{:1}", "a key is expected, ':' found"),
        ("call:f{a:[1,]}", "a value is expected, ']' found"),
        ("call:f{a:[,1]}", "a value is expected, ',' found"),
        ("call:f{a:1 b:2}", "a value is expected, '1 b' found"),
        ("call:f{a:1;b:2}", "a value is expected, '1;b' found"),
        ("call:f{a,b:2}", "':' is expected, ',' found"),
        ("call:f{a::1}", "a value is expected, ':' found"),
        ('call:f{a:"x"y}', "'}' is expected, 'y' found"),
        ('call:f{a:"x""y"}', "'}' is expected, the string 'y' found"),
        ("call:f{a:Paris\nis}", r"a value is expected, 'Paris\nis' found"),
        ("call:f{a:'Paris'}", "a value is expected, \"'Paris'\" found"),
        (f"call:f{{a:{'x' * 99}}}", f"a value is expected, '{'x' * 24}…' found"),
        ("call:f{a:1,b:2,a:3}", "the key 'a' is given twice"),
        ('call:f{o:{a:1,"a":3}}', "the key 'a' is given twice"),
        ('call:f{a:"x}', "a string is not closed"),
        *[
            (f"call:f{{a:{bad}}}", f"a value is expected, {bad!r} found")
            for bad in ("01", "1.", ".5", "+1", "--1", "1e")
        ],
        *[
            (f"call:f{{a:{bad}}}", f"a value is expected, {bad!r} found")
            for bad in ("True", "None", "NaN", "inf", "٣", "0x1", "1_0")
        ],
        ("call:f{a:-1e999}", "the number '-1e999' is out of range"),
        (f"call:f{{a:{'9' * 5000}}}", f"the number '{'9' * 24}…' is out of range"),
        (f"call:f{{a:{2**MOST_BITS}}}", f"the number '{str(2**MOST_BITS)[:24]}…' is out of range"),
    ],
)
def test_faults(call: str, fault: str) -> None:
    bad = read(call)
    assert bad == BadCall(call, fault)
    assert "\n" not in bad.fault


def test_bytes_that_are_no_text() -> None:
    text = CallText()
    text.add(b"call:f{s:")
    text.delimiter()
    text.add(b"a\xc3")
    text.delimiter()
    text.add(b"}")
    assert text.end() == BadCall('call:f{s:"a\ufffd"}', "it holds bytes that are no UTF-8")


def test_the_first_of_several_faults_is_told() -> None:
    text = CallText()
    text.add(b"call:f{}")
    text.spoil("one")
    text.spoil("two")
    assert text.end() == BadCall("call:f{}", "one")


def test_the_longest_number() -> None:
    call = read(f"call:f{{a:-{2**MOST_BITS - 1}}}")
    assert isinstance(call, ToolCall)
    check_mapping(call.arguments, "f")


def _nested(levels: int) -> str:
    lists = levels - 1
    return f"call:f{{a:{'[' * lists}{']' * lists}}}"


def test_levels() -> None:
    assert isinstance(read(_nested(MOST_LEVELS)), ToolCall)
    bad = read(_nested(MOST_LEVELS + 1))
    assert isinstance(bad, BadCall)
    assert bad.fault == f"more than {MOST_LEVELS} levels of arrays and objects"
    assert isinstance(read(_nested(100_000)), BadCall)
    wide = ",".join(f"k{index}:[{{}}]" for index in range(MOST_LEVELS + 1))
    assert isinstance(read(f"call:f{{{wide}}}"), ToolCall)  # beside one another is not inside


@pytest.fixture(scope="module", params=["tokenizer.json", "tokenizer.model"])
def tokenizer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    directory = tmp_path_factory.mktemp("tokenizer")
    shutil.copy(DEMO / request.param, directory)
    return load_tokenizer(directory)


def _random_key(rng: random.Random) -> str:
    """Any text that the grammar can hold bare."""
    key = re.sub(r"[{}\[\]:,]", "", random_text(rng, 12)).strip(" \t\r\n")
    return key or rng.choice(["a", "city", "a b", "<|turn>", "3"])


def _random_value(rng: random.Random, levels: int) -> Any:
    match rng.randrange(8 if levels else 6):
        case 0:
            return rng.choice([True, False, None])
        case 1:
            return rng.randint(-(10 ** rng.randrange(1, 30)), 10**9)
        case 2:
            return rng.choice([-1, 1]) * rng.random() * 10.0 ** rng.randrange(-300, 300)
        case 3 | 4:
            return random_text(rng)
        case 5:
            return rng.choice(['<|"|>', "<tool_call|>}", "a<|tool_call>call:f{}", "", "\n", "'", '"', "\\n", "{a:1}"])
        case 6:
            return [_random_value(rng, levels - 1) for _ in range(rng.randrange(4))]
        case _:
            return {_random_key(rng): _random_value(rng, levels - 1) for _ in range(rng.randrange(4))}


def _marked(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("<", "<" + MARK)
    if isinstance(value, list):
        return [_marked(item) for item in value]
    if isinstance(value, Mapping):
        return {_marked(key): _marked(item) for key, item in value.items()}
    return value


def _rendered(name: str, arguments: Mapping[str, Any], template: ChatTemplate, tokenizer: Tokenizer) -> list[int]:
    """What the model reads of a call of an earlier turn."""
    calls = [{"id": "1", "type": "function", "function": {"name": name, "arguments": _marked(arguments)}}]
    asked = {"role": "user", "content": "x"}
    rendered = template.render([asked, {"role": "assistant", "content": "", "tool_calls": calls}])
    literals = "|".join(re.escape(literal) for literal in sorted(tokenizer.specials, key=len, reverse=True))
    return [
        token
        for piece in re.split(f"({literals})", rendered.partition("<|turn>model\n")[2])
        for token in (
            [tokenizer.specials[piece]] if piece in tokenizer.specials else tokenizer.encode(piece.replace(MARK, ""))
        )
    ]


@pytest.mark.parametrize("seed", range(3))
def test_any_arguments_come_back_as_the_template_prints_them(seed: int, tokenizer: Tokenizer) -> None:
    rng, template = random.Random(seed), ChatTemplate.load(DEMO)
    for _ in range(150):
        arguments = {_random_key(rng): _random_value(rng, 3) for _ in range(rng.randrange(5))}
        stream = ChannelStream(tokenizer)
        events = fed(stream, _rendered("f", arguments, template, tokenizer))
        assert events == [ToolCall("f", arguments)]
        assert json.dumps(stream.calls[0].arguments, sort_keys=True) == json.dumps(arguments, sort_keys=True)


@pytest.mark.parametrize("key", ["a:b", "a,b", "{", "]", "", " a", "a\n"])
def test_keys_that_the_template_cannot_print(key: str) -> None:
    """The form has no way to say them bare: the model would have to put them between delimiters."""
    tokenizer = load_tokenizer(DEMO)
    events = fed(ChannelStream(tokenizer), _rendered("f", {key: 1}, ChatTemplate.load(DEMO), tokenizer))
    assert events != [ToolCall("f", {key: 1})]
    assert read(f'call:f{{"{key}":1}}') == ToolCall("f", {key: 1})


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_numbers_that_json_has_not(number: float) -> None:
    tokenizer = load_tokenizer(DEMO)
    (event,) = fed(ChannelStream(tokenizer), _rendered("f", {"a": number}, ChatTemplate.load(DEMO), tokenizer))
    assert isinstance(event, BadCall)
