"""Exact screens of the chat under a pseudo-terminal, with a conversation that pretends (see `stage`)."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gemma_mlx.terminal.commands import HELP, KEYS, NARROW_HELP
from gemma_mlx.terminal.repl import BREAK_HINT
from tests.terminal.stage import WIDE
from tests.terminal.terminal import Terminal

pytestmark = pytest.mark.alone  # beside heavy work, what Ctrl-C should stop sometimes went on

Open = Callable[..., Terminal]
ENTER, NEW_LINE, CTRL_C, CTRL_D, CTRL_R, TAB = "\r", "\x1b\r", "\x03", "\x04", "\x12", "\t"
PASTE, PASTED = "\x1b[200~", "\x1b[201~"


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Open]:
    """Opens a chat at its prompt."""
    opened: list[Terminal] = []

    def start(columns: int = 60, lines: int = 20, history: Path | None = None) -> Terminal:
        arguments = [str(history)] if history else []
        terminal = Terminal("-m", "tests.terminal.stage", *arguments, columns=columns, lines=lines, home=tmp_path)
        opened.append(terminal)
        terminal.until(lambda lines: lines[:1] == [">"])
        return terminal

    yield start
    for terminal in opened:
        terminal.child.close(force=True)


def ask(terminal: Terminal, text: str) -> list[str]:
    """Send a line, wait for the next prompt; what stands on screen and scrollback, without the status line."""
    terminal.until(lambda lines: lines[-1].startswith("12 of") or lines[-1].endswith("?"))
    before = prompts(terminal.screen.text)
    terminal.type(text + ENTER)
    return without_status(terminal.until(lambda lines: prompts(lines) > before and lines[-1].startswith("12 of")))


def prompts(lines: list[str]) -> int:
    """How many prompts there are, answered ones as well; 0 while the last is not open."""
    open_one = [line for line in without_status(lines) if line][-1:] == [">"]
    return sum(line.startswith(">") for line in lines) if open_one else 0


def without_status(lines: list[str]) -> list[str]:
    left = lines[:-1] if lines and lines[-1].startswith("12 of") else lines[:]
    while left and not left[-1]:
        left.pop()
    return left


def test_a_question_and_its_answer(stage: Open) -> None:
    terminal = stage()
    assert terminal.until(lambda lines: len(lines) == 20)[-1] == "12 of 64 tokens · demo"
    assert ask(terminal, "hello") == ["> hello", "You said: hello", ">"]
    assert terminal.screen.text[-1] == "12 of 64 tokens · 21.2 tokens/s · 70% of drafts accepted"
    terminal.type(CTRL_D)
    assert terminal.end() == 0
    assert terminal.screen.text[-1] == "bye"


def test_markdown_and_scrollback(stage: Open) -> None:
    terminal = stage(columns=40, lines=12)
    assert ask(terminal, "markdown") == [
        "> markdown",
        "                 Title",
        "",
        "Some words and code.",
        "",
        " • one",
        " • two",
        "",
        " x = 1",
        "",
        " a  b",
        " ────",
        " 1  2",
        "",
        "The end.",
        ">",
    ]


def test_a_block_longer_than_the_screen_stands_whole_in_the_scrollback(stage: Open) -> None:
    lines = ask(stage(lines=10), "long")
    assert lines == ["> long", *(f" row {number}" for number in range(40)), "", "after", ">"]


@pytest.mark.parametrize("columns", [12, 20, 33])
def test_a_narrow_terminal(stage: Open, columns: int) -> None:
    lines = ask(stage(columns=columns), "wide")
    assert lines[0] == "> wide"
    assert lines[-1] == ">"
    assert "".join(lines[1:-1]).replace(" ", "") == WIDE.replace(" ", "")
    assert all(len(line) <= columns for line in lines)


def test_a_thought_is_folded_and_can_be_shown(stage: Open) -> None:
    terminal = stage()
    folded = ["> think", "thought for 0 s, 6 tokens (/think show)", "I know.", ">"]
    assert ask(terminal, "think") == folded
    shown = ask(terminal, "/think show")
    assert shown == [*folded[:-1], "> /think show", "First I think.", "Then I know.", ">"]


def test_a_thought_is_dim_while_it_comes_and_folded_when_it_is_stopped(stage: Open) -> None:
    terminal = stage()
    terminal.type("hang in thought" + ENTER)
    terminal.until_line("I wonder")
    terminal.type(CTRL_C)
    lines = without_status(terminal.until(lambda lines: "[stopped]" in lines and prompts(lines) == 2))
    assert lines == ["> hang in thought", "thought for 0 s, 2 tokens (/think show)", "[stopped]", ">"]


def test_notices_and_calls_are_lines_of_their_own(stage: Open) -> None:
    assert ask(stage(), "tools") == [
        "> tools",
        "[12 tokens are read again]",
        "Let me look.",
        '[calls look(where="up")]',
        "[a call that cannot be read: it has no end: call:look{]",
        ">",
    ]


def test_no_control_character_of_an_answer_reaches_the_terminal(stage: Open) -> None:
    terminal = stage()
    assert ask(terminal, "attack") == [
        "> attack",
        "�]0;owned�a�[2Jb �[2J �2J�[1A text (http://a.b) <b>",
        ">",
    ]
    assert terminal.screen.title == ""


def test_ctrl_c_stops_an_answer_and_keeps_what_was_shown(stage: Open) -> None:
    terminal = stage()
    terminal.type("hang" + ENTER)
    terminal.until_line("It goes on")
    terminal.type(CTRL_C)
    lines = without_status(terminal.until(lambda lines: prompts(lines) == 2))
    assert lines == ["> hang", "It goes on", "[stopped]", ">"]


def test_what_is_typed_while_an_answer_comes_waits_for_the_prompt(stage: Open) -> None:
    terminal = stage()
    terminal.type("slow" + ENTER)
    terminal.until_line("It takes")
    assert not terminal.child.getecho()
    terminal.type("typed ahead")
    lines = without_status(terminal.until(lambda lines: "> typed ahead" in lines))
    assert lines == ["> slow", "It takes a while.", "> typed ahead"]


def test_ctrl_c_twice_at_the_prompt_leaves(stage: Open) -> None:
    terminal = stage()
    terminal.type("never sent" + CTRL_C)
    terminal.until(lambda lines: BREAK_HINT in lines and prompts(lines) == 2)
    terminal.type(CTRL_C)
    assert terminal.end() == 0
    assert [line for line in terminal.screen.text if line] == ["> never sent", BREAK_HINT, ">", "bye"]


def test_several_lines_and_pasted_lines(stage: Open) -> None:
    terminal = stage()
    terminal.type("one" + NEW_LINE + PASTE + "two\r\nthree" + PASTED)
    terminal.until(lambda lines: lines[:3] == ["> one", "  two", "  three"])
    assert ask(terminal, " and four") == [
        "> one",
        "  two",
        "  three and four",
        "You said: one",
        "two",
        "three and four",
        ">",
    ]


def test_pasted_tabs_look_like_tabs(stage: Open) -> None:
    terminal = stage()
    terminal.type(PASTE + "if it:\n\tstop" + PASTED)
    terminal.until(lambda lines: lines[:2] == ["> if it:", "      stop"])


def test_the_help_fits_the_window(stage: Open) -> None:
    wide, narrow = ask(stage(columns=100, lines=40), "/help"), ask(stage(columns=40, lines=40), "/help")
    assert wide[1:-1] == [*HELP.splitlines(), *KEYS.splitlines()]
    assert "/edit [TEXT]: change the last question" in narrow
    assert " ".join(narrow[1:-1]) == " ".join(f"{NARROW_HELP} {KEYS}".split("\n"))


def test_a_terminal_that_does_not_say_where_its_cursor_is(tmp_path: Path) -> None:
    with Terminal("-m", "tests.terminal.stage", columns=60, lines=20, home=tmp_path) as terminal:
        terminal.screen.answer = lambda text: None
        terminal.until(lambda lines: lines[:1] == [">"])
        assert without_status(terminal.after(3)) == [">"]  # longer than prompt_toolkit waits before it warns
        terminal.type("hello" + ENTER)
        terminal.until(lambda lines: without_status(lines) == ["> hello", "You said: hello", ">"])


def test_edit_offers_the_last_question(stage: Open) -> None:
    terminal = stage()
    ask(terminal, "hello")
    terminal.type("/edit" + ENTER)
    terminal.until_line("> hello")
    terminal.until(lambda lines: lines.count("> hello") == 2)
    assert ask(terminal, " again")[2:] == ["> /edit", "> hello again", "You said: hello again", ">"]
    terminal.type("/edit" + ENTER)
    terminal.until(lambda lines: lines.count("> hello again") == 2)
    terminal.type(CTRL_C)
    terminal.until_line("[stopped]")
    assert ask(terminal, "/undo")[-2:] == ["took back: hello again", ">"]


def test_a_full_context_asks_what_to_do(stage: Open) -> None:
    terminal = stage(columns=100)
    before = ask(terminal, "hello")[:-1]
    full = "the conversation is 99 tokens long, the context holds 64: start a new one."
    choice = "d: drop the oldest turns, s: stop?"
    terminal.type("too much" + ENTER)
    terminal.until_line(choice)
    stopped = [*before, "> too much", full, f"{choice} s", ">"]
    assert ask(terminal, "s") == stopped
    terminal.type("too much" + ENTER)
    terminal.until_line(choice)
    assert ask(terminal, "d") == [*stopped[:-1], "> too much", full, f"{choice} d", "You said: too much", ">"]


def test_a_dropped_file_is_attached(stage: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my picture.png").touch()
    (tmp_path / "b.wav").touch()
    monkeypatch.chdir(tmp_path)
    terminal = stage(columns=200)
    assert ask(terminal, f"{tmp_path}/my\\ picture.png ")[-2:] == ["my picture.png: picture, 4 tokens", ">"]
    lines = ask(terminal, f"'{tmp_path}/my picture.png' {tmp_path}/b.wav")
    assert lines[-3:] == ["my picture.png: picture, 4 tokens", "b.wav: picture, 4 tokens", ">"]


def test_earlier_lines_are_found_again_and_commands_completed(stage: Open, tmp_path: Path) -> None:
    history = tmp_path / "deep" / "history"
    ask(stage(history=history), "a question about cranes")
    assert history.stat().st_mode & 0o777 == 0o600
    terminal = stage(history=history)
    terminal.type(CTRL_R + "cran")
    terminal.until_line("> a question about cranes")
    terminal.type(ENTER)  # takes what was found
    ask(terminal, "\x05 again")
    assert "You said: a question about cranes again" in terminal.screen.text
    terminal.type("/thi" + TAB)
    terminal.until_line("> /think")
    terminal.type(" sh" + TAB)
    terminal.until_line("> /think show")


def test_a_window_that_changes_its_size_while_an_answer_comes(stage: Open) -> None:
    terminal = stage()
    terminal.type("hang" + ENTER)
    terminal.until_line("It goes on")
    terminal.resize(30, 20)
    terminal.type(CTRL_C)
    terminal.until_line("[stopped]")
    ask(terminal, "hello")
    assert "You said: hello" in terminal.screen.text
