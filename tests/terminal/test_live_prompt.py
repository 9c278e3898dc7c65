"""A prompt that other threads end and print above, its keys from a pipe, on a terminal that shows nothing."""

import random
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Timer

import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.history import InMemoryHistory
from prompt_toolkit.input import PipeInput, create_pipe_input
from prompt_toolkit.output import DummyOutput

from gemma_mlx.terminal.prompt import Prompt
from gemma_mlx.terminal.spoken import SPOKEN, Live
from tests.terminal.live_stage import Meter
from tests.terminal.threads import beside

SECONDS = 60  # until something that should have come is missed
LEFT = "\x1b[D"


class Desk:
    """A prompt and a person's hands."""

    def __init__(self, keys: PipeInput, push: Callable[[], None] | None = None) -> None:
        self.keys, self.said = keys, list[str]()
        self.prompt = Prompt(None, lambda width: "", self.said.append, Live(Meter, push=push))

    def written(self) -> bool:
        """Whether the keys have arrived in a prompt."""
        return bool(self.prompt._session.default_buffer.text)


@contextmanager
def desk(push: Callable[[], None] | None = None) -> Iterator[Desk]:
    """A desk whose prompt ends if something is missed."""
    with create_pipe_input() as keys, create_app_session(input=keys, output=DummyOutput()):
        late = Timer(SECONDS, keys.close)
        late.start()
        try:
            yield Desk(keys, push)
        finally:
            late.cancel()


def until(seen: Callable[[], bool]) -> None:
    end = time.monotonic() + SECONDS
    while not seen():
        assert time.monotonic() < end
        time.sleep(0.001)


def test_a_wake_before_the_prompt_is_answered_by_it_once() -> None:
    with desk() as it:
        it.prompt.calls.wake()
        it.prompt.calls.wake()
        it.keys.send_text("one\r")
        assert [it.prompt.ask(), it.prompt.ask()] == [SPOKEN, "one"]  # two are one


def test_a_wake_ends_the_prompt_that_waits_and_what_is_half_written_stays() -> None:
    def speak() -> None:
        until(it.written)
        it.prompt.calls.wake()

    with desk() as it:
        it.keys.send_text("onetwo" + 3 * LEFT)
        with beside(speak):
            assert it.prompt.ask() is SPOKEN
        it.keys.send_text("\r")
        assert it.prompt.edit("other") == "other"
        it.keys.send_text(" and \r")
        assert it.prompt.ask() == "one and two"
        it.keys.send_text("three\r")
        assert it.prompt.ask() == "three"


def test_a_wake_just_as_a_line_is_sent_waits_for_the_next_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines are remembered after the prompt has been told to end, and before it has ended."""
    with desk() as it:
        monkeypatch.setattr(InMemoryHistory, "append_string", lambda self, line: it.prompt.calls.wake())
        it.keys.send_text("one\r")
        assert [it.prompt.ask(), it.prompt.ask()] == ["one", SPOKEN]


def test_a_wake_does_not_end_an_edit() -> None:
    with desk() as it:
        it.prompt.calls.wake()
        it.keys.send_text(" more\r")
        assert it.prompt.edit("text") == "text more"
        assert it.prompt.ask() is SPOKEN


def test_a_line_of_another_thread_is_printed_while_the_prompt_waits() -> None:
    def speak() -> None:
        until(it.written)
        it.prompt.calls.say("a notice")
        until(lambda: bool(it.said))
        it.keys.send_text("two\r")

    with desk() as it:
        it.keys.send_text("one")
        with beside(speak):
            assert it.prompt.ask() == "onetwo"
        assert it.said == ["a notice"]


def test_a_key_that_pushes_does_so_on_an_empty_line_only() -> None:
    pushes = list[int]()
    with desk(lambda: pushes.append(1)) as it:
        it.keys.send_text(" \r a b\r")
        assert it.prompt.ask() == "a b"
        assert len(pushes) == 3


def test_keys_between_prompts_push_up_to_the_first_other_one() -> None:
    pushes = list[int]()
    with desk(lambda: pushes.append(1)) as it:
        it.keys.send_text(" \n\r a b")
        it.prompt.take_pushes()
        assert len(pushes) == 4
        it.keys.send_text(" c\r")
        it.prompt.take_pushes()
        assert len(pushes) == 4
        assert it.prompt.ask() == "a b c"


def test_keys_between_prompts_do_not_push_behind_something_half_written() -> None:
    pushes = list[int]()

    def speak() -> None:
        until(it.written)
        it.prompt.calls.wake()

    with desk(lambda: pushes.append(1)) as it:
        it.keys.send_text("one")
        with beside(speak):
            assert it.prompt.ask() is SPOKEN
        it.keys.send_text(" two\r")
        it.prompt.take_pushes()
        assert it.prompt.ask() == "one two"
        assert pushes == []


def test_wakes_lines_and_keys_of_many_threads() -> None:
    """No wake is lost or comes twice, no key is lost, notices come in order or are counted."""
    wakes, lines, notices, speaking = 50, 40, 100, threading.Lock()
    seed = random.Random(6)
    pauses = [seed.choice((0.0, 0.0, 0.001, 0.004)) for _ in range(997)]

    def speak() -> None:
        for number in range(wakes):
            time.sleep(pauses[number])
            with speaking:  # each is taken before the next one
                it.prompt.calls.wake()
                while it.prompt.calls.woken:
                    time.sleep(0)

    def write() -> None:
        for number in range(lines):
            for keys in ("a li", "ne, num", f"ber {number}", "\r"):
                time.sleep(pauses[-number])
                it.keys.send_text(keys)

    def notice() -> None:
        for number in range(notices):
            time.sleep(pauses[number * 3])
            it.prompt.calls.say(str(number))

    with desk() as it, beside(speak, speak, write, notice):
        got = [it.prompt.ask() for _ in range(2 * wakes + lines)]
        assert got.count(SPOKEN) == 2 * wakes
        assert [line for line in got if line is not SPOKEN] == [f"a line, number {number}" for number in range(lines)]
        it.keys.send_text("end\r")
        assert it.prompt.ask() == "end"
    it.prompt.say_waiting()
    left_out = [re.fullmatch(r"(\d+) earlier notices? left out", line) for line in it.said]
    numbers = [int(line) for line, gap in zip(it.said, left_out, strict=True) if gap is None]
    assert numbers == sorted(set(numbers))
    assert len(numbers) + sum(int(gap[1]) for gap in left_out if gap is not None) == notices
