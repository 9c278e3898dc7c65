"""Ten thousand random streams against an oracle that sees each as one string, with a character for each marker.

The streams are bytes, pieces of calls, whole calls, markers and markers spelled as text, cut off anywhere.
"""

import json
import random
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from gemma_mlx.generation.channels import ChannelStream, StreamEvent
from gemma_mlx.generation.events import Channel, TextDelta
from gemma_mlx.inputs.message import ToolCall
from gemma_mlx.inputs.tokenizer import CONTROL_TOKENS, Tokenizer, load_tokenizer
from tests.generation.pieces import Pieces, fed

DEMO = Path(__file__).parents[2] / "gemma_mlx" / "assets" / "demo"
# Text bytes are the characters below U+0100; markers and what is read already stand above.
SIGNS = {literal: chr(0x1000 + index) for index, literal in enumerate(CONTROL_TOKENS)}
OPEN, CLOSE, CALL, CALLED, QUOTE = (
    SIGNS[literal] for literal in ("<|channel>", "<channel|>", "<|tool_call>", "<tool_call|>", '<|"|>')
)
_ENDS = "<|channel> <channel|> <|tool_call> <|turn> <turn|> <|tool_response> <tool_response|> <eos>"
ENDS = "".join(SIGNS[literal] for literal in _ENDS.split())
STRINGS = 0x100000  # the first string of a call, and so on: characters that no text here has
PLAIN_QUOTE = "\U0010f000"

# What was read when: answer and thought so far, then what came.
Read = list[tuple[str, str, ToolCall | str]]


def _text(coded: str) -> str:
    """Bytes as characters -> the text they encode; markers add nothing."""
    return bytes(ord(c) for c in coded if ord(c) < 256).decode("utf-8", "replace")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a key twice")
    return dict(pairs)


def _finite(number: str) -> float:
    if abs(float(number)) == float("inf"):
        raise ValueError(number)
    return float(number)


def _no_constant(name: str) -> None:
    raise ValueError(name)


def _call(coded: str) -> ToolCall | str:
    """A call by way of JSON; the raw text of one that is none."""
    runs = coded.split(QUOTE)
    raw = '"'.join(map(_text, runs))
    if any(ord(c) > 255 and c != QUOTE for c in coded) or len(runs) % 2 == 0:
        return raw
    try:
        texts = [run.encode("latin-1").decode("utf-8") for run in runs]
        outside = texts[0].replace('"', PLAIN_QUOTE)
        for index, run in enumerate(texts[2::2]):
            outside += chr(STRINGS + index) + run.replace('"', PLAIN_QUOTE)
        white, plain = "[ \t\r\n]", r"[^{}\[\]:,\U00100000-\U00100fff]"
        head = re.match(rf"{white}*call{white}*:{white}*([\w.-]+){white}*({{.*)", outside, re.DOTALL)
        if not head:
            return raw
        key = rf"(?<=[{{,])({white}*)((?!{white}){plain}+(?<!{white}))({white}*:)"
        body = re.sub(key, lambda m: m[1] + json.dumps(m[2].replace(PLAIN_QUOTE, '"')) + m[3], head[2])
        body = re.sub("[\U00100000-\U00100fff]", lambda m: json.dumps(texts[1::2][ord(m[0]) - STRINGS]), body)
        found = json.loads(body, object_pairs_hook=_unique, parse_float=_finite, parse_constant=_no_constant)
    except ValueError:
        return raw
    return ToolCall(head[1], found)


def _spoken(coded: str) -> Iterator[tuple[Channel, str] | ToolCall | str]:
    """Characters with their channel, and calls (bad ones as their raw text), in order."""
    channel: Channel = "answer"
    for stretch in re.split(f"([{OPEN}{CLOSE}]|{CALL}[^{CALLED}{ENDS}]*(?:{CALLED}|(?=[{ENDS}])|$))", coded):
        if stretch.startswith(CALL):
            closed = stretch.endswith(CALLED)
            call = _call(stretch[1:-1] if closed else stretch[1:])
            yield call if closed or isinstance(call, str) else '"'.join(map(_text, stretch[1:].split(QUOTE)))
            named = False
        elif stretch in (OPEN, CLOSE):
            channel, named = ("thought", True) if stretch == OPEN else ("answer", False)
        else:
            text = _text(stretch)
            if channel == "thought" and named:
                text = re.sub(r"^[\w-]{0,32}[ \t\r]{0,8}(\n|\Z)", "", text)
            yield from ((channel, c) for c in text)


def _oracle(coded: str, stops: Sequence[str]) -> Read:
    texts: dict[Channel, str] = {"answer": "", "thought": ""}
    since_call = ""  # of the answer
    read: Read = []
    for item in _spoken(coded):
        if isinstance(item, tuple):
            channel, character = item
            texts[channel] += character
            since_call += character * (channel == "answer")
            ended = [stop for stop in stops if since_call.endswith(stop)]
            if channel == "answer" and ended:
                texts["answer"] = texts["answer"][: -len(max(ended, key=len))]
                break
        else:
            read.append((texts["answer"], texts["thought"], item))
            since_call = ""
    return [*read, (texts["answer"], texts["thought"], "")]


def _streamed(events: Sequence[StreamEvent]) -> Read:
    texts: dict[Channel, str] = {"answer": "", "thought": ""}
    read: Read = []
    for event in events:
        if isinstance(event, TextDelta):
            assert event.text
            texts[event.channel] += event.text
        else:
            read.append((texts["answer"], texts["thought"], event if isinstance(event, ToolCall) else event.raw))
    return [*read, (texts["answer"], texts["thought"], "")]


def _coded(tokens: Sequence[int], tokenizer: Tokenizer) -> str:
    literals = {token: literal for literal, token in tokenizer.specials.items()}
    return "".join(SIGNS[literals[t]] if t in literals else tokenizer.token_bytes(t).decode("latin-1") for t in tokens)


SNIPPETS = (
    *("call:f{", "call", "a:", "city:", ",", "}", "]", "[", "{", ":", "1", "-2.5e3", "true", "null", " ", "\n", "x"),
    *("thought\n", "thought", "I think", "é", "中🙂", '"', "END", "EN", "D", *CONTROL_TOKENS[5:15]),
)
OFTEN = ("<|tool_call>", "<tool_call|>", '<|"|>', "<|channel>", "<channel|>")


class Generator:
    """Random streams for one tokenizer."""

    def __init__(self, tokenizer: Tokenizer, seed: int) -> None:
        self.rng, self.specials, self.size = random.Random(seed), tokenizer.specials, tokenizer.vocab_size
        self.encode: Callable[[str], list[int]] = cache(tokenizer.encode)

    def tokens(self) -> list[int]:
        """Up to a dozen parts, their middle or end cut away in one of three."""
        tokens = [token for _ in range(self.rng.randrange(1, 13)) for token in self._part()]
        if self.rng.random() < 0.33:
            cut = self.rng.randrange(len(tokens) + 1)
            tokens = tokens[:cut] + tokens[self.rng.choice([len(tokens), cut + 1]) :]
        return tokens

    def _part(self) -> list[int]:
        match self.rng.randrange(8):
            case 0 | 1:
                return [self.specials[self.rng.choice(OFTEN)]]
            case 2:
                return [self.rng.choice(list(self.specials.values()))]
            case 3:
                return [self.rng.randrange(self.size + 3)]
            case 4:
                return self._call()
            case _:
                return self.encode(self.rng.choice(SNIPPETS))

    def _call(self) -> list[int]:
        fields = [self.encode(f"k{self.rng.randrange(9)}:") + self._value(2) for _ in range(self.rng.randrange(3))]
        inside = self._between("{", fields, "}")
        return [self.specials["<|tool_call>"], *self.encode("call:f"), *inside, self.specials["<tool_call|>"]]

    def _value(self, levels: int) -> list[int]:
        kind = self.rng.randrange(5 if levels else 3)
        if kind < 2:
            quote = self.specials['<|"|>']
            return [quote, *self.encode(self.rng.choice(SNIPPETS)), quote]
        if kind == 2:
            return self.encode(self.rng.choice(["0", "-17", "2.5e-3", "1e999", "01", "false", "null", "word", "\n3 "]))
        items = [self._value(levels - 1) for _ in range(self.rng.randrange(3))]
        if kind == 3:
            return self._between("[", items, "]")
        return self._between("{", [self.encode(f"k {index}:") + item for index, item in enumerate(items)], "}")

    def _between(self, begin: str, items: list[list[int]], end: str) -> list[int]:
        inner = [token for item in items for token in [*self.encode(","), *item]]
        return self.encode(begin) + inner[len(self.encode(",")) if inner else 0 :] + self.encode(end)


def _tokenizer(name: str, directory: Path) -> Tokenizer:
    if name == "pieces":
        return Pieces([*SNIPPETS, b"\xc3", b"\xa9call", b"\xf0\x9f", "<|turn>END"])
    shutil.copy(DEMO / name, directory)
    return load_tokenizer(directory)


@pytest.mark.parametrize(("name", "count"), [("pieces", 6000), ("tokenizer.json", 2000), ("tokenizer.model", 2000)])
def test_any_stream_reads_as_in_one_piece(name: str, count: int, tmp_path: Path) -> None:
    tokenizer = _tokenizer(name, tmp_path)
    generator = Generator(tokenizer, seed=5)
    seen = {"call": 0, "bad": 0, "thought": 0, "stopped": 0, "answer": 0}
    for _ in range(count):
        tokens = generator.tokens()
        stops = generator.rng.choice([(), (), ("END",), ("x", "xé"), ("ENDx", "ND", "<|")])
        stream = ChannelStream(tokenizer, stops)
        read = _streamed(fed(stream, tokens))
        expected = _oracle(_coded(tokens, tokenizer), stops)
        assert read == expected, (tokens, stops)
        assert (stream.text(), stream.text("thought")) == read[-1][:2]
        assert [*stream.calls] == [item for *_, item in read if isinstance(item, ToolCall)]
        seen["call"] += len(stream.calls)
        seen["bad"] += len(stream.bad)
        seen["thought"] += bool(stream.text("thought"))
        seen["answer"] += bool(stream.text())
        seen["stopped"] += stream.stopped
    assert min(seen.values()) > count / 30, seen


def test_where_tokens_cut_the_text_is_of_no_matter() -> None:
    """Each token's bytes one at a time give the same calls and the same text before them."""
    tokenizer = _tokenizer("pieces", Path())
    generator = Generator(tokenizer, seed=6)
    for _ in range(1000):
        tokens = generator.tokens()
        controls = set(tokenizer.specials.values())
        single = [part for token in tokens for part in ([token] if token in controls else tokenizer.token_bytes(token))]
        whole, cut = (_streamed(fed(ChannelStream(tokenizer, ["END"]), ids)) for ids in (tokens, single))
        assert whole == cut, tokens


def test_no_marker_reaches_the_text(tmp_path: Path) -> None:
    """Of ids without any that spell one, in every channel."""
    tokenizer = _tokenizer("tokenizer.json", tmp_path)
    rng = random.Random(7)
    controls = list(tokenizer.specials.values())
    harmless = [token for token in range(tokenizer.vocab_size) if not set(tokenizer.token_bytes(token)) & set(b"<|>")]
    for _ in range(1000):
        stream = ChannelStream(tokenizer)
        fed(stream, [rng.choice(controls if rng.random() < 0.4 else harmless) for _ in range(40)])
        shown = stream.text() + stream.text("thought") + "".join(bad.raw + bad.fault for bad in stream.bad)
        assert not set(shown) & set("<|>"), shown
