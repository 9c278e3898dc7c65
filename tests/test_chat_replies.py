"""One reply at a time, what it reports, and what may be asked of a chat."""

from collections.abc import Iterator
from itertools import count, islice

import pytest

from gemma_mlx.chat import Chat, _Answer
from gemma_mlx.errors import ConfigError, InputError
from gemma_mlx.generation.events import Finished, Token, Usage
from gemma_mlx.generation.sampling import Sampler
from gemma_mlx.generation.text import TextStream
from gemma_mlx.inputs.message import Audio, Image
from gemma_mlx.loading import Gemma, LoadOptions, load

GREEDY = Sampler(temperature=0)


@pytest.fixture(scope="module")
def demo() -> Gemma:
    return load("demo", LoadOptions(dtype="float32"))


def _text(chat: Chat, question: str) -> str:
    *_, last = chat.reply(question, GREEDY)
    assert isinstance(last, Finished)
    return last.text


def test_a_second_reply_ends_the_first(demo: Gemma) -> None:
    chat = Chat(demo)
    first = chat.reply("hello", GREEDY)
    shown = list(islice(first, 2))
    expected = _text(chat, "What is MLX?")
    assert list(first) == []
    assert [message.role for message in chat.history] == ["user", "assistant", "user", "assistant"]
    assert chat.history[1].text == "".join(getattr(event, "text", "") for event in shown)
    assert chat.history[3].text == expected
    cold = Chat(demo)
    cold.history = chat.history[:2]
    assert _text(cold, "What is MLX?") == expected


def test_what_is_asked_next_ends_an_open_reply(demo: Gemma, picture: Image) -> None:
    for ask in (Chat.settle, lambda chat: chat.add(picture)):
        chat = Chat(demo)
        reply = chat.reply("hello", GREEDY)
        next(reply)
        ask(chat)
        assert list(reply) == []
        assert [message.role for message in chat.history] == ["user", "assistant"]


@pytest.fixture
def picture() -> Image:
    import numpy as np

    return Image("a.png", np.zeros((96, 96, 3), np.uint8))


def test_media_can_wait_for_the_question(demo: Gemma, picture: Image) -> None:
    at_once, later = Chat(demo), Chat(demo)
    at_once.add(picture)
    later.add(picture, read=False)
    assert len(at_once.context.keys) > 0
    assert later.context.keys == []
    ends = []
    for chat in (at_once, later):
        *_, last = chat.reply("what do you see?", GREEDY)
        assert isinstance(last, Finished)
        ends.append(last)
    assert ends[0].tokens == ends[1].tokens
    assert ends[0].usage.cached_tokens > 0
    assert ends[1].usage.cached_tokens == 0


def test_times_are_of_all_tokens_that_came(demo: Gemma, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token each second, the stop token as well."""
    seconds = count(100.0)
    monkeypatch.setattr("gemma_mlx.chat.time.perf_counter", lambda: next(seconds))
    answer = _Answer(TextStream(demo.tokenizer), 98.0)
    stop = min(demo.stop_ids)
    list(answer.events(iter([Token(600), Token(601), Token(602), Token(stop)]), demo.stop_ids))
    finished = answer.finished(Usage(prompt_tokens=30, cached_tokens=10))
    assert finished.tokens == (600, 601, 602)
    assert finished.reason == "stop"
    assert finished.timing.ttft_s == 2
    assert finished.timing.prefill_tok_s == 10
    assert finished.timing.decode_tok_s == 1


def test_a_single_token_has_no_rate(demo: Gemma) -> None:
    answer = _Answer(TextStream(demo.tokenizer), 0.0)
    list(answer.events(_one(), demo.stop_ids))
    assert answer.finished(Usage()).timing.decode_tok_s == 0


def _one() -> Iterator[Token]:
    yield Token(600)


@pytest.mark.parametrize("context", [-3, 0, 10**9])
def test_a_context_that_the_model_does_not_hold(demo: Gemma, context: int) -> None:
    with pytest.raises(ConfigError, match=f"context is {context}, the model holds 1 to"):
        Chat(demo, context=context)


def test_requests_are_refused_when_they_are_made(demo: Gemma) -> None:
    with pytest.raises(InputError, match="nothing to answer"):
        Chat(demo).reply()
    with pytest.raises(InputError, match="max-tokens is 0"):
        Chat(demo).reply("hello", max_tokens=0)


def test_an_empty_recording_is_refused_and_forgotten(demo: Gemma) -> None:
    import numpy as np

    chat = Chat(demo)
    with pytest.raises(InputError, match="empty"):
        chat.add(Audio("a.wav", np.zeros(0, np.float32)))
    assert chat.pending == ()


def test_a_seed_moves_on_by_turns(demo: Gemma) -> None:
    """Otherwise each turn would draw with the same numbers."""
    hot = Sampler(temperature=5.0, seed=2**64 - 1)
    seeds, ids = [], []
    for chat in (Chat(demo, "Be brief."), Chat(demo)):
        for _ in range(2):
            seeds.append(chat._sampler(hot).seed)
            *_, last = chat.reply("hello", hot, max_tokens=12)
            assert isinstance(last, Finished)
            ids.append(last.tokens)
    assert seeds == [2**64 - 1, 0] * 2
    assert ids[0] != ids[1]
    assert Chat(demo)._sampler(GREEDY).seed is None
