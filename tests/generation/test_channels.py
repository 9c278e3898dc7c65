"""Ids into events: what is shown, joined, is the text; no delta holds half a character, a marker or a stop string.

The oracles look at the whole sequence at once; the stream sees it id by id.
"""

import json
import random
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from gemma_mlx.generation.channels import ChannelStream, open_channel
from gemma_mlx.generation.events import BadCall, Channel, TextDelta
from gemma_mlx.inputs.message import ToolCall
from gemma_mlx.inputs.tokenizer import Tokenizer, load_tokenizer
from tests.generation.pieces import Pieces, fed, ids, joined, random_text

TESTS = Path(__file__).parents[1]
DEMO = TESTS.parent / "gemma_mlx" / "assets" / "demo"
RENDERINGS = json.loads((TESTS / "data" / "chat_renderings.json").read_text(encoding="utf-8"))
BROKEN = "\ufffd"
OPEN, CLOSE, CALL, CALLED, QUOTE = "<|channel>", "<channel|>", "<|tool_call>", "<tool_call|>", '<|"|>'
PING = ToolCall("ping", {})


@pytest.fixture(scope="module", params=["tokenizer.json", "tokenizer.model"])
def tokenizer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    directory = tmp_path_factory.mktemp("tokenizer")
    shutil.copy(DEMO / request.param, directory)
    return load_tokenizer(directory)


def test_any_text_comes_out_whole(tokenizer: Tokenizer) -> None:
    rng = random.Random(0)
    pieces = 0
    for _ in range(300):
        text = random_text(rng)
        tokens = tokenizer.encode(text)
        stream = ChannelStream(tokenizer)
        deltas = fed(stream, tokens)
        assert joined(deltas) == text == stream.text()
        assert all(isinstance(delta, TextDelta) and delta.text and BROKEN not in delta.text for delta in deltas)
        pieces += len(tokens) > len(deltas)
    assert pieces > 100  # characters really were spread over tokens


def test_each_character_is_shown_with_its_last_byte() -> None:
    stream = ChannelStream(Pieces())
    shown = [joined(stream.push(byte)) for byte in "é中🙂a".encode()]
    assert shown == ["", "é", "", "", "中", "", "", "", "🙂", "a"]
    assert stream.finish() == []


@pytest.mark.parametrize("seed", range(5))
def test_broken_bytes_are_replaced_as_in_one_piece(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(100):
        tokens = [rng.choice([*b"ab", 0xC3, 0xA9, 0xE4, 0xB8, 0xAD, 0xF0, 0x9F, 0x99, 0x82, 0xFF]) for _ in range(12)]
        assert joined(fed(ChannelStream(Pieces()), tokens)) == bytes(tokens).decode("utf-8", "replace")


def test_half_a_character_at_the_end_is_one_replacement() -> None:
    stream = ChannelStream(Pieces())
    assert stream.push(0xF0) + stream.push(0x9F) == []
    assert stream.finish() == [TextDelta(BROKEN)]
    assert stream.finish() == []
    assert stream.text() == BROKEN


def test_control_tokens_and_unknown_ids_add_nothing(tokenizer: Tokenizer) -> None:
    stream = ChannelStream(tokenizer)
    others = [token for literal, token in tokenizer.specials.items() if literal not in (OPEN, CALL)]
    assert [delta for token in [*others, tokenizer.vocab_size + 5] for delta in stream.push(token)] == []
    assert joined(fed(stream, tokenizer.encode("a"))) == "a"


def _stopped(text: str, stops: Sequence[str]) -> str:
    """Text before the stop string that is complete first; of two that end together the longer."""
    ends = [
        (end, len(text[:end]) - len(stop))
        for end in range(len(text) + 1)
        for stop in stops
        if text[:end].endswith(stop)
    ]
    return text[: min(ends)[1]] if ends else text


@pytest.mark.parametrize("seed", range(8))
def test_stop_strings_are_found_however_the_text_is_cut(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(150):
        words = ["".join(rng.choices("abc", k=rng.randrange(1, 5))) for _ in range(8)]
        stops = ["".join(rng.choices("abc", k=rng.randrange(1, 6))) for _ in range(rng.randrange(1, 4))]
        stream = ChannelStream(Pieces(words), stops)
        deltas = fed(stream, range(300, 308))
        expected = _stopped("".join(words), stops)
        assert joined(deltas) == stream.text() == expected, (words, stops)
        assert stream.stopped == (expected != "".join(words))


def test_the_beginning_of_a_stop_string_waits_until_it_is_clear() -> None:
    stream = ChannelStream(Pieces(["xa", "ab", "x", "a"]), ["aab"])
    assert [joined(stream.push(token)) for token in (300, 303, 302, 303)] == ["x", "", "aax", ""]
    assert not stream.stopped
    assert stream.finish() == [TextDelta("a")]
    assert stream.finish() == []
    assert stream.text() == "xaaxa"


def test_nothing_follows_a_stop_string() -> None:
    stream = ChannelStream(Pieces(["one END two", b"END\xc3"]), ["END"])
    assert stream.push(300) == [TextDelta("one ")]
    assert stream.stopped
    assert not any(stream.push(token) for token in ids("a", CALL, "call:ping{}", CALLED, OPEN, "b"))
    assert stream.finish() == []
    assert (stream.text(), stream.text("thought"), stream.calls) == ("one ", "", ())
    assert fed(ChannelStream(Pieces(["", b"END\xc3"]), ["END"]), [301]) == []


def test_stop_strings_of_several_bytes_and_empty_ones() -> None:
    stream = ChannelStream(Pieces(), ["é🙂", ""])
    assert joined(fed(stream, ids("aé🙂b"))) == "a"
    assert joined(fed(ChannelStream(Pieces(), [""]), b"ab")) == "ab"
    assert joined(fed(ChannelStream(Pieces(), ["é"]), [0xC3])) == BROKEN


def test_a_thought_does_not_stop_the_answer() -> None:
    deltas = fed(ChannelStream(Pieces(), ["END"]), ids(OPEN, "thought\nEND", CLOSE, " so", "END", " so"))
    assert (joined(deltas, "thought"), joined(deltas)) == ("END", " so")


def test_what_was_held_back_belongs_to_the_answer() -> None:
    stream = ChannelStream(Pieces(), ["ssst"])
    deltas = fed(stream, ids("yes", OPEN, "thought\nhm"))
    assert (joined(deltas), joined(deltas, "thought")) == ("yes", "hm")
    assert (stream.text(), stream.text("thought")) == ("yes", "hm")


def test_a_stop_string_may_span_a_thought_but_no_call() -> None:
    stream = ChannelStream(Pieces(), ["stop"])
    assert joined(fed(stream, ids("yes", OPEN, "thought\nhm", CLOSE, "top"))) == "ye"
    assert stream.stopped
    stream = ChannelStream(Pieces(), ["stop"])
    events = fed(stream, ids("yes", CALL, "call:ping{}", CALLED, "top"))
    assert events[events.index(PING) - 1] == TextDelta("s")  # what was held back comes before the call
    assert (joined(events), stream.stopped) == ("yestop", False)


@pytest.mark.parametrize(
    ("parts", "answer", "thought"),
    [
        ([OPEN, "thought\nhm", CLOSE, "yes"], "yes", "hm"),
        ([OPEN, "thought\n", CLOSE, "yes"], "yes", ""),
        ([OPEN, "thought", CLOSE, "yes"], "yes", ""),  # the name alone
        ([OPEN, CLOSE, "yes"], "yes", ""),
        ([OPEN, "tho"], "", ""),
        ([OPEN, "thought\nhm"], "", "hm"),  # never closed
        ([CLOSE, "yes"], "yes", ""),  # never opened
        (["yes", OPEN, "thought\nhm", CLOSE, "yes"], "yesyes", "hm"),
        ([OPEN, "thought\nhm", OPEN, "thought\nso", CLOSE], "", "hmso"),  # opened again
        ([OPEN, "thought\nhm", CLOSE, CLOSE, "yes"], "yes", "hm"),
        ([OPEN, "analysis\nhm", CLOSE], "", "hm"),  # another name
        ([OPEN, "thought \r\nhm", CLOSE], "", "hm"),
        ([OPEN, "\nhm", CLOSE], "", "hm"),
        ([OPEN, "I think so.\nhm", CLOSE], "", "I think so.\nhm"),  # a line that is no name
        ([OPEN, "I think", CLOSE, "yes"], "yes", "I think"),
        ([OPEN, "x" * 33, "\nhm"], "", "x" * 33 + "\nhm"),
        ([OPEN, "x" * 32, "\nhm"], "", "hm"),
        (["<", "|channel>", "thought\nhm", "<chan", "nel|>"], "<|channel>thought\nhm<channel|>", ""),  # plain text
        (["a", "<turn|>", "b", "<|tool_response>", "c", QUOTE, CALLED, "d"], "abcd", ""),
    ],
)
def test_thoughts(parts: list[str], answer: str, thought: str) -> None:
    stream = ChannelStream(Pieces())
    events = fed(stream, ids(*parts))
    assert (joined(events), joined(events, "thought")) == (answer, thought)
    assert (stream.text(), stream.text("thought")) == (answer, thought)


def test_a_thought_that_the_prompt_has_opened_goes_on() -> None:
    stream = ChannelStream(Pieces(), ["thought"], channel="thought")
    events = fed(stream, ids("thought\nof rain", CLOSE, "yes"))
    assert (joined(events, "thought"), joined(events)) == ("thought\nof rain", "yes")


def test_text_and_calls_come_in_their_order() -> None:
    parts = [OPEN, "thought\nhm", CLOSE, "é", CALL, "call:ping{}", CALLED, CALL, "call:a{s:", QUOTE, "é", QUOTE, "}"]
    stream = ChannelStream(Pieces())
    events = fed(stream, ids(*parts, CALLED, "so"))
    call = ToolCall("a", {"s": "é"})
    shown = [event.text if isinstance(event, TextDelta) else event for event in events]
    assert shown == ["h", "m", "é", PING, call, "s", "o"]
    assert (stream.calls, stream.bad, stream.text()) == ((PING, call), (), "éso")


def test_a_string_holds_any_content() -> None:
    content = f'}}],"{{\n{CALLED}{QUOTE}{CALL}call:no{{}} \\ é中🙂'
    spelled = [content[at : at + 1] for at in range(len(content))]  # one at a time, so that no part is a marker
    stream = ChannelStream(Pieces())
    assert fed(stream, ids(CALL, "call:f{s:", QUOTE, *spelled, QUOTE, "}", CALLED)) == [ToolCall("f", {"s": content})]
    assert stream.text() == ""


def test_a_call_inside_a_thought_is_one_and_the_thought_goes_on() -> None:
    stream = ChannelStream(Pieces(), ["ping"])
    events = fed(stream, ids(OPEN, "thought\na", CALL, "call:ping{}", CALLED, "b", CLOSE, "c"))
    assert events == [TextDelta("a", "thought"), PING, TextDelta("b", "thought"), TextDelta("c")]
    assert fed(ChannelStream(Pieces()), ids(OPEN, "tho", CALL, "call:ping{}", CALLED, "b")) == [
        PING,
        TextDelta("b", "thought"),
    ]


def test_half_a_character_before_a_call_is_shown_before_it() -> None:
    tokens = [0xC3, *ids(CALL, "call:ping{}", CALLED), 0xA9]
    assert fed(ChannelStream(Pieces()), tokens) == [TextDelta(BROKEN), PING, TextDelta(BROKEN)]


@pytest.mark.parametrize(
    ("parts", "raw", "fault", "answer"),
    [
        ([CALL, "call:ping{"], "call:ping{", "it is not closed: the reply ends", ""),
        ([CALL, "call:ping{}"], "call:ping{}", "it is not closed: the reply ends", ""),
        ([CALL], "", "it is not closed: the reply ends", ""),
        ([CALL, "call:f{s:", QUOTE, "a"], 'call:f{s:"a', "it is not closed: the reply ends", ""),
        ([CALL, "call:f{s:", QUOTE, "a", CALLED, "b"], 'call:f{s:"a', "a string is not closed", "b"),
        ([CALL, CALLED, "b"], "", "it does not begin with 'call:'", "b"),
        ([CALL, "call:p", "<turn|>", "b"], "call:p", "it is not closed: the control token 'turn' follows", "b"),
        ([CALL, "call:p", CLOSE, "b"], "call:p", "it is not closed: the control token 'channel' follows", "b"),
        ([CALL, "call:p", "<|image|>", "b", CALLED, "c"], "call:pb", "the control token 'image' is inside it", "c"),
        ([CALL, "call:p", "<|image|>", "<bos>"], "call:p", "the control token 'image' is inside it", ""),
    ],
)
def test_a_call_that_cannot_be_read(parts: list[str], raw: str, fault: str, answer: str) -> None:
    stream = ChannelStream(Pieces())
    events = fed(stream, ids("a", *parts))
    assert [event for event in events if not isinstance(event, TextDelta)] == [BadCall(raw, fault)]
    assert stream.bad == (BadCall(raw, fault),)
    assert (joined(events), stream.text("thought")) == ("a" + answer, "")
    assert stream.finish() == []


def test_a_call_that_another_cuts_off() -> None:
    stream = ChannelStream(Pieces())
    fed(stream, ids(CALL, "call:p", CALL, "call:ping{}", CALLED))
    assert stream.calls == (PING,)
    assert stream.bad == (BadCall("call:p", "it is not closed: the control token 'tool_call' follows"),)


@pytest.mark.parametrize(
    ("parts", "channel"),
    [
        ([], "answer"),
        (["<|turn>", "model\n"], "answer"),
        (["<|turn>", "model\n", OPEN, "thought\n"], "thought"),
        (["<|turn>", "model\n", OPEN, "thought\n", CLOSE], "answer"),
        ([OPEN, "thought\n", "<|turn>", "model\n"], "answer"),  # of an earlier turn
        (["<|turn>", "model\n", OPEN, "thought\na", CLOSE, CALL, CALLED, OPEN, "thought\n"], "thought"),
        ([OPEN, "thought\n"], "thought"),
    ],
)
def test_where_a_prompt_leaves_the_model(parts: list[str], channel: Channel) -> None:
    assert open_channel(ids(*parts), Pieces()) == channel


CALLING = [case for case in RENDERINGS["cases"] if CALL in case.get("rendered", "")]


@pytest.mark.parametrize("case", CALLING, ids=lambda case: case["name"])
def test_calls_as_the_published_template_prints_them(case: dict[str, Any], tokenizer: Tokenizer) -> None:
    """What the model reads of earlier turns is what it writes."""
    literals = sorted(tokenizer.specials, key=len, reverse=True)
    pieces = re.split(f"({'|'.join(map(re.escape, literals))})", case["rendered"])
    tokens = [
        token
        for piece in pieces
        for token in ([tokenizer.specials[piece]] if piece in tokenizer.specials else tokenizer.encode(piece))
    ]
    stream = ChannelStream(tokenizer)
    fed(stream, tokens)
    called = [call["function"] for message in case["messages"] for call in message.get("tool_calls", ())]
    assert [(call.name, call.arguments) for call in stream.calls] == [(f["name"], f["arguments"]) for f in called]
    assert stream.bad == ()
    in_thought = case["rendered"].endswith(f"{OPEN}thought\n")
    assert open_channel(tokens, tokenizer) == ("thought" if in_thought else "answer")
