"""The loop of `gemma-mlx chat`, driven by scripted lines and a conversation that only pretends."""

import io
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from gemma_mlx.errors import ContextError, InputError
from gemma_mlx.generation.events import Channel, Event, Finished, TextDelta
from gemma_mlx.inputs.message import Audio, Image, Video
from gemma_mlx.terminal import BREAK_HINT, HELP, WAY_OUT, Console, Repl, describe, show


@dataclass
class Pretender:
    """Answers "A to B" to "B", remembers what was shown, and breaks where the text says so."""

    heard: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    settled: int = 0

    def answer(self, text: str) -> Generator[Event, None, None]:
        if text == "too long":
            raise ContextError("the prompt is too long: shorten it")
        self.heard.append(text)
        shown = ""
        try:
            for piece in ("A ", "to ", text):
                if piece == "hang":
                    raise KeyboardInterrupt
                shown += piece
                yield TextDelta(piece)
        finally:
            self.kept.append(shown)
        yield Finished("stop", shown)
        self.settled += 1

    def attach(self, file: str) -> str:
        if not Path(file).exists():
            raise InputError(f"{file} does not exist: check the path")
        self.heard.append(f"[{Path(file).name}]")
        return f"{Path(file).name}: picture, 4 tokens"

    def drop(self) -> int:
        self.heard.append("[drop]")
        return 1

    def new(self) -> None:
        self.heard.append("[new]")


@dataclass
class Talk:
    """One run of the loop: what was said, printed and returned."""

    chat: Pretender
    out: str
    err: str
    left_by_choice: bool


def talk(*lines: str | type[BaseException]) -> Talk:
    """Run the loop over these lines; an exception class is raised at the prompt instead."""
    script = iter(lines)

    def ask() -> str:
        line = next(script, EOFError)
        if isinstance(line, str):
            return line
        raise line

    chat, out, err = Pretender(), io.StringIO(), io.StringIO()
    left = Repl(chat, Console(ask, out, err)).run()
    return Talk(chat, out.getvalue(), err.getvalue(), left)


def test_answers_go_to_stdout_one_after_the_other() -> None:
    run = talk("one", "  two  ")
    assert run.out == "A to one\nA to two\n"
    assert run.err == ""
    assert run.chat.heard == ["one", "two"]
    assert run.chat.settled == 2
    assert run.left_by_choice


def test_an_empty_line_asks_nothing() -> None:
    assert talk("", "   ").chat.heard == []


def test_quit_leaves_at_once() -> None:
    assert talk("/quit", "one").chat.heard == []


def test_help_names_every_command() -> None:
    run = talk("/help")
    assert run.err.strip() == HELP
    assert all(command in HELP for command in ("/attach", "/drop", "/new", "/help", "/quit"))
    assert run.out == ""


def test_an_unknown_command_is_not_sent_to_the_model() -> None:
    run = talk("/qiut", "one")
    assert run.err == "/qiut is no command: /help lists them\n"
    assert run.chat.heard == ["one"]


def test_an_attachment_says_what_it_costs(tmp_path: Path) -> None:
    picture = tmp_path / "my picture.png"
    picture.touch()
    for spelling in (str(picture), f"'{picture}'", str(picture).replace(" ", "\\ ")):
        run = talk(f"/attach {spelling}", "what is it?")
        assert run.err == "my picture.png: picture, 4 tokens\n"
        assert run.chat.heard == ["[my picture.png]", "what is it?"]


def test_attach_finds_the_home_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a.png").touch()
    assert talk("/attach ~/a.png").chat.heard == ["[a.png]"]


@pytest.mark.parametrize("rest", ["", "   ", " nowhere.png", " it's.png", " two files.png"])
def test_a_wrong_attachment_is_one_line_and_the_talk_goes_on(rest: str) -> None:
    run = talk(f"/attach{rest}", "one")
    assert run.err.count("\n") == 1
    assert run.out == "A to one\n"


def test_standard_input_is_no_attachment_of_a_chat() -> None:
    assert "give a file" in talk("/attach -").err


def test_a_fault_of_the_person_is_one_line_and_the_talk_goes_on() -> None:
    run = talk("too long", "one")
    assert run.err == f"the prompt is too long: shorten it{WAY_OUT}\n"
    assert run.out == "A to one\n"


def test_new_and_drop_reach_the_conversation() -> None:
    run = talk("one", "/drop", "/new", "two")
    assert run.chat.heard == ["one", "[drop]", "[new]", "two"]
    assert run.err == "1 attachment dropped\nnew conversation\n"


def test_ctrl_c_stops_the_answer_not_the_program() -> None:
    run = talk("hang", "one")
    assert run.out == "A to \nA to one\n"
    assert run.err == "[stopped]\n"
    assert run.chat.kept == ["A to ", "A to one"]


class Broken(io.StringIO):
    """A stream that is interrupted while it is written to."""

    def write(self, text: str) -> int:
        if text == "to ":
            raise KeyboardInterrupt
        return super().write(text)


def test_ctrl_c_outside_of_the_model_closes_the_reply() -> None:
    held = []  # or the end of the last reference would close it

    class Holding(Pretender):
        def answer(self, text: str) -> Generator[Event, None, None]:
            held.append(super().answer(text))
            return held[-1]

    chat, lines = Holding(), iter(["one"])
    assert Repl(chat, Console(lambda: next(lines, "/quit"), Broken(), io.StringIO())).run()
    assert chat.kept == ["A to "]
    assert chat.settled == 0


def test_ctrl_c_twice_at_the_prompt_leaves() -> None:
    run = talk(KeyboardInterrupt, KeyboardInterrupt, "one")
    assert not run.left_by_choice
    assert run.chat.heard == []
    assert BREAK_HINT in run.err


def test_ctrl_c_once_does_not() -> None:
    run = talk(KeyboardInterrupt, "one", KeyboardInterrupt, "two")
    assert run.chat.heard == ["one", "two"]
    assert run.left_by_choice


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
    assert video(0.1, 60) == f"a.mp4: video, {few}, 60 tokens, sound not read"
    for rate, count in ((1, 60), (2, 60), (0.999, 3), (1, 1)):
        assert "second" not in video(rate, count)
    assert "second" not in describe(Video("a.mp4", (np.zeros((48, 48, 3), np.uint8),) * 2, (0.0, 9.0)))
