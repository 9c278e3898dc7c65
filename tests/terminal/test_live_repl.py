"""The loop of `gemma-mlx chat --mic`: spoken turns among the lines, and the commands of the microphone."""

import io

import pytest

from gemma_mlx.errors import ContextError
from gemma_mlx.terminal.commands import COMMANDS, HELP, LIVE_COMMANDS, explained
from gemma_mlx.terminal.plain import Console
from gemma_mlx.terminal.repl import SPOKEN_LINE, WAY_OUT, Repl, Replies
from gemma_mlx.terminal.spoken import SPOKEN, Spoken
from tests.terminal.pretender import Pretender
from tests.terminal.test_repl import talk


def test_what_was_spoken_is_answered_among_what_was_written() -> None:
    run = talk("one", SPOKEN, "two", SPOKEN, SPOKEN, live=True)
    spoken = "A to what was spoken\n"
    assert run.out == f"A to one\n{spoken}A to two\n{spoken}{spoken}"
    assert run.err == f"{SPOKEN_LINE}\n" * 3
    assert run.left_by_choice


def test_speech_between_two_ctrl_c_goes_on() -> None:
    run = talk(KeyboardInterrupt, SPOKEN, KeyboardInterrupt, "one", live=True)
    assert run.chat.heard == ["what was spoken", "one"]


class Full(Pretender):
    """A conversation whose spoken turn does not fit."""

    def spoken(self) -> Replies:
        raise ContextError("the prompt is too long: shorten it")


def test_a_spoken_turn_that_does_not_fit_is_one_line() -> None:
    script: list[str | Spoken] = [SPOKEN, "/quit"]
    err, lines = io.StringIO(), iter(script)
    assert Repl(Full(asked=["before"]), Console(lambda: next(lines), io.StringIO(), err), live=True).run()
    assert err.getvalue() == f"{SPOKEN_LINE}\nthe prompt is too long: shorten it{WAY_OUT}\n"


MUTED, UNMUTED = "muted: /mute off listens again", "listening"


@pytest.mark.parametrize(
    ("lines", "asked", "said"),
    [
        (("/mute", "/mute"), ["[mute None]", "[mute None]"], [MUTED, UNMUTED]),
        (("/mute on", "/mute  on "), ["[mute True]", "[mute True]"], [MUTED, MUTED]),
        (("/mute off",), ["[mute False]"], [UNMUTED]),
        (("/mute loud",), [], ["/mute takes on or off, or nothing: /mute"]),
        (("/mut",), [], ["/mut is no command: /mute is, and /help lists them"]),
    ],
)
def test_mute(lines: tuple[str, ...], asked: list[str], said: list[str]) -> None:
    run = talk(*lines, live=True)
    assert run.chat.heard == asked
    assert run.err.splitlines() == said
    assert run.out == ""


@pytest.mark.parametrize("line", ["/mute", "/mute on", "/mute loud"])
def test_without_a_microphone_mute_says_how_to_get_one(line: str) -> None:
    run = talk(line)
    assert run.err == "/mute needs a microphone: gemma-mlx chat --mic listens to one\n"
    assert run.chat.heard == []


def test_mute_is_named_only_where_there_is_a_microphone() -> None:
    assert talk("/help").err.strip() == HELP == explained(COMMANDS)
    assert "/mute" not in HELP
    assert "/mute is" not in talk("/mut").err
    live = talk("/help", live=True).err.strip()
    assert live == explained(LIVE_COMMANDS)
    assert set(live.splitlines()) - set(HELP.splitlines()) == {
        "/mute [on|off]            let the microphone hear nothing, or listen again"
    }


def test_an_empty_line_pushes_to_talk_only_where_that_was_asked_for() -> None:
    assert talk("", "one", "", "  ", live=True, push=True).chat.heard == ["[push]", "one", "[push]"]
    assert talk("", live=True).chat.heard == []
