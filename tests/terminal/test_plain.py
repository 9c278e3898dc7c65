"""Replies on plain streams: the answer on one, everything else on the other."""

import io
from collections.abc import Iterator

import numpy as np
import pytest

from gemma_mlx.generation.events import BadCall, Channel, Event, Finished, Notice, TextDelta
from gemma_mlx.inputs.message import Audio, Image, ToolCall, Video
from gemma_mlx.terminal.plain import Console, collect, result, show
from gemma_mlx.terminal.words import describe, shortened


def test_thoughts_stay_apart_from_the_answer() -> None:
    def events() -> Iterator[Event]:
        yield TextDelta("hm", "thought")
        yield TextDelta("m", "thought")
        yield TextDelta("yes")
        yield Finished("stop", "yes", "hmm")

    out, err = io.StringIO(), io.StringIO()
    finished = show(events(), Console(input, out, err))
    assert finished is not None
    assert finished.reason == "stop"
    assert out.getvalue() == "yes\n"
    assert err.getvalue() == "hmm\n"


@pytest.mark.parametrize(
    ("text", "printed"), [((), ""), (("a\n",), "a\n"), (("a\n", "b"), "a\nb\n"), (("a", "\n\n"), "a\n\n")]
)
def test_an_answer_ends_with_one_line_break(text: tuple[str, ...], printed: str) -> None:
    out = io.StringIO()
    show((TextDelta(piece) for piece in text), Console(input, out, io.StringIO()))
    assert out.getvalue() == printed


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_no_escape_sequence() -> None:
    pieces = ("\x1b]0;owned", "\x07a\tb\nc", "\x7f\x9b2J\r", "é😀\xa0")
    channels: tuple[Channel, ...] = ("answer", "thought")
    for channel in channels:
        screen, pipe = Terminal(), io.StringIO()
        for stream in (screen, pipe):
            show((TextDelta(piece, channel) for piece in pieces), Console(input, stream, stream))
        assert screen.getvalue() == "�]0;owned�a\tb\nc��2J�é😀\xa0\n"
        assert pipe.getvalue() == "".join(pieces) + "\n"


def test_one_token_is_no_plural() -> None:
    assert describe(Image("a.png", np.zeros((48, 48, 3), np.uint8))).endswith(" 1 token")
    assert describe(Audio("a.wav", np.zeros(640, np.float32))).endswith(" 1 token")
    err = io.StringIO()
    show(iter([Finished("length", "a", tokens=(1,))]), Console(input, io.StringIO(), err))
    assert "after 1 token:" in err.getvalue()


def test_a_video_with_fewer_frames_than_asked_says_so() -> None:
    def video(rate: float, count: int) -> str:
        frame = np.zeros((48, 48, 3), np.uint8)
        clip = Video("a.mp4", (frame,) * count, tuple(i / rate for i in range(count)))
        return describe(clip, fps=1)

    few = "60 frames (0.1 a second, not 1: see --max-frames)"
    assert video(0.1, 60) == f"a.mp4: video, {few}, 60 tokens"
    for rate, count in ((1, 60), (2, 60), (0.999, 3), (1, 1)):
        assert "second" not in video(rate, count)
    assert "second" not in describe(Video("a.mp4", (np.zeros((48, 48, 3), np.uint8),) * 2, (0.0, 9.0)))


def test_notices_and_calls_are_lines_beside_the_answer() -> None:
    def events() -> Iterator[Event]:
        yield Notice("12 tokens are read again")
        yield TextDelta("Let me")
        yield ToolCall("look", {"where": "up", "how": [1, None]})
        yield BadCall("call:look{\n", "it has no end")
        yield TextDelta("look.")
        yield Finished("tool_calls", "Let melook.")

    out, err = io.StringIO(), io.StringIO()
    show(events(), Console(input, out, err))
    assert out.getvalue() == "Let me\nlook.\n"
    assert err.getvalue().splitlines() == [
        "[12 tokens are read again]",
        '[calls look(where="up", how=[1, null])]',
        "[a call that cannot be read: it has no end: call:look{]",
    ]


def test_a_line_for_a_terminal_has_no_escape_sequence() -> None:
    screen, pipe = Terminal(), io.StringIO()
    for stream in (screen, pipe):
        Console(input, io.StringIO(), stream).say("a\x1b[2Jb")
    assert screen.getvalue() == "a�[2Jb\n"
    assert pipe.getvalue() == "a\x1b[2Jb\n"


def test_the_whole_reply_as_an_object() -> None:
    finished = collect(iter([TextDelta("a"), Finished("stop", "a", tokens=(7,))]))
    assert result(finished, 0.5, {"model": {}}) == {
        "text": "a",
        "thinking": None,
        "tokens": [7],
        "finish_reason": "stop",
        "usage": vars(finished.usage),
        "timing": {"load_s": 0.5, "ttft_s": 0.0, "prefill_tok_s": 0.0, "decode_tok_s": 0.0},
        "draft": {"rounds": 0, "drafted": 0, "accepted": 0},
        "model": {},
    }


def test_a_long_text_is_shortened_to_one_line() -> None:
    assert shortened("a\nb") == "a b"
    assert shortened("x" * 60) == "x" * 60
    assert shortened("x" * 61) == "x" * 59 + "…"


def test_a_line_is_broken_between_words_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "12")
    text = "one two three-four /a/long/name-of-a-file\nfive"
    for stream, said in (
        (Terminal(), "one two\nthree-four\n/a/long/name-of-a-file\nfive\n"),
        (io.StringIO(), text + "\n"),
    ):
        Console(input, io.StringIO(), stream).say(text)
        assert stream.getvalue() == said
