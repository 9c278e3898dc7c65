"""A reply from tokens: what is shown, why it ends, what history keeps of it."""

from collections.abc import Iterator

import pytest

from gemma_mlx.conversation.answer import HELD_UP, Answer, Ending
from gemma_mlx.errors import MemoryPlanError
from gemma_mlx.generation.channels import ChannelStream
from gemma_mlx.generation.events import BadCall, Draft, Event, Finished, Token, Usage
from gemma_mlx.inputs.message import ToolCall
from tests import chats
from tests.chats import ids_of

TOKENIZER = chats.demo().tokenizer
STOPS = chats.demo().stop_ids
STOP = TOKENIZER.specials["<|tool_response>"]


def answered(text: str, stop: int | None = STOP, first_call: int = 1) -> tuple[Answer, list[Event]]:
    """An answer after tokens of a text and a stop token."""
    answer = Answer(ChannelStream(TOKENIZER), Ending(frozenset({STOP, *STOPS})), 0.0, first_call)
    tokens = [Token(token) for token in (*ids_of(text), *([stop] if stop is not None else []))]
    return answer, list(answer.events(iter(tokens)))


CALL = '<|tool_call>call:get{city:<|"|>Rome<|"|>}<tool_call|>'


def test_calls_are_numbered_and_end_the_reply() -> None:
    answer, events = answered(f"<|channel>thought\nhm\n<channel|>One moment. {CALL}{CALL}", first_call=7)
    calls = tuple(event for event in events if isinstance(event, ToolCall))
    assert [(call.name, call.arguments, call.id) for call in calls] == [
        ("get", {"city": "Rome"}, "call-7"),
        ("get", {"city": "Rome"}, "call-8"),
    ]
    assert (answer.reason, answer.calls) == ("tool_calls", calls)
    message = answer.message
    assert message is not None
    assert (message.text.strip(), message.thinking, message.calls) == ("One moment.", "hm", calls)
    assert answer.finished(Usage(), Draft()).calls == calls


@pytest.mark.parametrize("text", [f"{CALL} and", CALL, f"so {CALL}"])
def test_a_reply_that_is_cut_off_asks_for_nothing(text: str) -> None:
    answer, events = answered(text, stop=None)
    assert any(isinstance(event, ToolCall) for event in events)
    assert (answer.reason, answer.calls) == ("length", ())
    assert (answer.message is None) == (text == CALL)


def test_a_call_that_cannot_be_read_stays_as_text() -> None:
    answer, events = answered("Well: <|tool_call>call:get{city:<tool_call|>")
    (bad,) = (event for event in events if isinstance(event, BadCall))
    assert (answer.reason, answer.calls) == ("stop", ())
    assert answer.message is not None
    assert answer.message.text == f"Well: \n{bad.raw}"
    assert "<" not in bad.raw
    assert answer.finished(Usage(), Draft()).text == "Well: "


def test_good_and_bad_calls_in_one_reply() -> None:
    answer, _ = answered(f"{CALL}<|tool_call>nonsense<tool_call|>")
    assert answer.reason == "tool_calls"
    assert len(answer.calls) == 1
    assert answer.message is not None
    assert answer.message.text == "nonsense"


@pytest.mark.parametrize("text", ["", " \n", "<|channel>thought\nonly this\n<channel|>"])
def test_a_reply_that_says_nothing_is_no_message(text: str) -> None:
    assert answered(text)[0].message is None


def test_want_of_memory_ends_the_reply_with_what_there_is() -> None:
    answer = Answer(ChannelStream(TOKENIZER), Ending(STOPS), 0.0)

    def tokens() -> Iterator[Token]:
        yield from map(Token, ids_of("So far"))
        raise MemoryPlanError("full")

    list(answer.events(tokens()))
    assert (answer.reason, answer.notice) == ("memory", "full")
    assert answer.message is not None
    assert answer.message.text == "So far"


def _finished(tokens: list[int], started: float, generated: Iterator[Token] | None = None) -> Finished:
    answer = Answer(ChannelStream(TOKENIZER), Ending(STOPS), started)
    list(answer.events(generated or map(Token, tokens)))
    return answer.finished(Usage(prompt_tokens=30, cached_tokens=10), Draft(1, 2, 3))


class Clock:
    """Seconds, which pass while tokens are generated: one for each, the stop token as well."""

    def __init__(self) -> None:
        self.now = 99.0

    def tokens(self) -> Iterator[Token]:
        for token in (600, 601, 602, min(STOPS)):
            self.now += 1
            yield Token(token)


def test_times_are_of_all_tokens_that_came(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr("gemma_mlx.conversation.answer.time.perf_counter", lambda: clock.now)
    finished = _finished([], 98.0, clock.tokens())
    assert finished.tokens == (600, 601, 602)
    assert finished.reason == "stop"
    assert finished.draft == Draft(1, 2, 3)
    assert finished.timing.ttft_s == 2
    assert finished.timing.prefill_tok_s == 10
    assert finished.timing.decode_tok_s == 1


def test_time_in_which_an_answer_was_held_up_is_not_the_model_s(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr("gemma_mlx.conversation.answer.time.perf_counter", lambda: clock.now)
    answer = Answer(ChannelStream(TOKENIZER), Ending(STOPS), 98.0)
    for number, _ in enumerate(answer.events(clock.tokens())):
        clock.now += 20 if number == 0 else HELD_UP  # which a slow terminal may take
    timing = answer.finished(Usage(prompt_tokens=30, cached_tokens=10), Draft(1, 2, 3)).timing
    assert timing.ttft_s == 2
    assert 0.7 < timing.decode_tok_s <= 1  # 0.13 with the 20 s


def test_a_single_token_has_no_rate() -> None:
    assert _finished([600], 0.0).timing.decode_tok_s == 0
