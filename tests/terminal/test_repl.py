"""The loop of `gemma-mlx chat`, driven by scripted lines and a conversation that only pretends."""

import io
import re
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from gemma_mlx.generation.events import Event
from gemma_mlx.terminal.commands import HELP, NAMES
from gemma_mlx.terminal.plain import Console
from gemma_mlx.terminal.repl import BREAK_HINT, WAY_OUT, Repl
from gemma_mlx.terminal.spoken import Spoken
from tests.terminal.pretender import Pretender


@dataclass
class Talk:
    """One run of the loop: what was said, printed and returned."""

    chat: Pretender
    out: str
    err: str
    left_by_choice: bool


def talk(*lines: str | Spoken | type[BaseException], live: bool = False, push: bool = False) -> Talk:
    """Run the loop over these lines; an exception class is raised at the prompt instead."""
    script = iter(lines)

    def ask() -> str | Spoken:
        line = next(script, EOFError)
        if isinstance(line, str | Spoken):
            return line
        raise line

    chat, out, err = Pretender(), io.StringIO(), io.StringIO()
    left = Repl(chat, Console(ask, out, err), live=live, push_to_talk=push).run()
    return Talk(chat, out.getvalue(), err.getvalue(), left)


def test_answers_go_to_stdout_one_after_the_other() -> None:
    run = talk("one", "  two  ")
    assert run.out == "A to one\nA to two\n"
    assert run.err == ""
    assert run.chat.heard == ["one", "two"]
    assert run.left_by_choice


def test_an_empty_line_asks_nothing() -> None:
    assert talk("", "   ").chat.heard == []


def test_quit_leaves_at_once() -> None:
    assert talk("/quit", "one").chat.heard == []


def test_help_names_every_command() -> None:
    run = talk("/help")
    assert run.err.strip() == HELP
    assert all(command in HELP for command in NAMES)
    assert run.out == ""


def test_an_unknown_command_is_not_sent_to_the_model() -> None:
    run = talk("/qiut", "one")
    assert run.err == "/qiut is no command: /quit is, and /help lists them\n"
    assert talk("/xyz").err == "/xyz is no command: /help lists them\n"
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
    run = talk("too long", "one", "too long")
    fault = "the prompt is too long: shorten it"
    assert run.err == f"{fault}\n{fault}{WAY_OUT}\n"  # at first there is no turn to drop
    assert run.out == "A to one\n"


def test_new_and_drop_reach_the_conversation() -> None:
    run = talk("one", "/drop", "/drop", "/new", "two")
    assert run.chat.heard == ["one", "[drop]", "[drop]", "[new]", "two"]
    nothing = "nothing is attached to the next message: there is nothing to drop"
    assert run.err == f"1 attachment dropped\n{nothing}\nsaved: as it was\nnew conversation\n"


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


def test_ctrl_c_twice_at_the_prompt_leaves() -> None:
    run = talk(KeyboardInterrupt, KeyboardInterrupt, "one")
    assert not run.left_by_choice
    assert run.chat.heard == []
    assert BREAK_HINT in run.err


def test_ctrl_c_once_does_not() -> None:
    run = talk(KeyboardInterrupt, "one", KeyboardInterrupt, "two")
    assert run.chat.heard == ["one", "two"]
    assert run.left_by_choice


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("/screen", "screen: picture, 4 tokens"),
        ("/screen window", "window: picture, 4 tokens"),
        ("/paste", "clipboard: picture, 4 tokens"),
        ("/stats", "figures"),
        ("/context", "dropping: False"),
        ("/context drop", "once the context is full: drop the oldest turns"),
        ("/context stop", "once the context is full: stop"),
        ("/context full", "/context takes drop or stop, or nothing: /context"),
        ("/save", "saved as None"),
        ("/save  my  talk ", "saved as my  talk"),
        ("/branch other", "branched as other"),
        ("/think on", "thinking is on"),
        ("/think", "/think takes on, off or show: /think on"),
        ("/think show", "there was no thought in the last answer: /think on asks for them"),
        ("/edit", "nothing was asked yet: ask something"),
        ("/undo", "nothing was asked yet: there is nothing to take back"),
    ],
)
def test_a_command_is_one_line(line: str, said: str) -> None:
    run = talk(line)
    assert run.err == f"{said}\n"
    assert run.out == ""


def test_every_command_of_the_help_is_known() -> None:
    for name in re.findall(r"^/\w+", HELP, re.MULTILINE):
        assert "is no command" not in talk(name).err


def test_undo_edit_and_retry() -> None:
    run = talk("one", "/retry", "/edit two", "/edit", "/undo", "/retry")
    assert run.out == "A to one\nA to one\nA to two\n"
    assert run.err.splitlines()[:2] == ["/edit needs the new question here: /edit TEXT", "took back: two"]


def test_the_last_thought_can_be_shown() -> None:
    run = talk("think", "/think show", "one", "/think show")
    assert run.err.splitlines() == [
        "a thought",
        "a thought",
        "there was no thought in the last answer: /think on asks for them",
    ]


@dataclass(frozen=True)
class Person(Console):
    """A surface on which questions are answered and texts are corrected."""

    choice: str = "d"

    def choose(self, question: str, choices: Mapping[str, str]) -> str | None:
        self.say(f"{question} {'/'.join(choices)}")
        return self.choice

    def correct(self, text: str) -> str | None:
        return f"{text}, please"


@pytest.mark.parametrize(("choice", "answers"), [("d", "A to full\nA to full\n"), ("s", "")])
def test_a_person_chooses_what_to_do_when_the_context_is_full(choice: str, answers: str) -> None:
    out, err, lines = io.StringIO(), io.StringIO(), iter(["full", "full", "/quit"])
    Repl(Pretender(asked=["before"]), Person(lambda: next(lines), out, err, choice)).run()
    assert out.getvalue() == answers
    assert "the prompt is too long: shorten it. d/s" in err.getvalue()


def test_where_dropping_does_not_help_it_is_a_line() -> None:
    err, lines = io.StringIO(), iter(["too long", "/quit"])
    Repl(Pretender(asked=["before"]), Person(lambda: next(lines), io.StringIO(), err)).run()
    assert err.getvalue().splitlines()[-1] == "the prompt is too long: shorten it"


def test_nobody_is_asked_to_drop_turns_where_there_are_none() -> None:
    err, lines = io.StringIO(), iter(["full", "/quit"])
    Repl(Pretender(), Person(lambda: next(lines), io.StringIO(), err)).run()
    assert err.getvalue() == "the prompt is too long: shorten it\n"


@dataclass(frozen=True)
class Impatient(Console):
    """A person who presses Ctrl-C again while a line is printed."""

    def say(self, line: str) -> None:
        super().say(line)
        raise KeyboardInterrupt


def test_a_second_ctrl_c_leaves_before_the_prompt_is_there_again() -> None:
    def interrupted() -> str:
        raise KeyboardInterrupt

    err = io.StringIO()
    assert not Repl(Pretender(), Impatient(interrupted, io.StringIO(), err)).run()
    assert err.getvalue() == f"{BREAK_HINT}\n"


def test_a_second_ctrl_c_while_an_answer_ends_does_not_leave() -> None:
    out, lines = io.StringIO(), iter(["hang", "one", "/quit"])
    assert Repl(Pretender(), Impatient(lambda: next(lines), out, io.StringIO())).run()
    assert out.getvalue() == "A to \nA to one\n"


def test_a_person_corrects_the_last_question() -> None:
    out, lines = io.StringIO(), iter(["one", "/edit", "/quit"])
    Repl(Pretender(), Person(lambda: next(lines), out, io.StringIO())).run()
    assert out.getvalue() == "A to one\nA to one, please\n"


def test_a_conversation_that_goes_on_shows_its_last_exchange() -> None:
    err, chat = io.StringIO(), Pretender(asked=["one"])
    Repl(chat, Console(input, io.StringIO(), err)).recall()
    assert err.getvalue() == "> one\nA to one\n"
    Repl(Pretender(), Console(input, io.StringIO(), err)).recall()
    assert err.getvalue() == "> one\nA to one\n"


def test_a_spoken_question_is_recalled_as_such() -> None:
    err = io.StringIO()
    Repl(Pretender(asked=[""]), Console(input, io.StringIO(), err)).recall()
    assert err.getvalue() == "> [spoken]\nA to \n"


def test_files_before_a_question_are_attached_before_it_is_asked(tmp_path: Path) -> None:
    picture = tmp_path / "a.png"
    picture.touch()
    chat, lines = Pretender(), iter([f"{picture} what is it?", "/quit"])
    Repl(chat, Console(lambda: next(lines), io.StringIO(), io.StringIO()), drops=True).run()
    assert chat.heard == ["[a.png]", "what is it?"]
    assert talk(f"{picture} what is it?").err.endswith(
        "a.png is no command: /attach FILE reads a picture, recording or video\n"
    )


def test_a_line_of_file_names_attaches_only_where_files_are_dropped(tmp_path: Path) -> None:
    picture = tmp_path / "a.png"
    picture.touch()
    for drops, heard in ((True, ["[a.png]"]), (False, [f"'{picture}'"])):
        chat, lines = Pretender(), iter([f"'{picture}'", "/quit"])
        Repl(chat, Console(lambda lines=lines: next(lines), io.StringIO(), io.StringIO()), drops=drops).run()  # type: ignore[misc]
        assert chat.heard == heard
