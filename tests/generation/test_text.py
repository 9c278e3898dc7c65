"""Ids into text: what is shown, joined, is the text; no delta holds half a character, a marker or a stop string.

The oracle looks at the whole sequence at once; the stream sees it id by id.
"""

import random
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pytest

from gemma_mlx.generation.events import Channel, TextDelta
from gemma_mlx.generation.text import TextStream
from gemma_mlx.inputs.tokenizer import Tokenizer, load_tokenizer

DEMO = Path(__file__).parents[2] / "gemma_mlx" / "assets" / "demo"
OPEN, CLOSE = 1000, 1001
BROKEN = "\ufffd"


class Pieces:
    """A tokenizer whose ids below 256 are bytes and above `CLOSE` given strings."""

    specials: Mapping[str, int] = {"<|channel>": OPEN, "<channel|>": CLOSE, "<turn|>": 1002}
    vocab_size = 2000

    def __init__(self, pieces: Sequence[str] = ()) -> None:
        self.pieces = {1003 + index: piece for index, piece in enumerate(pieces)}

    def encode(self, text: str) -> list[int]:
        return list(text.encode())

    def token_bytes(self, token: int) -> bytes:
        return bytes([token]) if token < 256 else self.pieces.get(token, "").encode()

    def decode(self, ids: Sequence[int]) -> str:
        return b"".join(map(self.token_bytes, ids)).decode("utf-8", "replace")


@pytest.fixture(scope="module", params=["tokenizer.json", "tokenizer.model"])
def tokenizer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    directory = tmp_path_factory.mktemp("tokenizer")
    shutil.copy(DEMO / request.param, directory)
    return load_tokenizer(directory)


def _fed(stream: TextStream, ids: Iterable[int]) -> list[TextDelta]:
    """All deltas, the way a caller takes them: until a stop string, then the rest."""
    deltas = []
    for token in ids:
        deltas += stream.push(token)
        if stream.stopped:
            break
    return deltas + stream.finish()


def _joined(deltas: Iterable[TextDelta], channel: Channel = "answer") -> str:
    return "".join(delta.text for delta in deltas if delta.channel == channel)


def _random_text(rng: random.Random) -> str:
    alphabets = [
        "abc XYZ,.\n",
        "äßéñøÅ",
        "中文字漢字",
        "🙂👩‍🚀🏳️‍🌈e\u0301",
        "<|turn>channel",
        "\u0000\u007f\u0080\uffff\U0010ffff",
    ]
    return "".join(rng.choice(rng.choice(alphabets)) for _ in range(rng.randrange(40)))


def test_any_text_comes_out_whole(tokenizer: Tokenizer) -> None:
    rng = random.Random(0)
    pieces = 0
    for _ in range(300):
        text = _random_text(rng)
        ids = tokenizer.encode(text)
        stream = TextStream(tokenizer)
        deltas = _fed(stream, ids)
        assert _joined(deltas) == text == stream.text()
        assert all(delta.text and BROKEN not in delta.text for delta in deltas)
        pieces += len(ids) > len(deltas)
    assert pieces > 100  # characters really were spread over tokens


def test_each_character_is_shown_with_its_last_byte() -> None:
    stream = TextStream(Pieces())
    shown = [[delta.text for delta in stream.push(byte)] for byte in "é中🙂a".encode()]
    assert shown == [[], ["é"], [], [], ["中"], [], [], [], ["🙂"], ["a"]]
    assert stream.finish() == []


@pytest.mark.parametrize("seed", range(5))
def test_broken_bytes_are_replaced_as_in_one_piece(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(100):
        ids = [rng.choice([*b"ab", 0xC3, 0xA9, 0xE4, 0xB8, 0xAD, 0xF0, 0x9F, 0x99, 0x82, 0xFF]) for _ in range(12)]
        assert _joined(_fed(TextStream(Pieces()), ids)) == bytes(ids).decode("utf-8", "replace")


def test_half_a_character_at_the_end_is_one_replacement() -> None:
    stream = TextStream(Pieces())
    assert _joined(stream.push(0xF0) + stream.push(0x9F)) == ""
    assert stream.finish() == [TextDelta(BROKEN)]
    assert stream.finish() == []
    assert stream.text() == BROKEN


def test_control_tokens_and_unknown_ids_add_nothing(tokenizer: Tokenizer) -> None:
    stream = TextStream(tokenizer)
    others = [token for literal, token in tokenizer.specials.items() if "channel" not in literal]
    assert [delta for token in [*others, tokenizer.vocab_size + 5] for delta in stream.push(token)] == []
    assert _joined(_fed(stream, tokenizer.encode("a"))) == "a"


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
        stream = TextStream(Pieces(words), stops)
        deltas = _fed(stream, range(1003, 1011))
        expected = _stopped("".join(words), stops)
        assert _joined(deltas) == stream.text() == expected, (words, stops)
        assert stream.stopped == (expected != "".join(words))


def test_the_beginning_of_a_stop_string_waits_until_it_is_clear() -> None:
    stream = TextStream(Pieces(["xa", "ab", "x", "a"]), ["aab"])
    assert [[d.text for d in stream.push(token)] for token in (1003, 1006, 1005, 1006)] == [["x"], [], ["aax"], []]
    assert not stream.stopped
    assert stream.finish() == [TextDelta("a")]
    assert stream.finish() == []
    assert stream.text() == "xaaxa"


def test_nothing_follows_a_stop_string() -> None:
    stream = TextStream(Pieces(["one END two", "three"]), ["END"])
    assert stream.push(1003) == [TextDelta("one ")]
    assert stream.stopped
    assert stream.push(1004) == []
    assert stream.finish() == []
    assert stream.text() == "one "


def test_stop_strings_of_several_bytes_and_empty_ones() -> None:
    stream = TextStream(Pieces(), ["é🙂", ""])
    assert _joined(_fed(stream, "aé🙂b".encode())) == "a"
    assert _joined(_fed(TextStream(Pieces(), [""]), b"ab")) == "ab"
    assert _joined(_fed(TextStream(Pieces(), ["é"]), [0xC3])) == BROKEN


def test_a_thought_does_not_stop_the_answer() -> None:
    stream = TextStream(Pieces(["thought\n", "END", " so"]), ["END"])
    deltas = _fed(stream, [OPEN, 1003, 1004, CLOSE, 1005, 1004, 1005])
    assert (_joined(deltas, "thought"), _joined(deltas)) == ("END", " so")


def _channels(ids: Sequence[int], tokenizer: Tokenizer) -> dict[Channel, str]:
    """Answer and thought: cut at the markers, decode each stretch, drop the first line of thoughts."""
    texts: dict[Channel, str] = {"answer": "", "thought": ""}
    stretches: list[tuple[Channel, list[int]]] = [("answer", [])]
    for token in ids:
        if token in (OPEN, CLOSE):
            stretches.append(("thought" if token == OPEN else "answer", []))
        else:
            stretches[-1][1].append(token)
    for channel, stretch in stretches:
        text = tokenizer.decode(stretch)
        texts[channel] += text.partition("\n")[2] if channel == "thought" else text
    return texts


@pytest.mark.parametrize("seed", range(4))
def test_channels_however_markers_fall(seed: int) -> None:
    rng = random.Random(seed)
    fake = Pieces(["thought", "thought\n", "\n", "a\nb\nc", " ", "<|channel>", "é"])
    for _ in range(200):
        ids = rng.choices([OPEN, CLOSE, *range(1003, 1010), 0xC3, 0xA9, 1002], k=rng.randrange(15))
        stream = TextStream(fake)
        deltas = _fed(stream, ids)
        expected = _channels(ids, fake)
        assert {"answer": _joined(deltas), "thought": _joined(deltas, "thought")} == expected, ids
        assert {"answer": stream.text(), "thought": stream.text("thought")} == expected


@pytest.mark.parametrize(
    ("ids", "answer", "thought"),
    [
        ([OPEN, 1003, 1004, CLOSE, 1005], "yes", "hm"),
        ([OPEN, 1006, CLOSE, 1005], "yes", ""),  # the label alone
        ([OPEN, CLOSE, 1005], "yes", ""),
        ([OPEN, 1006], "", ""),
        ([OPEN, 1003, 1004], "", "hm"),  # never closed
        ([CLOSE, 1005], "yes", ""),  # never opened
        ([1005, OPEN, 1003, 1004, CLOSE, 1005], "yesyes", "hm"),
        ([OPEN, 1003, OPEN, 1003, 1004, CLOSE], "", "hm"),
    ],
)
def test_thoughts(ids: list[int], answer: str, thought: str) -> None:
    deltas = _fed(TextStream(Pieces(["thought\n", "hm", "yes", "thought"])), ids)
    assert (_joined(deltas), _joined(deltas, "thought")) == (answer, thought)


def test_what_was_held_back_belongs_to_the_answer() -> None:
    stream = TextStream(Pieces(["yes", "thought\nhm"]), ["ssst"])
    deltas = _fed(stream, [1003, OPEN, 1004])
    assert (_joined(deltas), _joined(deltas, "thought")) == ("yes", "hm")
    assert (stream.text(), stream.text("thought")) == ("yes", "hm")


def test_a_stop_string_may_span_a_thought() -> None:
    stream = TextStream(Pieces(["yes", "thought\nhm", "top"]), ["stop"])
    assert _joined(_fed(stream, [1003, OPEN, 1004, CLOSE, 1005])) == "ye"
    assert stream.stopped
